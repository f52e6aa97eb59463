"""One Nucleus on this machine: the engine, its sockets and its admin socket."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from omni_core.config.nucleus import NucleusConfig
from omni_core.crypto.identity import Identity
from omni_core.crypto.kdf import admission_key
from omni_core.engines.nucleus import NucleusEngine
from omni_core.engines.nucleus_status import NucleusStatus
from omni_core.errors import LocalMisuse
from omni_core.io.admin import AdminServer
from omni_core.io.clock import UnixClock, monotonic
from omni_core.io.keyfile import load_or_create_identity, load_secret
from omni_core.io.lifecycle import Driver
from omni_core.io.pump import NucleusPump
from omni_core.io.tasks import in_thread, in_turn
from omni_core.io.udp import UdpPort
from omni_core.signaling.admission import ClusterPolicy


class NucleusDriver(Driver):
    """See Driver for the verbs. What a Nucleus knows is gone after ``deactivate``: edges register again."""

    def __init__(self, config: NucleusConfig, on_news: Callable[[], None] | None = None) -> None:
        """``on_news`` is called on the event loop when edges have come, moved or gone; it must not block."""
        super().__init__()
        self.config = config
        self._on_news = on_news
        self._told = 0  # the engine's ``registrations`` when ``on_news`` was last called
        self._identity: Identity | None = None
        self._policies: list[ClusterPolicy] = []
        self._clock: UnixClock | None = None
        self._udp: UdpPort | None = None
        self._admin: AdminServer | None = None
        self._engine: NucleusEngine | None = None
        self._pump: NucleusPump | None = None

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
        return replace(status, drops=dict(drops))

    async def _configure(self) -> None:
        config = self.config
        await in_thread(self._load)
        self._udp = UdpPort.open(config.listen_port, config.listen_address)
        self._admin = AdminServer(config.admin_socket, {"status": self._on_status, "stop": self._on_stop})
        await self._admin.open()
        self._engine = self._make_engine()

    async def _activate(self) -> None:
        assert self._engine is not None and self._udp is not None
        self._pump = NucleusPump(self._engine, self._udp, self._look_for_news)
        self._pump.start()

    async def _deactivate(self) -> None:
        pump, self._pump = self._pump, None
        if pump is not None and self._engine is not None:
            pump.stop()
            engine, self._engine = self._engine, self._make_engine()
            engine.close(monotonic())

    async def _cleanup(self) -> None:
        await in_turn(self._close_admin, self._close_engine, self._close_files)

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

    def _look_for_news(self) -> None:
        if self._engine is not None and self._engine.registrations != self._told:
            self._told = self._engine.registrations
            if self._on_news is not None:
                self._on_news()

    def _load(self) -> None:
        config = self.config
        secrets = {entry.cluster: load_secret(entry.path, "secret_files").encode() for entry in config.secret_files}
        self._policies = [
            ClusterPolicy(name, admission_key(secrets[name], name) if name in secrets else None)
            for name in config.clusters
        ]
        self._identity = load_or_create_identity(config.key_file)
        self._clock = UnixClock(f"{config.key_file}.clock", monotonic())

    def _make_engine(self) -> NucleusEngine:
        assert self._identity is not None and self._clock is not None
        return NucleusEngine(
            self._identity,
            self._policies,
            random=os.urandom,
            unix_ns=self._clock,
            heartbeat_interval=self.config.heartbeat_interval,
        )

    async def _on_status(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"lifecycle": self.state.value, "port": self.port, "pid": os.getpid(), **asdict(self.status())}

    async def _on_stop(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.request_stop()
        return {"pid": os.getpid()}
