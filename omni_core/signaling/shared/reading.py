"""What a Nucleus reads of the shared store: it is all in the replica."""

from __future__ import annotations

from collections.abc import Iterator

from omni_core.signaling.denials import Denial
from omni_core.signaling.edge import Edge
from omni_core.signaling.lease_book import HeldLease
from omni_core.signaling.messages import Delta
from omni_core.signaling.shared.replica import Replica
from omni_core.signaling.store import Change
from omni_core.types import PublicKey


class ReplicaReader:
    """The reading half of a Store."""

    _replica: Replica

    def __len__(self) -> int:
        return len(self._replica)

    def get(self, key: PublicKey) -> Edge | None:
        return self._replica.get(key)

    def find(self, cluster: str, address: bytes) -> Edge | None:
        return self._replica.find(cluster, address)

    def denied(self, key: PublicKey, now: float) -> Denial | None:
        return self._replica.denied(key, now)

    def denials(self, now: float) -> Iterator[Denial]:
        return self._replica.denials(now)

    def take_changes(self) -> list[Change]:
        return self._replica.take_changes()

    def size(self, cluster: str) -> int:
        return self._replica.size(cluster)

    def head(self, cluster: str) -> int:
        return self._replica.head(cluster)

    def before(self, cluster: str, moment: float) -> int:
        return self._replica.before(cluster, moment)

    def delta(self, cluster: str, since: int, room: int) -> Delta:
        return self._replica.delta(cluster, since, room)

    def live(self, cluster: str) -> Iterator[Edge]:
        return self._replica.live(cluster)

    def is_mesh(self, cluster: str) -> bool:
        return self._replica.is_mesh(cluster)

    def leases(self, cluster: str) -> Iterator[HeldLease]:
        return self._replica.leases(cluster)

    def lease_count(self, cluster: str) -> int:
        return self._replica.lease_count(cluster)
