"""Every Nucleus is dead: sessions live, known peers meet again by cached records, and gossip spreads moves."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from omni_core.constants import (
    DEAD_AFTER,
    GOSSIP_INTERVAL,
    HEARTBEAT_INTERVAL,
    HEARTBEATS_MISSED,
    LIVENESS_POLL,
    NAT_KEEPALIVE,
    ORPHANED_AFTER,
    RECONNECT_MAX,
    RELEASE_AFTER,
    REQUEST_RETRY,
    TOMBSTONE_TIME,
)
from omni_core.crypto.identity import Identity
from omni_core.crypto.record import signed
from omni_core.engines.known_peers import KnownPeer, encode_known
from omni_core.engines.peers import Peer
from omni_core.signaling.endpoints import pack_endpoint
from omni_core.sim.edge import SimEdge
from omni_core.sim.fleet import Fleet, connected, one_session
from omni_core.sim.flow import Flow
from omni_core.sim.nat import NAT_KINDS, PORT_RESTRICTED, SYMMETRIC, NatKind
from omni_core.sim.network import SimNet
from omni_core.types import Endpoint
from omni_core.wire.gossip import GossipEntry, GossipMessage, encode_gossip
from omni_core.wire.hello import CAPABILITY_BULK, CAPABILITY_GROUPS
from omni_core.wire.inband import ControlKind

pytestmark = pytest.mark.sim

SECRET = b"the fleet's secret"
# A heartbeat may just have been answered; the next one gets four sendings, REQUEST_RETRY doubled.
NUCLEUS_MISSED = NAT_KEEPALIVE + 1.2 * (1 + 2 + 4 + 8) * REQUEST_RETRY


def formed(net: SimNet, n: int, *, nuclei: int = 1, **settings: object) -> Fleet:
    fleet = Fleet(net, secret=SECRET, nuclei=nuclei)
    for _ in range(n):
        fleet.add(**settings)
    net.until(fleet.meshed, 5, "a mesh", every=0.05)
    return fleet


def orphan(net: SimNet, fleet: Fleet) -> None:
    """Every Nucleus dies, and everybody has noticed."""
    for nucleus in fleet.nuclei:
        nucleus.crash()
    running = [edge for edge in fleet.edges if edge.running]
    bound = NUCLEUS_MISSED + ORPHANED_AFTER + 1
    net.until(lambda: all(edge.status().gossip.active for edge in running), bound, every=1)


def hear_each_other(net: SimNet, a: SimEdge, b: SimEdge, timeout: float) -> float:
    """Until frames arrive both ways, sent from now on."""
    flows = [Flow(a, b, 0.2).start(), Flow(b, a, 0.2).start()]
    took = net.until(lambda: all(flow.arrived for flow in flows), timeout, every=0.1)
    for flow in flows:
        flow.stop()
    return took


def sent(edges: Sequence[SimEdge]) -> int:
    return sum(edge.status().gossip.sent for edge in edges)


def peer_of(edge: SimEdge, other: SimEdge) -> Peer:
    peer = edge.engine.book.get(other.key)
    assert peer is not None
    return peer


def gossip(teller: SimEdge, to: SimEdge, message: GossipMessage) -> None:
    """Whatever a peer may say."""
    net = teller.net
    teller.engine.link.send(peer_of(teller, to), ControlKind.GOSSIP, net.now, 0, encode_gossip(message))
    teller.engine._pump(net.now)
    teller.pump()
    net.run(0.1)


def entry(record: bytes, *endpoints: Endpoint, age: int = 0) -> GossipEntry:
    return GossipEntry(record, tuple(map(pack_endpoint, endpoints)), age)


# --- moves ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noticed", [True, False], ids=["long dead", "just died"])
@pytest.mark.parametrize("n", [3, 12])
def test_two_that_move_at_once_meet_again(net: SimNet, n: int, noticed: bool) -> None:
    """Neither can find the other; who is in session with both tells them."""
    fleet = formed(net, n)
    p, q = fleet.edges[:2]
    if noticed:
        orphan(net, fleet)
        net.run(60)
    else:
        fleet.nucleus.crash()
    p.roam()
    q.roam()
    # Just died: the move is told to the Nucleus at once, so that it is missed is known after four sendings.
    bound = (0 if noticed else 1.2 * 15 * REQUEST_RETRY + ORPHANED_AFTER) + 2 * LIVENESS_POLL + 8 * GOSSIP_INTERVAL
    took = hear_each_other(net, p, q, bound)
    print(f"{n} edges: they hear each other after {took:.1f} s")
    net.run(120)
    assert fleet.meshed()


def test_without_gossip_they_do_not(net: SimNet) -> None:
    fleet = formed(net, 3, capabilities=CAPABILITY_BULK | CAPABILITY_GROUPS)
    p, q, _ = fleet.edges
    fleet.nucleus.crash()
    net.run(NUCLEUS_MISSED + ORPHANED_AFTER)
    p.roam()
    q.roam()
    flow = Flow(p, q, 1.0).start()
    net.run(600)
    assert not flow.arrived
    assert sent(fleet.edges) == 0


# The places that a third robot saw are of use to those whose NAT keeps one mapping for all destinations; and where the
# other side lets in whoever comes (a cone), one mapping is enough. As with a Nucleus, the other pairs need a relay.
NEED_A_RELAY = {(PORT_RESTRICTED, SYMMETRIC), (SYMMETRIC, PORT_RESTRICTED), (SYMMETRIC, SYMMETRIC)}


@pytest.mark.parametrize("kind_a", NAT_KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("kind_b", NAT_KINDS, ids=lambda kind: kind.name)
def test_behind_nats_that_change_at_once(net: SimNet, kind_a: NatKind, kind_b: NatKind) -> None:
    fleet = Fleet(net, secret=SECRET)
    nats = [net.add_nat("nat-a", kind_a), net.add_nat("nat-b", kind_b)]
    a, b = (fleet.add(behind=nat) for nat in nats)
    fleet.add()
    pairs = [(x, y) for x, y in itertools.combinations(fleet.edges, 2) if {x, y} != {a, b}]
    reached = (kind_a, kind_b) not in NEED_A_RELAY
    net.until(lambda: fleet.meshed() if reached else all(connected(*pair) for pair in pairs), 10, every=0.1)
    orphan(net, fleet)
    for nat in nats:
        net.renumber(nat)
    if not reached:
        flow = Flow(a, b, 1.0).start()
        net.run(300)
        assert not flow.arrived
        return
    # Nobody tells a robot that its NAT has changed: the others see it by its next keepalive.
    took = hear_each_other(net, a, b, NAT_KEEPALIVE + DEAD_AFTER + 30)
    print(f"{kind_a.name} to {kind_b.name}: {took:.1f} s")


def test_a_working_path_stays(net: SimNet) -> None:
    """An insider tells of places that are not so: no handshake goes there while the peer answers."""
    fleet = formed(net, 3)
    orphan(net, fleet)
    liar, victim, peer = fleet.edges
    began, decoy = net.now, "198.18.99.99"
    path, record = peer_of(victim, peer).path, peer_of(liar, peer).record.encode()
    for n in range(60):
        gossip(liar, victim, GossipMessage((entry(record, Endpoint(decoy, 9 + n)),)))
        net.run(1)
    assert peer_of(victim, peer).path == path
    assert not [f for f in net.trace.fates if f.sent >= began and f.target_address[0] == decoy]
    assert connected(victim, peer)


def test_what_a_lie_costs(net: SimNet) -> None:
    """The peer is silent, and an insider says each second that it is somewhere else, always at the same host."""
    fleet = formed(net, 3)
    orphan(net, fleet)
    liar, victim, peer = fleet.edges
    record = peer_of(liar, peer).record.encode()
    peer.crash()
    net.run(60)
    began, decoy = net.now, "198.18.99.99"
    for n in range(90):
        places = [Endpoint(decoy, 1000 + 4 * n + i) for i in range(4)]
        gossip(liar, victim, GossipMessage((entry(record, *places),)))
        net.run(0.9)
    packets = [f for f in net.trace.fates if f.sent >= began and f.target_address[0] == decoy]
    print(f"{len(packets)} handshake packets in {net.now - began:.0f} s")
    # Each new pair once every HINT_HOLD, and the latest pair with each of some 20 initiations
    assert 0 < len(packets) <= 2 * (9 + 1) + 2 * 20
    assert {f.type for f in packets} == {"initiation"}


# --- starts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [None, SECRET], ids=["open", "secret"])
def test_a_restart_from_the_cache(net: SimNet, secret: bytes | None) -> None:
    fleet = Fleet(net, secret=secret)
    for _ in range(5):
        fleet.add()
    net.until(fleet.meshed, 5, every=0.05)
    orphan(net, fleet)
    back = fleet.edges[0]
    back.save()
    back.crash()
    net.run(20)
    back.start()
    took = net.until(fleet.meshed, ORPHANED_AFTER + 2, every=0.1)
    print(f"meshed {took:.1f} s after the start")
    fleet.hosts[0].send(fleet.hosts[1].address, b"by VIP")
    net.run(1)
    assert fleet.hosts[1].payloads == [b"by VIP"]
    net.run(100)
    assert back.status().gossip.active
    assert fleet.meshed() and one_session(*fleet.edges[:2])


def test_without_a_cache_it_stays_alone(net: SimNet) -> None:
    """The others find it only when they give up the sessions it has lost."""
    fleet = formed(net, 3)
    orphan(net, fleet)
    fleet.edges[0].crash()
    fleet.edges[0].start()
    net.run(10)
    assert not fleet.meshed()


@pytest.mark.parametrize("secret", [None, SECRET], ids=["open", "secret"])
def test_a_power_cut(net: SimNet, secret: bytes | None) -> None:
    """The whole fleet starts from its caches, over some minutes, without a Nucleus."""
    fleet = Fleet(net, secret=secret)
    for _ in range(8):
        fleet.add()
    net.until(fleet.meshed, 5, every=0.05)
    for edge in fleet.edges:
        edge.save()
    for host in (*fleet.edges, fleet.nucleus):
        host.crash()
    net.run(3600)
    for edge in fleet.edges:
        edge.start()
        net.run(net.random.uniform(0, 40))
    took = net.until(fleet.meshed, RECONNECT_MAX + 10, every=0.5)
    print(f"meshed {took:.1f} s after the last start")
    fleet.nucleus.start()
    net.until(fleet.registered, 60, every=0.5)
    net.run(RELEASE_AFTER + HEARTBEAT_INTERVAL * (HEARTBEATS_MISSED + 1))
    assert fleet.meshed()
    assert all(not peer.inherited for edge in fleet.edges for peer in edge.engine.book)


def test_a_stale_cache_and_a_peer_that_moved(net: SimNet) -> None:
    """It was off while the other one moved. Who knows both brings them together."""
    fleet = formed(net, 4)
    p, q = fleet.edges[:2]
    q.save()
    q.crash()
    p.roam()
    q.roam()
    net.run(5)
    orphan(net, fleet)
    q.start()
    took = net.until(lambda: one_session(p, q), ORPHANED_AFTER + 20, every=0.1)
    print(f"met {took:.1f} s after the start")


def test_a_newcomer_that_knows_one_peer_meets_all(net: SimNet) -> None:
    """A record that the others have never seen: its first peer tells of it."""
    fleet = formed(net, 6)
    orphan(net, fleet)
    late = fleet.add(start=False)
    known = fleet.edges[0]
    known.save()
    friends = known.engine.known_peers(net.now)
    contact = known.engine.nucleus.record  # type: ignore[union-attr]
    place = Endpoint(known.addresses[0], known.port)
    assert len(friends) == 5
    late.cache = encode_known(late.key, "fleet", [KnownPeer(contact, (place,), friends[0].seen)])
    late.start()
    took = net.until(fleet.meshed, ORPHANED_AFTER + 30, every=0.5)
    print(f"known to all after {took:.1f} s")
    assert late.status().cluster_size >= 2


def test_a_large_cluster_connects_on_demand(net: SimNet) -> None:
    """More peers in the cache than mesh_limit: they are known, and reached when there is a frame for them."""
    fleet = Fleet(net, secret=SECRET, mesh_limit=3)
    for _ in range(6):
        fleet.add()
    net.until(fleet.registered, 5, every=0.1)
    for a, b in itertools.permutations(fleet.hosts, 2):
        a.send(b.address, b"hello")
    net.until(fleet.meshed, 10, every=0.1)
    for edge in fleet.edges:
        edge.save()
    for host in (*fleet.edges, fleet.nucleus):
        host.crash()
    for edge in fleet.edges:
        edge.start()
    net.run(ORPHANED_AFTER + 5)
    assert not any(connected(a, b) for a, b in itertools.permutations(fleet.edges, 2))
    assert all(edge.status().on_demand for edge in fleet.edges)
    # Without a mesh a robot has the records of those that it has asked for or was told of.
    knowing = max(fleet.edges, key=lambda edge: edge.status().cluster_size)
    assert knowing.status().cluster_size == 6
    a = fleet.edges.index(knowing)
    b = 0 if a else 1
    fleet.hosts[a].send(fleet.hosts[b].address, b"again")
    net.until(lambda: fleet.hosts[b].payloads[-1] == b"again", 3, every=0.1)


def test_adopted_sessions_have_their_records_from_the_cache(net: SimNet) -> None:
    """The Ganglion was replaced over a data plane that lives on: it can tell of its peers like any other."""
    fleet = formed(net, 3)
    orphan(net, fleet)
    back, p, q = fleet.edges
    back.save()
    back.behead()
    back.start()
    net.run(ORPHANED_AFTER + 1)
    assert all(peer_of(back, other).record is not None for other in (p, q))
    p.roam()
    q.roam()
    hear_each_other(net, p, q, 2 * LIVENESS_POLL + 8 * GOSSIP_INTERVAL)


def test_a_normal_start_does_not_touch_the_cache(net: SimNet) -> None:
    fleet = formed(net, 4)
    for edge in fleet.edges:
        edge.save()
        edge.crash()
    fleet.edges[3].cache = None
    net.run(200)
    for edge in fleet.edges[:3]:
        edge.start()
    net.until(lambda: fleet.meshed(fleet.edges[:3]), 2, every=0.05)
    net.run(200)
    assert all(edge.status().gossip.recalled == edge.status().gossip.sent == 0 for edge in fleet.edges[:3])
    assert all(edge.engine.book.get(fleet.edges[3].key) is None for edge in fleet.edges[:3])
    assert fleet.edges[3].key in {known.public_key for known in fleet.edges[0].engine.known_peers(net.now)}


def test_whom_a_nucleus_does_not_know_is_let_go(net: SimNet) -> None:
    """It was dead, comes back and is right: what the cache says counts no more."""
    fleet = formed(net, 3)
    a, b, gone = fleet.edges
    for edge in (a, b):
        edge.save()
    for host in (*fleet.edges, fleet.nucleus):
        host.crash()
    for edge in (a, b):
        edge.start()
    net.until(lambda: connected(a, b), ORPHANED_AFTER + 2, every=0.1)
    assert peer_of(a, gone).inherited
    fleet.nucleus.start()
    net.until(lambda: fleet.registered([a, b]), 60, every=0.5)
    net.run(RELEASE_AFTER + 1)
    assert a.engine.book.get(gone.key) is None
    assert connected(a, b) and not peer_of(a, b).inherited


# --- departures -------------------------------------------------------------------------------------------------------


def test_a_departed_peer_stays_away(net: SimNet) -> None:
    """One robot has missed its goodbye, and tells of it as long as it believes in it."""
    fleet = formed(net, 5)
    orphan(net, fleet)
    p, s, *others = fleet.edges
    net.partition([s], [*others, p])
    p.stop()
    net.run(1)
    net.heal_all()
    record = peer_of(s, p).record.encode()
    place = Endpoint(p.addresses[0], p.port)
    for _ in range(int(TOMBSTONE_TIME / 20)):
        s.engine.gossip._heat(p.key, net.now, first=False)  # type: ignore[union-attr]
        for other in others:
            gossip(s, other, GossipMessage((entry(record, place),)))
        net.run(20)
        assert all(not connected(other, p) for other in others)
        assert all(p.key not in {k.public_key for k in other.engine.known_peers(net.now)} for other in others)
    assert all(other.status().drops["gossip_refused"] >= 20 for other in others)


def test_who_departed_may_come_back(net: SimNet) -> None:
    fleet = formed(net, 4)
    orphan(net, fleet)
    p, *others = fleet.edges
    p.save()
    p.stop()
    net.run(30)
    assert all(other.engine.peering.departed.has(p.key, net.now) for other in others)
    p.start()
    net.until(fleet.meshed, ORPHANED_AFTER + 2, every=0.1)
    assert not any(other.engine.peering.departed.has(p.key, net.now) for other in others)


# --- lies -------------------------------------------------------------------------------------------------------------


def test_forged_and_outdated_records_are_refused(net: SimNet) -> None:
    fleet = formed(net, 3)
    orphan(net, fleet)
    liar, victim, peer = fleet.edges
    known = peer_of(victim, peer)
    assert known.record is not None
    good, version, vip4 = known.record.encode(), known.record_version, known.vip4
    old = signed(peer.identity, "fleet", version=version - 1, vip4="10.77.9.9/16", name="old")
    other = signed(peer.identity, "elsewhere", version=version + 1, name="other")
    theft = signed(Identity.generate(net.random.randbytes), "fleet", version=1, vip4=f"{vip4}/16", name="thief")
    own = signed(victim.identity, "fleet", version=version + 10**12, name="you")
    forged = bytes([good[0] ^ 1]) + good[1:]
    decoy = Endpoint("198.18.99.99", 9)
    for record, reason in ((forged, "bad_record"), (old, "stale_record"), (other, "bad_record")):
        before = victim.status()
        gossip(liar, victim, GossipMessage((entry(record, decoy),)))
        after = victim.status()
        assert after.drops[reason] == before.drops.get(reason, 0) + 1
        assert after.gossip.refused == before.gossip.refused + 1
        assert (known.record_version, known.vip4, known.name) == (version, vip4, peer.name)
    gossip(liar, victim, GossipMessage((entry(own, decoy),)))
    assert victim.engine.book.get(victim.key) is None
    gossip(liar, victim, GossipMessage((entry(theft, decoy),)))
    holder = victim.engine.book.by_address(vip4)
    assert holder is known, "the first holder keeps its VIP4"
    newer = signed(peer.identity, "fleet", version=version + 10**12, vip4="10.77.9.9/16", name="newer")
    gossip(liar, victim, GossipMessage((entry(newer, decoy),)))
    assert (known.record.name, str(known.vip4)) == ("newer", "10.77.9.9"), "its own word, whoever brings it"


def test_strangers_are_bounded(net: SimNet) -> None:
    """An insider makes up identities, and all of them are said to live at one address."""
    fleet = formed(net, 2)
    orphan(net, fleet)
    liar, victim = fleet.edges
    for n in range(200):
        made_up = signed(Identity.generate(net.random.randbytes), "fleet", version=1, name=f"x{n}")
        gossip(liar, victim, GossipMessage((entry(made_up, Endpoint("198.18.99.99", 9)),)))
    assert len(victim.engine.book) <= 1 + 64
    assert victim.status().drops["gossip_refused"] >= 200 - 64
    net.run(200)
    assert len(victim.engine.book) == 1


def test_an_open_cluster_takes_nobody_from_gossip(net: SimNet) -> None:
    """Its Nucleus may have an allow list."""
    fleet = Fleet(net, secret=None)
    teller, hearer = fleet.add(), fleet.add()
    net.until(fleet.meshed, 5, every=0.1)
    orphan(net, fleet)
    stranger = signed(Identity.generate(net.random.randbytes), "fleet", version=1, name="stranger")
    gossip(teller, hearer, GossipMessage((entry(stranger, Endpoint("198.18.0.99", 51820)),)))
    assert len(hearer.engine.book) == 1
    assert hearer.status().drops["gossip_refused"] == 1


def test_new_records_are_rationed(net: SimNet) -> None:
    """An insider signs one record after the other, wants another's VIP4, and says that it lives elsewhere."""
    fleet = formed(net, 3)
    orphan(net, fleet)
    liar, victim, peer = fleet.edges
    net.run(60)
    vip4, version, began = peer_of(victim, peer).vip4, peer_of(victim, liar).record_version, net.now
    events = len(victim.events)
    for n in range(1, 200):
        record = signed(liar.identity, "fleet", version=version + n, vip4=f"{vip4}/16", name="liar")
        gossip(liar, victim, GossipMessage((entry(record, Endpoint("198.18.99.99", 9)),)))
    packets = [f for f in net.trace.fates if f.sent >= began and f.target_address[0] == "198.18.99.99"]
    assert len(packets) <= 2 * (4 + (net.now - began) / 10 + 1)
    assert len(victim.events) <= events + 2
    assert victim.status().drops["gossip_too_often"] >= 150
    assert victim.engine.book.by_address(vip4) is peer_of(victim, peer)


