"""Virtual time: a heap of callbacks. Time jumps to the next event; ties run in the order in which they were planned."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

START = 1000.0  # s; not 0.0, which counters use for "never"


class VirtualLoop:
    """There is no cancelling: an owner that changed its mind ignores the stale call, cheaper than a removal."""

    __slots__ = ("_heap", "_order", "events", "now")

    def __init__(self) -> None:
        self.now = START
        self.events = 0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = 0

    def at(self, when: float, callback: Callable[..., None], *arguments: object) -> None:
        """Call ``callback(*arguments)`` at virtual time ``when``, or now if that has passed."""
        self._order += 1
        heappush(self._heap, (when if when > self.now else self.now, self._order, callback, arguments))

    def step(self, limit: float) -> bool:
        """Run the next event if it is due by ``limit``, else move the time to ``limit`` and return False."""
        heap = self._heap
        if not heap or heap[0][0] > limit:
            self.now = max(self.now, limit)
            return False
        when, _, callback, arguments = heappop(heap)
        self.now = when
        self.events += 1
        callback(*arguments)
        return True

    def run_until(self, limit: float) -> None:
        while self.step(limit):
            pass
