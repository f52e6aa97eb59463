"""Who may register at a Nucleus, and with which VIP4: the cluster's secret, allow list, deny list, limits and leases.

Part of the Nucleus engine, which asks for each REGISTER and then claims the edge in the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple, TypeAlias

from omni_core.engines.nucleus_limits import RegisterLimits
from omni_core.signaling.admission import (
    ClusterPolicy,
    Refused,
    check_vip4,
    complies,
    edge_from_register,
    no_lease,
)
from omni_core.signaling.allow_list import AllowList
from omni_core.signaling.edge import Edge
from omni_core.signaling.endpoints import PackedEndpoint
from omni_core.signaling.leases import Lease
from omni_core.signaling.link import SignalingLink
from omni_core.signaling.messages import Register
from omni_core.signaling.store import Store


class Admitted(NamedTuple):
    """``lease``: to be told to the edge, if it wants one; ``reason``: why there is none."""

    edge: Edge
    lease: Lease | None = None
    reason: str = ""

    @property
    def comes_again(self) -> bool:
        """It is to make a record with the lease first: this one is not worth telling anybody."""
        return self.lease is not None and self.lease.address != self.edge.vip4


Answer: TypeAlias = "Callable[[Admitted | Refused, float], None]"


class Gate:
    def __init__(self, clusters: Iterable[ClusterPolicy], store: Store, limits: RegisterLimits) -> None:
        self.policies = {policy.name: policy for policy in clusters}
        self.leases_given = 0
        self._pools = {policy.name: policy.pool for policy in self.policies.values()}
        self._store = store
        self._limits = limits
        for policy in list(self.policies.values()):
            self.set_allow_list(policy.name, policy.allow_list)

    def ask(
        self,
        register: Register,
        link: SignalingLink,
        observed: PackedEndpoint,
        host: str,
        now: float,
        answer: Answer,
    ) -> None:
        """``answer`` may be called before this returns. Raises RemoteViolation for what gets no answer."""
        key = link.remote
        limit = lambda new: self._limits.check(key, host, new=new, now=now)  # noqa: E731
        try:
            edge = edge_from_register(
                register, key, link.handshake_hash, observed, self.policies, self._store, now, limit
            )
        except Refused as refused:
            answer(refused, now)
            return
        if register.wants_vip4:
            self._lease(edge, now, answer)
        else:
            answer(Admitted(edge), now)

    def _lease(self, edge: Edge, now: float, answer: Answer) -> None:
        policy = self.policies[edge.cluster]
        entry = policy.entry(edge.key)
        leased = partial(self._leased, edge, answer)
        if entry is not None and entry.lease is not None:
            leased(entry.lease, now)
        elif policy.pool is None:
            leased(None, now)
        else:
            self._store.lease(edge.cluster, edge.key, edge.vip4, policy.pool, now, leased)

    def _leased(self, edge: Edge, answer: Answer, lease: Lease | None, now: float) -> None:
        if lease is not None:
            self.leases_given += 1
            answer(Admitted(edge, lease), now)
            return
        policy = self.policies[edge.cluster]
        try:
            check_vip4(policy, edge.key, edge.vip4)  # that of its last lease, which it keeps
        except Refused as refused:
            answer(refused, now)
        else:
            answer(Admitted(edge, None, no_lease(policy)), now)

    def set_allow_list(self, cluster: str, allow_list: AllowList | None) -> list[Edge]:
        """In place of the one before. Returns the registered edges that it does not allow as they are."""
        policy = self.policies[cluster].with_allow_list(allow_list, self._pools[cluster])
        self.policies[cluster] = policy
        return [edge for edge in self._store.live(cluster) if not complies(policy, edge)]
