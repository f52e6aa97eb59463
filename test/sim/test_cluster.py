"""Real Ganglia and a real Nucleus: clusters form, stay, and mend."""

from __future__ import annotations

from dataclasses import replace

import pytest

from omni_core.constants import DEAD_AFTER, HEARTBEAT_INTERVAL, HEARTBEATS_MISSED, LIVENESS_POLL
from omni_core.engines.ganglion_events import PeerDown
from omni_core.sim.edge import SimEdge
from omni_core.sim.fleet import Fleet, connected
from omni_core.sim.flow import Flow
from omni_core.sim.link import LinkQuality
from omni_core.sim.network import SimNet

pytestmark = pytest.mark.sim

ROUGH = LinkQuality(latency=0.03, jitter=0.02, loss=0.1, duplicate=0.05, reorder=0.05)
SECRET = b"the fleet's secret"
DEPARTED = HEARTBEAT_INTERVAL * HEARTBEATS_MISSED + 1


def formed(net: SimNet, n: int, secret: bytes | None = SECRET, timeout: float = 2) -> Fleet:
    fleet = Fleet(net, secret=secret)
    for _ in range(n):
        fleet.add()
    net.until(fleet.meshed, timeout, "a mesh", every=0.05)
    return fleet


def finished(net: SimNet, flows: list[Flow]) -> list[Flow]:
    for flow in flows:
        flow.stop()
    net.run(1)
    return flows


@pytest.mark.parametrize("secret", [None, SECRET], ids=["open", "secret"])
def test_two_edges_come_up_and_talk(net: SimNet, secret: bytes | None) -> None:
    fleet = formed(net, 2, secret)
    flows = finished(net, [Flow(*fleet.edges).start(), Flow(*reversed(fleet.edges)).start()])
    assert all(flow.missing == flow.repeated == [] for flow in flows)
    a, b = fleet.edges
    status = a.status()
    assert status.nucleus_state == "registered"
    assert status.observed_endpoint == f"{a.addresses[0]}:{a.port}"
    assert [(peer.name, peer.state, peer.endpoint) for peer in status.peers] == [
        (b.name, "up", f"{b.addresses[0]}:{b.port}")
    ]
    assert status.cluster_size == 2
    assert fleet.nucleus.status().clusters[0].edges == 2


def test_arp_and_udp_between_hosts_of_the_overlay(net: SimNet) -> None:
    fleet = formed(net, 3)
    one, two, three = fleet.hosts
    one.send(two.address, b"to two")
    three.send(one.address, b"to one")
    net.run(1)
    assert (one.payloads, two.payloads, three.payloads) == ([b"to one"], [b"to two"], [])
    one.broadcast(b"to all")
    net.run(1)
    assert (one.payloads, two.payloads, three.payloads) == ([b"to one"], [b"to two", b"to all"], [b"to all"])


@pytest.mark.parametrize("n", [2, 5, 12])
def test_broadcast_reaches_every_peer_exactly_once(net: SimNet, n: int) -> None:
    fleet = formed(net, n)
    net.run(5)
    net.trace.delivered.clear()
    for i, host in enumerate(fleet.hosts):
        host.broadcast(bytes([i]))
    net.run(1)
    for i, host in enumerate(fleet.hosts):
        assert sorted(host.payloads) == [bytes([j]) for j in range(n) if j != i]
    assert net.trace.delivered["data"] == n * (n - 1), "one packet per frame and peer: nothing is forwarded"


def test_a_frame_from_the_overlay_never_goes_back_to_it(net: SimNet) -> None:
    """A careless bridge at edge 1 sends everything back into its local port: it must not circle."""
    fleet = formed(net, 3)
    net.run(5)
    looping = fleet.edges[1]
    looping.plug(looping.send_frame)
    net.trace.delivered.clear()
    fleet.hosts[0].broadcast(b"once")
    net.run(1)
    assert [host.payloads for host in fleet.hosts] == [[], [b"once"], [b"once"]]
    assert net.trace.delivered["data"] == 2
    assert looping.status().drops["split_horizon"] == 1


def test_a_mesh_forms_over_rough_links(net: SimNet) -> None:
    net.set_quality(ROUGH)
    fleet = formed(net, 10, timeout=60)
    for _ in range(60):
        net.run(10)
        assert fleet.meshed()
    assert fleet.registered()


def test_a_late_joiner_finds_edges_that_came_hours_ago(net: SimNet) -> None:
    fleet = formed(net, 3)
    net.run(2 * 3600)
    assert fleet.meshed()
    late = fleet.add()
    took = net.until(fleet.meshed, 2)
    print(f"found by all, and all found, after {took:.3f} s")
    fleet.hosts[3].broadcast(b"here I am")
    fleet.hosts[0].send(fleet.hosts[3].address, b"welcome")
    net.run(1)
    assert all(b"here I am" in host.payloads for host in fleet.hosts[:3])
    assert fleet.hosts[3].payloads == [b"welcome"]
    assert late.status().cluster_size == 4


