"""Edges behind NATs find each other through the Nucleus, without a relay, wherever that is possible.

Possible and not, for the plain kinds (RFC 5128, section 3.3): a symmetric NAT gives each destination another port,
which the other side cannot know in advance. It can learn the port from what comes in, if its own NAT lets it in: a
full or restricted cone does, a port-restricted or symmetric one does not. Those three pairs need a relay.
"""

from __future__ import annotations

import pytest

from omni_core.constants import MESH_LIMIT
from omni_core.sim.fleet import Fleet, connected
from omni_core.sim.flow import Flow
from omni_core.sim.link import LinkQuality
from omni_core.sim.nat import FULL_CONE, NAT_KINDS, PORT_RESTRICTED, RESTRICTED_CONE, SYMMETRIC, NatKind
from omni_core.sim.network import SimNat, SimNet

pytestmark = pytest.mark.sim

SECRET = b"the fleet's secret"
PUBLIC = None
NEED_A_RELAY = {(PORT_RESTRICTED, SYMMETRIC), (SYMMETRIC, PORT_RESTRICTED), (SYMMETRIC, SYMMETRIC)}


def name(kind: NatKind | None) -> str:
    return kind.name if kind else "public"


def site(net: SimNet, label: str, kind: NatKind | None, **options: object) -> SimNat | None:
    return net.add_nat(label, kind, timeout=60.0, **options) if kind else None  # type: ignore[arg-type]


@pytest.mark.parametrize("kind_a", [PUBLIC, *NAT_KINDS], ids=name)
@pytest.mark.parametrize("kind_b", [PUBLIC, *NAT_KINDS], ids=name)
@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_pairs_of_nats(net: SimNet, kind_a: NatKind | None, kind_b: NatKind | None, loss: float) -> None:
    net.set_quality(LinkQuality(latency=0.03, jitter=0.02, loss=loss))
    fleet = Fleet(net, secret=SECRET)
    a = fleet.add(behind=site(net, "nat-a", kind_a))
    net.run(5)
    b = fleet.add(behind=site(net, "nat-b", kind_b))
    if (kind_a, kind_b) in NEED_A_RELAY:
        net.run(300)
        assert not connected(a, b)
        assert not connected(b, a)
        assert fleet.registered()
        return
    took = net.until(fleet.meshed, 30 if loss else 5)
    print(f"{name(kind_a)} to {name(kind_b)}, loss {loss}: {took:.3f} s")
    flows = [Flow(a, b, 20.0).start(), Flow(b, a, 20.0).start()]
    for _ in range(60):
        net.run(10)
        assert fleet.meshed()
    for flow in flows:
        flow.stop()
    net.run(1)
    for flow in flows:
        assert len(flow.missing) <= flow.sent * 3 * loss
        assert flow.repeated == []


@pytest.mark.parametrize("kind_a", NAT_KINDS, ids=name)
@pytest.mark.parametrize("kind_b", NAT_KINDS, ids=name)
def test_on_demand_through_nats(net: SimNet, kind_a: NatKind, kind_b: NatKind) -> None:
    """Above the mesh limit nobody connects until there is a frame; then both sides must punch."""
    fleet = Fleet(net, secret=SECRET, mesh_limit=1)
    fleet.add(behind=site(net, "nat-a", kind_a))
    fleet.add(behind=site(net, "nat-b", kind_b))
    fleet.add()
    net.until(fleet.registered, 5)
    net.run(400)
    fleet.hosts[0].send(fleet.hosts[1].address, b"hello")
    if (kind_a, kind_b) in NEED_A_RELAY:
        net.run(60)
        assert fleet.hosts[1].payloads == []
    else:
        took = net.until(lambda: fleet.hosts[1].payloads == [b"hello"], 5)
        print(f"{name(kind_a)} to {name(kind_b)}: {took:.3f} s")


