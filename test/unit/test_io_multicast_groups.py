"""The kernel's tables of joined groups: samples, and what is no such table."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from omni_core.io.multicast_groups import GroupsWatch, joined_groups
from omni_core.types import Mac

IGMP = """Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter
1\tlo        :     1      V3
\t\t\t\t010000E0     1 0:00000000\t\t0
4\tomni0     :     3      V3
\t\t\t\t0100FFEF     2 0:00000000\t\t0
\t\t\t\t030281EF     1 0:00000000\t\t0
\t\t\t\t010000E0     1 0:00000000\t\t0
5\tomni0.7   :     1      V3
\t\t\t\t09090AEF     1 0:00000000\t\t0
"""
IGMP6 = """4    omni0           ff1500000000000000000000007f0001     1 00000004 0
4    omni0           ff020000000000000000000000000001     1 0000000C 0
5    omni0.7         ff150000000000000000000000000009     1 00000004 0
"""
FOUR = {bytes.fromhex(mac) for mac in ("01005e7f0001", "01005e010203", "01005e000001")}
SIX = {bytes.fromhex(mac) for mac in ("3333007f0001", "333300000001")}


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    text = IGMP
    if sys.byteorder == "big":
        text = text.replace("0100FFEF", "EFFF0001").replace("030281EF", "EF810203").replace("010000E0", "E0000001")
    (tmp_path / "igmp").write_text(text)
    (tmp_path / "igmp6").write_text(IGMP6)
    return tmp_path


def test_groups_of_one_interface(tables: Path) -> None:
    assert joined_groups("omni0", tables) == FOUR | SIX
    assert joined_groups("omni", tables) == frozenset()


def test_a_kernel_without_ipv6(tables: Path) -> None:
    (tables / "igmp6").unlink()
    assert joined_groups("omni0", tables) == FOUR


@pytest.mark.parametrize("name", ["igmp", "igmp6"])
def test_what_cannot_be_read_is_unknown(tables: Path, name: str) -> None:
    (tables / name).write_text("4\tomni0     :\n\t\t\t\tnumbers?\n4\tomni0     :\n\t\t\t\tnumbers?\n4 omni0 numbers?\n")
    assert joined_groups("omni0", tables) is None
    (tables / "igmp").unlink()
    assert joined_groups("omni0", tables) is None


async def test_the_watch_tells_changes_only_and_looks_once_for_many_reports() -> None:
    seen: list[frozenset[Mac] | None] = [None, frozenset({b"a" * 6}), frozenset({b"a" * 6}), frozenset()]
    looks, told = iter(seen), []
    watch = GroupsWatch(lambda: next(looks), told.append)
    watch.look_soon()  # not started
    await asyncio.sleep(0)
    watch.start()
    for _ in seen:
        watch.look_soon()
        watch.look_soon()
        await asyncio.sleep(0)
    assert told == [frozenset({b"a" * 6}), frozenset()]
    watch.look_soon()
    watch.stop()
    watch.stop()
    await asyncio.sleep(0)
    assert next(looks, "none left") == "none left"