def test_nucleus_restart(net: SimNet) -> None:
    """Sessions go on without it, the cluster re-forms in the new one, and a later joiner is found."""
    fleet = formed(net, 4)
    flows = [Flow(a, b).start() for a in fleet.edges for b in fleet.edges if a is not b]
    net.run(20)
    fleet.nucleus.crash()
    net.run(300)
    assert fleet.meshed()
    assert not fleet.registered()
    fleet.nucleus.start()
    took = net.until(lambda: fleet.nucleus.status().clusters[0].edges == 4, HEARTBEAT_INTERVAL)
    print(f"all registered again {took:.1f} s after the restart")
    net.until(fleet.registered, 1)
    fleet.add()
    net.until(fleet.meshed, 2)
    for flow in finished(net, flows):
        assert (flow.missing, flow.repeated) == ([], [])


def test_short_nucleus_restart(net: SimNet) -> None:
    """Down for a moment between two heartbeats: it does not know the sessions of before."""
    fleet = formed(net, 3)
    net.run(40)
    fleet.nucleus.crash()
    fleet.nucleus.start()
    took = net.until(lambda: fleet.nucleus.status().clusters[0].edges == 3, HEARTBEAT_INTERVAL + 20)
    print(f"all registered again {took:.1f} s after the restart")
    fleet.add()
    net.until(fleet.meshed, 2)


def test_nucleus_that_starts_after_the_edges(net: SimNet) -> None:
    fleet = Fleet(net, secret=SECRET)
    fleet.nucleus.crash()
    for _ in range(3):
        fleet.add()
    net.run(600)
    fleet.nucleus.start()
    net.until(fleet.meshed, 20)


def test_edge_that_stops_is_gone_at_once(net: SimNet) -> None:
    fleet = formed(net, 3)
    leaver, *others = fleet.edges
    leaver.stop()
    net.run(1)
    assert fleet.nucleus.status().clusters[0].edges == 2
    for edge in others:
        assert [peer.name for peer in edge.status().peers] == [other.name for other in others if other is not edge]
        assert [event.name for _, event in edge.events if isinstance(event, PeerDown)] == [leaver.name]
    leaver.start()
    net.until(fleet.meshed, 2)


def test_edge_that_crashes_departs_and_is_welcome_again(net: SimNet) -> None:
    fleet = formed(net, 3)
    fleet.edges[0].crash()
    net.run(DEPARTED)
    assert fleet.nucleus.status().clusters[0].edges == 2
    net.run(200)
    for edge in fleet.edges[1:]:
        assert len(edge.status().peers) == 1
    fleet.edges[0].start()
    net.until(fleet.meshed, 2)


@pytest.mark.parametrize("down", [0.2, 20.0])
def test_edge_restart(net: SimNet, down: float) -> None:
    fleet = formed(net, 4)
    net.run(60)
    fleet.edges[0].crash()
    net.run(down)
    fleet.edges[0].start()
    flows = [Flow(fleet.edges[0], b) for b in fleet.edges[1:]] + [Flow(b, fleet.edges[0]) for b in fleet.edges[1:]]
    net.run(2)
    for flow in flows:
        flow.start()
    net.run(30)
    for flow in finished(net, flows):
        assert (flow.missing, flow.repeated) == ([], [])


def test_clusters_do_not_see_each_other(net: SimNet) -> None:
    """Same Nucleus, same VIPs, two clusters."""
    fleet = Fleet(net, clusters=("red", "blue"), secret=SECRET)
    red = [fleet.add(cluster="red") for _ in range(3)]
    blue = [fleet.add(cluster="blue", vip4=edge.settings.vip4) for edge in red]
    net.until(lambda: fleet.meshed(red) and fleet.meshed(blue), 2)
    fleet.hosts[0].broadcast(b"for red eyes")
    fleet.hosts[0].send(fleet.hosts[1].address, b"for red one")
    unknown = Flow(red[0], blue[0])
    unknown.send_one()
    token = red[0].engine.ping(blue[0].identity.vip6, net.now)
    red[0].pump()
    net.run(30)
    for edge, host in zip(fleet.edges, fleet.hosts, strict=True):
        group = red if edge in red else blue
        assert {peer.name for peer in edge.status().peers} == {other.name for other in group if other is not edge}
        if group is blue:
            assert edge.frames == []
            assert host.received == []
    assert fleet.hosts[1].payloads == [b"for red eyes", b"for red one"]
    assert unknown.arrived == {}
    results = [event for _, event in red[0].events if getattr(event, "token", None) == token]
    assert [result.rtt for result in results] == [None]  # type: ignore[union-attr]


