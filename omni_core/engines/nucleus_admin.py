"""What an administrator does at a Nucleus: sees the edges, ends a registration, shuts keys out, changes who is allowed.

Part of the Nucleus engine, as its ``admin``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from omni_core.engines.nucleus_edges import EdgeRow, edge_rows
from omni_core.engines.nucleus_gate import Gate
from omni_core.engines.nucleus_parties import Parties
from omni_core.signaling.allow_list import AllowList
from omni_core.signaling.denials import Denial
from omni_core.signaling.edge import Edge
from omni_core.signaling.store import Store
from omni_core.types import PublicKey


class Administration:
    def __init__(
        self,
        store: Store,
        gate: Gate,
        parties: Parties,
        *,
        lifetime: float,
        unregistered: Callable[[], bytes],
        follow_store: Callable[[float], None],
    ) -> None:
        """``lifetime``: from a heartbeat to an edge's departure, s. ``unregistered``: the message that tells an edge
        so."""
        self.denials = 0  # made, and taken back
        self._store = store
        self._gate = gate
        self._parties = parties
        self._lifetime = lifetime
        self._unregistered = unregistered
        self._follow_store = follow_store

    def edges(self, clusters: Sequence[str], now: float) -> list[EdgeRow]:
        return edge_rows(self._store, clusters, self._lifetime, now)

    def set_allow_list(self, cluster: str, allow_list: AllowList | None, now: float) -> list[Edge]:
        """Returns the edges that have been taken out of the cluster. They are told to register again, and then why."""
        removed = self._gate.set_allow_list(cluster, allow_list)
        for edge in removed:
            self._expel(edge.key, now)
        self._follow_store(now)
        return removed

    def kick(self, key: PublicKey, now: float) -> None:
        """Unregister it and end its sessions. It may come back."""
        self._expel(key, now)
        self._parties.forget(key, now)
        self._follow_store(now)

    def deny(self, denial: Denial, now: float) -> None:
        self.denials += 1
        self._store.deny(denial, now)
        self._expel(denial.key, now)
        self._follow_store(now)

    def undeny(self, key: PublicKey, now: float) -> None:
        self.denials += 1
        self._store.undeny(key, now)

    def _expel(self, key: PublicKey, now: float) -> None:
        party = self._parties.reachable(key)
        self._store.remove(key, now)
        if party is not None:
            self._parties.tell(party, self._unregistered())
