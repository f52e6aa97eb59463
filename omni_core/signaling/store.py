"""What a Nucleus knows of its edges, behind an interface small enough for another place to keep it.

A public key is registered in one cluster at a time. Every operation is O(1), or O(what it returns).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Protocol

from omni_core.constants import MESH_LIMIT
from omni_core.signaling.changes import ChangeLog
from omni_core.signaling.edge import Edge
from omni_core.signaling.endpoints import PackedEndpoint
from omni_core.signaling.messages import Delta
from omni_core.types import PublicKey


class Store(Protocol):
    @property
    def epoch(self) -> int:
        """64-bit random number, other than 0, of this life of the store: change numbers count within it."""

    def __len__(self) -> int:
        """Live edges of all clusters."""

    def get(self, key: PublicKey) -> Edge | None:
        """In whichever cluster it is."""

    def find(self, cluster: str, address: bytes) -> Edge | None:
        """By VIP4, VIP6, MAC or public key."""

    def put(self, edge: Edge, deadline: float, now: float) -> tuple[bytes, Edge] | None:
        """Register, in place of an older registration of the same key in any cluster. None when done; otherwise the
        first of its addresses that another live edge holds, with that edge, and nothing has changed.
        """

    def move(self, edge: Edge, observed: PackedEndpoint, local: tuple[PackedEndpoint, ...], now: float) -> None:
        """The edge is reached elsewhere now; a change that others are told."""

    def touch(self, edge: Edge, deadline: float) -> None:
        """It lives. Deadlines only grow from call to call (one life time for all)."""

    def remove(self, key: PublicKey) -> Edge | None: ...
    def expire(self, now: float) -> list[Edge]:
        """Remove and return the edges whose deadline has come."""

    def next_expiry(self) -> float | None: ...

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


class _Cluster:
    __slots__ = ("index", "log")

    def __init__(self, mesh_limit: int) -> None:
        self.index: dict[bytes, Edge] = {}
        self.log = ChangeLog(mesh_limit)


class MemoryStore:
    """The Store of one process. Its memory ends with it: edges register again."""

    def __init__(self, epoch: int, mesh_limit: int = MESH_LIMIT) -> None:
        self.epoch = epoch
        self._mesh_limit = mesh_limit
        self._edges: OrderedDict[PublicKey, Edge] = OrderedDict()  # by deadline, ascending
        self._clusters: dict[str, _Cluster] = {}

    def __len__(self) -> int:
        return len(self._edges)

    def get(self, key: PublicKey) -> Edge | None:
        return self._edges.get(key)

    def find(self, cluster: str, address: bytes) -> Edge | None:
        return self._cluster(cluster).index.get(address)

    def put(self, edge: Edge, deadline: float, now: float) -> tuple[bytes, Edge] | None:
        cluster = self._cluster(edge.cluster)
        for address in edge.addresses:
            holder = cluster.index.get(address)
            if holder is not None and holder.key != edge.key:
                return address, holder
        known = self._edges.get(edge.key)
        if known is not None and known.cluster != edge.cluster:
            self.remove(edge.key)
        elif known is not None:
            self._unindex(known)
        for address in edge.addresses:
            cluster.index[address] = edge
        self._edges[edge.key] = edge
        self.touch(edge, deadline)
        cluster.log.joined(edge, now)
        return None

    def move(self, edge: Edge, observed: PackedEndpoint, local: tuple[PackedEndpoint, ...], now: float) -> None:
        edge.observed, edge.local = observed, local
        self._cluster(edge.cluster).log.joined(edge, now)

    def touch(self, edge: Edge, deadline: float) -> None:
        edge.deadline = deadline
        self._edges.move_to_end(edge.key)

    def remove(self, key: PublicKey) -> Edge | None:
        edge = self._edges.pop(key, None)
        if edge is not None:
            self._unindex(edge)
            self._cluster(edge.cluster).log.left(key)
        return edge

    def expire(self, now: float) -> list[Edge]:
        gone: list[Edge] = []
        while (first := self._first()) is not None and first.deadline <= now:
            self.remove(first.key)
            gone.append(first)
        return gone

    def next_expiry(self) -> float | None:
        first = self._first()
        return first.deadline if first else None

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
