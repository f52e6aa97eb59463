"""Stores of several Nuclei on a model of Redis, on virtual time; and edges that register and are heard, or not."""

from __future__ import annotations

import random
from collections.abc import Callable

from support.edges import make_edge

from omni_core.signaling.edge import Edge
from omni_core.signaling.shared.store import SharedStore
from omni_core.signaling.store import Conflict, Notice
from omni_core.sim.loop import VirtualLoop
from omni_core.sim.redis import RedisModel, RedisWire

CLUSTER = "fleet"
LIFETIME = 90.0


class Site:
    """One Nucleus."""

    def __init__(self, name: str, net: Stores) -> None:
        self.net = net
        self.store = SharedStore(name, [CLUSTER], lifetime=LIFETIME, random=net.rng.randbytes)
        self.notices: list[Notice] = []
        self.wire = RedisWire(net.redis, self.store, net.now, net.loop.at, self._follow, latency=0.005)
        self._planned = float("inf")
        self._follow()

    def _follow(self) -> None:
        self.notices += self.store.take_notices()
        self.pump()

    def pump(self) -> None:
        if hasattr(self, "wire"):
            self.wire.flush()
        due = self.store.next_timer()
        if due is not None and due < self._planned:
            self._planned = due
            self.net.loop.at(due, self._tick, due)

    def _tick(self, planned: float) -> None:
        if planned == self._planned:
            self._planned = float("inf")
            self.store.handle_timer(self.net.now())
            self._follow()

    def claim(self, edge: Edge) -> list[Conflict | None]:
        """What is answered is put into the list."""
        answers: list[Conflict | None] = []
        now = self.net.now()
        self.store.claim(edge, now + LIFETIME, now, lambda conflict, _: answers.append(conflict))
        self.pump()
        return answers

    def remove(self, key: bytes) -> None:
        self.store.remove(key, self.net.now())
        self.pump()

    def known(self) -> set[bytes]:
        return {edge.key for edge in self.store.live(CLUSTER)}


class Stores:
    def __init__(self, seed: int, count: int = 2) -> None:
        self.rng = random.Random(seed)
        self.loop = VirtualLoop()
        self.redis = RedisModel(lambda: self.loop.now + 1.7e9, self.rng.randbytes)
        self.sites = [Site(f"n{number}", self) for number in range(count)]

    def now(self) -> float:
        return self.loop.now

    def run(self, seconds: float) -> None:
        self.loop.run_until(self.loop.now + seconds)

    def until(self, condition: Callable[[], object], what: str, patience: float = 30.0) -> float:
        began = self.loop.now
        while not condition():
            assert self.loop.now - began < patience, what
            self.run(0.01)
        return self.loop.now - began


class Robot:
    """An edge that is heard at ``site`` every 30 s, and registers there when it is not known as it is."""

    def __init__(self, net: Stores, number: int, site: Site, vip: int | None = None) -> None:
        self.net, self.number, self.site, self.version, self.port = net, number, site, 1, 5000
        self.vip = number if vip is None else vip
        self.key = make_edge(number, CLUSTER).key
        self.alive = True
        self.refused = 0
        net.loop.at(net.now(), self._beat)

    def edge(self) -> Edge:
        vip4 = bytes([10, 9]) + self.vip.to_bytes(2, "big")
        return make_edge(self.number, CLUSTER, version=self.version, port=self.port, vip4=vip4)

    def beat(self) -> None:
        """A heartbeat, as the engine handles it."""
        store, now = self.site.store, self.net.now()
        known, mine = store.get(self.key), self.edge()
        if known is None or known.version < self.version:
            self._register(mine)
            return
        if known.version == self.version:
            store.touch(known, now + LIFETIME)
            if known.observed != mine.observed:
                store.move(known, mine.observed, (), now)
        self.site.pump()

    def _register(self, edge: Edge) -> None:
        now = self.net.now()

        def done(conflict: Conflict | None, now: float) -> None:
            self.refused += conflict is not None

        self.site.store.claim(edge, now + LIFETIME, now, done)
        self.site.pump()

    def _beat(self) -> None:
        if self.alive:
            self.beat()
            self.net.loop.at(self.net.now() + self.net.rng.uniform(20, 25), self._beat)

    def go_to(self, site: Site) -> None:
        self.site = site
        self.beat()

    def leave(self) -> None:
        self.alive = False
        self.site.remove(self.key)

    def vanish(self) -> None:
        self.alive = False
