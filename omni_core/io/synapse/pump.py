"""Pumps a Ganglion whose frames the kernel moves: the slow path over the TAP, news over the ring buffer and from the
native engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from omni_core.drops import DropReason
from omni_core.engines.ganglion import GanglionEngine
from omni_core.engines.ganglion_events import GanglionEvent
from omni_core.errors import SystemRefused
from omni_core.io.pump import GanglionPump
from omni_core.io.synapse.bulk_watch import BulkWatch
from omni_core.io.synapse.napi_threads import NapiThreads
from omni_core.io.synapse.plane import KernelDataPlane
from omni_core.io.tap import Tap
from omni_core.io.udp import UdpPort


class KernelPump(GanglionPump):
    """``tap`` carries packets with a prefix, both ways."""

    def __init__(
        self,
        engine: GanglionEngine,
        plane: KernelDataPlane,
        udp: UdpPort,
        tap: Tap,
        threads: NapiThreads,
        on_event: Callable[[GanglionEvent], None],
        on_fault: Callable[[SystemRefused], None],
    ) -> None:
        super().__init__(engine, udp, tap, on_event, on_fault)
        self._plane = plane
        self._threads = threads
        self.bulk: BulkWatch | None = None  # where there is to be a native engine

    def start(self) -> None:
        self._plane.set_tap_writer(self._write)
        self._threads.begin()
        self._plane.on_small_frames = self._threads.hold
        super().start()
        self._loop.add_reader(self._plane.events_fd, self._on_news)
        if self.bulk is not None:
            self.bulk.begin()

    def stop(self) -> None:
        super().stop()
        self._plane.set_tap_writer(None)
        self._threads.end()
        self._loop.remove_reader(self._plane.events_fd)

    def flush(self) -> None:
        """Frames that waited for a session go out now, with those that came here while it began: the programs send
        what follows themselves, so that the flow's order breaks once at most."""
        waiting = self._plane.take_tap_packets()
        if waiting and self._running:
            self._receive(self._read())
            waiting += self._plane.take_tap_packets()
        self._write(waiting)
        super().flush()
        if self._running and self._plane.bulk.pending:
            self._loop.call_soon(self.read_engine)

    async def drain(self, timeout: float) -> None:
        """Last words may have come back from the programs, sealed, for the socket to send."""
        self._plane.receive_from_tap(self._read(), self._loop.time())
        self._udp.send(self._plane.take_datagrams())
        await super().drain(timeout)
        if self.bulk is not None:
            await self.bulk.end()

    def read_engine(self) -> None:
        """The native engine has news."""
        now = self._loop.time()
        strays = self._plane.read_bulk(now)
        try:
            self._engine.receive_datagrams(strays, now)  # also when there are none: the plane has news
        finally:
            self.flush()

    def _write(self, packets: Sequence[bytes]) -> None:
        refused = len(packets) - self._tap.write_batch(packets)
        if refused:
            self.drops.add(DropReason.PORT_REFUSED, refused)

    def _on_frames(self) -> None:
        try:
            self._receive(self._read())
        finally:
            self.flush()

    def _receive(self, packets: Sequence[bytes]) -> None:
        if packets:
            now = self._loop.time()
            group = self._plane.receive_from_tap(packets, now)
            self._engine.receive_frames(group, now)  # also when there are none: the plane has news for the engine

    def _on_news(self) -> None:
        now = self._loop.time()
        self._plane.read_events(now)
        try:
            self._engine.receive_frames((), now)
        finally:
            self.flush()
