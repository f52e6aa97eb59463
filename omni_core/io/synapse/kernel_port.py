"""The local port whose frames the kernel moves: programs loaded, devices made, all tied together, adopted, let go.

Made in this order, each step in the journal first, so that whatever fails or is killed can be undone:

    pins          programs and maps compiled, loaded and pinned; nothing of the machine's network has changed
    devices       omni0 == omni0-syn, omni0-tap (devices.py, overlay.py)
    maps          KernelDataPlane fills in what the programs must know
    programs      attached to the devices, then to the underlay (attachments.py)
    SynapseRuns   from here on a later process may adopt it
    engine        the native engine of the bulk lane, when the pump runs (bulk_watch.py); it is no part of the agreement
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from omni_core.constants import ETHERNET_HEADER, FDB_MAX_LOCAL, MAX_FRAME
from omni_core.crypto.cookies import mac1_key
from omni_core.crypto.identity import key_text
from omni_core.engines.ganglion import GanglionEngine
from omni_core.engines.ganglion_events import GanglionEvent
from omni_core.engines.status import UnderlayStatus
from omni_core.errors import OmniError, SystemRefused
from omni_core.io import overlay
from omni_core.io.capability import require_sys_admin
from omni_core.io.journal import AttachedPrograms, Journal, PinnedPrograms, StartedEngine, SynapseRuns
from omni_core.io.local_port import PortRequest
from omni_core.io.native.binary import native_binary
from omni_core.io.native.process import NativeProcess, socket_path, stop_left, worker_count
from omni_core.io.native.protocol import Mode
from omni_core.io.native.protocol import Way as NativeWay
from omni_core.io.native.queues import TapQueues
from omni_core.io.netlink import Netlink, RouteLookup
from omni_core.io.pump import GanglionPump, taken_away
from omni_core.io.synapse import abi, bpffs, devices, loader, sources
from omni_core.io.synapse.attachments import Attachments
from omni_core.io.synapse.bulk_watch import BulkWatch
from omni_core.io.synapse.devices import BULK, SYN, SynapseDevices
from omni_core.io.synapse.loader import Loaded
from omni_core.io.synapse.napi_threads import NapiThreads
from omni_core.io.synapse.pins import pin_directory
from omni_core.io.synapse.plane import KernelDataPlane
from omni_core.io.synapse.programs import KINDS
from omni_core.io.synapse.pump import KernelPump
from omni_core.io.udp import UdpPort
from omni_core.io.underlay import Underlay

logger = logging.getLogger(__name__)

_TAGS = 8  # bytes of two VLAN tags
_COMMON_FRAME = 1500 + ETHERNET_HEADER + _TAGS  # a build for longer frames is slower to load


# s; as long may packets be lost that have become too long for their path. A look at 128 routes takes 5 ms.
_ROUTES_REFRESH = 10.0


@dataclass(frozen=True)
class _Build:
    source: Path
    defines: dict[str, int]
    hash: bytes


class KernelPort:
    ON_UNDERLAY = ("synapse_rx", "synapse_rx_generic")  # programs, by XDP mode

    outlives = True
    look_every = _ROUTES_REFRESH

    def __init__(self, request: PortRequest, loaded: Loaded, made: SynapseDevices, *, adopt: bool) -> None:
        """``make`` and ``adopt`` are what to call."""
        config = request.config
        self.mtu = made.mtu
        self._request = request
        self._loaded = loaded
        self._devices = made
        self._watch: BulkWatch | None = None
        self._no_bulk = _why_no_bulk(config.bulk_lane)
        on_underlay = (loaded.programs[name] for name in self.ON_UNDERLAY)
        self._attachments = Attachments(next(on_underlay), config.xdp_modes, next(on_underlay))
        request.udp.receive_unmerged()  # in generic mode XDP comes behind GRO
        with contextlib.ExitStack() as undo:
            self._routes = undo.enter_context(RouteLookup(request.udp.port, config.listen_address))
            self.plane = KernelDataPlane(
                loaded,
                local_mac=request.identity.mac,
                port=request.udp.port,
                mac1_key=mac1_key(request.identity.exchange_public),
                syn_ifindex=made.syn_index,
                tap_ifindex=made.tap_index,
                bulk_ifindex=made.bulk_index,
                port_ifindex=made.port_index,
                route=self._routes.route_to,
                ageing=config.fdb_ageing,
                max_per_peer=config.fdb_max_per_peer,
                max_local=FDB_MAX_LOCAL,
                adopt=adopt,
            )
            undo.pop_all()

    @classmethod
    def make(cls, request: PortRequest, netlink: Netlink) -> KernelPort:
        """Raises ConfigError or SystemRefused; then the caller undoes the journal. Takes seconds: it compiles."""
        plan, journal = request.plan, request.journal
        require_sys_admin()
        devices.check_name(plan.name)
        build = _build(plan.mtu)
        pins = pin_directory(request.config.bpf_dir, plan.name)
        with contextlib.ExitStack() as undo:
            journal.add(PinnedPrograms(str(pins)))
            bpffs.prepare(pins.parent)
            loaded = loader.load(build.source, build.defines, KINDS, pins, abi.ABI_VERSION)
            undo.callback(loaded.close)
            made = overlay.create(plan, journal, netlink, devices.make_devices)
            undo.callback(made.close)
            port = cls(request, loaded, made, adopt=False)
            undo.callback(port.close, False)
            devices.attach_programs(made, loaded, netlink)
            journal.add(
                AttachedPrograms([loaded.programs[name].id for name in cls.ON_UNDERLAY]),
                agreement(request, build.hash, made.mtu),
            )
            undo.pop_all()
        return port

    @classmethod
    def adopt(cls, request: PortRequest, netlink: Netlink) -> KernelPort:
        """Over what an earlier process left. Raises OmniError with the reason when that does not fit."""
        left = what_runs(request.journal)
        if left is None:
            raise SystemRefused(request.plan.name, "no engine runs in the kernel", "make one")
        build = _build(left.mtu)
        wanted = agreement(request, build.hash, left.mtu)
        different = [field.name for field in fields(left) if getattr(left, field.name) != getattr(wanted, field.name)]
        if request.plan.mtu_fixed and request.plan.mtu != left.mtu:
            different.append("mtu")
        if different:
            raise SystemRefused(request.plan.name, f"not as before: {', '.join(different)}", "make it anew")
        pins = pin_directory(request.config.bpf_dir, request.plan.name)
        with contextlib.ExitStack() as undo:
            loaded = loader.adopt(pins, build.hash)
            if loaded is None:
                raise SystemRefused(str(pins), "the programs are not there", "load them")
            undo.callback(loaded.close)
            made = devices.adopt_devices(request.plan.name, netlink)
            undo.callback(made.close)
            devices.check_programs(made, loaded, netlink)
            port = cls(request, loaded, made, adopt=True)
            undo.callback(port.close, True)
            port._adopt_engine()
            undo.pop_all()
        return port

    def _adopt_engine(self) -> None:
        """It has gone on as the programs have. Where there is none, or another one is wanted, the pump starts it."""
        request = self._request
        if not self._no_bulk:
            try:
                process = NativeProcess.adopt(self._native_socket, Mode.BULK)
                request.udp.steer(process.client.hello.workers, bulk=True)
            except OmniError as error:
                logger.info("no native engine is taken over: %s", error)
            else:
                self.plane.use_engine(process)
                return
        self.plane.bulk.end()
        for step in request.journal.steps:
            if isinstance(step, StartedEngine):
                stop_left(step.socket, step.pid, step.started)
                request.udp.reopen()  # it may have been opened beside that one

    def make_pump(
        self,
        engine: GanglionEngine,
        udp: UdpPort,
        on_event: Callable[[GanglionEvent], None],
        on_fault: Callable[[SystemRefused], None],
    ) -> GanglionPump:
        threads = NapiThreads(self._devices.name + SYN)
        pump = KernelPump(engine, self.plane, udp, self._devices.tap, threads, on_event, on_fault)
        if not self._no_bulk:
            workers = worker_count()
            spawn = lambda sockets, merge: self._spawn(workers, sockets, merge)  # noqa: E731
            self._watch = BulkWatch(self.plane, udp, workers, spawn, self._merges, pump.read_engine)
            pump.bulk = self._watch
        return pump

    def _spawn(self, workers: int, sockets: Sequence[int], merge: bool) -> NativeProcess:
        """Blocks. Raises ConfigError or SystemRefused."""
        name, journal = self._devices.name, self._request.journal
        started = StartedEngine(self._native_socket, 0, 0)
        journal.update(lambda steps: [*(step for step in steps if not isinstance(step, StartedEngine)), started])
        with contextlib.closing(TapQueues.join(name + BULK, workers)) as queues:
            process = NativeProcess.start(
                started.socket,
                name=name,
                mode=Mode.BULK,
                taps=queues.fds,
                sockets=sockets,
                maps={option: self._loaded.maps[option].fd for option in ("fdb", "streams", "lane")},
                merge=merge,
            )
        try:
            known = replace(started, pid=process.pid, started=process.started)
            journal.update(lambda steps: [known if step == started else step for step in steps])
        except BaseException:
            process.stop()
            raise
        return process

    @property
    def _native_socket(self) -> str:
        return socket_path(self._request.config.run_dir, self._devices.name)

    def _merges(self) -> bool:
        return all(attachment.mode != "generic" for attachment in self._attachments.status())

    def look_around(self, underlay: Underlay, netlink: Netlink) -> SystemRefused | None:
        self._attachments.update(underlay.links, netlink)
        missing = devices.missing_device(self._devices, netlink)
        return taken_away(missing) if missing else None

    def follow(self, underlay: Underlay) -> None:
        self.plane.set_local_addresses(underlay.hosts)
        self.plane.refresh_routes()
        if self._watch is not None:
            self._watch.look_again()

    def underlay_status(self) -> list[UnderlayStatus]:
        return [
            UnderlayStatus(attachment.interface, attachment.mode or "none", attachment.reason)
            for attachment in self._attachments.status()
        ]

    def ways(self) -> dict[str, int]:
        counted = self.plane.ways().items()
        return {_way(number): count for number, count in counted if number >= abi.FIRST_WAY}

    def bulk_status(self) -> str:
        reason = self._no_bulk or (self._watch.reason if self._watch is not None else "not started")
        return f"off: {reason}" if reason else "on"

    def close(self, keep: bool) -> None:
        if keep:
            self.plane.detach()
        else:
            self.plane.close()
            self._request.udp.unshare()
        self._routes.close()
        self._devices.close()
        self._loaded.close()

    def let_go(self) -> tuple[Loaded, SynapseDevices]:
        """The plane ends, and with it every session; what it was made of stays, for another port. Blocks."""
        self.plane.close()
        self._request.udp.unshare()
        self._routes.close()
        return self._loaded, self._devices


def what_runs(journal: Journal) -> SynapseRuns | None:
    """What an earlier process has left running, by its journal."""
    return next((step for step in journal.steps if isinstance(step, SynapseRuns)), None)


def agreement(request: PortRequest, build: bytes, mtu: int) -> SynapseRuns:
    """What a later process has to agree with."""
    plan = request.plan
    return SynapseRuns(
        build=build.hex(),
        public_key=key_text(request.identity.public_key),
        port=request.udp.port,
        bridge=plan.bridge,
        addresses=[str(address) for address in plan.addresses],
        mtu=mtu,
        xdp_mode=[f"{interface}={mode}" for interface, mode in sorted(request.config.xdp_modes.items())],
    )


def _why_no_bulk(wanted: str) -> str:
    """What keeps a native engine from being started; "": nothing."""
    if wanted == "off":
        return "not wanted"
    try:
        native_binary()
    except SystemRefused as error:
        logger.warning("no bulk lane: %s: %s", error.what, error.problem)
        return f"{error.what}: {error.problem}"
    return ""


def _way(number: int) -> str:
    if number in NativeWay._value2member_map_:
        return NativeWay(number).label
    return abi.Way(number).name.lower()


def _build(mtu: int) -> _Build:
    source = sources.program_source()
    frame = mtu + ETHERNET_HEADER + _TAGS
    defines = {"SYNAPSE_MAX_FRAME": _COMMON_FRAME if frame <= _COMMON_FRAME else MAX_FRAME}
    return _Build(source, defines, sources.build_hash(source, defines, KINDS, abi.ABI_VERSION))
