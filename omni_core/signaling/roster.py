"""The peers that this edge has been told of, and whether whoever counts changes now can still vouch for them.

A log of changes ends somewhere: a Nucleus restarts and counts anew, departures are forgotten when there are too many,
another Nucleus goes on from an earlier number. Peers told before are in doubt then. Those that are not told again
within the owner's patience have left, so that no departed peer stays. In a mesh the edge asks for everyone at once
(seen = 0); in a large cluster peers are asked for on demand, and only departures are told.

The count is a check of its own: in a mesh an edge that is up to date knows at most all others. One that knows more
asks for everyone again.
"""

from __future__ import annotations

from collections.abc import Iterable

from omni_core.constants import CLUSTER_EDGES_MAX, MESH_LIMIT
from omni_core.signaling.cursor import ChangeCursor
from omni_core.signaling.messages import NO_DELTA, Delta
from omni_core.types import PublicKey


class Roster:
    """One for an edge, also when it has several Nuclei: it is told by one of them at a time.

    ``patience``: s until a peer in doubt has left.
    """

    __slots__ = (
        "_asked", "_doubtful", "_ends", "_incomplete", "_listing", "_recount", "_recount_at", "_told", "cursor",
    )  # fmt: skip

    def __init__(self) -> None:
        self.cursor = ChangeCursor()
        self.clear()

    def clear(self) -> None:
        """Nothing was ever told."""
        self.cursor.restart(0, 0)
        self._told: dict[PublicKey, int] = {}  # by deltas -> number of the change, or a later one
        self._asked: dict[PublicKey, None] = {}  # by answers and hints only
        self._doubtful: set[PublicKey] = set()
        self._ends: float | None = None  # when those in doubt have left
        self._listing = False  # on the way from 0 to the head: departures before it concern nobody that is told
        self._incomplete = False  # departures are missing that concern us
        self._recount = False  # more are known than there are
        self._recount_at = 0.0

    @property
    def doubtful(self) -> frozenset[PublicKey]:
        return frozenset(self._doubtful)

    # --- what the Nucleus says ------------------------------------------------------------------------------------

    def begin(self, epoch: int, delta: Delta, now: float, patience: float) -> None:
        """Registered; ``delta`` is the answer's, and is to be taken next. ``delta.lost`` with another epoch than the
        cursor's: the Nucleus cannot tell what came after the number that we have seen.
        """
        if self._ends is not None:
            self._ends = now + patience
        cursor, seen, partial = self.cursor, self.cursor.seen, self.cursor.partial
        if epoch == cursor.epoch:
            return
        self._listing = False
        if not (cursor.epoch or self._told or self._asked):
            cursor.restart(epoch, delta.since)
            return
        cursor.go_on(epoch, delta.since)
        if delta.lost:
            self._doubt(self._everyone(), now + patience)
            self._start_over(delta)
        elif partial or delta.since < seen:  # something was left out, or told that is not so here
            self._doubt([key for key, number in self._told.items() if number > delta.since], now + patience)
            self._start_over(delta)
        number = delta.since
        self._told = {key: number if delta.lost else min(told, number) for key, told in self._told.items()}

    def take(self, delta: Delta) -> bool:
        """Whether to apply it; say ``joined`` and ``left`` then, and ``settle`` in any case."""
        listing = self._listing or self.cursor.seen == 0
        taken = self.cursor.take(delta)
        if taken:
            self._listing = self.cursor.behind and (listing or self.cursor.seen == 0)
        self._incomplete = taken and delta.lost and (delta.omitted or not listing)
        return taken

    def joined(self, key: PublicKey) -> None:
        self._asked.pop(key, None)
        self._doubtful.discard(key)
        if key in self._told or len(self._told) < CLUSTER_EDGES_MAX:
            self._told[key] = self.cursor.seen

    def left(self, key: PublicKey) -> None:
        self._told.pop(key, None)
        self._asked.pop(key, None)
        self._doubtful.discard(key)

    def found(self, key: PublicKey) -> None:
        """The Nucleus answered a question about the peer, or hinted that it is about to connect."""
        self._doubtful.discard(key)
        if key not in self._told and len(self._asked) < CLUSTER_EDGES_MAX:
            self._asked[key] = None

    def settle(self, delta: Delta, now: float, patience: float) -> None:
        """``delta`` is applied, or was not to be."""
        if self._incomplete:
            self._doubt(self._everyone(), now + patience)
            if self._doubtful:
                self._start_over(delta)
        if delta.until == self.cursor.seen and not self.cursor.behind and not delta.omitted and now >= self._recount_at:
            certain = len(self._told) - sum(key in self._told for key in self._doubtful)
            self._recount = certain >= delta.size  # which counts us

    def ask(self, now: float, patience: float) -> None:
        """A heartbeat is about to be sent."""
        if self._recount:
            self._recount, self._recount_at = False, now + patience
            self._doubt(self._everyone(), now + patience)
            self._start_over(NO_DELTA)

    # --- time -----------------------------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """To be heeded while a Nucleus tells us: without one nobody could tell of them again."""
        return None if self.cursor.behind else self._ends

    def departed(self, now: float) -> list[PublicKey]:
        """The peers that were in doubt for too long, once."""
        if self._ends is None or now < self._ends or self.cursor.behind:
            return []
        gone = sorted(self._doubtful)
        for key in gone:
            self.left(key)
        self._ends = None
        return gone

    def _everyone(self) -> list[PublicKey]:
        return [*self._told, *self._asked]

    def _doubt(self, keys: Iterable[PublicKey], ends: float) -> None:
        self._doubtful.update(keys)
        if self._doubtful and self._ends is None:
            self._ends = ends

    def _start_over(self, delta: Delta) -> None:
        self.cursor.start_over(small=delta.size <= MESH_LIMIT and not delta.omitted)
        self._listing = self.cursor.behind
