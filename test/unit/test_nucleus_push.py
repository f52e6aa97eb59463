"""Pushes to many meshes: at once where it is quiet, at one rate for all where it is not."""

from __future__ import annotations

from omni_core.constants import PUSH_INTERVAL, PUSHES_PER_SECOND
from omni_core.engines.nucleus_push import PushSchedule


def test_what_changes_within_the_interval_is_one_push() -> None:
    pushes = PushSchedule()
    assert pushes.next_timer() is None and pushes.take(10.0) is None
    pushes.changed("one", 10.0)
    pushes.changed("one", 10.04)
    pushes.changed("two", 10.02)
    assert pushes.next_timer() == 10.0 + PUSH_INTERVAL
    assert pushes.take(10.04) is None
    assert [pushes.take(10.1), pushes.take(10.1), pushes.take(10.1)] == ["one", "two", None]


def test_a_large_push_makes_the_next_one_wait() -> None:
    """In turn: each cluster that has changed gets one before any gets a second."""
    pushes = PushSchedule()
    pushed, now, end = 0, 10.0, 20.0
    order: list[str] = []
    while now < end:
        for cluster in ("one", "two", "three"):
            pushes.changed(cluster, now)
        due = pushes.next_timer()
        assert due is not None
        now = max(now, due)
        cluster = pushes.take(now)
        assert cluster is not None
        order.append(cluster)
        pushes.pushed(2000, now)
        pushed += 2000
    assert pushed <= PUSHES_PER_SECOND * (end - 10.0) + 2 * 2000
    assert order[:6] == ["one", "two", "three"] * 2


def test_time_without_pushes_is_not_saved_up() -> None:
    pushes = PushSchedule()
    pushes.pushed(PUSHES_PER_SECOND, 10.0)
    pushes.changed("one", 100.0)
    assert pushes.next_timer() == 100.0 + PUSH_INTERVAL
