"""Robots whose VIP4 the Nucleus leases: real Ganglia, real Nuclei, virtual time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface

import pytest

from omni_core.constants import HEARTBEAT_INTERVAL, HEARTBEATS_MISSED, LEASE_TIME, REFUSED_RETRY
from omni_core.engines.ganglion_events import PingResult, VipChanged, Warned
from omni_core.signaling.leases import Vip4Pool
from omni_core.sim.edge import SimEdge
from omni_core.sim.fleet import Fleet
from omni_core.sim.link import LinkQuality
from omni_core.sim.network import SimNet

pytestmark = pytest.mark.sim

POOL = Vip4Pool(IPv4Address("10.77.9.1"), IPv4Address("10.77.9.100"), 24)
ROUGH = LinkQuality(latency=0.03, jitter=0.02, loss=0.1, duplicate=0.05, reorder=0.05)
DEPARTED = HEARTBEAT_INTERVAL * HEARTBEATS_MISSED + 1


def with_pool(net: SimNet, pool: Vip4Pool | None = POOL, nuclei: int = 1, **options: int) -> Fleet:
    fleet = Fleet(net, nuclei=nuclei, **options)
    set_pool(fleet, pool)
    return fleet


def set_pool(fleet: Fleet, pool: Vip4Pool | None) -> None:
    for nucleus in fleet.nuclei:
        nucleus.clusters = [replace(policy, pool=pool) for policy in nucleus.clusters]
        nucleus.start()


def add(fleet: Fleet, n: int = 1, **options: object) -> list[SimEdge]:
    return [fleet.add(vip4=None, vip4_auto=True, **options) for _ in range(n)]  # type: ignore[arg-type]


def vip(edge: SimEdge) -> str:
    return edge.status().vip4


def vips(edges: Iterable[SimEdge]) -> list[str]:
    return [vip(edge) for edge in edges]


def told(edge: SimEdge, kind: type) -> list[str]:
    return [event.text for _, event in edge.events if isinstance(event, kind)]


def reach(net: SimNet, a: SimEdge, b: SimEdge) -> None:
    """By the VIP4 that b has."""
    token = a.engine.ping(IPv4Interface(vip(b)).ip, net.now)
    a.pump()

    def answers() -> list[PingResult]:
        return [event for _, event in a.events if isinstance(event, PingResult) and event.token == token]

    net.until(lambda: bool(answers()), 4, "an answer")
    assert answers()[0].rtt is not None, answers()[0].text


def test_a_fleet_gets_addresses_and_reaches_itself_by_them(net: SimNet) -> None:
    net.set_quality(ROUGH)
    fleet = with_pool(net)
    edges = add(fleet, 12)
    net.until(lambda: fleet.meshed() and all(vips(edges)), 60, "a mesh with addresses", every=0.1)
    assert len(set(vips(edges))) == 12
    assert all(IPv4Interface(text).ip.packed in POOL and text.endswith("/24") for text in vips(edges))
    assert all(edge.status().vip4_leased for edge in edges)
    net.set_quality(LinkQuality())
    for a, b in itertools.pairwise(edges):
        reach(net, a, b)
    assert fleet.nucleus.status().clusters[0].joins == 12, "nobody is told of a record without the address"


def test_it_is_the_same_after_restarts_of_the_robot_and_of_the_nucleus(net: SimNet) -> None:
    fleet = with_pool(net)
    edges = add(fleet, 3)
    net.until(lambda: fleet.meshed() and all(vips(edges)), 5, "addresses", every=0.05)
    before = vips(edges)
    edges[0].stop()
    net.run(5)
    edges[0].start()
    assert vip(edges[0]) == before[0], "at once"
    fleet.nucleus.crash()
    edges[1].crash()
    edges[1].start()
    net.run(DEPARTED)
    assert vip(edges[1]) == before[1], "also without a Nucleus"
    fleet.nucleus.start()
    net.until(lambda: fleet.registered() and fleet.meshed(), 120, "all are back", every=0.1)
    assert vips(edges) == before
    assert all(len(told(edge, VipChanged)) == 1 for edge in edges)
    reach(net, edges[2], edges[1])


def test_a_robot_that_has_forgotten_gets_its_address_again(net: SimNet) -> None:
    fleet = with_pool(net)
    (edge,) = add(fleet)
    net.until(lambda: bool(vip(edge)), 2, "an address")
    before = vip(edge)
    edge.stop()
    edge.settings = replace(edge.settings, vip4=None)
    others = add(fleet, 20)
    net.until(lambda: all(vips(others)), 5, "addresses")
    edge.start()
    net.until(lambda: bool(vip(edge)), 2, "an address")
    assert vip(edge) == before and before not in vips(others)


def test_an_address_is_kept_for_a_day_and_then_given_to_another(net: SimNet) -> None:
    one = IPv4Address("10.77.9.7")
    fleet = with_pool(net, Vip4Pool(one, one, 24))
    (first,) = add(fleet)
    net.until(lambda: bool(vip(first)), 2, "an address")
    first.stop()
    (second,) = add(fleet)
    net.until(lambda: fleet.registered([second]), 2, "registered all the same")
    assert vip(second) == "" and not second.status().vip4_leased
    assert len(told(second, Warned)) == 1 and "are in use or leased" in told(second, Warned)[0]
    second.stop()
    net.run(LEASE_TIME)
    second.start()
    net.until(lambda: bool(vip(second)), 2, "the address of the first")
    first.start()
    net.until(lambda: fleet.registered([first]), REFUSED_RETRY, "registered without")
    assert (vip(first), vip(second)) == ("", "10.77.9.7/24")
    assert "is not ours any more" in told(first, VipChanged)[-1]


def test_two_robots_race_for_the_last_address(net: SimNet) -> None:
    one = IPv4Address("10.77.9.7")
    fleet = with_pool(net, Vip4Pool(one, one, 24))
    edges = add(fleet, 2)
    net.until(fleet.registered, 3, "registered")
    assert sorted(vips(edges)) == ["", "10.77.9.7/24"]


def test_a_fixed_vip_inside_the_pool_is_left_alone(net: SimNet) -> None:
    fleet = with_pool(net, Vip4Pool(IPv4Address("10.77.9.1"), IPv4Address("10.77.9.4"), 24))
    fixed = fleet.add(vip4=IPv4Interface("10.77.9.2/24"))
    net.until(fleet.registered, 2, "registered")
    edges = add(fleet, 3)
    net.until(lambda: all(vips(edges)), 3, "addresses")
    assert sorted(vips(edges)) == ["10.77.9.1/24", "10.77.9.3/24", "10.77.9.4/24"]
    late = fleet.add(vip4=IPv4Interface("10.77.9.3/24"))
    net.until(lambda: late.status().nucleus_state == "refused", 2, "refused")
    assert "VIP 10.77.9.3 is held by key" in late.status().nucleus_reason
    reach(net, edges[0], fixed)


def test_a_session_that_was_there_before_the_lease_hears_of_it(net: SimNet) -> None:
    fleet = with_pool(net)
    fleet.nucleus.crash()
    a, b = (fleet.add(vip4=None, vip4_auto=True, start=False) for _ in range(2))
    fleet.introduce(a, b)
    a.start()
    b.start()
    net.until(fleet.meshed, 5, "a session without addresses", every=0.05)
    fleet.nucleus.start()
    net.until(lambda: fleet.registered() and all(vips([a, b])), 60, "addresses", every=0.1)
    net.until(lambda: f"{a.status().peers[0].vip4}/24" == vip(b), 5, "told", every=0.05)
    reach(net, a, b)
    reach(net, b, a)


def test_without_a_pool_an_edge_keeps_what_it_had(net: SimNet) -> None:
    fleet = with_pool(net)
    a, b = add(fleet, 2)
    net.until(lambda: fleet.meshed() and all(vips([a, b])), 3, "addresses", every=0.05)
    before = vips([a, b])
    set_pool(fleet, None)
    net.until(lambda: bool(told(a, Warned)) and bool(told(b, Warned)) and fleet.registered(), 120, "told", every=0.1)
    assert vips([a, b]) == before
    assert "leases no VIP4 in cluster" in told(a, Warned)[0] and f"it keeps VIP {before[0]}" in told(a, Warned)[0]
    reach(net, a, b)


@pytest.mark.parametrize("address", ["10.0.0.0/8", "127.0.0.1/8", "0.0.0.0/1", "224.0.0.1/24", "10.77.9.255/24"])
def test_a_nucleus_cannot_take_the_underlay_away(net: SimNet, address: str) -> None:
    """The simulated underlay is in 10.0.0.0/8."""
    interface = IPv4Interface(address)
    pool = Vip4Pool(interface.ip, interface.ip, interface.network.prefixlen)
    fleet = with_pool(net, pool)
    (edge,) = add(fleet)
    net.until(lambda: bool(told(edge, Warned)), 3, "a warning")
    assert vip(edge) == "" and "refused" in told(edge, Warned)[0]


def test_two_nuclei_that_share_nothing_give_a_key_the_same_address(net: SimNet) -> None:
    fleet = with_pool(net, nuclei=2, nucleus_keys=2)
    edges = add(fleet, 5)
    net.until(lambda: fleet.meshed() and all(vips(edges)), 10, "addresses", every=0.1)
    before = vips(edges)
    fleet.nuclei[0].crash()
    net.until(lambda: fleet.nuclei[1].status().clusters[0].edges == 5, 90, "all went to the other", every=0.1)
    assert vips(edges) == before


OTHER_POOL = Vip4Pool(IPv4Address("10.88.9.1"), IPv4Address("10.88.9.100"), 24)


def used(edge: SimEdge) -> int | None:
    """Number of the Nucleus that it is registered with."""
    links = edge.status().nuclei
    return next((n for n, link in enumerate(links) if link.role == "active" and link.state == "registered"), None)


def test_the_address_is_that_of_the_nucleus_that_is_used(net: SimNet) -> None:
    """Nuclei that share nothing lease other addresses: an edge has the new one when it has changed, and not before."""
    pools = [POOL, OTHER_POOL]
    fleet = with_pool(net, nuclei=2, nucleus_keys=2)
    fleet.nuclei[1].clusters = [replace(policy, pool=OTHER_POOL) for policy in fleet.nuclei[1].clusters]
    fleet.nuclei[1].start()
    edges = add(fleet, 4)
    net.until(lambda: fleet.meshed() and all(vips(edges)), 10, "addresses", every=0.1)
    first = vips(edges)

    def all_use(number: int) -> bool:
        for edge in edges:
            now_used = used(edge)
            if now_used is not None:
                assert IPv4Interface(vip(edge)).ip.packed in pools[now_used], (vip(edge), now_used)
        return all(used(edge) == number for edge in edges)

    fleet.nuclei[0].crash()
    net.until(lambda: all_use(1), 90, "all at the second", every=0.05)
    reach(net, edges[0], edges[1])
    fleet.nuclei[0].start()
    net.until(lambda: all_use(0), 300, "all back at the first", every=0.05)
    assert vips(edges) == first
    net.run(60)
    assert fleet.meshed() and [len(told(edge, VipChanged)) for edge in edges] == [3] * 4
    reach(net, edges[2], edges[3])


def test_a_nucleus_that_is_not_used_takes_no_address_away(net: SimNet) -> None:
    """It has given it to another edge, and is preferred: it is asked, and not gone to while another one serves us."""
    fleet = with_pool(net, nuclei=2, nucleus_keys=2)
    (edge,) = add(fleet)
    net.until(lambda: bool(vip(edge)), 10, "an address")
    address = vip(edge)
    net.run(60)
    fleet.nuclei[0].crash()
    net.until(lambda: used(edge) == 1, 90, "at the second", every=0.1)
    first = fleet.nuclei[0]
    first.clusters = [replace(policy, pool=None) for policy in first.clusters]
    first.start()
    second = fleet.nuclei.pop()
    other = fleet.add(vip4=IPv4Interface(address))
    net.until(lambda: fleet.registered([other]), 10, "the other has it at the first")
    refused = lambda: first.status().clusters[0].refusals  # noqa: E731
    net.until(lambda: refused() > 0, 600, "asked")
    net.run(1800)
    assert used(edge) == 1 and vip(edge) == address
    assert len(told(edge, VipChanged)) == 1 and not told(edge, Warned)
    assert "held by" in edge.status().nuclei[0].reason
    print(f"asked {refused()} times in 30 min")
    assert refused() <= 8
    second.crash()
    net.until(lambda: used(edge) == 0, 180, "at the first, there is no other one", every=0.1)
    net.until(lambda: vip(edge) == "", 1, "without the address")
    assert "is not ours any more" in told(edge, VipChanged)[-1]
