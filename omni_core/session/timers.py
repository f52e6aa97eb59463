"""Many deadlines, one heap: each key has at most one time; setting it again moves it. O(log n), lazily cleaned."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Deadlines(Generic[K]):
    def __init__(self) -> None:
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = itertools.count()  # ties pop in the order they were set: deterministic runs

    def set(self, key: K, when: float | None) -> None:
        """None removes the deadline."""
        if when is None:
            self._due.pop(key, None)
        elif self._due.get(key) != when:
            self._due[key] = when
            heapq.heappush(self._heap, (when, next(self._order), key))

    def get(self, key: K) -> float | None:
        return self._due.get(key)

    def next(self) -> float | None:
        heap, due = self._heap, self._due
        while heap and due.get(heap[0][2]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop_due(self, now: float) -> list[K]:
        """Keys whose time has come, earliest first; their deadlines are removed."""
        ready: list[K] = []
        while (when := self.next()) is not None and when <= now:
            key = heapq.heappop(self._heap)[2]
            del self._due[key]
            ready.append(key)
        return ready

    def __len__(self) -> int:
        return len(self._due)
