"""The local port with its engine: the overlay interface, the data plane behind it, and what ties both to the machine.

``PythonPort`` is here, ``KernelPort`` in synapse/kernel_port.py, ``NativePort`` in native/port.py. Making, adopting,
looking around and closing block: call them from a worker thread. The rest is for the thread of the event loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from omni_core.config.ganglion import GanglionConfig
from omni_core.crypto.identity import Identity
from omni_core.dataplane.port import DataPlane
from omni_core.dataplane.userspace import UserspaceDataPlane
from omni_core.engines.ganglion import GanglionEngine
from omni_core.engines.ganglion_events import GanglionEvent
from omni_core.engines.status import UnderlayStatus
from omni_core.errors import SystemRefused
from omni_core.io import overlay
from omni_core.io.journal import Journal
from omni_core.io.netlink import Netlink
from omni_core.io.overlay import OverlayPlan
from omni_core.io.pump import EnginePump, GanglionPump
from omni_core.io.tap import Tap
from omni_core.io.udp import UdpPort
from omni_core.io.underlay import Underlay


@dataclass(frozen=True)
class PortRequest:
    """What any port needs to be made."""

    config: GanglionConfig
    identity: Identity
    plan: OverlayPlan
    udp: UdpPort
    journal: Journal


class LocalPort(Protocol):
    @property
    def plane(self) -> DataPlane: ...
    @property
    def mtu(self) -> int:
        """Of the overlay interface."""

    @property
    def look_every(self) -> float:
        """s after which to ``follow`` again, though nothing was heard of a change."""

    @property
    def outlives(self) -> bool:
        """It may go on without this process, for a later one to adopt."""

    def make_pump(
        self,
        engine: GanglionEngine,
        udp: UdpPort,
        on_event: Callable[[GanglionEvent], None],
        on_fault: Callable[[SystemRefused], None],
    ) -> EnginePump: ...

    def look_around(self, underlay: Underlay, netlink: Netlink) -> SystemRefused | None:
        """Follow what changed at the machine's interfaces; returns why this cannot go on, if so. Blocks."""

    def follow(self, underlay: Underlay) -> None:
        """The same for the plane, afterwards."""

    def underlay_status(self) -> list[UnderlayStatus]: ...
    def ways(self) -> dict[str, int]:
        """What an engine outside this process did with packets, by name."""

    def bulk_status(self) -> str:
        """As in GanglionStatus."""

    def close(self, keep: bool) -> None:
        """Let go of everything; the caller then undoes the journal. ``keep``: leave it running. Blocks. Idempotent."""


def userspace_plane(request: PortRequest) -> UserspaceDataPlane:
    config = request.config
    return UserspaceDataPlane(request.identity.mac, ageing=config.fdb_ageing, max_per_peer=config.fdb_max_per_peer)


class PythonPort:
    """A TAP; frames pass through this process."""

    outlives = False
    look_every = math.inf

    def __init__(self, tap: Tap, plane: UserspaceDataPlane, mtu: int) -> None:
        self.plane = plane
        self.mtu = mtu
        self._tap = tap

    @classmethod
    def make(cls, request: PortRequest, netlink: Netlink) -> PythonPort:
        """Raises ConfigError or SystemRefused; then the caller undoes the journal."""
        plane = userspace_plane(request)
        tap = overlay.create(request.plan, request.journal, netlink, overlay.tap_port)
        return cls(tap, plane, request.plan.mtu)

    def make_pump(
        self,
        engine: GanglionEngine,
        udp: UdpPort,
        on_event: Callable[[GanglionEvent], None],
        on_fault: Callable[[SystemRefused], None],
    ) -> GanglionPump:
        return GanglionPump(engine, udp, self._tap, on_event, on_fault)

    def look_around(self, underlay: Underlay, netlink: Netlink) -> SystemRefused | None:
        return None  # nothing here hangs on an interface of the underlay, and a TAP says itself that it is gone

    def follow(self, underlay: Underlay) -> None:
        """The socket finds its way."""

    def underlay_status(self) -> list[UnderlayStatus]:
        return []

    def ways(self) -> dict[str, int]:
        return {}

    def bulk_status(self) -> str:
        return ""

    def close(self, keep: bool) -> None:
        self.plane.close()
        self._tap.close()
