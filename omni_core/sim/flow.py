"""Numbered frames from one edge to another, to see which arrive, and how often."""

from __future__ import annotations

import struct
from collections import Counter

from omni_core.sim.edge import SimEdge
from omni_core.sim.frames import ethernet
from omni_core.types import Mac

_BODY = struct.Struct("!II")


class Flow:
    """One frame each ``gap`` seconds from ``start`` to ``stop``, to the target's MAC or to ``destination``."""

    def __init__(self, source: SimEdge, target: SimEdge, gap: float = 0.1, destination: Mac | None = None) -> None:
        self.id = source.net.random.getrandbits(32)
        self.gap = gap
        self.sent = 0
        self.arrived: Counter[int] = Counter()
        self.arrivals: list[float] = []
        self._source = source
        self._target = target
        self._destination = destination or target.identity.mac
        self._running = False
        target.plug(self._on_frame)

    def start(self) -> Flow:
        self._running = True
        self._send()
        return self

    def stop(self) -> None:
        self._running = False

    @property
    def missing(self) -> list[int]:
        return [number for number in range(self.sent) if number not in self.arrived]

    @property
    def repeated(self) -> list[int]:
        return [number for number, times in self.arrived.items() if times > 1]

    def _send(self) -> None:
        if self._running:
            self.send_one()
            self._source.call_later(self.gap, self._send)

    def send_one(self) -> None:
        number, self.sent = self.sent, self.sent + 1
        body = _BODY.pack(self.id, number)
        self._source.send_frame(ethernet(self._destination, self._source.identity.mac, body))

    def _on_frame(self, frame: bytes) -> None:
        if len(frame) >= 14 + _BODY.size and frame[6:12] == self._source.identity.mac:
            flow, number = _BODY.unpack_from(frame, 14)
            if flow == self.id:
                self.arrived[number] += 1
                self.arrivals.append(self._target.net.now)
