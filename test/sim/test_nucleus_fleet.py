"""Thousands of edges, two Nuclei, 5 % loss: edges come, move and go; one Nucleus is killed, the other one partitioned.

Every edge that asks is told where its peer is, from two heartbeats after the fault on, and no departed peer comes back.
OMNI_FLEET_EDGES sets the number of edges of the large fleet.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator

import pytest
from support.nucleus_fleet import DEAD_AFTER, NucleusFleet

from omni_core.constants import HEARTBEAT_INTERVAL, HEARTBEATS_MISSED
from omni_core.sim.link import LinkQuality
from omni_core.sim.network import SimNet

pytestmark = pytest.mark.sim

LARGE = int(os.environ.get("OMNI_FLEET_EDGES", "10000"))  # two and a half minutes, mostly for handshakes
FLEET = 1000
ARRIVALS_PER_SECOND = 160.0  # a site that is switched on; handshakes above 250 a second cost cookies and repetitions
QUALITY = LinkQuality(latency=0.03, jitter=0.02, loss=0.05)
TWO_HEARTBEATS = 2 * HEARTBEAT_INTERVAL
FORGOTTEN_AFTER = DEAD_AFTER + (HEARTBEATS_MISSED + 1) * HEARTBEAT_INTERVAL  # s: who died in a fault is not told


@pytest.fixture(autouse=True)
def without_garbage_collection() -> Iterator[None]:
    """Millions of objects that live to the end: looking at them again and again would take half of the time."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def say(net: SimNet) -> Callable[[str], None]:
    began, start = time.process_time(), net.now
    return lambda what: print(
        f"{net.now - start:6.1f} s virtual, {time.process_time() - began:6.1f} s CPU: {what}", flush=True
    )


def arrived(net: SimNet, edges: int, say: Callable[[str], None]) -> NucleusFleet:
    net.set_quality(QUALITY)
    fleet = NucleusFleet(net, edges)
    seconds = edges / ARRIVALS_PER_SECOND
    fleet.arrive(edges, seconds)
    net.run(seconds)
    took = net.until(lambda: fleet.registered() == edges, 60, "all are registered", every=0.5)
    say(f"{edges} edges registered {took:.1f} s after the last began")
    fleet.churn(edges / 100)  # 1 % of the edges a minute
    return fleet


def test_both_faults_at_once(net: SimNet, say: Callable[[str], None]) -> None:
    """One Nucleus is killed, and the other one partitioned before all have come to it."""
    fleet = arrived(net, LARGE, say)
    first, second = fleet.nuclei
    first.crash()
    net.run(10)
    say(f"first Nucleus killed 10 s ago, {fleet.registered()} registered")
    net.partition([second], fleet.edges.values())
    net.run(12)
    net.heal_all()
    say(f"second Nucleus partitioned for 12 s, {fleet.registered()} registered")
    net.run(TWO_HEARTBEATS)
    say(f"two heartbeats later {fleet.registered()} of {len(fleet.edges)} registered")
    say(f"{fleet.check_queries()} questions answered right")
    fleet.calm()
    assert fleet.departed_that_are_known(FORGOTTEN_AFTER) == []
    say(f"{len(fleet.gone)} went; {net.loop.events} events, {dict(net.trace.delivered)}")


def test_one_fault_after_the_other(net: SimNet, say: Callable[[str], None]) -> None:
    fleet = arrived(net, FLEET, say)
    first, second = fleet.nuclei
    net.run(15)
    say(f"{fleet.check_queries()} questions answered right")

    first.crash()
    net.run(TWO_HEARTBEATS)
    say(f"first Nucleus killed, two heartbeats later {fleet.registered()} registered")
    say(f"{fleet.check_queries()} questions answered right")

    first.start()
    net.run(20)
    some = [edge for number, edge in enumerate(fleet.edges.values()) if number % 2]
    net.partition([second], some)
    net.run(TWO_HEARTBEATS)
    say(f"first is back, second partitioned from half, two heartbeats later {fleet.registered()} registered")
    say(f"{fleet.check_queries()} questions answered right")

    net.heal_all()
    net.run(TWO_HEARTBEATS)
    say(f"{fleet.check_queries()} questions answered right after the heal")
    fleet.calm()
    net.run(FORGOTTEN_AFTER - TWO_HEARTBEATS)
    assert len(fleet.gone) > FLEET / 50 and fleet.departed_that_are_known(FORGOTTEN_AFTER) == []
    live = {edge.key for edge in first.engine.store.live("mesh")}
    assert live == {edge.key for edge in fleet.clusters_of["mesh"]}, "the Nuclei know those that live and no others"
    net.until(lambda: fleet.views_of_the_mesh_are_right(), 2 * HEARTBEAT_INTERVAL, "everyone knows the mesh", every=1)
    say(f"{len(fleet.gone)} went, none came back")


@pytest.mark.parametrize("kept", ["all", "nothing"])
def test_the_redis_is_killed(net: SimNet, say: Callable[[str], None], kept: str) -> None:
    """The Nuclei go on from memory, each for the edges that use it, and find together again."""
    fleet = arrived(net, FLEET // 4, say)
    net.run(15)
    fleet.redis.kill()
    net.run(TWO_HEARTBEATS)
    say(f"Redis killed, two heartbeats later {fleet.registered()} registered")
    say(f"{fleet.check_queries(fleet.uses_the_first, departed=False)} questions answered right")
    fleet.redis.start(kept=kept)
    fleet.lives_since = net.now
    net.run(TWO_HEARTBEATS)
    say(f"{fleet.check_queries()} questions answered right, two heartbeats after it is back")
    fleet.calm()
    net.run(FORGOTTEN_AFTER)
    assert fleet.departed_that_are_known(FORGOTTEN_AFTER) == []
    live = {edge.key for edge in fleet.edges.values()}
    for nucleus in fleet.nuclei:
        assert {edge.key for name in fleet.clusters for edge in nucleus.engine.store.live(name)} == live
