"""When a Nucleus tells a mesh what has changed.

Changes of PUSH_INTERVAL go out together. All clusters share one rate, so that a herd does not cost a push to everyone
for each edge that comes: the more there is to push, the more goes into each push.
"""

from __future__ import annotations

from omni_core.constants import PUSH_INTERVAL, PUSHES_PER_SECOND


class PushSchedule:
    def __init__(self) -> None:
        self._due: dict[str, float] = {}  # cluster -> when; PUSH_INTERVAL is one for all, so insertion is time order
        self._free_at = 0.0  # when what was pushed last is paid for

    def changed(self, cluster: str, now: float) -> None:
        self._due.setdefault(cluster, now + PUSH_INTERVAL)

    def next_timer(self) -> float | None:
        first = next(iter(self._due.values()), None)
        return None if first is None else max(first, self._free_at)

    def take(self, now: float) -> str | None:
        """The cluster that is to be told now; say ``pushed`` afterwards."""
        when = self.next_timer()
        if when is None or when > now:
            return None
        cluster = next(iter(self._due))
        del self._due[cluster]
        return cluster

    def pushed(self, datagrams: int, now: float) -> None:
        self._free_at = max(now, self._free_at) + datagrams / PUSHES_PER_SECOND
