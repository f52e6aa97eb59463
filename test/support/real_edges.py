"""Edges without a data plane on real UDP sockets, pumped by the test that has them."""

from __future__ import annotations

import random
import selectors
import socket
import time
from collections.abc import Callable, Sequence

from bench.nucleus.load_edge import LoadEdge
from omni_core.engines.settings import NucleusSettings
from omni_core.types import Endpoint

TURN = 0.02  # s at most between two looks at timers


class RealEdges:
    """A context manager."""

    def __init__(self, nuclei: Sequence[NucleusSettings], count: int, seed: int, cluster: str = "fleet") -> None:
        rng = random.Random(seed)
        self._selector = selectors.DefaultSelector()
        self.edges: list[LoadEdge] = []
        self._sockets: list[socket.socket] = []
        for number in range(1, count + 1):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
            edge = LoadEdge(number, cluster, nuclei, Endpoint(*sock.getsockname()), rng)
            self._selector.register(sock, selectors.EVENT_READ, edge)
            self.edges.append(edge)
            self._sockets.append(sock)

    def __enter__(self) -> RealEdges:
        for edge in self.edges:
            edge.start(time.monotonic())
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        for sock in self._sockets:
            sock.close()

    @property
    def registered(self) -> int:
        return sum(edge.registered for edge in self.edges)

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """True as soon as ``until`` holds."""
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end:
                return False
            self._turn()
        return True

    def _turn(self) -> None:
        for edge, sock in zip(self.edges, self._sockets, strict=True):
            now = time.monotonic()
            if (due := edge.next_timer()) is not None and due <= now:
                edge.handle_timer(now)
            self._send(edge, sock)
        for key, _ in self._selector.select(TURN):
            assert isinstance(key.fileobj, socket.socket)
            try:
                data, source = key.fileobj.recvfrom(65535)
            except OSError:
                continue  # what ICMP said of a Nucleus that is gone
            key.data.receive(data, Endpoint(*source), time.monotonic())
            self._send(key.data, key.fileobj)

    @staticmethod
    def _send(edge: LoadEdge, sock: socket.socket) -> None:
        for data, destination in edge.take_datagrams():
            try:
                sock.sendto(data, destination)
            except OSError:
                pass
        edge.take_events()
