"""The local port with the native engine alone: omni0 is a TAP whose queues the engine reads, in a process of its own.

Made in this order, each step in the journal first, so that whatever fails or is killed can be undone:

    omni0            a TAP with a queue for each worker (queues.py, overlay.py)
    UDP port         shared with the workers (udp_group.py)
    StartedEngine    the process (process.py), to which the rest is told by messages
    NativeRuns       from here on a later process may adopt it
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import fields, replace

from omni_core.constants import FDB_MAX_LOCAL
from omni_core.crypto.identity import key_text
from omni_core.engines.ganglion import GanglionEngine
from omni_core.engines.ganglion_events import GanglionEvent
from omni_core.engines.status import UnderlayStatus
from omni_core.errors import SystemRefused
from omni_core.io import overlay
from omni_core.io.journal import Journal, NativeRuns, StartedEngine
from omni_core.io.local_port import PortRequest
from omni_core.io.native import protocol
from omni_core.io.native.binary import native_binary
from omni_core.io.native.plane import NativeDataPlane
from omni_core.io.native.process import NativeProcess, socket_path, worker_count
from omni_core.io.native.pump import NativePump
from omni_core.io.native.queues import TapQueues
from omni_core.io.netlink import Netlink, RouteLookup
from omni_core.io.overlay import PortPlan
from omni_core.io.pump import EnginePump, taken_away
from omni_core.io.udp import UdpPort
from omni_core.io.underlay import Underlay

logger = logging.getLogger(__name__)

_ROUTES_REFRESH = 10.0  # s; as long may packets be fragmented that have become too long for their path


class NativePort:
    look_every = _ROUTES_REFRESH

    def __init__(self, request: PortRequest, process: NativeProcess, netlink: Netlink) -> None:
        """``make``, ``adopt`` and ``revive`` are what to call. Takes ``process`` over. Raises SystemRefused."""
        config, name = request.config, request.plan.name
        link = netlink.find(name)
        if link is None:
            raise taken_away(name)
        self.mtu = link.mtu
        self._name, self._index = name, link.index
        self._udp = request.udp
        self._process = process
        with contextlib.ExitStack() as undo:
            self._routes = undo.enter_context(RouteLookup(request.udp.port, config.listen_address))
            self.plane = NativeDataPlane(
                process.client,
                local_mac=request.identity.mac,
                route=self._routes.route_to,
                ageing=config.fdb_ageing,
                max_per_peer=config.fdb_max_per_peer,
                max_local=FDB_MAX_LOCAL,
            )
            undo.pop_all()

    @classmethod
    def make(cls, request: PortRequest, netlink: Netlink, reason: str = "") -> NativePort:
        """``reason``: why not the engine in the kernel. Raises ConfigError or SystemRefused; then the caller undoes the
        journal."""
        native_binary()  # before anything is made
        workers = worker_count()

        def make_queues(plan: PortPlan, journal: Journal, netlink: Netlink) -> TapQueues:
            return TapQueues.open(plan.name, workers)

        with contextlib.closing(overlay.create(request.plan, request.journal, netlink, make_queues)) as queues:
            return cls._start(request, netlink, queues, reason)

    @classmethod
    def adopt(cls, request: PortRequest, left: NativeRuns, netlink: Netlink) -> NativePort:
        """Over what an earlier process left. Raises OmniError with the reason when that does not fit."""
        process = NativeProcess.adopt(_socket(request), protocol.Mode.ALONE)
        with contextlib.ExitStack() as undo:
            undo.callback(process.leave)
            workers = process.client.hello.workers
            port = cls(request, process, netlink)
            undo.callback(port._routes.close)
            wanted = agreement(request, process, workers, port.mtu, left.reason)
            different = [each.name for each in fields(left) if getattr(left, each.name) != getattr(wanted, each.name)]
            if request.plan.mtu_fixed and request.plan.mtu != port.mtu:
                different.append("mtu")
            if different:
                raise SystemRefused(request.plan.name, f"not as before: {', '.join(different)}", "make it anew")
            request.udp.set_merging(True)
            request.udp.steer(workers)
            undo.pop_all()
        return port

    @classmethod
    def revive(cls, request: PortRequest, netlink: Netlink) -> NativePort:
        """With another engine in place of one that has ended: omni0 stays, sessions begin anew. Raises as ``make``, and
        may then be called again."""
        left = [step for step in request.journal.steps if isinstance(step, NativeRuns)]
        reason = left[0].reason if left else ""
        request.journal.replace(
            [step for step in request.journal.steps if not isinstance(step, (NativeRuns, StartedEngine))]
        )
        if netlink.find(request.plan.name) is None:
            raise taken_away(request.plan.name)
        with contextlib.closing(TapQueues.join(request.plan.name, worker_count())) as queues:
            return cls._start(request, netlink, queues, reason)

    @classmethod
    def _start(cls, request: PortRequest, netlink: Netlink, queues: TapQueues, reason: str) -> NativePort:
        path, workers, journal = _socket(request), len(queues.fds), request.journal
        with contextlib.ExitStack() as undo:
            request.udp.set_merging(True)  # as the engine does with its own
            sockets = request.udp.share(workers)
            undo.callback(request.udp.unshare)
            started = StartedEngine(path, 0, 0)
            journal.add(started)
            try:
                process = NativeProcess.start(
                    path,
                    name=request.plan.name,
                    mode=protocol.Mode.ALONE,
                    taps=queues.fds,
                    sockets=[sock.fileno() for sock in sockets],
                )
            finally:
                for sock in sockets:
                    sock.close()
            undo.callback(process.stop)
            known = replace(started, pid=process.pid, started=process.started)
            journal.replace([known if step == started else step for step in journal.steps])
            port = cls(request, process, netlink)
            undo.callback(port._routes.close)
            journal.add(agreement(request, process, workers, port.mtu, reason))
            undo.pop_all()
        return port

    @property
    def outlives(self) -> bool:
        return self.plane.gone is None

    def make_pump(
        self,
        engine: GanglionEngine,
        udp: UdpPort,
        on_event: Callable[[GanglionEvent], None],
        on_fault: Callable[[SystemRefused], None],
    ) -> EnginePump:
        return NativePump(engine, self.plane, udp, on_event, on_fault)

    def look_around(self, underlay: Underlay, netlink: Netlink) -> SystemRefused | None:
        there = any(link.index == self._index for link in netlink.links())
        return None if there else taken_away(self._name)

    def follow(self, underlay: Underlay) -> None:
        self.plane.refresh_routes()

    def underlay_status(self) -> list[UnderlayStatus]:
        return []

    def bulk_status(self) -> str:
        return ""

    def ways(self) -> dict[str, int]:
        counted = self.plane.ways()
        return {way.label: counted[way] for way in protocol.Way if way in counted}

    def close(self, keep: bool) -> None:
        if keep:
            self._process.leave()
        else:
            self.plane.close()
            self._process.stop()
            self._udp.unshare()
        self._routes.close()


def agreement(request: PortRequest, process: NativeProcess, workers: int, mtu: int, reason: str) -> NativeRuns:
    """What a later process has to agree with."""
    plan = request.plan
    return NativeRuns(
        build=process.client.hello.build,
        workers=workers,
        public_key=key_text(request.identity.public_key),
        port=request.udp.port,
        listen_address=list(request.config.listen_address),
        bridge=plan.bridge,
        addresses=[str(address) for address in plan.addresses],
        mtu=mtu,
        reason=reason,
    )


def _socket(request: PortRequest) -> str:
    return socket_path(request.config.run_dir, request.plan.name)
