"""A host without an engine: sends what it is told, remembers what came, and answers if asked to."""

from __future__ import annotations

from collections.abc import Sequence

from omni_core.constants import DEFAULT_PORT
from omni_core.sim.host import SimHost


class EchoHost(SimHost):
    def __init__(self, name: str, port: int = DEFAULT_PORT, echo: bool = False) -> None:
        super().__init__(name, port)
        self.echo = echo
        self.received: list[tuple[float, bytes, tuple[str, int]]] = []  # time, payload, source
        self._out: list[tuple[bytes, tuple[str, int]]] = []

    @property
    def payloads(self) -> list[bytes]:
        return [payload for _, payload, _ in self.received]

    def send(self, data: bytes, remote: tuple[str, int]) -> None:
        self._out.append((data, remote))
        self.pump()

    def engine_receive(self, data: bytes, source: tuple[str, int], now: float) -> None:
        self.received.append((now, data, source))
        if self.echo:
            self._out.append((data, source))

    def engine_take_datagrams(self) -> Sequence[tuple[bytes, tuple[str, int]]]:
        out, self._out = self._out, []
        return out
