"""What the commands print: tables and JSON on stdout, progress as lines, durations and sizes as people read them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 240  # columns where stdout is no terminal: rich would cut at 80

STATE_STYLES = {
    "up": "green", "registered": "green", "running": "green", "ok": "green",
    "handshaking": "yellow", "connecting": "yellow", "problem": "red", "warning": "yellow",
    "lost": "red", "refused": "red", "idle": "dim", "note": "dim", "stopped": "dim",
}  # fmt: skip


def make_console() -> Console:
    """As wide as the terminal; wide enough for every table where stdout is none."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, sort_keys=False))


def line(text: str) -> None:
    """One line of progress, at once: the reader may be a pipe."""
    print(text, flush=True)


def make_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> Table:
    """``right``: columns of numbers. States are coloured. Texts are shown as they are, never as markup."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=STATE_STYLES.get(cell, "")) for cell in row))
    return table


def duration(seconds: float | None) -> str:
    """``850 us``, ``12.3 ms``, ``45 s``, ``3 min``, ``5 h``, ``2 d``; a dash when unknown."""
    if seconds is None:
        return "-"
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def share(value: float | None) -> str:
    """Of 1, in percent: ``0 %``, ``0.4 %``, ``12 %``; a dash when unknown."""
    if value is None:
        return "-"
    percent = 100 * value
    return f"{percent:.1f} %" if 0.05 <= percent < 9.95 else f"{percent:.0f} %"


def offset(seconds: float | None, error: float | None) -> str:
    """``+12.3 ms``, ``-2 s``; ``0`` where it is less than what the error bound allows to tell; a dash when unknown."""
    if seconds is None:
        return "-"
    if error is not None and abs(seconds) <= error:
        return "0"
    return f"{'-' if seconds < 0 else '+'}{duration(abs(seconds))}"


def size(count: float) -> str:
    """Bytes with decimal units."""
    for limit, divisor, unit in ((1e3, 1, "B"), (1e6, 1e3, "kB"), (1e9, 1e6, "MB")):
        if count < limit:
            return f"{count / divisor:.0f} {unit}" if divisor == 1 else f"{count / divisor:.1f} {unit}"
    return f"{count / 1e9:.1f} GB"
