"""The kernel's table of groups that are listened to: a sample, what is no such table, and the kernel itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from omni_core.io.multicast_groups import GroupsWatch, joined_groups
from omni_core.types import Mac

TABLE = """1    lo              1     0     333300000001
4    omni0           2     0     333300000001
4    omni0           1     0     01005e7f0001
5    omni0.7         1     0     01005e0a0909
"""
GROUPS = {bytes.fromhex("333300000001"), bytes.fromhex("01005e7f0001")}


def test_groups_of_one_interface(tmp_path: Path) -> None:
    table = tmp_path / "dev_mcast"
    table.write_text(TABLE)
    assert joined_groups("omni0", table) == GROUPS
    assert joined_groups("omni", table) == frozenset()


@pytest.mark.parametrize("text", ["4 omni0", "4 omni0 1 0 what?", "\n", "4 omni0 1 0 \u00e9"])
def test_what_cannot_be_read_is_unknown(tmp_path: Path, text: str) -> None:
    table = tmp_path / "dev_mcast"
    assert joined_groups("omni0", table) is None
    table.write_text(text)
    assert joined_groups("omni0", table) is None


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
