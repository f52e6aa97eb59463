"""A robot in the simulator: the real Ganglion engine with the userspace data plane, and its local port."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from omni_core.constants import DEFAULT_PORT, FIRST_DATA_BYTE
from omni_core.crypto.identity import Identity
from omni_core.dataplane.port import Datagram
from omni_core.dataplane.userspace import UserspaceDataPlane
from omni_core.engines.ganglion import GanglionEngine
from omni_core.engines.ganglion_events import GanglionEvent, VipChanged
from omni_core.engines.known_peers import decode_known, encode_known
from omni_core.engines.settings import GanglionSettings
from omni_core.engines.status import GanglionStatus
from omni_core.sim.host import SimHost
from omni_core.sim.network import SimNat
from omni_core.types import Endpoint


class SimEdge(SimHost):
    """Add it to a SimNet, then ``start``. What a driver would do with sockets and a TAP is done here."""

    def __init__(self, name: str, settings: GanglionSettings, identity: Identity, port: int = DEFAULT_PORT) -> None:
        super().__init__(name, port)
        self.settings = settings
        self.identity = identity
        self.engine: GanglionEngine
        self.plane: UserspaceDataPlane
        self.clock_skew_ns = 0  # of the wall clock
        self.headless = False  # the engine is gone, the data plane is not
        self.cache: bytes | None = None  # the file of known peers, as it was last written
        self.frames: list[tuple[float, bytes]] = []  # what came out of the local port
        self.events: list[tuple[float, GanglionEvent]] = []
        self._listeners: list[Callable[[bytes], None]] = []

    # --- life ---
    def start(self) -> None:
        """A new engine, as a new process makes one. The identity is the same each time. So is the data plane if it has
        outlived the engine, else that is new too."""
        if not self.headless:
            self.plane = UserspaceDataPlane(self.identity.mac)
        self.running, self.headless = True, False
        self.engine = GanglionEngine(
            replace(self.settings, local_endpoints=self._local_endpoints()),
            self.identity,
            self.plane,
            random=self.net.random.randbytes,
            unix_ns=self.net.unix_ns,
            wall_ns=lambda now: self.net.unix_ns(now) + self.clock_skew_ns,
        )
        known = decode_known(self.cache, self.key, self.settings.cluster) if self.cache is not None else []
        self.engine.start(self.net.now, known=known)
        self.pump()

    def stop(self) -> None:
        """Deactivated in good order: says goodbye."""
        self.engine.stop(self.net.now)
        self.pump()
        self.stop_running()

    def save(self) -> None:
        """What a driver does now and then: the next ``start`` knows these peers."""
        known = self.engine.known_peers(self.net.now)
        self.cache = encode_known(self.key, self.settings.cluster, known)

    def crash(self) -> None:
        """As kill -9, data plane and all. ``start`` brings it back without any memory but its key, and what ``save``
        has written."""
        self.headless = False
        self.stop_running()

    def behead(self) -> None:
        """As kill -9 of a Ganglion whose data plane lives on, as pinned programs do: ``start`` makes another engine."""
        self.headless = True
        del self.engine

    def detach(self) -> None:
        """The same in good order."""
        self.engine.detach(self.net.now)
        self.pump()
        self.behead()

    def roam(self, address: str | Sequence[str] = "", behind: SimNat | None = None) -> None:
        """Another access point: other addresses at once, and the engine is told, as netlink tells the driver."""
        self.net.move(self, address, behind)
        self.engine.set_local_endpoints(self._local_endpoints(), self.net.now)
        self.pump()

    # --- local port ---
    def plug(self, listener: Callable[[bytes], None]) -> None:
        """Another listener on the local port; each hears every frame that comes out of the overlay."""
        self._listeners.append(listener)

    def send_frame(self, frame: bytes) -> None:
        """A frame from a local program or LAN host into the overlay."""
        if not self.running:
            return
        if self.headless:
            self.plane.frames_from_port([frame], self.net.now)
        else:
            self.engine.receive_frames([frame], self.net.now)
        self.pump()

    def call_later(self, delay: float, callback: Callable[..., None], *arguments: object) -> None:
        self.net.at(self.net.now + delay, callback, *arguments)

    # --- looking ---
    @property
    def key(self) -> bytes:
        return self.identity.public_key

    def status(self) -> GanglionStatus:
        return self.engine.status(self.net.now)

    # --- SimHost ---
    def engine_receive(self, data: bytes, source: tuple[str, int], now: float) -> None:
        if not self.headless:
            self.engine.receive_datagrams([(data, source)], now)
        elif data and data[0] >= FIRST_DATA_BYTE:
            self.plane.datagrams_from_underlay([(data, source)], now)

    def engine_next_timer(self) -> float | None:
        return None if self.headless else self.engine.next_timer()

    def engine_handle_timer(self, now: float) -> None:
        if not self.headless:
            self.engine.handle_timer(now)

    def engine_take_datagrams(self) -> list[Datagram]:
        now = self.net.now
        for event in [] if self.headless else self.engine.take_events():
            self.events.append((now, event))
            if isinstance(event, VipChanged):
                self.settings = replace(self.settings, vip4=event.vip4)  # the driver has a file for it
        for frame in self.plane.take_frames():
            self.frames.append((now, frame))
            for listener in self._listeners:
                # later, not inside the engine's pump: an answer is a new event
                self.net.at(now, listener, frame)
        return self.plane.take_datagrams() if self.headless else self.engine.take_datagrams()

    def _local_endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(Endpoint(address, self.port) for address in self.addresses)
