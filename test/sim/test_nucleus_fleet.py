"""Ten thousand edges, two Nuclei, 5 % loss: edges come, move and go; one Nucleus is killed, the other one partitioned.

Every edge that asks is told where its peer is, from two heartbeats after the fault on, and no departed peer comes back.
OMNI_FLEET_EDGES sets the number of edges.
"""

from __future__ import annotations

import os
import time

import pytest
from support.nucleus_fleet import DEAD_AFTER, NucleusFleet

from omni_core.constants import HEARTBEAT_INTERVAL, HEARTBEATS_MISSED
from omni_core.sim.link import LinkQuality
from omni_core.sim.network import SimNet

pytestmark = pytest.mark.sim

EDGES = int(os.environ.get("OMNI_FLEET_EDGES", "1000"))
ARRIVALS = max(20.0, EDGES / 160)  # s over which they are switched on
QUALITY = LinkQuality(latency=0.03, jitter=0.02, loss=0.05)


def test_ten_thousand_edges_and_two_nuclei(net: SimNet) -> None:
    began = time.process_time()

    def say(what: str) -> None:
        print(f"{net.now - 1000:6.1f} s virtual, {time.process_time() - began:6.1f} s CPU: {what}", flush=True)

    net.set_quality(QUALITY)
    fleet = NucleusFleet(net, EDGES)
    first, second = fleet.nuclei
    fleet.arrive(EDGES, ARRIVALS)
    net.run(ARRIVALS)
    took = net.until(lambda: fleet.registered() == EDGES, 60, "all are registered", every=0.5)
    say(f"{EDGES} edges registered {took:.1f} s after the last began")
    fleet.churn(EDGES / 100)  # 1 % of the edges a minute
    net.run(15)
    say(f"{fleet.check_queries()} questions answered right")

    first.crash()
    net.run(2 * HEARTBEAT_INTERVAL)
    say(f"first Nucleus killed, two heartbeats later {fleet.registered()} registered")
    say(f"{fleet.check_queries()} questions answered right")

    first.start()
    net.run(20)
    net.partition([second], fleet.edges.values())
    net.run(2 * HEARTBEAT_INTERVAL)
    say(f"first is back, second partitioned, two heartbeats later {fleet.registered()} registered")
    say(f"{fleet.check_queries()} questions answered right")

    net.heal_all()
    net.run(2 * HEARTBEAT_INTERVAL)
    say(f"{fleet.check_queries()} questions answered right after the heal")
    fleet.calm()
    life = DEAD_AFTER + (HEARTBEATS_MISSED + 1) * HEARTBEAT_INTERVAL
    assert fleet.departed_that_are_known(life) == []
    say(f"{len(fleet.gone)} went, none came back; {net.loop.events} events, {dict(net.trace.delivered)}")
