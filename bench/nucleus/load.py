"""A load generator for Nuclei: real UDP on loopback, real handshakes, thousands of edges in one process.

    python -m bench.nucleus.load --nucleus KEY@127.0.0.1:51820 [--nucleus ...] --cluster fleet --edges 2000
        [--rate 200] [--seconds 60] [--queries 50] [--moves 1] [--churn 1] [--seed 1]

Edges register at a rate, keep their registrations alive, ask for each other, move, leave, crash and join. Every
answer is judged: the load knows where everyone is. A report as JSON at the end. Several Nuclei: the order is the
preference of every edge. Needs no privilege; as root its sockets get larger buffers.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import itertools
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.nucleus.load_edge import LoadEdge
from bench.nucleus.load_ports import LoopbackPorts
from bench.nucleus.load_tally import Tally, Wrong
from omni_core.constants import HEARTBEAT_INTERVAL, HEARTBEATS_MISSED
from omni_core.crypto.identity import parse_key_text
from omni_core.engines.settings import NucleusSettings
from omni_core.signaling.client_events import NucleusLost, QueryAnswered, Refused, Registered
from omni_core.types import Endpoint, PublicKey

TICK = 0.02  # s between two looks at what is to be done
SAMPLE = 0.5  # s between two entries of the timeline
SETTLED = 2.0  # s after which what an edge did is known to every Nucleus, without a fault: a request repeated once
GIVEN_UP = 5.0  # s; an answer "no such peer" that took longer is the client's: nobody answered


@dataclass
class Rates:
    """``moves`` and ``churn``: of all edges, % per minute; of those that go, ``crashes`` say no word. Who goes is
    replaced by a new edge."""

    queries: float = 0.0  # per second, all edges together
    moves: float = 0.0
    churn: float = 0.0
    crashes: float = 0.5  # share


class Load:
    """All edges. Needs a running event loop; ``close`` it."""

    def __init__(
        self,
        nuclei: Sequence[NucleusSettings],
        clusters: Sequence[str],
        *,
        seed: int,
        admission_key: bytes | None = None,
        sockets: int = 8,
        heartbeat_interval: float = HEARTBEAT_INTERVAL,
    ) -> None:
        """``heartbeat_interval``: of the Nuclei."""
        self.rng = random.Random(seed)
        self.rates = Rates()
        self._nuclei = list(nuclei)
        self._clusters = list(clusters)
        self._admission_key = admission_key
        self._life = HEARTBEATS_MISSED * heartbeat_interval
        self._loop = asyncio.get_running_loop()
        self.tally = Tally(self._loop.time())
        self.ports = LoopbackPorts(sockets, self._receive)
        self._numbers = itertools.count(1)
        self._addresses = itertools.count(1)
        self.edges: dict[PublicKey, LoadEdge] = {}  # those that live
        self._order: list[LoadEdge] = []  # the same, for drawing one
        self._places: dict[bytes, LoadEdge] = {}  # by address
        self._gone: dict[PublicKey, tuple[float, bool, int]] = {}  # (when, said goodbye, number)
        self._questions: dict[tuple[PublicKey, PublicKey], float] = {}  # (asker, peer) -> when
        self._timers: list[tuple[float, int, LoadEdge]] = []
        self._wake: asyncio.TimerHandle | None = None
        self._starting: list[tuple[float, LoadEdge]] = []
        self._begun: dict[PublicKey, float] = {}
        self._due: dict[str, float] = {}
        self._ticked = self._sampled = self._loop.time()
        self._task = asyncio.create_task(self._run())

    # --- what the owner wants -------------------------------------------------------------------------------------

    async def start(self, count: int, rate: float) -> None:
        """``count`` more edges begin to register, ``rate`` a second."""
        begin = self._loop.time()
        for number in range(count):
            ahead = begin + number / rate - self._loop.time()
            if ahead > 0:
                await asyncio.sleep(ahead)
            elif number % 32 == 0:
                await asyncio.sleep(0)
            self.add()

    def add(self) -> LoadEdge:
        number = next(self._numbers)
        cluster = self._clusters[number % len(self._clusters)]
        edge = LoadEdge(number, cluster, self._nuclei, self._place(number), self.rng, self._admission_key)
        self.edges[edge.key] = edge
        self._order.append(edge)
        self._places[_packed(edge.at)] = edge
        self._begun[edge.key] = self._loop.time()
        self.tally.started += 1
        edge.start(self._loop.time())
        self._flush(edge)
        return edge

    def remove(self, edge: LoadEdge, *, crash: bool) -> None:
        now = self._loop.time()
        if crash:
            self.tally.killed += 1
        else:
            self.tally.left += 1
            edge.stop(now)
            self._send(edge)
        self._gone[edge.key] = now, not crash, edge.number
        del self.edges[edge.key]
        for question in [each for each in self._questions if each[0] == edge.key]:
            del self._questions[question]
        self._order.remove(edge)
        del self._places[_packed(edge.at)]

    def move(self, edge: LoadEdge) -> None:
        now = self._loop.time()
        self.tally.moved += 1
        del self._places[_packed(edge.at)]
        edge.settled_at = now if edge.registered else None
        edge.move(self._place(edge.number), now)
        self._places[_packed(edge.at)] = edge
        self._flush(edge)

    def ask(self, asker: LoadEdge, peer: PublicKey) -> None:
        now = self._loop.time()
        if (asker.key, peer) not in self._questions:
            self._questions[asker.key, peer] = now
            self.tally.asked += 1
            asker.query(peer, now)
            self._flush(asker)

    @property
    def registered(self) -> int:
        return sum(edge.registered for edge in self._order)

    async def until(self, condition: Callable[[], bool], timeout: float, what: str, every: float = 0.1) -> float:
        """-> s that it took. Raises TimeoutError."""
        began = self._loop.time()
        while not condition():
            if self._loop.time() - began > timeout:
                there = f"{self.registered} of {len(self.edges)} registered"
                raise TimeoutError(f"not within {timeout:g} s: {what}; {there}")
            if self._task.done():
                self._task.result()
            await asyncio.sleep(every)
        return self._loop.time() - began

    async def check_all(self, per_edge: int = 1, timeout: float = 30.0) -> list[Wrong]:
        """Every edge asks for others of its cluster, paced; -> the answers that were wrong."""
        before, rates = len(self.tally.wrong), self.rates
        self.rates = Rates()
        try:
            for count, asker in enumerate(list(self._order)):
                for _ in range(per_edge):
                    self._ask_somebody(asker)
                if count % 10 == 9:
                    await asyncio.sleep(0.01)
            await self.until(lambda: not self._questions, timeout, "all questions are answered")
        finally:
            self.rates = rates
        return self.tally.wrong[before:]

    def traffic(self) -> tuple[int, int]:
        """Datagrams (sent, received) by all edges."""
        return self.ports.sent, self.ports.received

    def report(self) -> dict[str, object]:
        now = self._loop.time()
        return {
            "seconds": self.tally.since(now),
            "edges": len(self.edges),
            "registered": self.registered,
            "datagrams_sent": self.ports.sent,
            "datagrams_received": self.ports.received,
            "datagrams_refused": self.ports.refused,
            "open_questions": len(self._questions),
            **self.tally.as_dict(),
        }

    async def close(self) -> None:
        self._task.cancel()
        if self._wake is not None:
            self._wake.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.ports.close()

    # --- time -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            now = self._loop.time()
            elapsed, self._ticked = now - self._ticked, now
            if now - self._sampled >= SAMPLE:
                self._sampled = now
                self.tally.timeline.append((self.tally.since(now), self.registered, len(self.edges)))
            per_minute = len(self._order) / 100 / 60
            for _ in range(self._count("queries", self.rates.queries, elapsed)):
                self._ask_somebody(self.rng.choice(self._order))
            for _ in range(self._count("moves", self.rates.moves * per_minute, elapsed)):
                self.move(self.rng.choice(self._order))
            for _ in range(self._count("churn", self.rates.churn * per_minute, elapsed)):
                self.remove(self.rng.choice(self._order), crash=self.rng.random() < self.rates.crashes)
                self.add()

    def _count(self, what: str, rate: float, elapsed: float) -> int:
        """How often something that happens ``rate`` times a second is due."""
        due = self._due.get(what, 0.0) + rate * elapsed
        self._due[what] = due % 1
        return int(due) if self._order else 0

    def _arm(self, edge: LoadEdge) -> None:
        """Timers that move later are left where they are, and looked at in vain once."""
        due = edge.next_timer()
        if due is not None and (edge.wake_at is None or due < edge.wake_at):
            edge.wake_at = due
            heapq.heappush(self._timers, (due, edge.number, edge))
            if self._timers[0][2] is edge:
                self._plan()

    def _plan(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
        self._wake = self._loop.call_at(self._timers[0][0], self._on_timer) if self._timers else None

    def _on_timer(self) -> None:
        self._wake = None
        now = self._loop.time()
        for _ in range(64):  # then the sockets get their turn
            if not self._timers or self._timers[0][0] > now:
                break
            when, _, edge = heapq.heappop(self._timers)
            if when != edge.wake_at or edge.key not in self.edges:
                continue
            edge.wake_at = None
            due = edge.next_timer()
            if due is not None and due <= now:
                edge.handle_timer(now)
                self._flush(edge)
            else:
                self._arm(edge)
        self._plan()

    # --- datagrams ------------------------------------------------------------------------------------------------

    def _receive(self, address: bytes, data: bytes, source: Endpoint) -> None:
        edge = self._places.get(address)
        if edge is not None and data:
            edge.receive(data, source, self._loop.time())
            self._flush(edge)

    def _flush(self, edge: LoadEdge) -> None:
        self._send(edge)
        for event in edge.take_events():
            now = self._loop.time()
            if isinstance(event, QueryAnswered):
                self._judge(edge, event, now)
            elif isinstance(event, Registered):
                self.tally.registered.append((self.tally.since(now), edge.number))
                if edge.settled_at is None:
                    edge.settled_at = now
                begun = self._begun.pop(edge.key, None)
                if begun is not None:
                    self.tally.registration.append(now - begun)
            elif isinstance(event, NucleusLost):
                self.tally.lost.append((self.tally.since(now), edge.number))
            elif isinstance(event, Refused):
                self.tally.refused[event.reason.split(";")[0]] += 1
        self._arm(edge)

    def _send(self, edge: LoadEdge) -> None:
        source = _packed(edge.at)
        port = edge.number % len(self.ports.ports)
        for data, destination in edge.take_datagrams():
            self.ports.send(data, port, source, destination)

    def _place(self, number: int) -> Endpoint:
        """An address of 127.0.0.0/8 that nobody had for a long time, and the port of the edge's socket."""
        at = next(self._addresses)
        host = f"127.{16 + at // 64516 % 200}.{at // 254 % 254 + 1}.{at % 254 + 1}"
        return Endpoint(host, self.ports.ports[number % len(self.ports.ports)])

    # --- questions ------------------------------------------------------------------------------------------------

    def _ask_somebody(self, asker: LoadEdge) -> None:
        for _ in range(20):
            peer = self.rng.choice(self._order)
            if peer is not asker and peer.cluster == asker.cluster:
                self.ask(asker, peer.key)
                return

    def _judge(self, asker: LoadEdge, answer: QueryAnswered, now: float) -> None:
        key = answer.address
        assert isinstance(key, bytes)
        asked = self._questions.pop((asker.key, key), None)
        if asked is None:
            return
        took = now - asked
        if answer.record is None and (took > GIVEN_UP or not asker.registered):
            self.tally.unanswered += 1
            return
        self.tally.answered += 1
        self.tally.latency.append(took)
        peer = self.edges.get(key)
        if peer is None:
            when, goodbye, number = self._gone.get(key, (now, False, 0))
            known_for = SETTLED if goodbye else self._life + SETTLED
            if asked - when > known_for and answer.record is not None:
                self._wrong("departed", asker, number, now - when)
            else:
                self.tally.unjudged += 1
            return
        if peer.settled_at is None or asked - peer.settled_at < SETTLED:
            self.tally.unjudged += 1
        elif answer.record is None:
            self._wrong("missing", asker, peer.number, now - peer.settled_at)
        elif not answer.endpoints or answer.endpoints[0] != peer.at:
            self._wrong("misplaced", asker, peer.number, now - peer.settled_at)

    def _wrong(self, what: str, asker: LoadEdge, peer: int, after: float) -> None:
        self.tally.wrong.append(Wrong(self.tally.since(self._loop.time()), what, asker.number, peer, round(after, 3)))


