"""Stores of two Nuclei on one real Redis: what one registers the other one knows; what only one can have, one gets."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from support.edges import make_edge as edge
from support.redis_server import RedisServer

from omni_core.config.nucleus_values import parse_store
from omni_core.io.clock import monotonic
from omni_core.io.redis_store import RedisAccess, RedisLink
from omni_core.signaling.denials import FOREVER, Denial
from omni_core.signaling.edge import Edge
from omni_core.signaling.shared.store import SharedStore
from omni_core.signaling.store import Conflict

CLUSTER = "fleet"
LIFETIME = 3.0
PATIENCE = 10.0  # s that a test waits for what takes milliseconds


class Nucleus:
    def __init__(self, name: str, redis: RedisServer, lifetime: float) -> None:
        location = parse_store(redis.url)
        assert location is not None
        self.store = SharedStore(name, [CLUSTER], lifetime=lifetime, random=os.urandom)
        self.link = RedisLink(self.store, RedisAccess(location), self._on_progress)
        self.living: set[bytes] = set()
        self._timer: asyncio.Task[None] | None = None

    def _on_progress(self) -> None:
        pass

    def start(self) -> None:
        self.link.start()
        self._timer = asyncio.get_running_loop().create_task(self._tick())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            now = monotonic()
            for key in list(self.living):
                known = self.store.get(key)
                if known is not None:
                    self.store.touch(known, now + self.store.lifetime)
            self.store.handle_timer(now)
            self.link.flush()

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self.link.stop()

    async def claim(self, new: Edge) -> Conflict | None:
        answer: asyncio.Future[Conflict | None] = asyncio.get_running_loop().create_future()
        now = monotonic()
        self.store.claim(new, now + self.store.lifetime, now, lambda conflict, _: answer.set_result(conflict))
        self.link.flush()
        conflict = await asyncio.wait_for(answer, PATIENCE)
        if conflict is None:
            self.living.add(new.key)
        return conflict

    def remove(self, key: bytes) -> None:
        self.living.discard(key)
        self.store.remove(key, monotonic())
        self.link.flush()

    def keys(self) -> set[bytes]:
        return {each.key for each in self.store.live(CLUSTER)}


async def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> None:
    end = monotonic() + patience
    while not condition():
        assert monotonic() < end, what
        await asyncio.sleep(0.01)


@pytest.fixture
async def nuclei(redis: RedisServer) -> AsyncIterator[tuple[Nucleus, Nucleus]]:
    pair = Nucleus("one", redis, LIFETIME), Nucleus("two", redis, LIFETIME)
    for each in pair:
        each.start()
    await until(lambda: all(each.store.available for each in pair), "both are connected")
    yield pair
    for each in pair:
        await each.stop()


async def test_what_one_registers_the_other_knows(nuclei: tuple[Nucleus, Nucleus]) -> None:
    one, two = nuclei
    assert one.store.epoch == two.store.epoch
    new = edge(1, cluster=CLUSTER)
    assert await one.claim(new) is None
    known = one.store.get(new.key)
    assert known is not None
    await until(lambda: two.store.get(new.key), "the other hears of it")
    there = two.store.get(new.key)
    assert there is not None
    assert (there.record, there.observed, there.nucleus, there.change) == (new.record, new.observed, "one", 1)
    two.store.hint(new.key, b"a" * 32)
    two.link.flush()
    await until(one.store.take_hints, "the hint comes to where it is")
    one.store.deny(Denial(b"k" * 32, FOREVER, "stolen"), monotonic())
    one.link.flush()
    await until(lambda: two.store.denied(b"k" * 32, monotonic()), "the denial is for all")
    one.remove(new.key)
    await until(lambda: not one.keys() | two.keys(), "it is gone at both")


async def test_one_of_two_gets_a_vip(nuclei: tuple[Nucleus, Nucleus]) -> None:
    for n in range(1, 201):
        pair = [edge(2 * n + side, cluster=CLUSTER, vip4=bytes([10, 1, 0, n])) for side in (0, 1)]
        answers = await asyncio.gather(*(nucleus.claim(each) for nucleus, each in zip(nuclei, pair, strict=True)))
        assert sorted(answer is None for answer in answers) == [False, True], n
        winner = pair[answers.index(None)]
        conflict = next(answer for answer in answers if answer is not None)
        assert (conflict.address, conflict.holder) == (winner.vip4, winner.key)


async def test_who_is_not_heard_departs_once_everywhere(nuclei: tuple[Nucleus, Nucleus]) -> None:
    one, two = nuclei
    for n in (1, 2):
        assert await nuclei[n - 1].claim(edge(n, cluster=CLUSTER)) is None
    await until(lambda: len(one.keys()) == len(two.keys()) == 2, "both know both")
    silent = edge(1, cluster=CLUSTER).key
    one.living.discard(silent)
    await until(lambda: silent not in one.keys() | two.keys(), "it departs", 4 * LIFETIME + PATIENCE)
    assert len(one.keys()) == len(two.keys()) == 1
    assert one.store.head(CLUSTER) == two.store.head(CLUSTER) == 3


@pytest.mark.parametrize("fault", ["killed", "stopped"])
async def test_a_redis_that_goes_and_comes_back(
    nuclei: tuple[Nucleus, Nucleus], redis: RedisServer, fault: str
) -> None:
    one, two = nuclei
    edges = [edge(n, cluster=CLUSTER) for n in range(6)]
    for each in edges[:4]:
        assert await (one if each in edges[:2] else two).claim(each) is None
    await until(lambda: len(one.keys()) == len(two.keys()) == 4, "both know all")
    epoch, seen = one.store.epoch, one.store.head(CLUSTER)
    pid = redis.pid
    began = monotonic()
    if fault == "killed":
        redis.kill()
    else:
        os.kill(pid, signal.SIGSTOP)
    try:
        await until(lambda: not one.store.available and not two.store.available, "both say so")
        assert monotonic() - began < 5
        assert one.store.epoch not in (epoch, two.store.epoch)
        assert one.store.since(CLUSTER, epoch, seen) == seen
        branch = one.store.epoch
        assert await one.claim(edges[4]) is None
        assert await two.claim(edges[5]) is None
        one.remove(edges[0].key)
        assert len(one.keys()) == 4
    finally:
        if fault == "stopped":
            os.kill(pid, signal.SIGCONT)
    if fault == "killed":
        redis.start()
    await until(lambda: one.store.available and two.store.available, "both are back")
    alive = {each.key for each in edges[1:]}
    await until(lambda: one.keys() == two.keys() == alive, "what happened meanwhile is so for both")
    assert one.store.epoch == two.store.epoch
    assert (one.store.epoch == epoch) == (fault == "stopped")
    assert one.store.since(CLUSTER, branch, seen) == (seen if fault == "stopped" else None)
    assert one.store.since(CLUSTER, branch, 99) is None
    assert [n.available for n in one.store.take_notices()] == [True, False, True]


async def test_many_at_once(nuclei: tuple[Nucleus, Nucleus], seed: int) -> None:
    rng = random.Random(seed)
    edges = [edge(n, cluster=CLUSTER) for n in range(2000)]
    assert set(await asyncio.gather(*(rng.choice(nuclei).claim(each) for each in edges))) == {None}
    await until(lambda: len(nuclei[0].keys()) == len(nuclei[1].keys()) == 2000, "both know all")
    for each in edges:
        here, there = (nucleus.store.get(each.key) for nucleus in nuclei)
        assert here is not None
        assert there is not None
        assert here.change == there.change


def test_the_scripts_are_of_this_directory(tmp_path: Path) -> None:
    from omni_core.io.redis_store import SCRIPTS, load_scripts

    assert set(load_scripts()) == {path.stem for path in SCRIPTS.glob("*.lua")} - {"common"}
