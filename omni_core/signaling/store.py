"""What a Nucleus knows of its edges, behind an interface small enough for another place to keep it.

A public key is registered in one cluster at a time. Every operation is O(1), or O(what it returns).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from enum import Enum, unique
from typing import NamedTuple, Protocol, TypeAlias

from omni_core.constants import LEASE_TIME, MESH_LIMIT
from omni_core.signaling.changes import ChangeLog
from omni_core.signaling.denials import Denial, DenyList
from omni_core.signaling.edge import Edge
from omni_core.signaling.endpoints import PackedEndpoint
from omni_core.signaling.lease_book import HeldLease, LeaseBook
from omni_core.signaling.leases import Lease, Vip4Pool
from omni_core.signaling.messages import Delta
from omni_core.types import PublicKey, RandomBytes


@unique
class ChangeKind(Enum):
    JOINED = "joined"  # new, or came back with a new record
    MOVED = "moved"  # reached elsewhere now
    LEFT = "left"  # said goodbye, was removed, or registers in another cluster
    DEPARTED = "departed"  # heartbeats missed


class Change(NamedTuple):
    """Of a cluster, whoever caused it: with a store that several Nuclei share, also another one."""

    kind: ChangeKind
    edge: Edge


class Conflict(NamedTuple):
    """A registration that cannot be, and nothing has changed: ``holder`` has ``address``, live or by a lease."""

    address: bytes
    holder: PublicKey
    at: PackedEndpoint | None  # None: it is not there now


class Notice(NamedTuple):
    """Whether the store is there, with a sentence."""

    available: bool
    text: str


class Hint(NamedTuple):
    target: PublicKey
    asker: PublicKey


Claimed: TypeAlias = "Callable[[Conflict | None, float], None]"  # (None: done, now)
Leased: TypeAlias = "Callable[[Lease | None, float], None]"  # (None: no address is free, now)


def new_epoch(random: RandomBytes) -> int:
    """See Store.epoch."""
    return int.from_bytes(random(8), "little") or 1


class Store(Protocol):
    """What is read is here and at once. What may collide with another Nucleus takes a round trip, and ends in a call of
    ``done``, which may come before the method returns.
    """

    lease_time: float
    """s that a VIP4 stays its holder's after that was last there."""

    @property
    def epoch(self) -> int:
        """64-bit random number, other than 0, of this life of the store: change numbers count within it."""

    def since(self, cluster: str, epoch: int, seen: int) -> int | None:
        """From where an edge goes on that has applied the changes up to ``seen`` of ``epoch``; None: not known here."""

    def __len__(self) -> int:
        """Live edges of all clusters."""

    def get(self, key: PublicKey) -> Edge | None:
        """In whichever cluster it is."""

    def find(self, cluster: str, address: bytes) -> Edge | None:
        """By VIP4, VIP6, MAC or public key."""

    def claim(self, edge: Edge, deadline: float, now: float, done: Claimed) -> None:
        """Register, in place of an older registration of the same key in any cluster; a lease of its VIP4 goes on."""

    def lease(self, cluster: str, key: PublicKey, wanted: bytes, pool: Vip4Pool, now: float, done: Leased) -> None:
        """A VIP4 for ``key``: the one it holds, else ``wanted`` (b"": none) if that is free and of the pool, else a
        free one of the pool. When none is free, the one that expired first is given again.
        """

    def move(self, edge: Edge, observed: PackedEndpoint, local: tuple[PackedEndpoint, ...], now: float) -> None:
        """The edge is reached elsewhere now; a change that others are told."""

    def touch(self, edge: Edge, deadline: float) -> None:
        """It lives. Deadlines only grow from call to call (one life time for all)."""

    def remove(self, key: PublicKey, now: float) -> None: ...

    def deny(self, denial: Denial, now: float) -> None:
        """Shut a key out, in place of an earlier denial of it; a registration of it stays until it is removed."""

    def undeny(self, key: PublicKey, now: float) -> None: ...
    def denied(self, key: PublicKey, now: float) -> Denial | None: ...
    def denials(self, now: float) -> Iterator[Denial]: ...

    def handle_timer(self, now: float) -> None:
        """Edges whose deadline has come depart."""

    def next_timer(self) -> float | None: ...
    def take_changes(self) -> list[Change]:
        """What has happened since the last call, in order."""

    def take_notices(self) -> list[Notice]:
        """That a store which several Nuclei share went away, or is back."""

    def hint(self, target: PublicKey, asker: PublicKey) -> None:
        """``asker`` wants to reach ``target``: if that is registered at another Nucleus, have it tell it."""

    def take_hints(self) -> list[Hint]:
        """What other Nuclei have told in this way."""

    # --- of one cluster ---
    def size(self, cluster: str) -> int: ...
    def head(self, cluster: str) -> int:
        """Number of its last change."""

    def before(self, cluster: str, moment: float) -> int:
        """See ChangeLog.before."""

    def delta(self, cluster: str, since: int, room: int) -> Delta:
        """See ChangeLog.delta."""

    def live(self, cluster: str) -> Iterator[Edge]: ...
    def is_mesh(self, cluster: str) -> bool:
        """Small enough that every edge is told of every other."""

    def leases(self, cluster: str) -> Iterator[HeldLease]:
        """Those that are held, also by edges that are away."""

    def lease_count(self, cluster: str) -> int: ...
    def restore_leases(self, cluster: str, leases: Iterable[HeldLease], now: float) -> int:
        """From a backup; how many were taken. Those of addresses or keys that hold one already are left out."""