def test_too_much_gossip_is_dropped(net: SimNet) -> None:
    fleet = formed(net, 2)
    orphan(net, fleet)
    liar, victim = fleet.edges
    peer = peer_of(liar, victim)
    for _ in range(1000):
        liar.engine.link.send(peer, ControlKind.GOSSIP, net.now, 0, encode_gossip(GossipMessage()))
    liar.engine.link.send(peer, ControlKind.GOSSIP, net.now, 0, b"\xff junk")
    liar.engine._pump(net.now)
    liar.pump()
    net.run(0.1)
    assert victim.status().drops["gossip_too_often"] >= 900


# --- load -------------------------------------------------------------------------------------------------------------


def test_a_live_nucleus_hears_no_gossip(net: SimNet) -> None:
    """Joins, moves, crashes, a restart of the Nucleus and a change to another one: never a frame."""
    fleet = formed(net, 6, nuclei=2)
    for edge in fleet.edges[:3]:
        edge.roam()
    net.run(60)
    fleet.edges[5].crash()
    fleet.nuclei[0].crash()
    net.run(200)
    fleet.nuclei[0].start()
    fleet.edges[5].start()
    net.run(200)
    assert fleet.meshed()
    assert sent(fleet.edges) == 0


def test_a_nucleus_that_comes_back_ends_it(net: SimNet) -> None:
    fleet = formed(net, 4)
    orphan(net, fleet)
    for edge in fleet.edges[:2]:
        edge.roam()
    net.run(30)
    assert sent(fleet.edges) > 0
    fleet.nucleus.start()
    net.until(fleet.registered, 60, every=0.5)
    net.run(60)
    before = sent(fleet.edges)
    for edge in fleet.edges[2:]:
        edge.roam()
    net.run(60)
    assert sent(fleet.edges) == before
    assert fleet.meshed()
    assert all(not peer.hints for edge in fleet.edges for peer in edge.engine.book)


