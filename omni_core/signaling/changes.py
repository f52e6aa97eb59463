"""The change log of one cluster: who joined or moved, and who left, numbered 1, 2, 3 ...

Only an edge's latest change is kept, so that the log is never longer than the live edges plus DEPARTED_MAX departures,
and an edge that asks "what came after number n" gets the net difference, in order, in as many datagrams as it takes.
Above the mesh limit nobody needs every join; then they are left out and the answer says so.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from operator import itemgetter

from omni_core.constants import DEPARTED_MAX
from omni_core.signaling.edge import Edge
from omni_core.signaling.messages import LEAVE_SIZE, Delta, PeerEntry
from omni_core.types import PublicKey

_number = itemgetter(0)


class ChangeLog:
    __slots__ = ("_departed", "_floor", "_live", "_mesh_limit", "head")

    def __init__(self, mesh_limit: int) -> None:
        self.head = 0  # number of the last change
        self._mesh_limit = mesh_limit
        self._live: OrderedDict[PublicKey, Edge] = OrderedDict()  # by Edge.change, ascending
        self._departed: OrderedDict[PublicKey, int] = OrderedDict()  # key -> change number, ascending
        self._floor = 0  # departures up to this number are forgotten

    def __len__(self) -> int:
        """Live edges."""
        return len(self._live)

    def live(self) -> Iterator[Edge]:
        return iter(self._live.values())

    @property
    def is_mesh(self) -> bool:
        return len(self._live) <= self._mesh_limit

    @classmethod
    def of(
        cls, mesh_limit: int, live: Iterable[Edge], departed: Iterable[tuple[int, PublicKey]], floor: int
    ) -> ChangeLog:
        """As somebody else kept it: both by change number, ascending; departures up to ``floor`` are forgotten."""
        log = cls(mesh_limit)
        log._live.update((edge.key, edge) for edge in live)
        log._departed.update((key, number) for number, key in departed)
        log._floor = floor
        log.head = max(
            next((edge.change for edge in reversed(log._live.values())), 0),
            next(reversed(log._departed.values()), 0),
            floor,
        )
        return log

    def joined(self, edge: Edge, now: float, number: int | None = None) -> None:
        """``edge`` came, came back, or has something new to tell. ``number``: greater than the head; None: the next."""
        self.head = self.head + 1 if number is None else number
        edge.change, edge.changed = self.head, now
        self._departed.pop(edge.key, None)
        self._live[edge.key] = edge
        self._live.move_to_end(edge.key)

    def left(self, key: PublicKey, number: int | None = None) -> None:
        self.head = self.head + 1 if number is None else number
        del self._live[key]
        self._departed[key] = self.head
        if len(self._departed) > DEPARTED_MAX:
            _, self._floor = self._departed.popitem(last=False)

    def before(self, moment: float) -> int:
        """The number after which every live edge's change came that is younger than ``moment``.

        O(those) in a mesh; above the mesh limit, where joins are not told, the head.
        """
        if not self.is_mesh:
            return self.head
        number = self.head
        for edge in reversed(self._live.values()):
            if edge.changed <= moment:
                break
            number = edge.change - 1
        return number

    def delta(self, since: int, room: int) -> Delta:
        """What came after ``since``, as much as fits ``room`` bytes (at least one PeerEntry). O(what is new)."""
        since = min(since, self.head)
        if since == self.head:
            return Delta(since, since, len(self._live))
        return self._page(since, room) if self.is_mesh else self._departures(since, room)

    def _page(self, since: int, room: int) -> Delta:
        """The oldest changes first, up to the last that fits."""
        changes: list[tuple[int, PublicKey, Edge | None]] = []
        for edge in reversed(self._live.values()):
            if edge.change <= since:
                break
            changes.append((edge.change, edge.key, edge))
        changes += [(number, key, None) for key, number in self._departed_after(since)]
        changes.sort(key=_number)
        joins: list[PeerEntry] = []
        leaves: list[PublicKey] = []
        until = since
        for number, key, joined in changes:
            entry = joined.entry() if joined else None
            room -= entry.size if entry else LEAVE_SIZE
            if room < 0:
                break
            if entry:
                joins.append(entry)
            else:
                leaves.append(key)
            until = number
        else:
            until = self.head
        more, lost = until < self.head, since < self._floor
        return Delta(since, until, len(self._live), tuple(joins), tuple(leaves), more, lost)

    def _departures(self, since: int, room: int) -> Delta:
        """The newest departures that fit, no joins."""
        leaves: list[PublicKey] = []
        lost = since < self._floor
        for key, _ in self._departed_after(since):
            room -= LEAVE_SIZE
            if room < 0:
                lost = True
                break
            leaves.append(key)
        return Delta(since, self.head, len(self._live), leaves=tuple(leaves), lost=lost, omitted=True)

    def _departed_after(self, since: int) -> Iterator[tuple[PublicKey, int]]:
        """Newest first."""
        for key, number in reversed(self._departed.items()):
            if number <= since:
                return
            yield key, number
