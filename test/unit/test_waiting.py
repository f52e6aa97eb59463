"""Frames that wait: bounded, in order, oldest dropped, all counted."""

from __future__ import annotations

from omni_core.drops import DropCounters, DropReason
from omni_core.engines.waiting import WaitingFrames


def frames(n: int) -> list[bytes]:
    return [n_.to_bytes(4, "big") for n_ in range(n)]


def test_order_is_kept_and_the_oldest_gives_way() -> None:
    drops = DropCounters()
    waiting: WaitingFrames[str] = WaitingFrames(drops, per_destination=3)
    for frame in frames(5):
        waiting.add("a", frame, 0.0)
    assert waiting.count("a") == len(waiting) == 3
    assert waiting.take("a", 1.0) == frames(5)[2:]
    assert drops.as_dict() == {DropReason.QUEUE_FULL: 2} and len(waiting) == 0


def test_destinations_are_bounded_and_the_oldest_goes_whole() -> None:
    drops = DropCounters()
    waiting: WaitingFrames[int] = WaitingFrames(drops, destinations=2)
    for destination in range(3):
        waiting.add(destination, b"x", 0.0)
        waiting.add(destination, b"y", 0.0)
    assert waiting.take(0, 0.0) == [] and waiting.take(2, 0.0) == [b"x", b"y"]
    assert drops.as_dict() == {DropReason.QUEUE_FULL: 2}


def test_frames_that_waited_too_long_are_not_sent() -> None:
    drops = DropCounters()
    waiting: WaitingFrames[str] = WaitingFrames(drops, keep=5.0)
    waiting.add("a", b"old", 0.0)
    waiting.add("a", b"new", 4.0)
    assert waiting.take("a", 6.0) == [b"new"]
    waiting.add("b", b"old", 0.0)
    waiting.expire(5.1)
    assert waiting.count("b") == 0 and drops.as_dict() == {DropReason.QUEUE_EXPIRED: 2}


def test_drop_counts_its_reason() -> None:
    drops = DropCounters()
    waiting: WaitingFrames[str] = WaitingFrames(drops)
    waiting.add("a", b"x", 0.0)
    waiting.drop("a", DropReason.UNKNOWN_DESTINATION)
    waiting.drop("a", DropReason.UNKNOWN_DESTINATION)
    assert drops.as_dict() == {DropReason.UNKNOWN_DESTINATION: 1}