@pytest.mark.parametrize("mesh_limit", [MESH_LIMIT, 1], ids=["mesh", "on demand"])
def test_lost_hint_is_asked_for_again(net: SimNet, mesh_limit: int) -> None:
    """What tells the other side to open its NAT (a push, or a CONNECT_HINT) is one datagram that nobody answers."""
    fleet = Fleet(net, secret=SECRET, mesh_limit=mesh_limit)
    fleet.add(behind=net.add_nat("nat-a", PORT_RESTRICTED))
    fleet.add()
    net.until(fleet.registered, 5)
    net.run(3)
    to_a = net.link(fleet.nucleus, fleet.edges[0])
    b = fleet.add(behind=net.add_nat("nat-b", PORT_RESTRICTED))
    to_a.cut = True
    net.until(lambda: fleet.registered([b]), 5)
    fleet.hosts[2].send(fleet.hosts[0].address, b"hello")
    net.run(0.5)
    to_a.cut = False
    net.until(lambda: fleet.hosts[0].payloads == [b"hello"], 4)


@pytest.mark.parametrize("hairpin", [False, True])
@pytest.mark.parametrize("kind", NAT_KINDS, ids=name)
def test_neighbours_behind_one_nat(net: SimNet, kind: NatKind, hairpin: bool) -> None:
    """Two robots in one workshop: by local addresses; a third elsewhere has the same private address."""
    fleet = Fleet(net, secret=SECRET)
    here, there = net.add_nat("here", kind, hairpin=hairpin), net.add_nat("there", FULL_CONE)
    one, two = fleet.add(behind=here, address="192.168.0.2"), fleet.add(behind=here, address="192.168.0.3")
    fleet.add(behind=there, address="192.168.0.3")
    net.until(fleet.meshed, 5)
    peer = one.engine.book.get(two.key)
    assert peer is not None
    assert peer.path is not None
    assert peer.path.host in ("192.168.0.3", here.address)


def test_nat_that_forgets_or_gets_another_address(net: SimNet) -> None:
    """A router reboots; a DSL line gets a new address in the night. The next keepalive from inside repairs it."""
    fleet = Fleet(net, secret=SECRET)
    nats = [net.add_nat("nat-a", PORT_RESTRICTED), net.add_nat("nat-b", RESTRICTED_CONE)]
    for nat in nats:
        fleet.add(behind=nat)
    fleet.add()
    net.until(fleet.meshed, 5)
    for event in (nats[0].table.reset, lambda: net.renumber(nats[0]), lambda: net.renumber(nats[1])):
        net.run(100)
        event()
        flows = [Flow(a, b, 1.0).start() for a in fleet.edges for b in fleet.edges if a is not b]
        took = net.until(lambda flows=flows: all(flow.arrived for flow in flows), 60)  # type: ignore[misc]
        print(f"all hear all after {took:.1f} s")
        for flow in flows:
            flow.stop()


def test_symmetric_nat_that_forgets(net: SimNet) -> None:
    fleet = Fleet(net, secret=SECRET)
    nat = net.add_nat("nat", SYMMETRIC)
    a, b = fleet.add(behind=nat), fleet.add()
    net.until(fleet.meshed, 5)
    net.run(100)
    net.renumber(nat)
    flows = [Flow(a, b, 1.0).start(), Flow(b, a, 1.0).start()]
    net.until(lambda: all(flow.arrived for flow in flows), 5)


def test_both_sites_renumbered_at_once(net: SimNet) -> None:
    """The old paths lead nowhere from either side; only the Nucleus can tell."""
    fleet = Fleet(net, secret=SECRET)
    nats = [net.add_nat("nat-a", PORT_RESTRICTED), net.add_nat("nat-b", PORT_RESTRICTED)]
    a, b = (fleet.add(behind=nat) for nat in nats)
    net.until(fleet.meshed, 5)
    net.run(100)
    for nat in nats:
        net.renumber(nat)
    flows = [Flow(a, b, 1.0).start(), Flow(b, a, 1.0).start()]
    took = net.until(lambda: all(flow.arrived for flow in flows), 90)
    print(f"{took:.1f} s")


def test_nested_nats(net: SimNet) -> None:
    """Carrier-grade NAT around a home router, on both sides, and neighbours under one carrier."""
    fleet = Fleet(net, secret=SECRET)
    carrier = net.add_nat("carrier", PORT_RESTRICTED, hairpin=True)
    other = net.add_nat("other carrier", RESTRICTED_CONE)
    for i, outer in enumerate((carrier, carrier, other)):
        home = net.add_nat(f"home {i}", PORT_RESTRICTED, f"100.64.0.{2 + i}", behind=outer)
        fleet.add(behind=home)
    net.until(fleet.meshed, 10)
