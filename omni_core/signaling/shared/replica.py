"""The shared store in this Nucleus's memory: kept up by its stream of changes, and gone on from without it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from omni_core.constants import DEPARTED_MAX
from omni_core.signaling.changes import ChangeLog
from omni_core.signaling.denials import FOREVER, Denial, DenyList
from omni_core.signaling.edge import Edge
from omni_core.signaling.lease_book import HeldLease
from omni_core.signaling.shared.commands import Reply, Unexpected, pairs
from omni_core.signaling.shared.entries import DIGITS, Entry, unpack_entry
from omni_core.signaling.store import Change, ChangeKind, Conflict, MemoryStore
from omni_core.types import PublicKey

GRAVES_MAX = 65536


class Gone(NamedTuple):
    number: int
    cluster: str
    key: PublicKey


class Grave(NamedTuple):
    """Of an edge that has gone: with which record, and which entry of the shared store that was (0: none)."""

    version: int
    number: int


@dataclass
class Snapshot:
    """All of the shared store at one moment. Times are local."""

    head: int
    floor: int  # departures up to this number are forgotten
    entries: dict[PublicKey, Entry]
    gone: list[Gone]
    leases: list[tuple[str, HeldLease]]
    denials: list[Denial]


class Replica(MemoryStore):
    """Its ``epoch`` is set by who keeps it. ``position``: number of the last change of the shared store in it."""

    def __init__(
        self, epoch: int, nucleus: str, clusters: Collection[str], lifetime: float, mesh_limit: int, lease_time: float
    ) -> None:
        super().__init__(epoch, mesh_limit, lease_time)
        self.nucleus = nucleus
        self.lifetime = lifetime
        self.position = 0
        self.graves: OrderedDict[PublicKey, Grave] = OrderedDict()
        self.fork: int | None = 0  # on a branch: ``position`` where it began; its own changes have greater numbers
        self.leased: set[tuple[str, PublicKey]] = set()  # on a branch: given since it began
        self._clusters_served = frozenset(clusters)
        self._numbers: dict[PublicKey, int] = {}  # on a branch: entries of the shared store where it began
        self._lapsed: set[PublicKey] = set()  # on a branch: edges of others that nobody has heard here for a life
        self._loaded = False

    def is_own(self, edge: Edge) -> bool:
        return edge.nucleus == self.nucleus

    def own(self) -> list[Edge]:
        return [edge for edge in self._edges.values() if self.is_own(edge)]

    # --- on the stream ----------------------------------------------------------------------------------------------

    def apply(self, number: int, kind: bytes, value: bytes, now: float, offset: float) -> None:
        """The change ``number``; ``offset``: of the shared store's clock. Raises Unexpected, MalformedEntry."""
        self.position = number
        if kind in (b"j", b"m"):
            entry = unpack_entry(value[:32], value[32:])
            if entry.edge.cluster in self._clusters_served:
                self._apply_edge(number, entry.edge, kind == b"m", now)
        elif kind in (b"l", b"d"):
            key = value[-32:]
            if key in self._edges:
                self._remove(key, ChangeKind.LEFT if kind == b"l" else ChangeKind.DEPARTED, now, number)
        elif kind == b"L":
            cluster, lease = parse_lease(value[24 + 32 :], value[24 : 24 + 32], value[:24], offset)
            if cluster in self._clusters_served:
                self._cluster(cluster).leases.place(lease)
        elif kind == b"x":
            self._deny_list.put(parse_denial(value[:32], value[32:], offset), now)
        elif kind == b"u":
            self._deny_list.remove(value)
        else:
            raise Unexpected(f"a change of kind {kind!r}")

    def _apply_edge(self, number: int, edge: Edge, moved: bool, now: float) -> None:
        known = self._edges.get(edge.key)
        own = self.is_own(edge)
        if not moved or known is None or known.cluster != edge.cluster:
            self._put(edge, now + self.lifetime if own else 0.0, now, number)
            return
        told = (edge.observed, edge.local) != (known.observed, known.local)
        if own != self.is_own(known):
            self.touch(known, now + self.lifetime if own else 0.0)
        known.observed, known.local, known.nucleus = edge.observed, edge.local, edge.nucleus
        self._cluster(edge.cluster).log.joined(known, now, number)
        if told:
            self._changes.append(Change(ChangeKind.MOVED, known))

    def reset(self, snapshot: Snapshot, epoch: int, now: float) -> None:
        """To what the shared store has. What that changes is told, but not at first, when everything would be new."""
        before, told, self._changes = self._edges, self._changes, []
        self._edges, self._clusters, self._deny_list = OrderedDict(), {}, DenyList()
        self.epoch, self.position, self.fork = epoch, snapshot.head, None
        self._numbers, self._lapsed, self.leased = {}, set(), set()
        live: dict[str, list[Edge]] = {}
        for entry in sorted(snapshot.entries.values(), key=lambda entry: entry.number):
            edge = entry.edge
            if edge.cluster in self._clusters_served:
                edge.change = entry.number
                live.setdefault(edge.cluster, []).append(edge)
                self._place(edge, before.get(edge.key), now)
        departed: dict[str, list[tuple[int, PublicKey]]] = {}
        for gone in sorted(snapshot.gone):
            departed.setdefault(gone.cluster, []).append((gone.number, gone.key))
        for name in self._clusters_served:
            left, floor = departed.get(name, []), snapshot.floor
            if len(left) > DEPARTED_MAX:
                floor, left = left[-DEPARTED_MAX - 1][0], left[-DEPARTED_MAX:]
            self._cluster(name).log = ChangeLog.of(self._mesh_limit, live.get(name, []), left, floor)
        for cluster, lease in sorted(snapshot.leases, key=lambda each: each[1].until):
            if cluster in self._clusters_served:
                self._cluster(cluster).leases.place(lease)
        for denial in snapshot.denials:
            self._deny_list.put(denial, now)
        for key, edge in before.items():
            if key not in self._edges:
                self._changes.append(Change(ChangeKind.DEPARTED, edge))
        self._changes = told + (self._changes if self._loaded else [])
        self._loaded = True

    def _place(self, edge: Edge, known: Edge | None, now: float) -> None:
        if known is not None and known.cluster == edge.cluster:
            edge.since, edge.changed = known.since, known.changed
        if self.is_own(edge):
            edge.deadline = known.deadline if known is not None and self.is_own(known) else now + self.lifetime
        index = self._cluster(edge.cluster).index
        for address in edge.addresses:
            index[address] = edge
        self._edges[edge.key] = edge
        self.graves.pop(edge.key, None)
        if known is None or known.record != edge.record or known.cluster != edge.cluster:
            self._changes.append(Change(ChangeKind.JOINED, edge))
        elif (known.observed, known.local) != (edge.observed, edge.local):
            self._changes.append(Change(ChangeKind.MOVED, edge))

    # --- on a branch ------------------------------------------------------------------------------------------------

    def branch(self, epoch: int, now: float) -> None:
        """From now on nobody else decides. Edges of other Nuclei may have been heard until now."""
        self.epoch = epoch
        self.fork = self.position
        for name in self._clusters_served:
            self._cluster(name).log.head = self.position
        self._numbers = {key: edge.change for key, edge in self._edges.items()}
        foreign = now + self.lifetime
        for edge in self._edges.values():
            if not self.is_own(edge):
                edge.deadline = foreign
        self._edges = OrderedDict(sorted(self._edges.items(), key=lambda item: item[1].deadline))

    def handle_timer(self, now: float) -> None:
        """Edges of others can still be found when their time has come: they may live where they are registered."""
        while (first := self._first()) is not None and first.deadline <= now:
            if self.is_own(first):
                self._remove(first.key, ChangeKind.DEPARTED, now)
            else:
                self._lapsed.add(first.key)
                self.touch(first, now + self.lifetime)

    def heard(self, edge: Edge, deadline: float) -> None:
        self._lapsed.discard(edge.key)
        edge.nucleus = self.nucleus
        self.touch(edge, deadline)

    def conflict(self, edge: Edge, now: float) -> Conflict | None:
        """As for a claim; edges of others whose time has come give way."""
        for _ in range(2 + len(edge.addresses)):
            conflict = self._conflict(edge, now)
            if conflict is None or conflict.holder not in self._lapsed:
                return conflict
            self._remove(conflict.holder, ChangeKind.DEPARTED, now)
            self._cluster(edge.cluster).leases.release(conflict.holder)
        return conflict

    def put(self, edge: Edge, deadline: float, now: float) -> None:
        self._put(edge, deadline, now)

    def take_out(self, key: PublicKey, now: float) -> None:
        self._remove(key, ChangeKind.LEFT, now)

    def _put(self, edge: Edge, deadline: float, now: float, number: int | None = None) -> None:
        super()._put(edge, deadline, now, number)
        self.graves.pop(edge.key, None)
        self._lapsed.discard(edge.key)

    def _remove(self, key: PublicKey, kind: ChangeKind, now: float, number: int | None = None) -> None:
        edge = self._edges.get(key)
        if edge is None:
            return
        if self.fork is None:
            self._bury(key, Grave(edge.version, edge.change))
        elif self.is_own(edge) or kind is ChangeKind.LEFT:
            self._bury(key, Grave(edge.version, self._numbers.get(key, 0)))
        self._lapsed.discard(key)
        super()._remove(key, kind, now, number)

    def _bury(self, key: PublicKey, grave: Grave) -> None:
        self.graves[key] = grave
        self.graves.move_to_end(key)
        if len(self.graves) > GRAVES_MAX:
            self.graves.popitem(last=False)

    # --- looking ----------------------------------------------------------------------------------------------------

    def held_lease(self, cluster: str, key: PublicKey) -> HeldLease | None:
        return self._cluster(cluster).leases.get(key)

    def leased_to(self, cluster: str, address: bytes) -> HeldLease | None:
        return self._cluster(cluster).leases.by_address(address)


