"""One Nucleus on this machine: the engine, its sockets, its admin socket, what it says of itself."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from omni_core.config.nucleus import NucleusConfig
from omni_core.constants import HEARTBEATS_MISSED
from omni_core.crypto.identity import Identity
from omni_core.crypto.kdf import admission_key
from omni_core.engines.nucleus import NucleusEngine
from omni_core.engines.nucleus_events import DrainChanged
from omni_core.engines.nucleus_status import NucleusStatus, StoreStatus
from omni_core.errors import LocalMisuse
from omni_core.io.admin import AdminServer
from omni_core.io.allow_files import LOOK, AllowFiles
from omni_core.io.clock import UnixClock, monotonic
from omni_core.io.keyfile import load_or_create_identity, load_secret
from omni_core.io.lifecycle import Driver
from omni_core.io.meter import LoopLag, Traffic
from omni_core.io.nucleus_admin import NucleusAdmin
from omni_core.io.nucleus_http import NucleusHttp
from omni_core.io.nucleus_log import NucleusLog
from omni_core.io.nucleus_snapshot import Readiness, Snapshot
from omni_core.io.nucleus_state import StateFile
from omni_core.io.nucleus_upkeep import NucleusUpkeep
from omni_core.io.pump import NucleusPump
from omni_core.io.tasks import end_tasks, in_thread, in_turn
from omni_core.io.udp import UdpPort
from omni_core.signaling.admission import ClusterPolicy
from omni_core.signaling.leases import Vip4Pool
from omni_core.signaling.shared.store import SharedStore
from omni_core.signaling.store import MemoryStore, Store, new_epoch

if TYPE_CHECKING:
    from omni_core.io.redis_store import RedisAccess, RedisLink  # loads a package that a store in memory does not need

logger = logging.getLogger(__name__)

# Lines a second on edges that come and go, and as many on refusals: for people, and for who collects them.
LINES = {"text": 10, "json": 1000}


class NucleusDriver(Driver):
    """See Driver for the verbs. What a Nucleus knows is gone after ``deactivate``: edges register again."""

    def __init__(self, config: NucleusConfig, on_news: Callable[[], None] | None = None) -> None:
        """``on_news`` is called on the event loop when edges have come, moved or gone; it must not block."""
        super().__init__()
        self.config = config
        self.patience = config.drain_time
        self._on_news = on_news
        self._identity: Identity | None = None
        self._policies: list[ClusterPolicy] = []
        self._clock: UnixClock | None = None
        self._udp: UdpPort | None = None
        self._admin: AdminServer | None = None
        self._engine: NucleusEngine | None = None
        self._pump: NucleusPump | None = None
        self._http: NucleusHttp | None = None
        self._lag = LoopLag()
        self._log = NucleusLog(logger, LINES[config.log_format])
        self._log_timer: asyncio.TimerHandle | None = None
        self._allow_files = AllowFiles(config.allow_files)
        self._allow_watch: asyncio.Task[None] | None = None
        # A store that several Nuclei share remembers by itself.
        self._state = StateFile(f"{config.key_file}.state", config.clusters) if config.store is None else None
        self._shared: SharedStore | None = None
        self._access: RedisAccess | None = None
        self._redis: RedisLink | None = None
        self._drained = asyncio.Event()  # or nobody wants to wait for it any longer

    @property
    def http_address(self) -> str:
        """Of metrics and health; "" for none."""
        return str(self._http.address) if self._http is not None else ""

    @property
    def engine(self) -> NucleusEngine:
        """Raises LocalMisuse while unconfigured."""
        if self._engine is None:
            raise LocalMisuse("the Nucleus is not configured")
        return self._engine

    @property
    def port(self) -> int:
        """UDP port; 0 while unconfigured."""
        return self._udp.port if self._udp is not None else 0

    @property
    def public_key(self) -> bytes:
        """Raises LocalMisuse while unconfigured."""
        if self._identity is None:
            raise LocalMisuse("the Nucleus is not configured")
        return self._identity.public_key

    def status(self) -> NucleusStatus:
        """Raises LocalMisuse while unconfigured."""
        if self._engine is None or self._udp is None:
            raise LocalMisuse("the Nucleus is not configured")
        status = self._engine.status(monotonic())
        drops = Counter(status.drops)
        drops.update({reason.name.lower(): n for reason, n in self._udp.drops.as_dict().items()})
        return replace(status, drops=dict(drops), store=self._store_status(), http=self.http_address)

    def snapshot(self) -> Snapshot:
        """For metrics, to be looked at in any thread. Raises LocalMisuse while unconfigured."""
        traffic = self._pump.traffic.copy() if self._pump is not None else Traffic()
        return Snapshot(deepcopy(self.status()), self._pump is not None, traffic, self._lag.lags.copy())

    def readiness(self) -> Readiness:
        state = "active" if self._pump is not None else self.state.value
        draining = self._engine is not None and self._engine.draining
        reason = "draining" if draining else "" if self._pump is not None else f"not active, but {state}"
        return Readiness(reason, state, draining, asdict(self._store_status()))

    def _store_status(self) -> StoreStatus:
        store, now = self._shared, monotonic()
        if store is None:
            return StoreStatus()
        return StoreStatus(
            "redis",
            str(self.config.store),
            store.available,
            store.reason,
            now - store.since_when if store.since_when is not None else 0.0,
            now - store.heard if store.heard is not None else None,
        )

    async def drain(self, time: float) -> int:
        """Until the edges that have another Nucleus have gone there, at most ``time`` s. How many are still here."""
        engine = self._engine
        if engine is None or self._pump is None:
            return 0
        engine.drain(monotonic(), time)
        self._pump.flush()
        if not engine.drained:  # its own timer ends it
            await self._drained.wait()
        return engine.users

    def hurry(self) -> None:
        """A drain that goes on while it stops is over now."""
        self._drained.set()

    async def _configure(self) -> None:
        config = self.config
        await in_thread(self._load)
        if config.store is not None:
            await self._check_store()
        self._udp = UdpPort.open(config.listen_port, config.listen_address)
        self._udp.expect_bursts()
        own = {"status": self._on_status, "stop": self._on_stop}
        handlers = {**own, **NucleusAdmin(self).handlers(), **NucleusUpkeep(self).handlers()}
        self._admin = AdminServer(config.admin_socket, handlers)
        await self._admin.open()
        self._engine = self._make_engine()
        if config.http_listen is not None:
            self._http = NucleusHttp(config.http_listen, self.snapshot, self.readiness)
            self._http.start()

    async def _activate(self) -> None:
        assert self._engine is not None and self._udp is not None
        self._pump = NucleusPump(self._engine, self._udp, self._follow_events)
        self._drained.clear()
        self._pump.start()
        if self._shared is not None:
            self._start_redis(self._shared)
        self._lag.start()
        if self._state is not None:
            self._state.start(self._engine)
        if self._allow_files:
            self._allow_watch = asyncio.create_task(self._watch_allow_files(), name="allow files")

    async def _deactivate(self) -> None:
        try:
            await self.drain(self.config.drain_time)
        finally:
            await self._stop_engine()

    async def _stop_engine(self) -> None:
        self._lag.stop()
        if self._allow_watch is not None:
            await end_tasks([self._allow_watch])
            self._allow_watch = None
        if self._state is not None:
            await self._state.stop()
        if self._log_timer is not None:
            self._log_timer.cancel()
            self._log_timer = None
        redis, self._redis = self._redis, None
        if redis is not None:
            await redis.stop()
        pump, self._pump = self._pump, None
        if pump is not None and self._engine is not None:
            pump.stop()
            self._log.flush(monotonic())
            engine, self._engine = self._engine, self._make_engine()
            engine.close(monotonic())

    async def _cleanup(self) -> None:
        await in_turn(self._close_http, self._close_admin, self._close_engine, self._close_files)

    async def _close_http(self) -> None:
        http, self._http = self._http, None
        if http is not None:
            await in_thread(http.close)

    async def _close_admin(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.close()

    async def _close_engine(self) -> None:
        engine, self._engine = self._engine, None
        udp, self._udp = self._udp, None
        try:
            if engine is not None:
                engine.close(monotonic())
        finally:
            if udp is not None:
                udp.close()

    async def _close_files(self) -> None:
        if self._identity is not None:
            self._identity.wipe()
            self._identity = None
        clock, self._clock = self._clock, None
        if clock is not None:
            await in_thread(clock.close)

    def _follow_events(self) -> None:
        """After everything that the engine did."""
        if self._redis is not None:
            self._redis.flush()
        if self._state is not None:
            self._state.look()
        events = self._engine.take_events() if self._engine is not None else []
        if not events:
            return
        now = monotonic()
        for event in events:
            self._log.add(event, now)
            if isinstance(event, DrainChanged) and event.done:
                self._drained.set()
        if self._log.due is not None and self._log_timer is None:
            self._log_timer = asyncio.get_running_loop().call_at(self._log.due, self._flush_log)
        if self._on_news is not None:
            self._on_news()

    async def _watch_allow_files(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            for reread in await in_thread(self._allow_files.look):
                if reread.allow_list is None:
                    logger.error("the allow list of %s stays as it was: %s", reread.cluster, reread.refused)
                    continue
                removed = self.engine.admin.set_allow_list(reread.cluster, reread.allow_list, monotonic())
                self.flush()
                logger.info(
                    "allow list of %s: %d keys, %d edges taken out",
                    reread.cluster,
                    len(reread.allow_list),
                    len(removed),
                )

    def flush(self) -> None:
        """After a call of the engine from outside the pump."""
        if self._pump is not None:
            self._pump.flush()

    async def save_state(self) -> None:
        if self._state is not None:
            await self._state.write()

    def _flush_log(self) -> None:
        self._log_timer = None
        self._log.flush(monotonic())

    def _load(self) -> None:
        config = self.config
        secrets = {entry.cluster: load_secret(entry.path, "secret_files").encode() for entry in config.secret_files}
        pools = {each.cluster: Vip4Pool(each.first, each.last, each.prefix_length) for each in config.vip4_pools}
        self._policies = [
            ClusterPolicy(
                name,
                admission_key(secrets[name], name) if name in secrets else None,
                config.max_edges,
                pool=pools.get(name),
            )
            for name in config.clusters
        ]
        self._allow_files.load()
        if self._state is not None:
            self._state.load()
        self._identity = load_or_create_identity(config.key_file)
        self._clock = UnixClock(f"{config.key_file}.clock", monotonic())

    async def _check_store(self) -> None:
        from omni_core.io.redis_store import RedisAccess, check_access

        config = self.config
        assert config.store is not None
        password = ""
        if config.store_password_file:
            password = await in_thread(lambda: load_secret(config.store_password_file, "store_password_file"))
        self._access = RedisAccess(config.store, password, config.store_ca_file)
        problem = await check_access(self._access)
        if problem:
            logger.warning("the store %s is not there (%s): starting from memory until it is", config.store, problem)

    def _start_redis(self, store: SharedStore) -> None:
        from omni_core.io.redis_store import RedisLink

        assert self._access is not None
        self._redis = RedisLink(store, self._access, self._on_store)
        self._redis.start()

    def _on_store(self) -> None:
        if self._engine is not None and self._pump is not None:
            self._engine.follow_store(monotonic())
            self._pump.flush()

    def _make_store(self) -> Store:
        config = self.config
        if config.store is not None:
            self._shared = SharedStore(
                f"{socket.gethostname()[:40]}-{os.urandom(4).hex()}",
                config.clusters,
                lifetime=HEARTBEATS_MISSED * config.heartbeat_interval,
                random=os.urandom,
                lease_time=config.lease_time,
            )
            return self._shared
        store = MemoryStore(new_epoch(os.urandom), lease_time=config.lease_time)
        if self._state is not None:
            self._state.restore(store)
        return store

    def _make_engine(self) -> NucleusEngine:
        assert self._identity is not None and self._clock is not None
        store = self._make_store()
        return NucleusEngine(
            self._identity,
            [replace(policy, allow_list=self._allow_files.lists.get(policy.name)) for policy in self._policies],
            store=store,
            random=os.urandom,
            unix_ns=self._clock,
            heartbeat_interval=self.config.heartbeat_interval,
        )

    async def _on_status(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"lifecycle": self.state.value, "port": self.port, "pid": os.getpid(), **asdict(self.status())}

    async def _on_stop(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.request_stop()
        return {"pid": os.getpid()}