class LeaseLeft(NamedTuple):
    lease: HeldLease
    left: float  # s until it may be given to another, if its holder left now
    live: bool  # its holder is registered with it, so it does not run out


def leases_left(store: Store, cluster: str, now: float) -> Iterator[LeaseLeft]:
    """Those that have not run out."""
    for lease in store.leases(cluster):
        edge = store.get(lease.key)
        live = edge is not None and edge.cluster == cluster and edge.vip4 == lease.address
        left = store.lease_time if live else lease.until - now
        if left > 0:
            yield LeaseLeft(lease, left, live)


class _Cluster:
    __slots__ = ("index", "leases", "log")

    def __init__(self, mesh_limit: int) -> None:
        self.index: dict[bytes, Edge] = {}
        self.log = ChangeLog(mesh_limit)
        self.leases = LeaseBook()


class MemoryStore:
    """The Store of one process. Its memory ends with it: edges register again."""

    def __init__(self, epoch: int, mesh_limit: int = MESH_LIMIT, lease_time: float = LEASE_TIME) -> None:
        self.epoch = epoch
        self.lease_time = lease_time
        self._mesh_limit = mesh_limit
        self._edges: OrderedDict[PublicKey, Edge] = OrderedDict()  # by deadline, ascending
        self._clusters: dict[str, _Cluster] = {}
        self._changes: list[Change] = []
        self._deny_list = DenyList()

    def __len__(self) -> int:
        return len(self._edges)

    def since(self, cluster: str, epoch: int, seen: int) -> int | None:
        return seen if epoch == self.epoch else None

    def get(self, key: PublicKey) -> Edge | None:
        return self._edges.get(key)

    def find(self, cluster: str, address: bytes) -> Edge | None:
        return self._cluster(cluster).index.get(address)

    def claim(self, edge: Edge, deadline: float, now: float, done: Claimed) -> None:
        conflict = self._conflict(edge, now)
        if conflict is None:
            self._put(edge, deadline, now)
        done(conflict, now)

    def _conflict(self, edge: Edge, now: float) -> Conflict | None:
        cluster = self._cluster(edge.cluster)
        for address in edge.addresses:
            holder = cluster.index.get(address)
            if holder is not None and holder.key != edge.key:
                return Conflict(address, holder.key, holder.observed)
        leased_to = cluster.leases.holder(edge.vip4, now) if edge.vip4 else None
        if leased_to is not None and leased_to != edge.key:
            return Conflict(edge.vip4, leased_to, None)
        return None

    def _put(self, edge: Edge, deadline: float, now: float, number: int | None = None) -> None:
        known = self._edges.get(edge.key)
        if known is not None and known.cluster != edge.cluster:
            self.remove(edge.key, now)
        elif known is not None:
            self._unindex(known)
        cluster = self._cluster(edge.cluster)
        edge.since = known.since if known is not None and known.cluster == edge.cluster else now
        for address in edge.addresses:
            cluster.index[address] = edge
        self._edges[edge.key] = edge
        self.touch(edge, deadline)
        cluster.log.joined(edge, now, number)
        self._changes.append(Change(ChangeKind.JOINED, edge))

    def lease(self, cluster: str, key: PublicKey, wanted: bytes, pool: Vip4Pool, now: float, done: Leased) -> None:
        held = self._cluster(cluster)

        def taken(address: bytes) -> bool:
            holder = held.index.get(address)
            return holder is not None and holder.key != key

        done(held.leases.lease(key, wanted, pool, now, self.lease_time, taken), now)

    def move(self, edge: Edge, observed: PackedEndpoint, local: tuple[PackedEndpoint, ...], now: float) -> None:
        edge.observed, edge.local = observed, local
        self._cluster(edge.cluster).log.joined(edge, now)
        self._changes.append(Change(ChangeKind.MOVED, edge))

    def touch(self, edge: Edge, deadline: float) -> None:
        edge.deadline = deadline
        self._edges.move_to_end(edge.key)

    def remove(self, key: PublicKey, now: float) -> None:
        self._remove(key, ChangeKind.LEFT, now)

    def _remove(self, key: PublicKey, kind: ChangeKind, now: float, number: int | None = None) -> None:
        edge = self._edges.pop(key, None)
        if edge is not None:
            self._unindex(edge)
            cluster = self._cluster(edge.cluster)
            cluster.log.left(key, number)
            cluster.leases.touch(key, now, self.lease_time)
            self._changes.append(Change(kind, edge))

    def deny(self, denial: Denial, now: float) -> None:
        self._deny_list.put(denial, now)

    def undeny(self, key: PublicKey, now: float) -> None:
        self._deny_list.remove(key)

    def denied(self, key: PublicKey, now: float) -> Denial | None:
        return self._deny_list.get(key, now)

    def denials(self, now: float) -> Iterator[Denial]:
        return self._deny_list.all(now)

    def handle_timer(self, now: float) -> None:
        while (first := self._first()) is not None and first.deadline <= now:
            self._remove(first.key, ChangeKind.DEPARTED, now)

    def next_timer(self) -> float | None:
        first = self._first()
        return first.deadline if first else None

    def take_changes(self) -> list[Change]:
        changes, self._changes = self._changes, []
        return changes

    def take_notices(self) -> list[Notice]:
        return []

    def hint(self, target: PublicKey, asker: PublicKey) -> None:
        pass

    def take_hints(self) -> list[Hint]:
        return []

    def size(self, cluster: str) -> int:
        return len(self._cluster(cluster).log)

    def head(self, cluster: str) -> int:
        return self._cluster(cluster).log.head

    def before(self, cluster: str, moment: float) -> int:
        return self._cluster(cluster).log.before(moment)

    def delta(self, cluster: str, since: int, room: int) -> Delta:
        return self._cluster(cluster).log.delta(since, room)

    def live(self, cluster: str) -> Iterator[Edge]:
        return self._cluster(cluster).log.live()

    def is_mesh(self, cluster: str) -> bool:
        return self._cluster(cluster).log.is_mesh

    def leases(self, cluster: str) -> Iterator[HeldLease]:
        return self._cluster(cluster).leases.held()

    def lease_count(self, cluster: str) -> int:
        return len(self._cluster(cluster).leases)

    def restore_leases(self, cluster: str, leases: Iterable[HeldLease], now: float) -> int:
        return self._cluster(cluster).leases.restore(leases, now)

    def _first(self) -> Edge | None:
        return next(iter(self._edges.values()), None)

    def _unindex(self, edge: Edge) -> None:
        index = self._cluster(edge.cluster).index
        for address in edge.addresses:
            del index[address]

    def _cluster(self, name: str) -> _Cluster:
        """``name``: one that the Nucleus serves, so that strangers do not make clusters."""
        cluster = self._clusters.get(name)
        if cluster is None:
            cluster = self._clusters[name] = _Cluster(self._mesh_limit)
        return cluster
