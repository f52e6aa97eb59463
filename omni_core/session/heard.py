"""The latest timestamp of each initiator, so that an initiation counts once."""

from __future__ import annotations

from collections import OrderedDict

from omni_core.types import PublicKey


class HeardTimestamps:
    def __init__(self, remembered: int) -> None:
        """``remembered``: initiators, also after they are gone; the longest unheard of goes first."""
        self._remembered = remembered
        self._latest: OrderedDict[PublicKey, int] = OrderedDict()

    def latest(self, remote: PublicKey) -> int | None:
        return self._latest.get(remote)

    def is_fresh(self, remote: PublicKey, timestamp: int) -> bool:
        return timestamp > self._latest.get(remote, -1)

    def remember(self, remote: PublicKey, timestamp: int) -> None:
        """Of an initiation that was accepted, here or by an earlier control plane."""
        self._latest[remote] = max(timestamp, self._latest.get(remote, -1))
        self._latest.move_to_end(remote)
        if len(self._latest) > self._remembered:
            self._latest.popitem(last=False)
