"""The NAT kinds in the terms of RFC 4787: mapping (section 4.1), filtering (5), refresh (4.3), hairpinning (6)."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from omni_core.sim.echo import EchoHost
from omni_core.sim.nat import (
    FULL_CONE,
    NAT_KINDS,
    PORT_RESTRICTED,
    RESTRICTED_CONE,
    SYMMETRIC,
    NatKind,
    NatTable,
)
from omni_core.sim.network import SimNat, SimNet


class Scene:
    """One host behind one NAT; two servers outside."""

    def __init__(self, net: SimNet, kind: NatKind, **options: float) -> None:
        self.net = net
        self.nat: SimNat = net.add_nat("nat", kind, **options)  # type: ignore[arg-type]
        self.inside = EchoHost("inside")
        net.add_host(self.inside, behind=self.nat)
        self.servers = {name: EchoHost(name, 1111) for name in ("s", "t")}
        for server in self.servers.values():
            net.add_host(server)

    def out(self, server: str) -> tuple[str, int]:
        """The inside host writes to a server; returns the source that the server saw."""
        host = self.servers[server]
        self.inside.send(b"out", (host.addresses[0], host.port))
        self.net.run(1)
        return host.received[-1][2]

    def back(self, server: str, to: tuple[str, int]) -> bool:
        """Does a packet from that server to an outside address come through?"""
        before = len(self.inside.received)
        self.servers[server].send(b"back", to)
        self.net.run(1)
        return len(self.inside.received) > before


@dataclass(frozen=True)
class Row:
    kind: NatKind
    same_port_for_all: bool
    stranger_enters: bool
    known_address_other_port_enters: bool


TABLE = [
    Row(FULL_CONE, True, True, True),
    Row(RESTRICTED_CONE, True, False, True),
    Row(PORT_RESTRICTED, True, False, False),
    Row(SYMMETRIC, False, False, False),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.kind.name)
def test_kinds(net: SimNet, row: Row) -> None:
    table = NatTable(row.kind, net.random)
    inside, known = ("192.168.0.2", 51820), ("203.0.113.1", 1000)
    port = table.outbound(inside, known, 0.0)
    assert port is not None
    assert table.inbound(port, known, 0.1) == inside
    assert table.outbound(inside, known, 0.2) == port, "a mapping in use does not change"
    assert (table.inbound(port, ("203.0.113.9", 1000), 0.3) == inside) == row.stranger_enters
    assert (table.inbound(port, ("203.0.113.1", 1001), 0.4) == inside) == row.known_address_other_port_enters
    assert (table.outbound(inside, ("203.0.113.1", 1001), 0.5) == port) == row.same_port_for_all
    assert (table.outbound(inside, ("203.0.113.2", 1000), 0.6) == port) == row.same_port_for_all


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.kind.name)
def test_kinds_in_the_network(net: SimNet, row: Row) -> None:
    scene = Scene(net, row.kind)
    outside = scene.out("s")
    assert outside[0] == scene.nat.address
    assert scene.back("s", outside)
    assert scene.back("t", outside) == row.stranger_enters
    assert (scene.out("t") == outside) == row.same_port_for_all


@pytest.mark.parametrize("kind", NAT_KINDS, ids=lambda kind: kind.name)
def test_mapping_times_out(net: SimNet, kind: NatKind) -> None:
    scene = Scene(net, kind, timeout=30.0)
    outside = scene.out("s")
    net.run(25)
    assert scene.back("s", outside)
    net.run(25)
    assert not scene.back("s", outside), "packets from outside do not keep it alive"
    assert net.trace.verdicts["no NAT mapping"] == 1
    for _ in range(4):
        outside = scene.out("s")
        net.run(25)
    assert scene.back("s", outside), "packets from inside do"


def test_inbound_refresh_keeps_the_mapping(net: SimNet) -> None:
    scene = Scene(net, PORT_RESTRICTED, timeout=30.0, inbound_refresh=True)
    outside = scene.out("s")
    for _ in range(4):
        net.run(25)
        assert scene.back("s", outside)


def test_filter_of_one_remote_times_out_while_the_mapping_lives(net: SimNet) -> None:
    scene = Scene(net, PORT_RESTRICTED, timeout=30.0)
    outside = scene.out("s")
    net.run(20)
    assert scene.out("t") == outside
    net.run(20)
    assert scene.back("t", outside)
    assert not scene.back("s", outside)


def test_ports_are_preserved_unless_taken(net: SimNet) -> None:
    nat = net.add_nat("nat", PORT_RESTRICTED)
    server = EchoHost("server")
    net.add_host(server)
    for name in ("first", "second"):
        host = EchoHost(name)
        net.add_host(host, behind=nat)
        host.send(name.encode(), (server.addresses[0], server.port))
    net.run(1)
    first, second = (source for _, _, source in server.received)
    assert first == (nat.address, 51820)
    assert second[0] == nat.address
    assert second[1] != 51820


@pytest.mark.parametrize("hairpin", [False, True])
def test_hairpin(net: SimNet, hairpin: bool) -> None:
    nat = net.add_nat("nat", FULL_CONE, hairpin=hairpin)
    server, a, b = EchoHost("server"), EchoHost("a"), EchoHost("b")
    net.add_host(server)
    net.add_host(a, behind=nat)
    net.add_host(b, behind=nat)
    b.send(b"open", (server.addresses[0], server.port))
    net.run(1)
    a.send(b"neighbour", server.received[-1][2])
    net.run(1)
    assert b.payloads == ([b"neighbour"] if hairpin else [])
    if hairpin:
        assert b.received[0][2][0] == nat.address, "RFC 4787, REQ-9: with the outside source address"
    a.send(b"directly", (b.addresses[0], b.port))
    net.run(1)
    assert b.payloads[-1] == b"directly"
    assert b.received[-1][2] == (a.addresses[0], a.port)


def test_two_sites_may_use_the_same_private_addresses(net: SimNet) -> None:
    one, two = net.add_nat("one", FULL_CONE), net.add_nat("two", FULL_CONE)
    a, b, neighbour = EchoHost("a"), EchoHost("b"), EchoHost("neighbour")
    net.add_host(a, "192.168.0.2", behind=one)
    net.add_host(neighbour, "192.168.0.3", behind=one)
    net.add_host(b, "192.168.0.3", behind=two)
    a.send(b"to a private address", ("192.168.0.3", b.port))
    net.run(1)
    assert neighbour.payloads == [b"to a private address"]
    assert b.received == []


def test_nested_nats(net: SimNet) -> None:
    carrier = net.add_nat("carrier", SYMMETRIC)
    home = net.add_nat("home", PORT_RESTRICTED, "100.64.0.2", behind=carrier)
    host, server = EchoHost("host"), EchoHost("server", echo=True)
    net.add_host(host, behind=home)
    net.add_host(server)
    host.send(b"through both", (server.addresses[0], server.port))
    net.run(1)
    assert server.received[0][2][0] == carrier.address
    assert host.payloads == [b"through both"]
    net.cut(host, server)
    host.send(b"cut", (server.addresses[0], server.port))
    net.run(1)
    assert net.trace.verdicts["cut"] == 1


@pytest.mark.parametrize("mishap", ["reset", "renumber"])
def test_a_nat_that_forgot(net: SimNet, mishap: str) -> None:
    scene = Scene(net, SYMMETRIC)
    outside = scene.out("s")
    if mishap == "reset":
        scene.nat.table.reset()
    else:
        net.renumber(scene.nat)
    assert not scene.back("s", outside)
    renewed = scene.out("s")
    assert renewed != outside
    assert scene.back("s", renewed)


# Classic hole punching: both learn the other's outside address from a server, then both write. Known result, for
# plain kinds (RFC 5128, section 3.3; Guha and Francis 2005): only pairs with a symmetric NAT against a
# port-restricted or another symmetric one fail.
IMPOSSIBLE = {(PORT_RESTRICTED, SYMMETRIC), (SYMMETRIC, PORT_RESTRICTED), (SYMMETRIC, SYMMETRIC)}


@pytest.mark.parametrize("kind_a", NAT_KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("kind_b", NAT_KINDS, ids=lambda kind: kind.name)
def test_hole_punching(net: SimNet, kind_a: NatKind, kind_b: NatKind) -> None:
    nat_a, nat_b = net.add_nat("nat-a", kind_a), net.add_nat("nat-b", kind_b)
    server, a, b = EchoHost("server"), EchoHost("a"), EchoHost("b")
    net.add_host(server)
    net.add_host(a, behind=nat_a)
    net.add_host(b, behind=nat_b)
    for host in (a, b):
        host.send(host.name.encode(), (server.addresses[0], server.port))
    net.run(1)
    seen = {payload.decode(): source for _, payload, source in server.received}
    for _ in range(3):  # each writes to the address the server saw, and to the address from which the other's came
        for host, other in ((a, "b"), (b, "a")):
            host.send(host.name.encode(), seen[other])
            for _, _, source in host.received:
                host.send(host.name.encode(), source)
        net.run(1)
    works = b"a" in b.payloads and b"b" in a.payloads
    assert works == ((kind_a, kind_b) not in IMPOSSIBLE)
