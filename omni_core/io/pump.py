"""Pumps one engine on the running event loop: datagrams and frames in, datagrams, frames and events out, one timer.

It decides nothing. What the engine has to say is fetched after every call of it. While the underlay socket is full no
frames are read from the TAP, so that the device's own queue fills and TCP slows down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from omni_core.dataplane.port import Datagram
from omni_core.drops import DropCounters, DropReason
from omni_core.engines.ganglion import GanglionEngine
from omni_core.engines.ganglion_events import GanglionEvent
from omni_core.engines.nucleus import NucleusEngine
from omni_core.errors import SystemRefused
from omni_core.io.meter import Traffic, stopwatch
from omni_core.io.tap import Tap
from omni_core.io.tasks import wait_until
from omni_core.io.udp import RECEIVE_CALLS, UdpPort

DISCARD_BATCHES = 64  # more than a TAP's queue holds
FRAMES_PER_WAKEUP = 64  # one GSO super-frame of 64 KiB arrives as 45 frames


class _Timed(Protocol):
    def next_timer(self) -> float | None: ...
    def handle_timer(self, now: float) -> None: ...
    def take_datagrams(self) -> Sequence[Datagram]: ...


class _Pump:
    def __init__(self, engine: _Timed, udp: UdpPort) -> None:
        self._timed = engine
        self._udp = udp
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        self._running = False
        self._drained = asyncio.Event()

    def start(self) -> None:
        self._running = True
        self._udp.start(self._on_datagrams, self._on_drained)
        self.flush()

    def stop(self) -> None:
        """Idempotent. Flush first when the engine's last words matter."""
        self._running = False
        self._udp.stop()
        self._set_timer(None)

    def flush(self) -> None:
        """Carry out what the engine decided. To be called after every call of the engine from outside."""
        self._send(self._timed.take_datagrams())
        if self._running:
            self._set_timer(self._timed.next_timer())

    def _send(self, datagrams: Sequence[Datagram]) -> None:
        self._udp.send(datagrams)

    def _on_datagrams(self, datagrams: list[Datagram]) -> None:
        raise NotImplementedError

    async def drain(self, timeout: float) -> None:
        """Until a full socket has taken what waits, at most ``timeout`` s."""
        self._drained.clear()
        if self._udp.congested:
            await wait_until(self._drained, timeout)

    def _on_drained(self) -> None:
        """The socket takes datagrams again."""
        self._drained.set()

    def _set_timer(self, due: float | None) -> None:
        if due == self._due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = None if due is None else self._loop.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        # asyncio may call within its clock's resolution before the time; the engine must see its deadline reached.
        now = max(self._loop.time(), self._due or 0.0)
        self._timer = self._due = None
        try:
            self._timed.handle_timer(now)
        finally:
            self.flush()


class NucleusPump(_Pump):
    def __init__(self, engine: NucleusEngine, udp: UdpPort, on_flush: Callable[[], None] = lambda: None) -> None:
        """``on_flush`` is called after everything that the engine did."""
        super().__init__(engine, udp)
        self._engine = engine
        self._on_flush = on_flush
        self.traffic = Traffic()

    def flush(self) -> None:
        super().flush()
        self._on_flush()

    def _send(self, datagrams: Sequence[Datagram]) -> None:
        self.traffic.sent += len(datagrams)
        self.traffic.sent_bytes += sum([len(data) for data, _ in datagrams])
        super()._send(datagrams)

    def _on_datagrams(self, datagrams: list[Datagram]) -> None:
        began = stopwatch()
        now = self._loop.time()
        self._engine.set_behind(len(datagrams) >= RECEIVE_CALLS)
        try:
            for data, source in datagrams:
                self._engine.receive_datagram(data, source, now)
        finally:
            self.flush()
            self.traffic.received += len(datagrams)
            self.traffic.received_bytes += sum([len(data) for data, _ in datagrams])
            self.traffic.batches.observe(stopwatch() - began)


class EnginePump(_Pump):
    """``on_event`` gets every event of the engine; ``on_fault`` is called once when this cannot go on."""

    def __init__(
        self,
        engine: GanglionEngine,
        udp: UdpPort,
        on_event: Callable[[GanglionEvent], None],
        on_fault: Callable[[SystemRefused], None],
    ) -> None:
        super().__init__(engine, udp)
        self._engine = engine
        self._on_event = on_event
        self._on_fault = on_fault
        self.drops = DropCounters()  # what the engine cannot know of

    def flush(self) -> None:
        super().flush()
        self._deliver()
        for event in self._engine.take_events():
            self._on_event(event)

    def _deliver(self) -> None:
        """Frames for the local port, where they come this way."""

    def _on_datagrams(self, datagrams: list[Datagram]) -> None:
        try:
            self._engine.receive_datagrams(datagrams, self._loop.time())
        finally:
            self.flush()


class GanglionPump(EnginePump):
    """With a TAP. The fault is that the interface is taken away."""

    def __init__(
        self,
        engine: GanglionEngine,
        udp: UdpPort,
        tap: Tap,
        on_event: Callable[[GanglionEvent], None],
        on_fault: Callable[[SystemRefused], None],
    ) -> None:
        super().__init__(engine, udp, on_event, on_fault)
        self._tap = tap
        self._reading = False

    def start(self) -> None:
        """What waited at the TAP while nobody forwarded is stale and thrown away."""
        for _ in range(DISCARD_BATCHES):
            if not self._read():
                break
        super().start()
        self._resume_reading()

    def stop(self) -> None:
        super().stop()
        self._pause_reading()

    def flush(self) -> None:
        super().flush()
        if self._udp.congested:
            self._pause_reading()

    def _deliver(self) -> None:
        frames = self._engine.take_frames()
        if frames:
            refused = len(frames) - self._tap.write_batch(frames)
            if refused:
                self.drops.add(DropReason.PORT_REFUSED, refused)

    def _on_frames(self) -> None:
        frames = self._read()
        if frames:
            try:
                self._engine.receive_frames(frames, self._loop.time())
            finally:
                self.flush()

    def _read(self) -> list[bytes]:
        try:
            return self._tap.read_batch(FRAMES_PER_WAKEUP)
        except OSError as error:
            self._pause_reading()
            self._on_fault(taken_away(self._tap.name, f" ({error.strerror})"))
            return []

    def _on_drained(self) -> None:
        super()._on_drained()
        self._resume_reading()

    def _resume_reading(self) -> None:
        if self._running and not self._reading:
            self._reading = True
            self._loop.add_reader(self._tap.fileno(), self._on_frames)

    def _pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._tap.fileno())


class TakenAway(SystemRefused):
    """There is nothing to go on with."""


def taken_away(name: str, detail: str = "") -> TakenAway:
    return TakenAway(
        name,
        f"the interface was removed by somebody else{detail}",
        "do not delete it while the Ganglion runs; start again",
    )