def test_some_have_a_nucleus_and_some_have_none(net: SimNet) -> None:
    """Who is asked answers, though it needs no help itself; and nobody goes on talking for the sake of it."""
    fleet = formed(net, 5)
    p, q, *rest = fleet.edges
    net.partition([p, q], [fleet.nucleus])
    net.until(lambda: p.status().gossip.active and q.status().gossip.active, NUCLEUS_MISSED + ORPHANED_AFTER + 1)
    p.roam()
    q.roam()
    net.partition([p, q], [fleet.nucleus])
    took = hear_each_other(net, p, q, 30)
    print(f"{took:.1f} s, by peers that are registered")
    net.run(60)
    before = sent(rest)
    net.run(120)
    # The Nucleus told the others that the two have left, so their sessions end when they are idle, and begin anew.
    assert sent(rest) - before <= 2 * 2 * len(rest)


def test_an_older_peer_is_spared(net: SimNet) -> None:
    """It would count a kind that it does not know as malformed."""
    fleet = formed(net, 3)
    old = fleet.add(capabilities=CAPABILITY_BULK | CAPABILITY_GROUPS)
    net.until(fleet.meshed, 5, every=0.1)
    orphan(net, fleet)
    p, q = fleet.edges[:2]
    p.roam()
    q.roam()
    hear_each_other(net, p, q, 2 * LIVENESS_POLL + 8 * GOSSIP_INTERVAL)
    status = old.status()
    assert status.gossip.sent == status.gossip.taken == 0
    assert "control_malformed" not in status.drops


