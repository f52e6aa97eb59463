"""A large fleet on virtual time: everyone registers, stays registered, and talks pairwise on demand."""

from __future__ import annotations

import time
from dataclasses import dataclass

from omni_core.constants import MESH_LIMIT
from omni_core.sim.fleet import Fleet, connected
from omni_core.sim.lan import LanHost
from omni_core.sim.link import LinkQuality
from omni_core.sim.network import SimNet

ARRIVALS = 20.0  # s over which the fleet is switched on
TALK_GAP = 10.0  # s between two datagrams of a pair
LAST_START = 60.0  # s before the end when the last pair begins to talk
SILENCE = 5.0  # s before the end when all stop, so that nothing is under way


@dataclass(frozen=True)
class ScaleResult:
    edges: int
    virtual_seconds: float
    real_seconds: float
    cpu_seconds: float
    registered: int  # edges that say so, at the end
    known: int  # edges that the Nucleus knows, at the end
    departures: int  # that it counted: must be none
    sent: int  # UDP datagrams between the hosts of pairs, both ways
    received: int
    first_answer_max: float  # s from the first datagram of a pair to its answer: look-ups, handshake and all
    sessions: int  # usable, between pairs, at the end, each counted at both ends
    packets: dict[str, int]  # delivered, by type
    events: int
    digest: str

    def as_text(self) -> str:
        packets = ", ".join(f"{count} {name}" for name, count in sorted(self.packets.items()))
        return (
            f"{self.edges} edges, {self.virtual_seconds / 60:.0f} virtual minutes: {self.real_seconds:.1f} s real, "
            f"{self.cpu_seconds:.1f} s CPU; {self.known} registered, {self.departures} departures; "
            f"{self.received} of {self.sent} datagrams, first answer after at most {self.first_answer_max:.2f} s; "
            f"{packets}; {self.events} events"
        )


class _Talk:
    """One side asks each TALK_GAP seconds, the other answers."""

    def __init__(self, net: SimNet, asker: LanHost, answerer: LanHost, end: float) -> None:
        self.sent = 0
        self.began: float | None = None
        self.first_answer: float | None = None
        self._net = net
        self._end = end
        self._asker = asker
        self._answerer = answerer
        asker.on_udp = self._on_answer
        answerer.on_udp = self._on_question

    def ask(self) -> None:
        if self._net.now >= self._end:
            return
        if self.began is None:
            self.began = self._net.now
        self._send(self._asker, self._answerer)
        self._net.at(self._net.now + TALK_GAP, self.ask)

    def _send(self, source: LanHost, target: LanHost) -> None:
        self.sent += 1
        source.send(target.address, b"%d" % self.sent)

    def _on_question(self) -> None:
        self._send(self._answerer, self._asker)

    def _on_answer(self) -> None:
        if self.first_answer is None and self.began is not None:
            self.first_answer = self._net.now - self.began


def run_scale(seed: int, edges: int, seconds: float = 600.0, mesh_limit: int = MESH_LIMIT) -> ScaleResult:
    """Half of the edges start to talk to the other half, each with one, at random moments."""
    real, cpu = time.perf_counter(), time.process_time()
    net = SimNet(seed, LinkQuality(latency=0.03, jitter=0.01))
    fleet = Fleet(net, secret=b"the fleet's secret", mesh_limit=mesh_limit)
    start = net.now
    for _ in range(edges):
        edge = fleet.add(start=False)
        net.at(start + net.random.uniform(0, ARRIVALS), edge.start)
    order = list(range(edges))
    net.random.shuffle(order)
    pairs = [(order[i], order[i + edges // 2]) for i in range(edges // 2)]
    talks = [_Talk(net, fleet.hosts[a], fleet.hosts[b], start + seconds - SILENCE) for a, b in pairs]
    for talk in talks:
        net.at(start + net.random.uniform(ARRIVALS + 5, seconds - LAST_START), talk.ask)
    net.run(seconds)
    cluster = fleet.nucleus.status().clusters[0]
    return ScaleResult(
        edges,
        seconds,
        time.perf_counter() - real,
        time.process_time() - cpu,
        sum(fleet.registered([edge]) for edge in fleet.edges),
        cluster.edges,
        cluster.departures,
        sum(talk.sent for talk in talks),
        sum(len(host.received) for host in fleet.hosts),
        max((talk.first_answer for talk in talks if talk.first_answer is not None), default=float("inf")),
        sum(connected(fleet.edges[a], fleet.edges[b]) + connected(fleet.edges[b], fleet.edges[a]) for a, b in pairs),
        dict(net.trace.delivered),
        net.loop.events,
        net.trace.digest(),
    )
