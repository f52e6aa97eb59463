"""One Ganglion on this machine: the engine, and everything around it that is made, watched and removed again."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from omni_core.config.ganglion import GanglionConfig, read_engine
from omni_core.engines.ganglion import GanglionEngine
from omni_core.engines.ganglion_events import (
    GanglionEvent,
    ListeningChanged,
    NucleusChanged,
    PeerDown,
    PeerUp,
    PingResult,
    VipChanged,
    Warned,
)
from omni_core.engines.status import GanglionStatus
from omni_core.errors import ConfigError, LocalMisuse, OmniError, RegistrationRefused, SystemRefused
from omni_core.io.admin import AdminServer
from omni_core.io.clock import UnixClock, monotonic, wall_ns
from omni_core.io.engine_choice import (
    Opened,
    add_reason,
    fall_back,
    may_adopt,
    open_port,
    revive_port,
    switch_port,
    what_runs,
)
from omni_core.io.ganglion_requests import PING_TIMEOUT, WAIT_TIMEOUT, GanglionRequests
from omni_core.io.journal import InterfaceLock, Journal
from omni_core.io.lifecycle import Driver, State
from omni_core.io.local_port import LocalPort, PortRequest
from omni_core.io.membership import Membership, load_membership, make_settings, overlay_plan
from omni_core.io.multicast_groups import GroupsWatch, watch_groups
from omni_core.io.native.client import EngineGone
from omni_core.io.native.process import lives, socket_path
from omni_core.io.netlink import Netlink
from omni_core.io.overlay_vip4 import OverlayVip4
from omni_core.io.peer_cache import PeerCache
from omni_core.io.pump import EnginePump, TakenAway
from omni_core.io.revival import Revival
from omni_core.io.sysctls import apply_settings
from omni_core.io.tasks import end_tasks, in_thread, in_turn, wait_until
from omni_core.io.udp import UdpPort
from omni_core.io.underlay import ChangeWatch, Names, overlay_mtu
from omni_core.io.underlay_follower import UnderlayFollower, named_places
from omni_core.io.undo import undo
from omni_core.types import Endpoint, Mac, Vip

logger = logging.getLogger(__name__)

GOODBYE_TIME = 0.2  # s for last words to leave a full socket


class GanglionDriver(Driver):
    """See Driver for the verbs. One object may go through the states any number of times."""

    def __init__(self, config: GanglionConfig, on_event: Callable[[GanglionEvent], None] | None = None) -> None:
        """``on_event`` is called on the event loop for each event of the engine; it must not block."""
        super().__init__()
        self.config = config
        self._on_event = on_event
        self._lock: InterfaceLock | None = None
        self._journal = Journal(config.journal_file)
        self._membership: Membership | None = None
        self._clock: UnixClock | None = None
        self._cache: PeerCache | None = None
        self._names = Names()
        self._udp: UdpPort | None = None
        self._port: LocalPort | None = None
        self._engine_reason = ""  # why not a better one
        self._dead_port: LocalPort | None = None  # its engine has ended by itself
        self._revival = Revival(config.interface, self._replace_engine)
        self._underlay: UnderlayFollower | None = None
        self._admin: AdminServer | None = None
        self._engine: GanglionEngine | None = None
        self._pump: EnginePump | None = None
        self._watch: ChangeWatch | None = None
        self._groups: GroupsWatch | None = None
        self._vip4 = OverlayVip4(config, self._journal)
        self._port_is_new = False  # no program can have used it before
        self._follower: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._pings: dict[int, asyncio.Future[PingResult]] = {}

    # --- what others ask ----------------------------------------------------------------------------------------

    @property
    def interface(self) -> str:
        return self.config.interface

    @property
    def port(self) -> int:
        """UDP port on the underlay; 0 while unconfigured."""
        return self._udp.port if self._udp is not None else 0

    @property
    def has_vip4(self) -> bool:
        """On the interface."""
        return self._vip4.there is not None

    @property
    def outlives(self) -> bool:
        """``leave`` leaves something that goes on."""
        return self._port is not None and self._port.outlives

    def status(self) -> GanglionStatus:
        """Raises LocalMisuse while unconfigured."""
        engine = self._require_engine()
        status = engine.status(monotonic())
        drops = Counter(status.drops)
        for counters in (self._udp and self._udp.drops, self._pump and self._pump.drops):
            if counters:
                drops.update({reason.name.lower(): n for reason, n in counters.as_dict().items()})
        assert self._port is not None
        return replace(
            status,
            drops=dict(drops),
            engine_reason=self._engine_reason,
            bulk_lane=self._port.bulk_status(),
            underlay=self._port.underlay_status(),
            ways=self._port.ways(),
        )

    async def ping(self, address: Vip | Mac, timeout: float = PING_TIMEOUT) -> PingResult:
        """Round trip inside the session with the peer that has the address. Raises LocalMisuse while unconfigured."""
        engine = self._require_engine()
        token = engine.ping(address, monotonic(), timeout)
        future: asyncio.Future[PingResult] = asyncio.get_running_loop().create_future()
        self._pings[token] = future
        try:
            self._flush()
            return await future
        finally:
            del self._pings[token]

    async def wait_for_peers(self, count: int, timeout: float = WAIT_TIMEOUT, *, vip4: bool = False) -> int:
        """Until ``count`` peers are up, and with ``vip4`` a VIP4 is on the interface; returns how many are up after
        ``timeout`` s at most.

        Raises RegistrationRefused as soon as the Nucleus refused this robot, LocalMisuse while unconfigured.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while True:
            self._news.clear()
            status = self._require_engine().status(loop.time())
            up = sum(peer.state == "up" for peer in status.peers)
            if (up >= count and (self.has_vip4 or not vip4)) or loop.time() >= end:
                return up
            if status.nucleus_state == "refused":
                raise RegistrationRefused(status.nucleus_reason)
            await wait_until(self._news, end - loop.time())

    async def switch_engine(self, engine: str) -> None:
        """To another one or "auto", in any state: sessions end and begin anew, frames stop for that long.

        Raises ConfigError("engine") where it stays another one, with the reason; what ``configure`` raises when nothing
        could be made any more, then the driver's run ends.
        """
        async with self._verb:
            self.config = replace(self.config, engine=read_engine(engine))
            if self.state is State.UNCONFIGURED or self._port is None:
                return
            if self._port.plane.name == engine or (engine == "auto" and self._port.plane.name == "kernel"):
                return
            was_active = self.state is State.ACTIVE
            await self._from_active()
            await self._follow_vip4()
            port, self._port, self._engine = self._port, None, None
            self._revival.forget()
            try:
                opened = await in_thread(lambda: self._switch(port))
                await self._use_port(opened)
                if was_active:
                    await self._activate()
                    self.state = State.ACTIVE
            except OmniError as error:
                self._fail(error)
                raise
            except BaseException as error:
                self._fail(SystemRefused("engine", f"the switch to {engine} did not end ({error!r})", "start again"))
                raise
            goes_on = opened.port.plane.name
            logger.info("%s: engine %s", self.interface, goes_on)
            if engine != "auto" and opened.refused:
                raise ConfigError("engine", f"{goes_on} goes on: {opened.refused}", "mend that, then switch again")

    def _switch(self, port: LocalPort) -> Opened:
        with Netlink() as netlink:
            return switch_port(port, self._port_request(port.mtu), netlink)

    # --- steps of the life cycle ----------------------------------------------------------------------------------

    async def _configure(self) -> None:
        config = self.config
        self._lock = InterfaceLock(config.run_dir, config.interface)
        self._membership = await in_thread(lambda: load_membership(config))
        self._vip4.there = self._membership.vip4
        self._clock = await in_thread(lambda: UnixClock(f"{config.key_file}.clock", monotonic()))
        key, cluster = self._membership.identity.public_key, self._membership.cluster
        self._cache = PeerCache(f"{config.key_file}.peers", key, cluster)
        await in_thread(self._undo_leftovers)
        self._udp = await in_thread(self._open_udp)
        places = named_places(config, self._membership)
        await self._names.look_up(places)
        opened = await in_thread(lambda: self._open_port(places))
        await self._use_port(opened)
        self._port_is_new = not opened.adopted
        self._admin = AdminServer(config.admin_socket, GanglionRequests(self).handlers())
        await self._admin.open()

    async def _activate(self) -> None:
        assert self._engine is not None and self._udp is not None and self._port is not None
        assert self._cache is not None and self._underlay is not None
        engine, cache, underlay = self._engine, self._cache, self._underlay
        known = await in_thread(cache.load)
        try:
            self._watch = ChangeWatch(underlay.on_change)
        except OSError as error:
            raise SystemRefused("network", f"no netlink socket ({error.strerror})", "see ulimit -n") from None
        self._pump = self._port.make_pump(self._engine, self._udp, self._handle_event, self._on_fault)
        engine.start(monotonic(), fresh=self._port_is_new, known=known)
        self._port_is_new = False
        self._pump.start()
        self._groups = watch_groups(self.interface, self._engine, self._flush, lambda: underlay.is_bridged)
        self._follower = asyncio.create_task(self._follow(engine, underlay), name=f"{self.interface} underlay")
        cache.begin(lambda: engine.known_peers(monotonic()))

    async def _deactivate(self) -> None:
        await self._halt(detach=self._keeps_running)

    async def _halt(self, detach: bool) -> None:
        await in_turn(self._stop_watching, lambda: self._stop_pump(detach))
        self._news.set()

    async def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._groups is not None:
            self._groups.stop()
            self._groups = None
        if self._follower is not None:
            await end_tasks([self._follower])
            self._follower = None
        if self._cache is not None:
            await self._cache.end()

    async def _stop_pump(self, detach: bool) -> None:
        if self._pump is None or self._engine is None:
            return
        try:
            if detach:
                self._engine.detach(monotonic())
            else:
                self._engine.stop(monotonic())
            self._pump.flush()
            await self._pump.drain(GOODBYE_TIME)
        finally:
            self._pump.stop()
            self._pump = None

    async def _cleanup(self) -> None:
        await in_turn(self._end_revival, self._close_admin, self._close_port, self._undo_all, self._close_files)

    async def _end_revival(self) -> None:
        await self._revival.end()
        self._revival.forget()
        self._dead_port = None

    async def _close_admin(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.close()

    async def _close_port(self) -> None:
        self._engine = self._underlay = None
        self.left_running = keep = self._keeps_running
        udp, self._udp = self._udp, None
        port, self._port = self._port, None
        try:
            if port is not None:
                await in_thread(lambda: port.close(keep))
        finally:
            if udp is not None:
                udp.close()

    async def _undo_all(self) -> None:
        if self.left_running:
            logger.info("%s goes on without this process; the next one takes it over", self.interface)
        elif self._journal.steps:
            await in_thread(self._undo)

    async def _close_files(self) -> None:
        """The lock is the last: the next Ganglion of the interface may begin."""
        if self._membership is not None:
            self._membership.identity.wipe()
            self._membership = None
        clock, self._clock = self._clock, None
        lock, self._lock = self._lock, None
        try:
            if clock is not None:
                await in_thread(clock.close)
        finally:
            if lock is not None:
                lock.close()

    @property
    def _keeps_running(self) -> bool:
        return self._keep and self.outlives

    def _undo_leftovers(self) -> None:
        """All, or what is left to ``open_port`` to adopt."""
        if self._journal.load() and not may_adopt(self.config.engine, self._journal):
            logger.warning("undoing what an earlier Ganglion left of %s", self.interface)
            self._undo()

    def _undo(self) -> None:
        with Netlink() as netlink:
            undo(self._journal, netlink)

    def _open_udp(self) -> UdpPort:
        """What runs has a port already; with ``listen_port`` 0 it is taken again. A native engine has it open."""
        config, left = self.config, what_runs(self._journal)
        joins = left is not None and lives(socket_path(config.run_dir, config.interface))
        if left is not None and config.listen_port == 0:
            try:
                return UdpPort.open(left.port, config.listen_address, joins=joins)
            except OmniError as error:
                logger.warning("what runs is made anew: %s", error)
                self._undo()
                joins = False
        return UdpPort.open(config.listen_port, config.listen_address, joins=joins)

    def _open_port(self, places: list[Endpoint]) -> Opened:
        known = [address for place in places for address in self._names.addresses(place)]
        with Netlink() as netlink:
            return open_port(self._port_request(self.config.mtu or overlay_mtu(known, netlink)), netlink)

    def _port_request(self, mtu: int) -> PortRequest:
        config, membership = self.config, self._membership
        assert membership is not None and self._udp is not None
        plan = overlay_plan(config, membership, mtu)
        return PortRequest(config, membership.identity, plan, self._udp, self._journal)

    async def _use_port(self, opened: Opened) -> None:
        """With an engine of its own."""
        assert self._membership is not None and self._clock is not None and self._udp is not None
        self._port = opened.port
        self._engine_reason = opened.reason
        engine = opened.port.plane.name
        if opened.reason:
            logger.warning("engine %s: %s", engine, opened.reason)
        if opened.adopted:
            runs = "the engine that runs in the kernel" if engine == "kernel" else f"the {engine} engine that runs"
            logger.info("%s: taking over %s", self.interface, runs)
        if self.config.dds_sysctls == "auto":
            await in_thread(lambda: apply_settings(self._journal))
        self._underlay = UnderlayFollower(
            self.config,
            self._membership,
            self._names,
            self._udp,
            self._port,
            flush=self._flush,
            on_fault=self._fail,
        )
        await self._underlay.look()
        self._engine = self._make_engine(self._membership, self._clock)

    def _make_engine(self, membership: Membership, clock: UnixClock) -> GanglionEngine:
        assert self._port is not None and self._underlay is not None
        mtu, local = self._port.mtu, self._underlay.endpoints
        settings = make_settings(self.config, membership, self._names, mtu, local)
        return GanglionEngine(
            settings, membership.identity, self._port.plane, random=os.urandom, unix_ns=clock, wall_ns=wall_ns
        )

    # --- running ------------------------------------------------------------------------------------------------

    def _require_engine(self) -> GanglionEngine:
        if self._engine is None:
            raise LocalMisuse(f"the Ganglion of {self.interface} is not configured")
        return self._engine

    def _flush(self) -> None:
        if self._pump is not None:
            self._pump.flush()
        elif self._engine is not None:
            for event in self._engine.take_events():
                self._handle_event(event)

    def _handle_event(self, event: GanglionEvent) -> None:
        if isinstance(event, ListeningChanged):
            if self._groups is not None:
                self._groups.look_soon()
            return
        if isinstance(event, PingResult):
            future = self._pings.get(event.token)
            if future is not None and not future.done():
                future.set_result(event)
        elif isinstance(event, (PeerUp, PeerDown)):
            logger.info("%s", event.text)
            self._news.set()
            if self._cache is not None:
                self._cache.changed()
        elif isinstance(event, NucleusChanged):
            logger.log(logging.INFO if event.state == "registered" else logging.WARNING, "%s", event.text)
            self._news.set()
        elif isinstance(event, Warned):
            logger.warning("%s", event.text)
        elif isinstance(event, VipChanged):
            logger.info("%s", event.text)
            if self._membership is not None:
                self._membership = replace(self._membership, vip4=event.vip4)
                if self._underlay is not None:
                    self._underlay.look_soon()
        if self._on_event is not None:
            self._on_event(event)

    def _on_fault(self, fault: SystemRefused) -> None:
        if not isinstance(fault, EngineGone):
            self._fail(fault)
        elif self._dead_port is not self._port:
            self._dead_port = self._port
            self._revival.begin(fault, falls_back=self.config.engine == "auto")

    async def _replace_engine(self, reason: str) -> None:
        """The process of an engine has ended by itself: see Revival. No word to anyone: peers keep their sessions until
        they have new ones."""
        async with self._verb:
            dead = self._dead_port
            if dead is None or dead is not self._port or self.state is not State.ACTIVE:
                return
            await self._halt(detach=True)
            await self._follow_vip4()
            try:
                opened = await in_thread(lambda: self._revive(dead, reason))
            except OmniError as error:
                if isinstance(error, SystemRefused) and not isinstance(error, TakenAway) and not reason:
                    raise  # to be tried again
                self._fail(error)
                return
            try:
                await self._use_port(opened)
                await self._activate()
            except OmniError as error:
                self._fail(error)
            else:
                logger.info("%s: engine %s", self.interface, opened.port.plane.name)

    def _revive(self, dead: LocalPort, reason: str) -> Opened:
        with Netlink() as netlink:
            request = self._port_request(dead.mtu)
            if reason:
                return fall_back(dead, request, netlink, add_reason(self._engine_reason, reason))
            return Opened(revive_port(dead, request, netlink), self._engine_reason, False)

    async def _follow(self, engine: GanglionEngine, underlay: UnderlayFollower) -> None:
        """Our addresses, the VIP4 and the clock: after a change, and now and then."""
        while True:
            underlay.begin_look()
            await self._follow_vip4()
            try:
                await underlay.tell(engine)
                await in_thread(self._extend_clock)
            except SystemRefused as error:
                logger.warning("the underlay could not be read: %s", error)
            await underlay.until_changed()

    async def _follow_vip4(self) -> None:
        if self._membership is not None:
            await self._vip4.follow(self._membership.vip4)
            self._news.set()

    def _extend_clock(self) -> None:
        assert self._clock is not None
        self._clock.extend(monotonic())
