"""No way out without a test: each number that a program counts under is that of some row."""

from __future__ import annotations

import re
from pathlib import Path

from support.rows_bulk import LAND_ROWS, SPLIT_ROWS, STREAM_ROWS
from support.rows_groups import GROUP_ROWS
from support.rows_receive import RECEIVE_ROWS
from support.rows_transmit import OUT_ROWS, TRANSMIT_ROWS

from omni_core.drops import DropReason
from omni_core.io.synapse.abi import Way

ROWS = [*RECEIVE_ROWS, *TRANSMIT_ROWS, *OUT_ROWS, *STREAM_ROWS, *SPLIT_ROWS, *LAND_ROWS, *GROUP_ROWS]
BPF = Path(__file__).parents[2] / "bpf"

ELSEWHERE = {
    Way.OUT_CLONED: "test_transmit.py: the clones are listened to",
    DropReason.NOT_LISTENING: "test_receive.py: without the socket that the rows need",
}
NOT_COUNTED_BY_PROGRAMS = {
    DropReason.PORT_REFUSED: "the python engine's: a program learns nothing of what becomes of a redirected frame",
}


def number(name: str) -> int:
    kind, _, rest = name.partition("_")
    return DropReason[rest] if kind == "DROP" else Way[rest]


def named_in(paths: list[Path]) -> set[int]:
    names = {name for path in paths for name in re.findall(r"\b(?:DROP|WAY)_[A-Z0-9_]+\b", path.read_text())}
    return {number(name) for name in names}


def test_every_way_out_has_a_row() -> None:
    used = named_in([path for path in (*BPF.glob("*.h"), *BPF.glob("*.c")) if path.name != "abi.h"])
    assert used == named_in([BPF / "abi.h"]) - set(NOT_COUNTED_BY_PROGRAMS)
    covered = {way for row in ROWS for way in row.ways}
    assert covered | set(ELSEWHERE) == used
