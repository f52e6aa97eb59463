"""Pumps a Ganglion whose frames the native engine moves: control over the UDP socket, news from the engine."""

from __future__ import annotations

from collections.abc import Callable

from omni_core.engines.ganglion import GanglionEngine
from omni_core.engines.ganglion_events import GanglionEvent
from omni_core.errors import SystemRefused
from omni_core.io.native.client import EngineGone
from omni_core.io.native.plane import NativeDataPlane
from omni_core.io.pump import EnginePump
from omni_core.io.udp import UdpPort


class NativePump(EnginePump):
    """The fault is that the engine has gone (EngineGone)."""

    def __init__(
        self,
        engine: GanglionEngine,
        plane: NativeDataPlane,
        udp: UdpPort,
        on_event: Callable[[GanglionEvent], None],
        on_fault: Callable[[SystemRefused], None],
    ) -> None:
        super().__init__(engine, udp, on_event, on_fault)
        self._plane = plane
        self._listening = False

    def start(self) -> None:
        self._plane.on_gone = self._on_gone
        super().start()
        if self._plane.gone is not None:  # before there was a pump
            self._on_gone(self._plane.gone)
        else:
            self._listening = True
            self._loop.add_reader(self._plane.fileno(), self._on_news)

    def stop(self) -> None:
        super().stop()
        self._plane.on_gone = lambda gone: None
        self._listen_no_more()

    def flush(self) -> None:
        super().flush()
        if self._running and self._plane.pending:
            self._loop.call_soon(self._on_news)

    def _on_news(self) -> None:
        if not self._running:
            return
        now = self._loop.time()
        questions, control = self._plane.read_events()
        try:
            self._engine.receive_frames(questions, now)  # also when there are none: the plane has news for the engine
            if control:
                self._engine.receive_datagrams(control, now)
        finally:
            self.flush()

    def _on_gone(self, gone: EngineGone) -> None:
        """In the middle of a call of the engine, maybe."""
        self._listen_no_more()
        self._loop.call_soon(self._on_fault, gone)

    def _listen_no_more(self) -> None:
        if self._listening:
            self._listening = False
            self._loop.remove_reader(self._plane.fileno())
