"""Frames that wait for a handshake or a look-up: bounded, oldest dropped, counted."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from omni_core.constants import QUEUE_DESTINATIONS, QUEUE_FRAMES_PER_PEER, QUEUE_TIME
from omni_core.drops import DropCounters, DropReason

K = TypeVar("K", bound=Hashable)


class WaitingFrames(Generic[K]):
    """Per destination (a peer, or an address being looked up) a short queue; destinations are bounded as well."""

    def __init__(
        self,
        drops: DropCounters,
        *,
        per_destination: int = QUEUE_FRAMES_PER_PEER,
        destinations: int = QUEUE_DESTINATIONS,
        keep: float = QUEUE_TIME,
    ) -> None:
        self._drops = drops
        self._per_destination = per_destination
        self._destinations = destinations
        self._keep = keep
        self._queues: OrderedDict[K, deque[tuple[float, bytes]]] = OrderedDict()

    def add(self, destination: K, frame: bytes, now: float) -> None:
        queue = self._queues.get(destination)
        if queue is None:
            if len(self._queues) >= self._destinations:
                _, evicted = self._queues.popitem(last=False)
                self._drops.add(DropReason.QUEUE_FULL, len(evicted))
            queue = self._queues[destination] = deque()
        elif len(queue) >= self._per_destination:
            queue.popleft()
            self._drops.add(DropReason.QUEUE_FULL)
        queue.append((now, frame))

    def take(self, destination: K, now: float) -> list[bytes]:
        """The frames in their order; those that waited too long are dropped and counted."""
        queue = self._queues.pop(destination, None)
        if not queue:
            return []
        fresh = [frame for since, frame in queue if now - since <= self._keep]
        self._count_expired(len(queue) - len(fresh))
        return fresh

    def drop(self, destination: K, reason: DropReason) -> None:
        queue = self._queues.pop(destination, None)
        if queue:
            self._drops.add(reason, len(queue))

    def expire(self, now: float) -> None:
        for destination in list(self._queues):
            queue = self._queues[destination]
            expired = 0
            while queue and now - queue[0][0] > self._keep:
                queue.popleft()
                expired += 1
            self._count_expired(expired)
            if not queue:
                del self._queues[destination]

    def count(self, destination: K) -> int:
        return len(self._queues.get(destination, ()))

    def __bool__(self) -> bool:
        """Some frame waits."""
        return bool(self._queues)

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def _count_expired(self, n: int) -> None:
        if n:
            self._drops.add(DropReason.QUEUE_EXPIRED, n)
