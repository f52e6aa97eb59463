"""The replay window: numbered edge checks, so that a failure names itself, as WireGuard's replay tests do."""

from __future__ import annotations

import pytest
from support.replay_edges import EDGES

from omni_core.constants import REJECT_AFTER_MESSAGES as REJECT
from omni_core.constants import REPLAY_WINDOW as W
from omni_core.session.replay import ReplayWindow


def accept(window: ReplayWindow, sequence: int) -> bool:
    fresh = window.check(sequence)
    if fresh:
        window.update(sequence)
    return fresh


@pytest.mark.parametrize("name", EDGES)
def test_edges(name: str) -> None:
    window = ReplayWindow()
    for number, (sequence, fresh) in enumerate(EDGES[name], start=1):
        assert accept(window, sequence) is fresh, f"check {number}: sequence {sequence}"


@pytest.mark.parametrize("start", [0, 1, 63, 64, 65, 8191, 8192, REJECT - W - 2])
def test_a_whole_window_forwards_then_none_again(start: int) -> None:
    window = ReplayWindow()
    whole = range(start, start + W + 1)
    assert all(accept(window, s) for s in whole)
    assert not any(window.check(s) for s in whole)


@pytest.mark.parametrize("start", [0, 1, 63, 64, 65, 8191, 8192, REJECT - W - 2])
def test_a_whole_window_backwards_then_none_again(start: int) -> None:
    window = ReplayWindow()
    whole = range(start, start + W + 1)
    assert all(accept(window, s) for s in reversed(whole))
    assert not any(window.check(s) for s in whole)
    assert not any(window.check(s) for s in range(max(0, start - 100), start)), "older than the window"


def test_check_alone_changes_nothing() -> None:
    window = ReplayWindow()
    window.update(100)
    for sequence in (101, 99, 100, 10_000_000, REJECT):
        window.check(sequence)
    assert window.highest == 100
    assert window.check(101)
    assert window.check(99)
    assert not window.check(100)


def test_highest_is_the_newest_accepted() -> None:
    window = ReplayWindow()
    assert window.highest == -1
    for sequence, highest in ((3, 3), (1, 3), (9000, 9000), (8999, 9000)):
        window.update(sequence)
        assert window.highest == highest
