"""Many deadlines, one heap: each key has at most one time; setting it again moves it. O(log n).

A deadline that moves to later, as most do, leaves the heap alone: when its old time has come, it is put back.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Deadlines(Generic[K]):
    def __init__(self) -> None:
        self._due: dict[K, float] = {}
        self._queued: dict[K, float] = {}  # time of its entry in the heap that counts, never after ``_due``
        self._heap: list[tuple[float, int, K]] = []
        self._order = itertools.count()  # ties pop in the order they were set: deterministic runs

    def set(self, key: K, when: float | None) -> None:
        """None removes the deadline."""
        if when is None:
            self._due.pop(key, None)
        elif self._due.get(key) != when:
            self._due[key] = when
            if when < self._queued.get(key, math.inf):
                self._push(key, when)

    def get(self, key: K) -> float | None:
        return self._due.get(key)

    def next(self) -> float | None:
        heap = self._heap
        while heap:
            when, _, key = heap[0]
            due = self._due.get(key)
            if due == when:
                return when
            heapq.heappop(heap)
            if self._queued.get(key) == when:
                del self._queued[key]
                if due is not None:
                    self._push(key, due)
        return None

    def pop_due(self, now: float) -> list[K]:
        """Keys whose time has come, earliest first; their deadlines are removed."""
        ready: list[K] = []
        while (when := self.next()) is not None and when <= now:
            key = heapq.heappop(self._heap)[2]
            del self._due[key], self._queued[key]
            ready.append(key)
        return ready

    def _push(self, key: K, when: float) -> None:
        self._queued[key] = when
        heapq.heappush(self._heap, (when, next(self._order), key))

    def __len__(self) -> int:
        return len(self._due)
