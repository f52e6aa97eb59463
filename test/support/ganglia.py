"""Ganglion engines on one in-memory wire without loss or latency, on a clock that the test moves."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import IPv4Interface

from omni_core.crypto.identity import Identity
from omni_core.dataplane.userspace import UserspaceDataPlane
from omni_core.engines.ganglion import GanglionEngine
from omni_core.engines.ganglion_events import GanglionEvent
from omni_core.engines.settings import GanglionSettings, StaticPeerSettings
from omni_core.types import BROADCAST, Endpoint

EPOCH_NS = 1_700_000_000 * 10**9
PSK = b"k" * 32


def frame(destination: bytes, source: bytes, payload: bytes = b"payload", ethertype: int = 0x88A4) -> bytes:
    return destination + source + ethertype.to_bytes(2, "big") + payload


class Edge:
    def __init__(self, number: int, rng: random.Random) -> None:
        self.identity = Identity.generate(rng.randbytes)
        self.endpoint = Endpoint(f"10.0.0.{number}", 51820)
        self.settings = GanglionSettings(
            cluster="c", name=f"r{number}", vip4=IPv4Interface(f"10.77.0.{number}/24"), psk=PSK
        )
        self.rng = rng
        self.online = True
        self.events: list[GanglionEvent] = []
        self.frames: list[bytes] = []
        self.build()

    @property
    def key(self) -> bytes:
        return self.identity.public_key

    @property
    def mac(self) -> bytes:
        return self.identity.mac

    def configure(self, **changes: object) -> None:
        """Change settings; builds the engine anew."""
        self.settings = replace(self.settings, **changes)  # type: ignore[arg-type]
        self.build()

    def build(self) -> None:
        self.plane = UserspaceDataPlane(self.identity.mac)
        self.engine = GanglionEngine(
            self.settings,
            self.identity,
            self.plane,
            random=self.rng.randbytes,
            unix_ns=lambda now: EPOCH_NS + int(now * 1e9),
        )

    def broadcast(self, payload: bytes, now: float) -> bytes:
        sent = frame(BROADCAST, self.mac, payload)
        self.engine.receive_frames([sent], now)
        return sent


class Wire:
    """``edges`` by endpoint. Datagrams to nobody vanish."""

    def __init__(self, seed: int, count: int) -> None:
        self.rng = random.Random(seed)
        self.now = 100.0
        self.edges = [Edge(n + 1, self.rng) for n in range(count)]
        self.log: list[tuple[Endpoint, tuple[str, int], bytes]] = []

    def know_each_other(self) -> None:
        for edge in self.edges:
            others = [StaticPeerSettings(o.key, (o.endpoint,)) for o in self.edges if o is not edge]
            edge.configure(static_peers=tuple(others))

    def start(self) -> None:
        for edge in self.edges:
            edge.engine.start(self.now)
        self.pump()

    def pump(self) -> None:
        moved = True
        while moved:
            moved = False
            for edge in self.edges:
                for datagram, destination in edge.engine.take_datagrams():
                    moved = True
                    self.log.append((edge.endpoint, destination, datagram))
                    for other in self.edges:
                        if other.endpoint == destination and other.online and edge.online:
                            other.engine.receive_datagrams([(datagram, edge.endpoint)], self.now)
                edge.frames += edge.engine.take_frames()
                edge.events += edge.engine.take_events()

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            timers = [t for e in self.edges if (t := e.engine.next_timer()) is not None]
            self.now = min(max(min(timers, default=end), self.now), end)
            for edge in self.edges:
                edge.engine.handle_timer(self.now)
            self.pump()
            if self.now >= end:
                return

    def take_frames(self) -> list[list[bytes]]:
        self.pump()
        taken = [edge.frames for edge in self.edges]
        for edge in self.edges:
            edge.frames = []
        return taken
