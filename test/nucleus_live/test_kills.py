"""Two Nuclei and the Redis that they share are killed in turn (kill -9), under the load of 2,000 edges, real UDP.

    redis-server <── Nucleus 1 <── loopback ──> 2,000 edges: heartbeats, questions, moves, joins, leaves, crashes
                 <── Nucleus 2 <──

Edges are at the other Nucleus within two heartbeats, every answer is right from then on, and in the end both Nuclei
know exactly those edges that live.
"""

from __future__ import annotations

import asyncio
import importlib.util
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.redis_server import PROGRAM, RedisServer

from bench.nucleus.load import Load, Rates
from bench.nucleus.processes import NucleusProcess
from omni_core.constants import HEARTBEATS_MISSED
from omni_core.crypto.identity import Identity

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(PROGRAM is None, reason="needs redis-server: tools/setup_env.sh installs it"),
    pytest.mark.skipif(importlib.util.find_spec("redis") is None, reason="needs the python package redis"),
]

EDGES = 2000
# s between heartbeats; long enough for edges to change over before what their dead Nucleus told of them is too old.
INTERVAL = 20.0
TWO_HEARTBEATS = 2 * INTERVAL
CLUSTERS = ["fleet-0", "fleet-1", "mesh"]
RATES = Rates(queries=40, moves=2, churn=2)
QUIETER = Rates(
    queries=40, moves=2, churn=2, crashes=0.0
)  # those that crashed have departed before the Redis is killed


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def nuclei(tmp_path: Path, redis: RedisServer, seed: int) -> Iterator[list[NucleusProcess]]:
    rng = random.Random(seed)
    config = {"clusters": CLUSTERS, "heartbeat_interval": INTERVAL, "store": redis.url, "drain_time": 0.0}
    processes = [NucleusProcess(tmp_path / f"n{n}", Identity.generate(rng.randbytes), config) for n in (1, 2)]
    try:
        for process in processes:
            process.start()
        yield processes
    finally:
        for process in processes:
            process.stop()


class Watch:
    """``load`` beside the processes."""

    def __init__(self, load: Load, nuclei: list[NucleusProcess]) -> None:
        self.load, self.nuclei = load, nuclei
        self.quiet_from = 0.0  # s since the load began: answers from then on have to be right

    def users(self, nucleus: NucleusProcess) -> int:
        at = nucleus.settings.endpoints[0]
        return sum(edge.registered and edge.nucleus == at for edge in self.load.edges.values())

    async def failover(self, dead: NucleusProcess) -> None:
        """All edges that used ``dead`` are registered with the other one, within two heartbeats."""
        load, began = self.load, asyncio.get_running_loop().time()
        had = self.users(dead)
        dead.kill()
        await load.until(
            lambda: self.users(dead) == 0 and load.registered >= len(load.edges) - EDGES // 100,
            TWO_HEARTBEATS + 2,  # and the time that it takes to look
            f"{had} edges leave the Nucleus that was killed",
        )
        took = asyncio.get_running_loop().time() - began
        print(f"{had} edges changed over within {took:.1f} s", flush=True)
        await self.answers_are_right()

    async def answers_are_right(self, within: float = 0.0) -> None:
        """Those to a question of each edge, at once or within some time."""
        loop = asyncio.get_running_loop()
        end = loop.time() + within
        while wrong := await self.load.check_all():
            assert loop.time() < end, f"{len(wrong)} wrong: {wrong[:5]}"
            print(f"{len(wrong)} wrong", flush=True)
        self.quiet_from = self.load.tally.since(loop.time())

    def disturb(self) -> None:
        """A fault begins: nothing that was answered before may have been wrong."""
        assert [each for each in self.load.tally.wrong if each.at >= self.quiet_from] == []
        self.quiet_from = float("inf")

    def know(self) -> list[int]:
        """How many edges each Nucleus knows."""
        return [sum(cluster["edges"] for cluster in nucleus.status()["clusters"]) for nucleus in self.nuclei]


async def test_each_is_killed_in_turn(nuclei: list[NucleusProcess], redis: RedisServer, seed: int) -> None:
    first, second = nuclei
    load = Load([each.settings for each in nuclei], CLUSTERS[:2], seed=seed + 1, heartbeat_interval=INTERVAL)
    watch = Watch(load, nuclei)
    try:
        await load.start(EDGES, 250)
        await load.until(lambda: load.registered == EDGES, 60, "all register", 0.25)
        await load.until(
            lambda: second.status()["sessions"] >= EDGES * 0.98, 60, "the second Nucleus is kept warm", 0.5
        )
        load.rates = RATES
        await asyncio.sleep(10)
        await watch.answers_are_right()
        load.rates = QUIETER

        watch.disturb()
        await watch.failover(first)
        first.start()
        await asyncio.sleep(2)

        watch.disturb()
        await watch.failover(second)
        second.start()
        await load.until(lambda: second.status()["store"]["available"], 20, "the second is back", 0.2)

        watch.disturb()
        redis.kill()
        await load.until(
            lambda: not any(each.status()["store"]["available"] for each in nuclei), 20, "they say so", 0.2
        )
        assert load.registered >= EDGES - EDGES // 100, "they go on from memory"
        await asyncio.sleep(5)
        await watch.answers_are_right(TWO_HEARTBEATS)  # a move that was on its way to the Redis is told again
        watch.disturb()
        redis.start()
        await load.until(lambda: all(each.status()["store"]["available"] for each in nuclei), 30, "it is back", 0.2)
        await watch.answers_are_right(TWO_HEARTBEATS)

        load.rates = Rates()
        took = await load.until(
            lambda: watch.know() == [len(load.edges)] * 2,
            2 * HEARTBEATS_MISSED * INTERVAL + 10,  # nobody departs for one life after the Redis is back
            "both know those that live and no others",
            0.5,
        )
        print(f"reconciled {took:.1f} s after the last change", flush=True)
        await watch.answers_are_right()
        assert load.registered == len(load.edges)
    finally:
        print({name: value for name, value in load.report().items() if name != "timeline"}, flush=True)
        await load.close()