def parse_lease(cluster: bytes, key: bytes, value: bytes, offset: float) -> tuple[str, HeldLease]:
    """``value``: VIP4, then until when. Raises Unexpected."""
    try:
        return cluster.decode(), HeldLease(PublicKey(key), value[:4], int(value[4:24]) / 1000 - offset)
    except ValueError:
        raise Unexpected("a lease that is none") from None


def parse_denial(key: bytes, value: bytes, offset: float) -> Denial:
    """``value``: until when, a blank, the reason. Raises Unexpected."""
    until, _, reason = value.partition(b" ")
    try:
        return Denial(PublicKey(key), int(until) / 1000 - offset if until else FOREVER, reason.decode())
    except ValueError:
        raise Unexpected("a denial that is none") from None


def parse_gone(key: bytes, value: bytes) -> Gone:
    """``value``: number, time, version, cluster. Raises Unexpected."""
    try:
        return Gone(int(value[:DIGITS]), value[3 * DIGITS :].decode(), PublicKey(key))
    except ValueError:
        raise Unexpected("a departure that is none") from None


def parse_snapshot(reply: Reply, offset: float) -> Snapshot:
    """To ``load``. Raises Unexpected, MalformedEntry, and what else a reply of another form gives."""
    head, floor, edges, gone, leases, denied = reply[2:8]
    return Snapshot(
        int(head),
        int(floor),
        {PublicKey(key): unpack_entry(PublicKey(key), value) for key, value in pairs(edges)},
        [parse_gone(key, value) for key, value in pairs(gone)],
        [parse_lease(name[:-33], name[-32:], value, offset) for name, value in pairs(leases)],
        [parse_denial(key, value, offset) for key, value in pairs(denied)],
    )
