"""A rendezvous server in the simulator: the real Nucleus engine."""

from __future__ import annotations

from collections.abc import Sequence

from omni_core.constants import HEARTBEAT_INTERVAL, HEARTBEATS_MISSED, MESH_LIMIT
from omni_core.crypto.identity import Identity
from omni_core.dataplane.port import Datagram
from omni_core.engines.nucleus import NucleusEngine
from omni_core.engines.nucleus_status import NucleusStatus
from omni_core.signaling.admission import ClusterPolicy
from omni_core.signaling.shared.store import SharedStore
from omni_core.signaling.store import MemoryStore, Store
from omni_core.sim.host import SimHost
from omni_core.sim.redis import RedisModel, RedisWire
from omni_core.types import Endpoint


class SimNucleus(SimHost):
    def __init__(
        self,
        name: str,
        clusters: Sequence[ClusterPolicy],
        identity: Identity,
        mesh_limit: int = MESH_LIMIT,
        redis: RedisModel | None = None,
    ) -> None:
        """``redis`` None: a store in memory."""
        super().__init__(name)
        self.clusters = list(clusters)
        self.identity = identity
        self.mesh_limit = mesh_limit
        self.redis = redis
        self.wire: RedisWire | None = None
        self.engine: NucleusEngine

    def start(self) -> None:
        """A new engine with an empty store, as after a restart of the process."""
        self.running = True
        self.engine = NucleusEngine(
            self.identity,
            self.clusters,
            random=self.net.random.randbytes,
            unix_ns=self.net.unix_ns,
            store=self._make_store(),
        )
        self.pump()

    def _make_store(self) -> Store:
        if self.redis is None:
            return MemoryStore(self.net.random.getrandbits(64) or 1, self.mesh_limit)
        store = SharedStore(
            f"{self.name}-{self.net.random.getrandbits(32):08x}",
            [policy.name for policy in self.clusters],
            lifetime=HEARTBEATS_MISSED * HEARTBEAT_INTERVAL,
            random=self.net.random.randbytes,
            mesh_limit=self.mesh_limit,
        )
        self.wire = RedisWire(self.redis, store, lambda: self.net.now, self.net.at, self._follow_store)
        return store

    def _follow_store(self) -> None:
        if self.running:
            self.engine.follow_store(self.net.now)
            self.pump()

    def crash(self) -> None:
        if self.wire is not None:
            self.wire.close()
            self.wire = None
        self.stop_running()

    # --- SimHost ---
    def engine_receive(self, data: bytes, source: tuple[str, int], now: float) -> None:
        self.engine.receive_datagram(data, Endpoint(*source), now)

    def engine_next_timer(self) -> float | None:
        return self.engine.next_timer()

    def engine_handle_timer(self, now: float) -> None:
        self.engine.handle_timer(now)

    def engine_take_datagrams(self) -> list[Datagram]:
        self.engine.take_events()  # nobody logs them, and a simulation is long
        if self.wire is not None:
            self.wire.flush()
        return list(self.engine.take_datagrams())

    def status(self) -> NucleusStatus:
        return self.engine.status(self.net.now)
