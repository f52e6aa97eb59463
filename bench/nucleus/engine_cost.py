"""What one edge costs a Nucleus: CPU time per message, bytes of memory, look-ups over the number of edges. No sockets.

    python -m bench.nucleus.engine_cost [--edges N ...] [--clusters K] [--memory rss|trace] [--profile] [--json FILE]

The engine and the clients are the real ones, on virtual time; the clients are in another process. Per number of edges:
all of them start (handshake, REGISTER), send heartbeats, ask for one another, and renew their sessions once. Times are
CPU time of the engine's process (thread_time), median over batches of 32 datagrams, which is what one wake-up reads.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import os
import pstats
import random
import statistics
import time
import tracemalloc
from collections import defaultdict
from dataclasses import asdict, dataclass, field

from bench.nucleus.clients import RemoteClients, Sent
from omni_core.constants import SIGNALING_REKEY_AFTER_TIME
from omni_core.crypto.identity import Identity
from omni_core.engines.nucleus import NucleusEngine
from omni_core.signaling.admission import ClusterPolicy
from omni_core.sim.bare_edge import unix_ns

RENEWING = SIGNALING_REKEY_AFTER_TIME + 10.0  # s in which every session is renewed once
BATCH = 32  # io/udp.py RECEIVE_CALLS
START_GROUP = 200  # edges that start at one moment, below the limit that asks for cookies
QUERIES = 4000
_STATM = f"/proc/{os.getpid()}/statm"


@dataclass
class Cost:
    edges: int
    clusters: int
    us: dict[str, float] = field(default_factory=dict)  # median CPU time per message
    us_p90: dict[str, float] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)
    bytes_per_edge: float = 0.0  # when all are registered, one session each
    bytes_per_edge_renewed: float = 0.0  # when all have renewed, old sessions still receive
    look_up_us: float = 0.0  # Store.find alone, by VIP4
    core_percent: float = 0.0  # of one core: all that the engine did over RENEWING s of heartbeats and one renewal
    memory: str = ""
    drops: dict[str, int] = field(default_factory=dict)

    def as_text(self) -> str:
        costs = "  ".join(f"{name} {value:7.1f}" for name, value in self.us.items())
        return (
            f"{self.edges:6} edges / {self.clusters:3} clusters: us  {costs}   "
            f"{self.memory} {self.bytes_per_edge:7.0f} B/edge, {self.bytes_per_edge_renewed:7.0f} with two sessions   "
            f"look-up {self.look_up_us:.2f} us   steady {self.core_percent:.1f} % of a core"
        )


class Bench:
    def __init__(self, edges: int, clusters: int, memory: str, profile: str = "", seed: int = 1) -> None:
        rng = random.Random(seed)
        identity = Identity.generate(rng.randbytes)
        names = [f"cluster-{n}" for n in range(clusters)]
        self.cost = Cost(edges, clusters, memory=memory)
        self.now = 1000.0
        self._remote = RemoteClients(seed + 1, identity.public_key, names)
        self._profile = profile
        self._profiler = cProfile.Profile()
        self._samples: dict[str, list[float]] = defaultdict(list)
        self._spent = 0.0
        if memory == "trace":
            tracemalloc.start()
        self.engine = NucleusEngine(
            identity, [ClusterPolicy(name) for name in names], random=rng.randbytes, unix_ns=unix_ns
        )

    def run(self) -> Cost:
        edges = self.cost.edges
        before = self._memory()
        for at in range(0, edges, START_GROUP):
            sent = self._remote.start(min(START_GROUP, edges - at), self.now)
            self._settle("register", self._engine("handshake", sent))
            self.now += 1.0
        assert self._remote.states() == {"registered": edges}, self._remote.states()
        self.cost.bytes_per_edge = (self._memory() - before) / edges
        for _ in range(3):
            self.now += 26.0  # every client's heartbeat is due
            self._timers()
            self._settle("heartbeat", self._remote.timers(self.now), first=True)
        for at in range(0, QUERIES, 256):
            self._settle("query", self._remote.query(min(256, QUERIES - at), self.now), first=True)
        self._look_up()
        spent, began = self._spent, self.now
        self._renew()
        self.cost.core_percent = 100 * (self._spent - spent) / (self.now - began)
        self.cost.bytes_per_edge_renewed = (self._memory() - before) / edges
        assert self._remote.states() == {"registered": edges}, self._remote.states()
        self._remote.close()
        for name, samples in self._samples.items():
            self.cost.us[name] = statistics.median(samples)
            self.cost.us_p90[name] = statistics.quantiles(samples, n=10)[-1] if len(samples) > 1 else samples[0]
        self.cost.drops = {reason.name.lower(): n for reason, n in self.engine.drops.as_dict().items()}
        if self._profile:
            pstats.Stats(self._profiler).sort_stats("tottime").print_stats(45)
        return self.cost

    def _look_up(self) -> None:
        store = self.engine.store
        rng = random.Random(0)
        edges = [edge for n in range(self.cost.clusters) for edge in store.live(f"cluster-{n}")]
        sample = [(edge.cluster, edge.vip4) for edge in rng.choices(edges, k=20000)]
        start = time.thread_time()
        for cluster, vip4 in sample:
            store.find(cluster, vip4)
        self.cost.look_up_us = (time.thread_time() - start) / len(sample) * 1e6

    def _renew(self) -> None:
        """Until each has a second session: the engine's timers and the clients' in steps."""
        end = self.now + RENEWING
        while self.now < end:
            self.now += 0.5
            self._timers()
            sent = self._remote.timers(self.now)
            # A renewal and a heartbeat may fall together: told apart by the first byte.
            self._settle("heartbeat", [each for each in sent if each[0][0] == 4], first=True)
            answers = self._engine("handshake", [each for each in sent if each[0][0] != 4])
            self._settle("confirm", answers)

    def _timers(self) -> None:
        start = time.thread_time()
        if (due := self.engine.next_timer()) is not None and due <= self.now:
            self.engine.handle_timer(self.now)
            answers = self.engine.take_datagrams()
            spent = time.thread_time() - start
            self._spent += spent
            self._samples["timer"].append(spent * 1e6)
            self._settle("pushed", answers)

    def _settle(self, name: str, datagrams: Sent, *, first: bool = False) -> None:
        """Carries datagrams to and fro until there are no more; those of the clients' first answer count as ``name``.
        ``first``: ``datagrams`` are the clients' own."""
        if not first:
            datagrams = self._remote.deliver(datagrams, self.now) if datagrams else []
        while datagrams:
            answers = self._engine(name, datagrams)
            datagrams = self._remote.deliver(answers, self.now) if answers else []
            name = "more"

    def _engine(self, name: str, datagrams: Sent) -> Sent:
        engine, now, answers = self.engine, self.now, []
        clock = time.thread_time
        profiling = self._profile == name
        for at in range(0, len(datagrams), BATCH):
            batch = datagrams[at : at + BATCH]
            if profiling:
                self._profiler.enable()
            start = clock()
            for data, source in batch:
                engine.receive_datagram(data, source, now)
            answers += engine.take_datagrams()
            engine.take_events()
            engine.next_timer()
            spent = clock() - start
            self._spent += spent
            if profiling:
                self._profiler.disable()
            if len(batch) == BATCH or len(datagrams) < BATCH:
                self._samples[name].append(spent / len(batch) * 1e6)
            self.cost.messages[name] = self.cost.messages.get(name, 0) + len(batch)
        return answers

    def _memory(self) -> int:
        gc.collect()
        if self.cost.memory == "trace":
            return tracemalloc.get_traced_memory()[0]
        with open(_STATM, encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--clusters", type=int, default=10)
    parser.add_argument("--memory", choices=["rss", "trace"], default="rss")
    parser.add_argument("--profile", default="", help="handshake, register, heartbeat or query: where its time goes")
    parser.add_argument("--json", help="write all results to this file")
    arguments = parser.parse_args()
    results = []
    for edges in arguments.edges:
        cost = Bench(edges, arguments.clusters, arguments.memory, arguments.profile).run()
        print(cost.as_text(), flush=True)
        results.append(asdict(cost))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)


if __name__ == "__main__":
    main()
