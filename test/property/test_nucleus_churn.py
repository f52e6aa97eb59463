"""Edges come, go, crash and move, the Nucleus restarts, the network is bad. Afterwards everyone knows what they should.

Against the truth that the test keeps: who lives, with which record, and where.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from support.nucleus_net import Edge, Net

from omni_core.constants import HEARTBEAT_INTERVAL, HEARTBEATS_MISSED
from omni_core.drops import DropReason
from omni_core.types import Endpoint

# s: restarted edges are back, departures are noticed, and so are those that happened while there was no Nucleus
SETTLE = (HEARTBEATS_MISSED + 1) * HEARTBEAT_INTERVAL + 60
LATE = {DropReason.SIGNALING_REPLAYED, DropReason.UNKNOWN_SESSION, DropReason.STALE_RECORD}  # what a bad network makes


def bad_network(rng: random.Random) -> Callable[[bytes, Endpoint, Endpoint], list[float]]:
    def carry(data: bytes, source: Endpoint, destination: Endpoint) -> list[float]:
        copies = 0 if rng.random() < 0.15 else 2 if rng.random() < 0.1 else 1
        return [0.005 + rng.random() * 0.05 for _ in range(copies)]

    return carry


class Churn:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.net = Net(seed)
        self.net.carry = bad_network(self.rng)
        self.numbers = iter(range(1, 10_000))

    @property
    def alive(self) -> list[Edge]:
        return [edge for edge in self.net.edges.values() if edge.alive]

    def step(self) -> None:
        rng, net = self.rng, self.net
        action = rng.random()
        edge = rng.choice(self.alive) if self.alive else None
        if edge is None or (action < 0.4 and len(self.alive) < 15):
            net.edge(next(self.numbers)).start()
        elif action < 0.5:
            edge.stop()
        elif action < 0.6:
            edge.kill()
        elif action < 0.7:  # crashed and started again elsewhere, with the VIP it had
            edge.kill()
            net.edge(next(self.numbers), identity=edge.identity, vip4=edge.info.vip4).start()
        elif action < 0.8:
            del net.edges[edge.at]
            edge.at = Endpoint(f"10.2.0.{next(self.numbers) % 250}", next(self.numbers))
            net.edges[edge.at] = edge
            edge.client.set_local_endpoints([Endpoint("192.168.7.7", edge.at.port)], net.now)
            net.pump(edge)
        elif action < 0.83:
            net.restart_nucleus()
        net.run(rng.choice((0.01, 0.3, 2.0, 20.0)))


@pytest.mark.parametrize("run", range(6))
def test_everyone_knows_what_they_should(run: int, seed: int) -> None:
    churn = Churn(seed + run)
    net = churn.net
    for _ in range(60):
        churn.step()
    net.run(SETTLE)
    net.carry = lambda *_: [0.01]
    net.run(60)
    alive = churn.alive
    assert all(edge.registered for edge in alive)
    assert net.nucleus.status(net.now).clusters[0].edges == len(alive)
    places = {edge.key: (edge.record, edge.at) for edge in alive}
    for edge in alive:
        assert edge.client.drops.as_dict().keys() <= LATE
        for key, (record, endpoints) in edge.known.items():
            assert key in places, "no departed peer stays"
            assert (record, endpoints[0]) == places[key], "what is known is the latest"
    for one in alive:
        for two in alive:
            assert one is two or one.key in two.known or two.key in one.known, "each pair can meet"
