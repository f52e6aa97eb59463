"""Emptying a Nucleus before it stops: its edges are told, paced, and go to another one if they have one.

The drain is over when every edge that was told has left, or has said by a heartbeat that it stays; when none has left
for a while, for those have nowhere to go; or when its time is up.
"""

from __future__ import annotations

from collections.abc import Iterable

from omni_core.constants import DRAIN_BATCH, DRAIN_BATCH_INTERVAL, DRAIN_IDLE, DRAIN_REPEAT
from omni_core.types import PublicKey


class Drain:
    """``to_tell`` gives whom to tell now; ``left`` and ``stays`` are what the edges did about it."""

    __slots__ = ("_batch_due", "_queue", "_repeated", "_since", "_told", "_undecided", "done", "until")

    def __init__(self, keys: Iterable[PublicKey], now: float, time: float) -> None:
        """``keys``: edges that are registered and use this Nucleus. ``time``: s that it may take."""
        self.until = now + time
        self.done = False
        self._undecided = set(keys)  # neither left nor said that they stay
        self._queue = list(self._undecided)  # to be told, from the end
        self._told: set[PublicKey] = set()
        self._repeated = False  # who is undecided is told once more: the first notice may have been lost
        self._batch_due = now
        self._since = now  # when one was told first, or left, last
        self._look(now)

    def next_timer(self) -> float | None:
        if self.done:
            return None
        if self._queue:
            return min(self._batch_due, self.until)
        ends = min(self._since + DRAIN_IDLE, self.until)
        return ends if self._repeated else min(self._batch_due, ends)

    def to_tell(self, now: float) -> list[PublicKey]:
        """Edges that are to be told now. To be called when the timer is due."""
        batch: list[PublicKey] = []
        if not self.done and now >= self._batch_due:
            if not self._queue and not self._repeated:
                self._repeated, self._queue = True, list(self._undecided)
            while self._queue and len(batch) < DRAIN_BATCH:
                key = self._queue.pop()
                if key in self._undecided:
                    batch.append(key)
            self._told.update(batch)
            if batch and not self._repeated:
                self._since = now
            self._batch_due = now + (DRAIN_BATCH_INTERVAL if self._queue else DRAIN_REPEAT)
        self._look(now)
        return batch

    def left(self, key: PublicKey, now: float) -> None:
        """The edge uses another Nucleus now, or is gone."""
        if key in self._undecided:
            self._undecided.discard(key)
            self._since = now
            self._look(now)

    def stays(self, key: PublicKey, now: float) -> None:
        """Its heartbeats still come here, after it was told."""
        if key in self._told:
            self._undecided.discard(key)
            self._look(now)

    def _look(self, now: float) -> None:
        idle = not self._queue and now >= self._since + DRAIN_IDLE
        self.done = self.done or not self._undecided or idle or now >= self.until
