"""Edges with several Nuclei: failover, draining, failback, and what must not make an edge change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from omni_core.constants import (
    FAILBACK_AFTER,
    FAILBACK_MAX,
    FAILOVER_ATTEMPTS,
    HEARTBEAT_INTERVAL,
    HEARTBEATS_MISSED,
    NAT_KEEPALIVE,
    REQUEST_RETRY,
    STANDBY_DELAY,
)
from omni_core.engines.ganglion_events import NucleusChanged, PeerDown
from omni_core.sim.edge import SimEdge
from omni_core.sim.fleet import Fleet, connected
from omni_core.sim.link import LinkQuality
from omni_core.sim.network import SimNet
from omni_core.sim.nucleus import SimNucleus

pytestmark = pytest.mark.sim

SECRET = b"the fleet's secret"
FAILOVER = NAT_KEEPALIVE + 1.2 * FAILOVER_ATTEMPTS * REQUEST_RETRY + 1  # the heartbeat, its repetitions, a round trip
EDGES = 10


def roles(edge: SimEdge) -> list[str]:
    return [link.role for link in edge.status().nuclei]


def uses(edge: SimEdge, number: int) -> bool:
    link = edge.status().nuclei[number]
    return (link.role, link.state) == ("active", "registered")


def all_use(fleet: Fleet, number: int) -> bool:
    return all(uses(edge, number) for edge in fleet.edges)


def changes(edge: SimEdge) -> list[tuple[float, str]]:
    return [(when, event.text) for when, event in edge.events if isinstance(event, NucleusChanged)]


def settled(
    net: SimNet, nuclei: int = 2, keys: int = 1, edges: int = EDGES, quality: LinkQuality | None = None
) -> Fleet:
    """All registered with the first, the second warm."""
    if quality is not None:
        net.set_quality(quality)
    fleet = Fleet(net, secret=SECRET, nuclei=nuclei, nucleus_keys=keys)
    for _ in range(edges):
        fleet.add()
    net.until(lambda: fleet.meshed() and all_use(fleet, 0), 30, "a mesh", every=0.1)
    net.until(lambda: all(roles(e)[1] == "standby" for e in fleet.edges), STANDBY_DELAY + 5, "standby", every=0.1)
    net.run(5)
    return fleet


def fail(net: SimNet, fleet: Fleet, nucleus: SimNucleus, how: str, spare: Sequence[SimEdge] = ()) -> None:
    if how == "kill":
        nucleus.crash()
    elif how == "partition":
        net.partition([nucleus], [*fleet.edges, *spare])
    else:
        nucleus.engine.drain(net.now, 10.0)
        nucleus.pump()


def spare(fleet: Fleet) -> SimEdge:
    """One more, that is not started."""
    edge = fleet.add(start=False)
    edge.running = False
    fleet.edges.remove(edge)
    return edge


@pytest.mark.parametrize("keys", [1, 2])
@pytest.mark.parametrize("how", ["kill", "partition", "drain"])
def test_failover_is_well_within_two_heartbeats(net: SimNet, how: str, keys: int) -> None:
    fleet = settled(net, keys=keys, quality=LinkQuality(latency=0.03, jitter=0.01))
    assert all(roles(edge) == ["active", "standby"] for edge in fleet.edges)
    late = spare(fleet)
    net.run(net.random.uniform(0, HEARTBEAT_INTERVAL))
    before = [len(changes(edge)) for edge in fleet.edges]
    fail(net, fleet, fleet.nuclei[0], how, [late])
    took = net.until(lambda: all_use(fleet, 1), 2 * HEARTBEAT_INTERVAL, "the second", every=0.1)
    print(f"{how}, {keys} key(s): all {EDGES} edges at the second Nucleus after {took:.1f} s")
    if how == "drain":
        net.run(10)
        fleet.nuclei[0].crash()
    assert took <= (5 if how == "drain" else FAILOVER)
    net.run(3 * HEARTBEAT_INTERVAL)
    assert all_use(fleet, 1) and fleet.meshed()
    assert not any(isinstance(event, PeerDown) for edge in fleet.edges for _, event in edge.events)
    for edge, count in zip(fleet.edges, before, strict=True):
        told = changes(edge)[count:]
        assert len(told) == 1, told
        assert "is about to stop" in told[0][1] if how == "drain" else "does not answer" in told[0][1]
    # whoever is new is found by all
    fleet.edges.append(late)
    late.start()
    net.until(fleet.meshed, 30, "a mesh with a late one", every=0.1)
    assert uses(late, 1)


def test_nobody_changes_on_a_link_that_loses_packets(net: SimNet) -> None:
    fleet = settled(net, quality=LinkQuality(latency=0.03, jitter=0.02, loss=0.05))
    before = [len(changes(edge)) for edge in fleet.edges]
    net.run(1800)
    assert [len(changes(edge)) for edge in fleet.edges] == before
    assert all_use(fleet, 0)


@pytest.mark.parametrize("how", ["kill", "partition"])
def test_a_nucleus_that_comes_and_goes_is_left_alone(net: SimNet, how: str) -> None:
    fleet = settled(net, edges=4)
    before = [len(changes(edge)) for edge in fleet.edges]
    flapping = fleet.nuclei[0]
    for _ in range(45):  # 30 minutes
        fail(net, fleet, flapping, how)
        net.run(20)
        if how == "kill":
            flapping.start()
        else:
            net.heal_all()
        net.run(20)
    switches = [len(changes(edge)) - count for edge, count in zip(fleet.edges, before, strict=True)]
    print(f"{how}: changes of Nucleus in 30 min: {switches}")
    assert max(switches) <= 3
    assert fleet.meshed()


def test_one_that_fails_each_time_is_used_again_later_and_later(net: SimNet) -> None:
    """Up for longer than it has to be faultless, then down."""
    fleet = settled(net, edges=4)
    for _ in range(12):  # an hour
        fleet.nuclei[0].crash()
        net.run(60)
        fleet.nuclei[0].start()
        net.run(240)
    switches = [len(changes(edge)) for edge in fleet.edges]
    print(f"changes of Nucleus in an hour with 12 crashes: {switches}")
    assert max(switches) <= 9  # 24 without a hold-off
    net.run(2 * FAILBACK_MAX + 60)
    assert all_use(fleet, 0)


def test_the_preferred_one_is_used_again_when_it_has_been_well_for_a_while(net: SimNet) -> None:
    fleet = settled(net)
    fleet.nuclei[0].crash()
    net.until(lambda: all_use(fleet, 1), FAILOVER)
    net.run(120)
    fleet.nuclei[0].start()
    back = net.now
    net.run(FAILBACK_AFTER)
    assert all_use(fleet, 1)
    took = [0.0] * EDGES
    while not all(took):
        net.run(1)
        took = [t or (net.now - back if uses(edge, 0) else 0.0) for t, edge in zip(took, fleet.edges, strict=True)]
        assert net.now - back < 300
    print("used again after", " ".join(f"{t:.0f}" for t in took), "s")
    assert max(took) - min(took) > 10  # not all at once
    assert all("is preferred" in changes(edge)[-1][1] for edge in fleet.edges)
    assert fleet.nuclei[0].status().clusters[0].edges == EDGES
    assert not any(isinstance(event, PeerDown) for edge in fleet.edges for _, event in edge.events)


def test_sessions_outlive_all_nuclei(net: SimNet) -> None:
    fleet = settled(net, nuclei=3, keys=3)
    assert roles(fleet.edges[0]) == ["active", "standby", "cold"]
    for nucleus in fleet.nuclei:
        nucleus.crash()
    before = [len(changes(edge)) for edge in fleet.edges]
    net.run(600)
    assert fleet.meshed()
    assert not any(isinstance(event, PeerDown) for edge in fleet.edges for _, event in edge.events)
    for edge, count in zip(fleet.edges, before, strict=True):
        told = changes(edge)[count:]
        assert len(told) == 1 and told[0][1].count("does not answer") == 2, told
        assert edge.status().nucleus_state == "connecting"
    fleet.nuclei[2].start()
    took = net.until(lambda: all_use(fleet, 2), 2 * HEARTBEAT_INTERVAL, "the third", every=0.1)
    print(f"all at the only one that is back after {took:.1f} s")


def test_the_one_that_was_used_is_used_again_after_an_outage_of_our_own(net: SimNet) -> None:
    fleet = settled(net)
    net.partition(fleet.nuclei, fleet.edges)
    net.run(120)
    net.heal_all()
    net.until(lambda: all(edge.status().nucleus_state == "registered" for edge in fleet.edges), HEARTBEAT_INTERVAL)
    assert all_use(fleet, 0)


def test_the_third_takes_over_when_two_die(net: SimNet) -> None:
    fleet = settled(net, nuclei=3)
    fleet.nuclei[0].crash()
    net.until(lambda: all_use(fleet, 1), FAILOVER)
    net.until(lambda: all(edge.status().nuclei[2].state == "standby" for edge in fleet.edges), 30)
    fleet.nuclei[1].crash()
    net.until(lambda: all_use(fleet, 2), FAILOVER)


def test_two_nuclei_die_at_once(net: SimNet) -> None:
    fleet = settled(net, nuclei=3)
    fleet.nuclei[0].crash()
    fleet.nuclei[1].crash()
    took = net.until(lambda: all_use(fleet, 2), 2 * HEARTBEAT_INTERVAL, "the third", every=0.1)
    print(f"two of three die: {took:.1f} s")


def test_a_start_while_the_preferred_one_is_dead(net: SimNet) -> None:
    fleet = Fleet(net, secret=SECRET, nuclei=2)
    fleet.nuclei[0].crash()
    for _ in range(3):
        fleet.add()
    took = net.until(lambda: all_use(fleet, 1), 15, "the second", every=0.1)
    print(f"started at the second after {took:.1f} s")
    net.until(fleet.meshed, 5)


def test_edges_on_two_sides_of_a_partition_meet_again(net: SimNet) -> None:
    """Nuclei that share nothing: who reaches only the second does not hear of who is at the first."""
    fleet = settled(net, edges=4)
    near, far = fleet.edges[:2], fleet.edges[2:]
    net.partition([fleet.nuclei[0], *near], far)
    net.partition([fleet.nuclei[1]], near)
    net.until(lambda: all(uses(edge, 1) for edge in far), FAILOVER)
    net.run(HEARTBEATS_MISSED * HEARTBEAT_INTERVAL + 60)
    assert all(uses(edge, 0) for edge in near)
    assert connected(near[0], near[1]) and connected(far[0], far[1])
    late = fleet.add(start=False)
    net.partition([fleet.nuclei[0], *near], [late])
    late.start()
    net.until(lambda: uses(late, 1), 30)
    net.heal_all()
    took = net.until(lambda: all_use(fleet, 0) and fleet.meshed(), 2 * FAILBACK_AFTER + 60, "one cluster", every=1)
    print(f"one cluster again after {took:.0f} s")
    net.run(600)
    assert all_use(fleet, 0) and fleet.meshed()


def test_refused_by_one_nucleus(net: SimNet) -> None:
    """The first knows another secret. No edge of the second is disturbed by asking it again."""
    fleet = Fleet(net, secret=SECRET, nuclei=2)
    wrong = fleet.nuclei[0]
    wrong.clusters = [replace(wrong.clusters[0], admission_key=bytes(32))]
    wrong.start()
    started = net.now
    edges = [fleet.add() for _ in range(3)]
    while not all(uses(edge, 1) for edge in edges):
        assert not any(edge.status().nucleus_state == "refused" for edge in edges)
        net.run(0.1)
    assert net.now - started < 10
    net.until(fleet.meshed, 5)
    for edge in edges:
        (told,) = changes(edge)
        assert "registered with" in told[1] and "refused" in told[1] and "secret" in told[1], told
    before = [len(changes(edge)) for edge in edges]
    net.run(1800)
    assert [len(changes(edge)) for edge in edges] == before
    link = edges[0].status().nuclei[0]
    assert link.role == "standby" and "secret" in link.reason
    refused = wrong.status().clusters[0].refusals
    print(f"REGISTER of 3 edges at the one that refuses in 30 min: {refused}")
    assert refused <= 3 * 8


def test_refused_by_all_is_said_once(net: SimNet) -> None:
    fleet = Fleet(net, secret=SECRET, nuclei=2)
    for nucleus in fleet.nuclei:
        nucleus.clusters = [replace(nucleus.clusters[0], admission_key=bytes(32))]
        nucleus.start()
    edge = fleet.add()
    net.run(600)
    assert edge.status().nucleus_state == "refused"
    assert len(changes(edge)) == 1, changes(edge)
    refusals = sum(nucleus.status().clusters[0].refusals for nucleus in fleet.nuclei)
    assert refusals <= 2 * 600 / 30 + 2
    for nucleus in fleet.nuclei:
        nucleus.clusters = [replace(nucleus.clusters[0], admission_key=edge.settings.admission_key)]
        nucleus.start()
    net.until(lambda: edge.status().nucleus_state == "registered", 120)


def test_a_draining_nucleus_is_not_left_for_nothing(net: SimNet) -> None:
    fleet = settled(net, edges=3)
    fleet.nuclei[1].crash()
    net.run(90)
    fleet.nuclei[0].engine.drain(net.now, 10.0)
    fleet.nuclei[0].pump()
    net.run(60)
    assert all_use(fleet, 0)
    fleet.nuclei[1].start()
    net.until(lambda: all_use(fleet, 1), 90)


def test_queries_go_on_at_the_next_nucleus(net: SimNet) -> None:
    """Above the mesh limit peers are found by asking: also the question that the dead Nucleus did not answer."""
    fleet = Fleet(net, secret=SECRET, nuclei=2, mesh_limit=2)
    for _ in range(4):
        fleet.add()
    net.until(lambda: all_use(fleet, 0), 10)
    net.run(30)
    fleet.nuclei[0].crash()
    net.until(lambda: all_use(fleet, 1), FAILOVER)
    a, b = fleet.hosts[0], fleet.hosts[3]
    a.send(b.address, b"hello")
    net.until(lambda: b.payloads == [b"hello"], 6)


def test_a_stop_says_goodbye_everywhere(net: SimNet) -> None:
    fleet = settled(net, edges=3)
    fleet.nuclei[0].crash()
    net.until(lambda: all_use(fleet, 1), FAILOVER)
    fleet.nuclei[0].start()
    net.until(lambda: all_use(fleet, 0), 300)
    fleet.edges[0].stop()
    net.run(1)
    assert fleet.nuclei[0].status().clusters[0].edges == 2
    assert [len(nucleus.engine._parties) for nucleus in fleet.nuclei] == [2, 2]