def _packed(endpoint: Endpoint) -> bytes:
    a, b, c, d = endpoint.host.split(".")
    return bytes((int(a), int(b), int(c), int(d)))


def parse_nucleus(text: str) -> NucleusSettings:
    """``KEY@HOST:PORT``, IPv4."""
    key, _, place = text.partition("@")
    host, _, port = place.rpartition(":")
    return NucleusSettings(parse_key_text(key), (Endpoint(host, int(port)),))


async def run(arguments: argparse.Namespace) -> dict[str, object]:
    load = Load(arguments.nucleus, arguments.cluster or ["fleet"], seed=arguments.seed)
    try:
        await load.start(arguments.edges, arguments.rate)
        await load.until(lambda: load.registered == len(load.edges), arguments.timeout, "all register", 0.25)
        load.rates = Rates(arguments.queries, arguments.moves, arguments.churn)
        await asyncio.sleep(arguments.seconds)
        load.rates = Rates()
        return load.report()
    finally:
        await load.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nucleus", action="append", required=True, type=parse_nucleus, help="KEY@ADDRESS:PORT")
    parser.add_argument("--cluster", action="append", help="edges take turns; default: fleet")
    parser.add_argument("--edges", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=200.0, help="registrations begun a second")
    parser.add_argument("--timeout", type=float, default=120.0, help="s until all are registered")
    parser.add_argument("--seconds", type=float, default=60.0, help="s after that")
    parser.add_argument("--queries", type=float, default=50.0, help="a second, all edges together")
    parser.add_argument("--moves", type=float, default=1.0, help="%% of the edges a minute")
    parser.add_argument("--churn", type=float, default=1.0, help="%% of the edges a minute")
    parser.add_argument("--seed", type=int, default=1)
    print(json.dumps(asyncio.run(run(parser.parse_args())), indent=2))


if __name__ == "__main__":
    main()
