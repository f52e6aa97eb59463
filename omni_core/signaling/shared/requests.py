"""What a Nucleus asks of the shared store, as the scripts in io/redis_scripts take it: times in ms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from omni_core.constants import STORE_OUTAGE
from omni_core.signaling.denials import FOREVER, Denial
from omni_core.signaling.edge import Edge
from omni_core.signaling.endpoints import PackedEndpoint
from omni_core.signaling.lease_book import HeldLease
from omni_core.signaling.shared.entries import digits, pack_edge
from omni_core.signaling.shared.epochs import Epochs
from omni_core.types import PublicKey

_BATCH = 500  # public keys in one command
_EXPIRE_MAX = 500  # edges that depart by one command


class Request(NamedTuple):
    script: str
    args: tuple[bytes | int, ...]


class Requests:
    """Of one Nucleus, in the epoch that the database has at the moment."""

    def __init__(self, nucleus: str, lifetime: float, lease_time: float, epochs: Epochs) -> None:
        self._nucleus = nucleus
        self._life, self._lease_time = round(lifetime * 1000), round(lease_time * 1000)
        self._epochs = epochs

    @property
    def _epoch(self) -> bytes:
        return digits(self._epochs.shared)

    def load(self) -> Request:
        return Request("load", (self._epoch,))

    def claim(self, edge: Edge, kind: str = "j", heard: int = 0) -> Request:
        return self._entry(edge.key, pack_edge(edge, self._nucleus, edge.observed, edge.local), kind, heard)

    def move(self, edge: Edge, observed: PackedEndpoint, local: tuple[PackedEndpoint, ...]) -> Request:
        return self._entry(edge.key, pack_edge(edge, self._nucleus, observed, local), "m", 0)

    def _entry(self, key: PublicKey, entry: bytes, kind: str, heard: int) -> Request:
        return Request("claim", (self._epoch, key, entry, kind.encode(), heard, self._life, self._lease_time))

    def touch(self, keys: Iterable[PublicKey]) -> Iterator[Request]:
        left = iter(keys)
        while batch := list(islice(left, _BATCH)):
            yield Request("touch", (self._epoch, self._life, *batch))

    def remove(self, key: PublicKey, version: int, number: bytes) -> Request:
        args = (self._epoch, key, b"l", self._lease_time, digits(version), self._nucleus.encode(), number)
        return Request("remove", args)

    def lease(self, cluster: str, key: PublicKey, candidates: Iterable[bytes]) -> Request:
        return Request("lease", (self._epoch, cluster.encode(), key, self._lease_time, b"0", *candidates))

    def restore_lease(self, cluster: str, lease: HeldLease, now: float) -> Request:
        left = round((lease.until - now) * 1000)
        return Request("lease", (self._epoch, cluster.encode(), lease.key, left, b"1", lease.address))

    def deny(self, denial: Denial, now: float) -> Request:
        left: bytes | int = b"" if denial.until == FOREVER else max(1, round((denial.until - now) * 1000))
        return Request("deny", (self._epoch, denial.key, left, denial.reason.encode()))

    def undeny(self, key: PublicKey) -> Request:
        return Request("undeny", (self._epoch, key))

    def expire(self) -> Request:
        return Request("expire", (self._epoch, self._life, self._lease_time, round(STORE_OUTAGE * 1000), _EXPIRE_MAX))