def test_an_edge_of_another_cluster_cannot_force_its_way_in(net: SimNet) -> None:
    fleet = Fleet(net, clusters=("red", "blue"), secret=None)
    red, blue = fleet.add(cluster="red"), fleet.add(cluster="blue", start=False)
    fleet.introduce(red, blue)
    blue.start()
    net.run(60)  # before anything is renewed
    assert not connected(blue, red)
    assert not connected(red, blue)
    assert red.status().peers == []
    assert net.trace.delivered["response"] == 2, "both from the Nucleus"


REFUSALS: dict[str, tuple[dict[str, object], str]] = {
    "vip taken": ({"vip4": None}, "held by"),
    "wrong secret": ({"admission_key": bytes(32)}, "secret of cluster 'fleet' is wrong"),
    "no secret": ({"admission_key": None}, "secret of cluster 'fleet' is missing"),
    "unknown cluster": ({"cluster": "nowhere"}, "serves no cluster 'nowhere'"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refused_with_a_reason(net: SimNet, case: str) -> None:
    settings, sentence = REFUSALS[case]
    fleet = formed(net, 2)
    if case == "vip taken":
        settings = {"vip4": fleet.edges[0].settings.vip4}
    late = fleet.add(**settings)
    net.run(100)
    status = late.status()
    assert status.nucleus_state == "refused"
    assert sentence in status.nucleus_reason
    assert fleet.nucleus.status().clusters[0].edges == 2
    assert fleet.meshed(fleet.edges[:2])
    assert not connected(fleet.edges[0], late)


def test_vip_is_free_again_when_its_holder_is_gone(net: SimNet) -> None:
    fleet = formed(net, 2)
    late = fleet.add(vip4=fleet.edges[0].settings.vip4)
    net.run(10)
    fleet.edges[0].stop()
    net.until(lambda: connected(fleet.edges[1], late), 60)
    fleet.hosts[1].send(fleet.hosts[0].address, b"hello again")
    net.run(5)
    assert fleet.hosts[2].payloads == [b"hello again"]


def test_wrong_nucleus_key_is_silence(net: SimNet) -> None:
    fleet = Fleet(net, secret=SECRET)
    other = fleet.add(start=False).key
    edge = fleet.add(nuclei=(replace(fleet.nucleus_settings()[0], public_key=other),))
    net.run(100)
    status = edge.status()
    assert status.nucleus_state == "connecting"
    assert status.nucleus_reason != ""
    assert net.trace.delivered.keys() == {"initiation"}


def roams(net: SimNet, edges: list[SimEdge]) -> None:
    for edge in edges:
        edge.roam()


@pytest.mark.parametrize("how_many", [1, 2, 4])
def test_roaming_with_a_nucleus(net: SimNet, how_many: int) -> None:
    """However many change their address in one moment: all find each other again, in one round of silence at most."""
    fleet = formed(net, 4)
    net.run(100)
    roams(net, fleet.edges[:how_many])
    flows = [Flow(a, b, 0.5).start() for a in fleet.edges for b in fleet.edges if a is not b]
    took = net.until(lambda: all(flow.arrived for flow in flows), DEAD_AFTER + 4 * LIVENESS_POLL)
    print(f"all hear all {took:.1f} s after {how_many} of 4 roamed")
    sent = [flow.sent for flow in flows]
    net.run(30)
    for flow, since in zip(finished(net, flows), sent, strict=True):
        assert [number for number in flow.missing if number >= since] == []
        assert flow.repeated == []


@pytest.mark.parametrize("outage", [10.0, 60.0, 200.0, 1000.0])
def test_partition_between_sites_heals(net: SimNet, outage: float) -> None:
    """Two sites lose sight of each other, not of the Nucleus."""
    fleet = formed(net, 6)
    net.run(50)
    net.partition(fleet.edges[:3], fleet.edges[3:])
    net.run(outage)
    assert fleet.meshed(fleet.edges[:3])
    assert fleet.meshed(fleet.edges[3:])
    net.heal_all()
    flows = [Flow(a, b, 1.0).start() for a in fleet.edges for b in fleet.edges if a is not b]
    took = net.until(lambda: all(flow.arrived for flow in flows), 70)
    print(f"one cluster again {took:.1f} s after an outage of {outage} s")
    net.until(fleet.meshed, 1)


@pytest.mark.parametrize("outage", [10.0, 100.0, 1000.0])
def test_edge_cut_off_from_everyone(net: SimNet, outage: float) -> None:
    """A robot out of Wi-Fi: back in its cluster soon after it has signal again."""
    fleet = formed(net, 4)
    net.run(50)
    lonely, *others = fleet.edges
    net.partition([lonely], [*others, fleet.nucleus])
    net.run(outage)
    net.heal_all()
    flows = [Flow(lonely, b, 1.0).start() for b in others] + [Flow(b, lonely, 1.0).start() for b in others]
    took = net.until(lambda: all(flow.arrived for flow in flows), 70)
    print(f"back {took:.1f} s after an outage of {outage} s")
    net.until(fleet.meshed, 60)
    net.until(fleet.registered, 60)


# --- above the mesh limit -----------------------------------------------------------------------------------------


def big(net: SimNet, n: int = 12, mesh_limit: int = 4) -> Fleet:
    fleet = Fleet(net, secret=SECRET, mesh_limit=mesh_limit)
    for _ in range(n):
        fleet.add()
    net.until(fleet.registered, 5)
    net.run(700)  # sessions of the time when the cluster was small are given up
    assert not any(connected(a, b) for a in fleet.edges for b in fleet.edges)
    return fleet


@pytest.mark.parametrize("way", ["arp", "mac"])
def test_unknown_destination_is_looked_up_on_demand(net: SimNet, way: str) -> None:
    fleet = big(net)
    a, b = fleet.edges[3], fleet.edges[9]
    assert a.status().on_demand
    signaling = net.trace.delivered["signaling"]
    if way == "arp":
        fleet.hosts[3].send(fleet.hosts[9].address, b"found")
        took = net.until(lambda: fleet.hosts[9].payloads == [b"found"], 3)
    else:
        flow = Flow(a, b)
        flow.send_one()
        took = net.until(lambda: bool(flow.arrived), 3)
        assert flow.repeated == []
    print(f"{took:.3f} s")
    assert connected(a, b)
    assert connected(b, a)
    assert net.trace.delivered["signaling"] - signaling <= 3, "query, answer, hint"
    pairs = [(x, y) for x in fleet.edges for y in fleet.edges if connected(x, y)]
    assert len(pairs) == 2


def test_late_joiner_above_the_mesh_limit(net: SimNet) -> None:
    """One that came long ago and one that comes now find each other, whoever speaks first."""
    fleet = big(net)
    net.run(3600)
    late = fleet.add()
    net.until(lambda: fleet.registered([late]), 2)
    fleet.hosts[0].send(fleet.hosts[-1].address, b"old to new")
    fleet.hosts[-1].send(fleet.hosts[1].address, b"new to old")
    net.run(3)
    assert fleet.hosts[-1].payloads == [b"old to new"]
    assert fleet.hosts[1].payloads == [b"new to old"]


def test_nobody_has_that_address(net: SimNet) -> None:
    fleet = big(net)
    for _ in range(100):
        fleet.hosts[0].send("10.77.99.99", b"nobody")
        net.run(0.1)
    net.run(10)
    assert fleet.edges[0].status().waiting_frames == 0
    assert fleet.nucleus.status().drops == {}


def test_on_demand_session_is_given_up_when_idle_and_comes_again(net: SimNet) -> None:
    fleet = big(net)
    for payload in (b"first", b"second"):
        fleet.hosts[0].send(fleet.hosts[1].address, payload)
        net.run(3)
        assert fleet.hosts[1].payloads[-1] == payload
        net.run(700)
        assert not connected(fleet.edges[0], fleet.edges[1])
        assert not connected(fleet.edges[1], fleet.edges[0])


def test_broadcasts_do_not_keep_on_demand_sessions_alive(net: SimNet) -> None:
    """Else everyone who ever talked would stay connected: DDS discovery multicasts each few seconds."""
    fleet = Fleet(net, secret=SECRET, mesh_limit=4)
    for _ in range(6):
        fleet.add()
    net.until(fleet.registered, 5)
    fleet.hosts[0].send(fleet.hosts[5].address, b"once")
    for _ in range(200):
        for host in fleet.hosts:
            host.broadcast(b"discovery")
        net.run(3)
    assert b"once" in fleet.hosts[5].payloads
    assert not any(connected(a, b) for a in fleet.edges for b in fleet.edges)


def test_on_demand_peer_that_moved(net: SimNet) -> None:
    """Known from before, now elsewhere: the Nucleus is asked again."""
    fleet = big(net)
    fleet.hosts[0].send(fleet.hosts[1].address, b"first")
    net.run(700)
    fleet.edges[1].roam()
    net.run(HEARTBEAT_INTERVAL + 1)
    fleet.hosts[0].send(fleet.hosts[1].address, b"second")
    net.until(lambda: fleet.hosts[1].payloads == [b"first", b"second"], 5)