@pytest.mark.parametrize("n", [64])
def test_load(net: SimNet, n: int) -> None:
    measure(net, n)


def measure(net: SimNet, n: int) -> None:
    """Messages per edge and minute: steady, while a tenth of the fleet moves, and while a tenth is dead.

    Of 128 edges: none, 9 and 4; an edge may send 20 a second.
    """
    fleet = formed_slowly(net, n)
    orphan(net, fleet)
    net.run(60)
    before = sent(fleet.edges)
    net.run(60)
    steady = (sent(fleet.edges) - before) / n
    before = sent(fleet.edges)
    movers = fleet.edges[: n // 10]
    for edge in movers:
        edge.roam()
    pairs = list(itertools.combinations(movers, 2))
    flows = [Flow(a, b, 1.0).start() for a, b in pairs]
    took = net.until(lambda: all(flow.arrived for flow in flows), 30, every=0.5)
    net.run(60 - took)
    moving = (sent(fleet.edges) - before) / n
    print(f"{n} edges, messages per edge and minute: {steady:.1f}, and {moving:.1f} while {len(movers)} move")
    print(f"the movers hear each other after {took:.1f} s")
    for edge in movers:
        edge.crash()
    net.run(400)
    rest = fleet.edges[n // 10 :]
    before = sent(rest)
    net.run(60)
    asking = (sent(rest) - before) / len(rest)
    print(f"{asking:.1f} long after the {len(movers)} have died without a word")
    assert steady == 0
    assert moving <= 30
    assert asking <= 30


def formed_slowly(net: SimNet, n: int) -> Fleet:
    fleet = Fleet(net, secret=SECRET)
    for _ in range(n):
        fleet.add()
    net.until(fleet.meshed, 30, "a mesh", every=0.5)
    return fleet
