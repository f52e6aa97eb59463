"""Peers that left, so that nobody's gossip brings them back. Part of the Ganglion engine. A table, no decisions.

The peer itself may come back at any time, by a handshake or with a newer record.
"""

from __future__ import annotations

from collections import OrderedDict

from omni_core.constants import TOMBSTONE_TIME, TOMBSTONES_MAX
from omni_core.types import PublicKey


class Departed:
    def __init__(self) -> None:
        self._marks: OrderedDict[PublicKey, tuple[int, float]] = OrderedDict()  # the oldest first

    def mark(self, public_key: PublicKey, version: int, now: float) -> None:
        """``version`` of the latest record known of it."""
        known = self._marks.pop(public_key, None)
        if known is not None and now - known[1] < TOMBSTONE_TIME:
            version = max(version, known[0])
        self._marks[public_key] = (version, now)
        while len(self._marks) > TOMBSTONES_MAX or now - next(iter(self._marks.values()))[1] >= TOMBSTONE_TIME:
            self._marks.popitem(last=False)

    def clear(self, public_key: PublicKey) -> None:
        self._marks.pop(public_key, None)

    def holds(self, public_key: PublicKey, version: int, now: float) -> bool:
        """Whether that record is of before it left."""
        mark = self._marks.get(public_key)
        return mark is not None and version <= mark[0] and now - mark[1] < TOMBSTONE_TIME

    def has(self, public_key: PublicKey, now: float) -> bool:
        mark = self._marks.get(public_key)
        return mark is not None and now - mark[1] < TOMBSTONE_TIME

    def __len__(self) -> int:
        return len(self._marks)
