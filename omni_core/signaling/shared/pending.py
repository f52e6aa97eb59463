"""What a Nucleus has asked the shared store and not heard of yet."""

from __future__ import annotations

from collections.abc import Callable

from omni_core.signaling.edge import Edge
from omni_core.signaling.store import Claimed


class Pending:
    """Something that is decided elsewhere. ``alone``: does it in memory, when nobody answers."""

    __slots__ = ("alone", "over", "since", "then")

    def __init__(self, since: float, alone: Callable[[float], None]) -> None:
        self.since = since
        self.alone = alone
        self.then: Callable[[float], None] | None = None  # once the replica has heard of it
        self.over = False


class PendingClaim(Pending):
    __slots__ = ("done", "edge")

    def __init__(
        self, since: float, edge: Edge, done: Claimed, alone: Callable[[Edge, float | None, Claimed, float], None]
    ) -> None:
        super().__init__(since, lambda now: alone(edge, None, self.done, now))
        self.edge, self.done = edge, done
