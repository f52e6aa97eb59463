"""Bytes between edges and one Nucleus per heartbeat cycle of 30 s: real engines and datagrams, on virtual time.

Measured when all are registered, over a time in which every session is renewed once; then again while 1 % of the edges
a minute go (half of them without a word), and as many come. Beside it: what the Nucleus would send if it pushed the
whole list to everyone each 30 s, with the same records.
"""

from __future__ import annotations

import gc
import heapq
import random
import time
from dataclasses import dataclass
from math import ceil

from bench.nucleus.load_edge import LoadEdge
from omni_core.constants import HEARTBEAT_INTERVAL, IPV4_HEADER, SIGNALING_REKEY_AFTER_TIME, UDP_HEADER
from omni_core.crypto.identity import Identity
from omni_core.engines.nucleus import NucleusEngine
from omni_core.engines.settings import NucleusSettings
from omni_core.signaling.admission import ClusterPolicy
from omni_core.signaling.messages import DELTA_ROOM
from omni_core.types import Endpoint

NUCLEUS = Endpoint("127.0.0.1", 51820)
HEADERS = IPV4_HEADER + UDP_HEADER
SIGNALING_OVERHEAD = 128 + 36  # bytes of a message beside its entries, header and tag
ARRIVALS_PER_SECOND = 160.0
WINDOW = SIGNALING_REKEY_AFTER_TIME  # s, virtual


@dataclass
class Traffic:
    """Of all edges together, both ways, in 30 s."""

    bytes: float = 0.0  # UDP payload
    datagrams: float = 0.0
    handshakes: float = 0.0  # bytes of them

    @property
    def on_wire(self) -> float:
        return self.bytes + self.datagrams * HEADERS


class Cycle:
    def __init__(self, edges: int, clusters: int, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 1000.0
        identity = Identity.generate(random.Random(seed + 1).randbytes)
        self.clusters = [f"cluster-{n}" for n in range(clusters)]
        self.engine = NucleusEngine(
            identity,
            [ClusterPolicy(name) for name in self.clusters],
            random=self.rng.randbytes,
            unix_ns=lambda _: time.time_ns(),
        )
        self.settings = [NucleusSettings(identity.public_key, (NUCLEUS,))]
        self.total = Traffic()
        self.edges: dict[Endpoint, LoadEdge] = {}
        self._number = 0
        self._heap: list[tuple[float, int, LoadEdge]] = []
        self._arrive(edges)

    def measure(self, seconds: float, churn: float = 0.0) -> Traffic:
        """``churn``: edges that go, and come, per s."""
        before = Traffic(self.total.bytes, self.total.datagrams, self.total.handshakes)
        end, due = self.now + seconds, self.now + (0.5 / churn if churn else seconds)
        while due < end:
            self._run(due)
            edge = self.rng.choice(list(self.edges.values()))
            if self.rng.random() < 0.5:
                edge.stop(self.now)
                self._from(edge)
            del self.edges[edge.at]
            self._add()
            due += 1 / churn
        self._run(end)
        cycles = seconds / HEARTBEAT_INTERVAL
        after = self.total
        return Traffic(
            (after.bytes - before.bytes) / cycles,
            (after.datagrams - before.datagrams) / cycles,
            (after.handshakes - before.handshakes) / cycles,
        )

    def full_list(self) -> Traffic:
        """Every edge is sent every entry of its cluster."""
        total = Traffic()
        for name in self.clusters:
            entries = [edge.entry().size for edge in self.engine._store.live(name)]
            datagrams = ceil(sum(entries) / DELTA_ROOM)
            total.bytes += len(entries) * (sum(entries) + datagrams * SIGNALING_OVERHEAD)
            total.datagrams += len(entries) * datagrams
        return total

    def registered(self) -> int:
        return sum(edge.registered for edge in self.edges.values())

    def _arrive(self, edges: int) -> None:
        for _ in range(edges):
            self._add()
            self._run(self.now + 1 / ARRIVALS_PER_SECOND)
        end = self.now + 120
        while self.registered() < edges and self.now < end:
            self._run(self.now + 1)
        self._run(self.now + 60)  # the heartbeats are spread

    def _add(self) -> None:
        self._number += 1
        number = self._number
        at = Endpoint(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 51820)
        cluster = self.clusters[number % len(self.clusters)]
        edge = LoadEdge(number, cluster, self.settings, at, self.rng)
        self.edges[at] = edge
        edge.start(self.now)
        self._from(edge)

    def _run(self, until: float) -> None:
        heap = self._heap
        while True:
            engine_due = self.engine.next_timer()
            due = min(heap[0][0] if heap else until, until if engine_due is None else engine_due)
            if due >= until:
                self.now = until
                return
            self.now = max(self.now, due)
            if engine_due is not None and engine_due <= self.now:
                self.engine.handle_timer(self.now)
                self._from_nucleus()
            while heap and heap[0][0] <= self.now:
                when, _, edge = heapq.heappop(heap)
                if when != edge.wake_at or self.edges.get(edge.at) is not edge:
                    continue
                edge.wake_at = None
                edge_due = edge.next_timer()
                if edge_due is not None and edge_due <= self.now:
                    edge.handle_timer(self.now)
                self._from(edge)

    def _from(self, edge: LoadEdge) -> None:
        for data, _ in edge.take_datagrams():
            self._count(data)
            self.engine.receive_datagram(data, edge.at, self.now)
        edge.take_events()
        self._from_nucleus()
        due = edge.next_timer()
        if due is not None and (edge.wake_at is None or due < edge.wake_at):
            edge.wake_at = due
            heapq.heappush(self._heap, (due, edge.number, edge))

    def _from_nucleus(self) -> None:
        while datagrams := self.engine.take_datagrams():
            for data, destination in datagrams:
                self._count(data)
                edge = self.edges.get(destination)
                if edge is not None:
                    edge.receive(data, NUCLEUS, self.now)
                    self._from(edge)

    def _count(self, data: bytes) -> None:
        self.total.bytes += len(data)
        self.total.datagrams += 1
        if data[0] != 4:
            self.total.handshakes += len(data)


def measure(edges: int, clusters: int, seed: int, window: float = WINDOW) -> dict[str, float]:
    gc.disable()
    try:
        cycle = Cycle(edges, clusters, seed)
        steady = cycle.measure(window)
        full = cycle.full_list()
        churning = cycle.measure(window, edges / 100 / 60)
        return {
            "edges": edges,
            "clusters": clusters,
            "registered": cycle.registered(),
            "steady": steady.bytes,
            "steady_on_wire": steady.on_wire,
            "steady_handshakes": steady.handshakes,
            "churn": churning.bytes,
            "churn_on_wire": churning.on_wire,
            "full_list": full.bytes,
            "full_list_on_wire": full.on_wire,
        }
    finally:
        gc.enable()
        gc.collect()


if __name__ == "__main__":
    for count, of in ((10, 1), (100, 1), (1000, 1)):
        print(measure(count, of, 1), flush=True)
