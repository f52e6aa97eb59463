"""The load generator against real Nucleus processes: ten thousand edges, and how fast edges change to another one."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from pathlib import Path

from bench.load import TICK, processors
from bench.nucleus.load import Load, Rates
from bench.nucleus.load_tally import quantiles
from bench.nucleus.processes import NucleusProcess
from omni_core.crypto.identity import Identity

EDGES_OF_CLUSTER = 1000
FAILOVER_LIMIT = 90.0  # s


def nuclei(directory: Path, count: int, clusters: list[str], seed: int) -> list[NucleusProcess]:
    rng = random.Random(seed + 1_000_000)  # other keys than the edges'
    config = {"clusters": clusters, "drain_time": 0.0}
    made = [NucleusProcess(directory / f"n{n}", Identity.generate(rng.randbytes), config) for n in range(count)]
    for process in made:
        process.start()
    return made


async def steady(edges: int, seconds: float, seed: int, rate: float) -> dict[str, object]:
    """All register, then live for a while: heartbeats of 30 s, sessions renewed each 120 s, 1 % a minute come and go,
    1 % move, 50 questions a second."""
    clusters = [f"cluster-{n}" for n in range(max(1, edges // EDGES_OF_CLUSTER))]
    with tempfile.TemporaryDirectory() as directory:
        (nucleus,) = nuclei(Path(directory), 1, clusters, seed)
        load = Load([nucleus.settings], clusters, seed=seed)
        try:
            empty = nucleus.memory()
            cpu, began = nucleus.cpu(), time.monotonic()
            await load.start(edges, rate)
            await load.until(lambda: load.registered >= edges, 180, "all register", 0.5)
            registered, registering = time.monotonic() - began, nucleus.cpu() - cpu
            one_session = nucleus.memory()
            load.rates = Rates(queries=50, moves=1, churn=1)
            await asyncio.sleep(20)  # what the arrival left to do
            _, steal = processors()
            cpu, began, own = nucleus.cpu(), time.monotonic(), time.process_time()
            await asyncio.sleep(seconds)
            elapsed = time.monotonic() - began
            return {
                "edges": edges,
                "registered_within_s": registered,
                "register_cpu_ms": 1000 * registering / edges,
                "cpu_share": (nucleus.cpu() - cpu) / elapsed,
                "load_cpu_share": (time.process_time() - own) / elapsed,
                "steal_share": (processors()[1] - steal) * TICK / elapsed / (os.cpu_count() or 1),
                "bytes_per_edge": (one_session - empty) / edges,
                "bytes_per_edge_later": (nucleus.memory() - empty) / edges,
                "rss": nucleus.memory(),
                "report": {key: value for key, value in load.report().items() if key != "timeline"},
            }
        finally:
            await load.close()
            nucleus.stop()


async def failover(edges: int, seed: int) -> dict[str, object]:
    """Two Nuclei, heartbeats of 30 s; the one that all use is killed."""
    with tempfile.TemporaryDirectory() as directory:
        first, second = processes = nuclei(Path(directory), 2, ["fleet"], seed)
        load = Load([process.settings for process in processes], ["fleet"], seed=seed)
        try:
            await load.start(edges, 200)
            await load.until(lambda: load.registered >= edges, 120, "all register", 0.25)
            await asyncio.sleep(40)  # the second is warm everywhere, and heartbeats are spread
            at = load.tally.since(asyncio.get_running_loop().time())
            first.kill()
            there = second.settings.endpoints[0]
            await load.until(
                lambda: all(edge.registered and edge.nucleus == there for edge in load.edges.values()),
                FAILOVER_LIMIT, "all change over", 0.25,
            )  # fmt: skip
            times: dict[int, float] = {}
            for when, edge in load.tally.registered:
                if when > at:
                    times.setdefault(edge, when - at)
            return {"edges": edges, "changed": len(times), **quantiles(list(times.values()))}
        finally:
            await load.close()
            for process in processes:
                process.stop()
