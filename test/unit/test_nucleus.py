"""Nucleus and clients together on virtual time: registration, changes, queries, departures, restarts, refusals."""

from __future__ import annotations

import ipaddress
from dataclasses import asdict

import pytest
from support.nucleus_net import LATENCY, NUCLEUS_AT, Edge, Net

from omni_core.constants import (
    FIRST_RETRY,
    HEARTBEAT_INTERVAL,
    HEARTBEATS_MISSED,
    NAT_KEEPALIVE,
    NUCLEUS_LOST_AFTER,
    NUCLEUS_REKEY_SPREAD,
    PUSH_INTERVAL,
    RECENT_PEERS,
    RECONNECT_JITTER,
    REFUSED_RETRY,
    SIGNALING_REKEY_AFTER_TIME,
)
from omni_core.crypto.identity import Identity, key_text
from omni_core.drops import DropReason
from omni_core.signaling.admission import ClusterPolicy
from omni_core.signaling.client_events import (
    NucleusLost,
    PeerJoined,
    PeerLeft,
    Punch,
    QueryAnswered,
    Refused,
    Registered,
)
from omni_core.signaling.messages import PeerEntry
from omni_core.types import Endpoint
from omni_core.wire.control import SIGNALING_MAX, SIGNALING_OVERHEAD, ControlType

KEY = b"a" * 32
LIFETIME = HEARTBEATS_MISSED * HEARTBEAT_INTERVAL
GIVE_UP = 18.0  # s; 1 + 2 + 4 + 8 and at most a fifth of jitter
NOTICE = NAT_KEEPALIVE + GIVE_UP + RECONNECT_JITTER  # s until a restarted Nucleus is noticed and the edge is back


@pytest.fixture
def net(seed: int) -> Net:
    return Net(seed)


def formed(net: Net, n: int, **options: object) -> list[Edge]:
    edges = [net.edge(**options).start() for _ in range(n)]
    assert net.run(3, net.all_registered)
    net.run(1)
    return edges


def knows(edge: Edge) -> set[bytes]:
    return set(edge.known)


def keys(*edges: Edge) -> set[bytes]:
    return {edge.key for edge in edges}


def query(edge: Edge, address: str | bytes, seconds: float = 1.0) -> list[QueryAnswered]:
    before = len(edge.of(QueryAnswered))
    edge.client.query(address if isinstance(address, bytes) else ipaddress.ip_address(address), edge.net.now)
    edge.net.pump(edge)
    edge.net.run(seconds)
    return edge.of(QueryAnswered)[before:]


def cluster(net: Net, n: int = 0):
    return net.nucleus.status(net.now).clusters[n]


# --- registering ---------------------------------------------------------------------------------------------------


def test_registered_within_two_round_trips(net: Net) -> None:
    edge = net.edge().start()
    assert edge.client.state == "connecting"
    assert net.run(4 * LATENCY + 0.001, lambda: edge.registered)
    assert edge.events == [Registered(edge.at, 1)]
    assert edge.client.observed == edge.at and edge.client.cluster_size == 1
    assert cluster(net).edges == cluster(net).joins == 1


def test_edges_that_start_together_know_each_other(net: Net) -> None:
    edges = formed(net, 12)
    for edge in edges:
        assert knows(edge) == keys(*edges) - {edge.key}
        assert edge.client.cluster_size == 12


def test_a_join_reaches_everyone_at_once(net: Net) -> None:
    first = formed(net, 3)
    net.run(2 * RECENT_PEERS)
    late = net.edge().start()
    assert net.run(4 * LATENCY + PUSH_INTERVAL + 3 * LATENCY, lambda: all(late.key in e.known for e in first))
    record, endpoints = first[0].known[late.key]
    assert record == late.record and endpoints == (late.at, Endpoint("192.168.1.2", 51820))
    net.run(60)
    assert knows(late) == set(), "they came longer ago than RECENT_PEERS; they know us, and the rest is for queries"


def test_a_join_is_pushed_once_to_each_and_alone(net: Net) -> None:
    edges = formed(net, 6)
    net.run(60)
    # The answer to a heartbeat between the join and its pushes tells of it already, and then there is one push less.
    assert net.run(60, lambda: net.quiet() and min(edge.next_timer() or net.now for edge in edges) > net.now + 0.5)
    net.record = True
    late = net.edge().start()
    net.run(5)
    assert net.run(1, net.quiet)
    told = [(data, to) for data, source, to in net.seen if source == NUCLEUS_AT and data[0] == ControlType.SIGNALING]
    asked = [data for data, _, to in net.seen if to == NUCLEUS_AT and data[0] == ControlType.SIGNALING]
    assert len(told) - len(asked) == 6
    alone = SIGNALING_OVERHEAD + PeerEntry(late.record, ()).size + 80
    assert all(len(data) < alone or to == late.at for data, to in told), "the newcomer's acknowledgement lists all"


def test_registration_lists_the_peers_of_the_last_90_seconds(net: Net) -> None:
    (old,) = formed(net, 1)
    net.run(RECENT_PEERS)
    recent = formed(net, 1)
    net.run(RECENT_PEERS / 2)
    late = net.edge().start()
    assert net.run(3, lambda: late.registered)
    assert knows(late) == keys(*recent) and old.key not in late.known


def test_more_recent_peers_than_a_datagram_holds(net: Net) -> None:
    edges = formed(net, 30)
    net.run(20)
    late = net.edge().start()
    net.run(2)
    assert knows(late) == keys(*edges)


def test_no_datagram_is_too_long(net: Net) -> None:
    net.record = True
    formed(net, 40)
    assert max(len(data) for data, _, _ in net.seen) <= SIGNALING_MAX


def test_registered_through_a_bad_network(net: Net) -> None:
    net.carry = lambda *_: [0.03 + net.rng.random() / 20 for _ in range(net.rng.choice((0, 1, 1, 1, 1, 1, 1, 1, 2, 2)))]
    edges = [net.edge().start() for _ in range(8)]
    assert net.run(60, net.all_registered)
    assert net.run(120, lambda: all(knows(e) == keys(*edges) - {e.key} for e in edges))


def test_a_repeated_register_changes_nothing(net: Net) -> None:
    """The acknowledgement is lost; the edge repeats its request in the same session."""
    lost = []

    def carry(data: bytes, source: Endpoint, destination: Endpoint) -> list[float]:
        if source == NUCLEUS_AT and data[0] == ControlType.SIGNALING and len(lost) < 3:
            lost.append(data)
            return []
        return [LATENCY]

    net.carry = carry
    edge = net.edge().start()
    assert net.run(12, lambda: edge.registered)
    assert cluster(net).joins == cluster(net).change == 1 and len(lost) == 3


# --- staying -------------------------------------------------------------------------------------------------------


def test_ten_quiet_minutes(net: Net) -> None:
    edges = formed(net, 4)
    told = [len(edge.events) for edge in edges]
    net.record = True
    net.run(600)
    assert [len(edge.events) for edge in edges] == told, "nothing is told twice"
    assert all(edge.registered and edge.client.drops.total == 0 for edge in edges)
    assert cluster(net).edges == 4 and cluster(net).change == 4 and net.nucleus.drops.total == 0
    beats = sum(data[0] == ControlType.SIGNALING for data, _, to in net.seen if to == NUCLEUS_AT)
    assert (
        4 * 600 / NAT_KEEPALIVE
        <= beats
        <= 4 * (600 / (0.8 * NAT_KEEPALIVE) + 600 / (SIGNALING_REKEY_AFTER_TIME - NUCLEUS_REKEY_SPREAD) + 1)
    )
    assert net.nucleus.status(net.now).sessions <= 8, "old sessions go"


def test_the_way_back_through_a_nat_stays_open(net: Net) -> None:
    (edge,) = formed(net, 1)
    net.record = True
    net.run(300)
    sent = [edge.net.now for data, source, _ in net.seen if source == edge.at and data[0] == ControlType.SIGNALING]
    assert len(sent) >= 300 / NAT_KEEPALIVE


def test_heartbeats_lost_for_a_while(net: Net) -> None:
    """Exactly what was missed is delivered afterwards, without a new registration."""
    one, *others = formed(net, 4)
    net.carry = lambda data, source, destination: [] if one.at in (source, destination) else [LATENCY]
    net.run(3)
    others[0].stop()
    late = formed_more(net, 12)
    assert not knows(one) & keys(*late)
    net.carry = lambda *_: [LATENCY]
    registrations = len(one.of(Registered))
    assert net.run(NAT_KEEPALIVE + GIVE_UP, lambda: knows(one) == keys(*others[1:], *late))
    assert len(one.of(Registered)) == registrations and one.of(NucleusLost) == []


def formed_more(net: Net, n: int) -> list[Edge]:
    late = [net.edge().start() for _ in range(n)]
    assert net.run(3, lambda: all(edge.registered for edge in late))
    return late


def test_a_lost_push_is_made_good_at_the_next(net: Net) -> None:
    """A gap in the change numbers is noticed, and asked for, without waiting for the heartbeat."""
    one, _ = formed(net, 2)
    net.carry = lambda data, source, destination: [] if destination == one.at else [LATENCY]
    (lost,) = formed_more(net, 1)
    net.run(0.5)
    net.carry = lambda *_: [LATENCY]
    assert lost.key not in one.known
    (told,) = formed_more(net, 1)
    assert net.run(PUSH_INTERVAL + 0.1, lambda: {lost.key, told.key} <= knows(one))


def test_roaming(net: Net) -> None:
    """Another source address: the Nucleus follows, the others are told, the registration goes on."""
    edge, other = formed(net, 2)
    del net.edges[edge.at]
    edge.at = Endpoint("10.9.9.9", 4444)
    net.edges[edge.at] = edge
    edge.client.set_local_endpoints([Endpoint("172.16.0.5", 4444)], net.now)
    net.pump(edge)
    assert net.run(1, lambda: other.known[edge.key][1] == (edge.at, Endpoint("172.16.0.5", 4444)))
    assert edge.client.observed == edge.at and len(edge.of(Registered)) == 1
    assert cluster(net).moves == 1 and cluster(net).joins == 2


def test_rekeying_is_not_noticed(net: Net) -> None:
    one, two = formed(net, 2)
    net.run(4 * SIGNALING_REKEY_AFTER_TIME)
    (answer,) = query(one, "10.77.0.2")
    assert answer.record == two.info and len(one.of(Registered)) == 1
    (join,) = formed_more(net, 1)
    net.run(0.2)
    assert join.key in one.known and join.key in two.known


# --- leaving -------------------------------------------------------------------------------------------------------


def test_goodbye(net: Net) -> None:
    one, two, three = formed(net, 3)
    three.stop()
    soon = LATENCY + PUSH_INTERVAL + 2 * LATENCY
    assert net.run(soon, lambda: three.key not in one.known and three.key not in two.known)
    assert one.of(PeerLeft) == [PeerLeft(three.key)] and one.client.cluster_size == 2
    assert cluster(net).leaves == 1 and cluster(net).departures == 0
    assert three.client.state == "idle" and three.client.next_timer() is None
    assert net.nucleus.status(net.now).sessions == 2


def test_stop_and_start_again(net: Net) -> None:
    one, two = formed(net, 2)
    two.client.stop(net.now)
    two.client.stop(net.now)
    net.pump(two)
    net.run(1)
    two.start()
    assert net.run(2, lambda: two.registered)
    net.run(1)
    assert two.key in one.known and one.key in two.known


def test_stop_before_anything_was_heard(net: Net) -> None:
    edge = net.edge().start()
    edge.client.stop(net.now)
    net.pump(edge)
    net.run(10)
    assert edge.client.state == "idle" and edge.events == [] and edge.next_timer() is None


def test_departure_after_missed_heartbeats(net: Net) -> None:
    one, two = formed(net, 2)
    two.kill()
    start = net.now
    assert net.run(LIFETIME + 1, lambda: two.key not in one.known)
    assert LIFETIME - NAT_KEEPALIVE - 1 < net.now - start < LIFETIME + 1
    assert cluster(net).departures == 1 and cluster(net).edges == 1


def test_one_that_was_silent_too_long_registers_again(net: Net) -> None:
    one, two = formed(net, 2)
    two.alive = False  # a suspended machine
    net.run(LIFETIME + 5)
    assert two.key not in one.known
    two.alive = True
    assert net.run(NOTICE, lambda: two.key in one.known)


# --- asking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["vip4", "vip6", "mac", "key"])
def test_query(net: Net, kind: str) -> None:
    (old,) = formed(net, 1)
    net.run(2 * RECENT_PEERS)
    (new,) = formed_more(net, 1)
    address = {"vip4": "10.77.0.1", "vip6": str(old.info.vip6), "mac": old.info.mac, "key": old.key}[kind]
    (answer,) = query(new, address)
    assert answer.record == old.info
    assert answer.endpoints == (old.at, Endpoint("192.168.1.2", 51820))
    (punch,) = old.of(Punch)
    assert punch.record == new.info and punch.endpoints[0] == new.at


def test_query_for_nobody(net: Net) -> None:
    (edge,) = formed(net, 1)
    net.record = True
    assert [a.record for a in query(edge, "10.77.9.9") + query(edge, "10.77.9.9")] == [None, None]
    assert len([1 for _, source, _ in net.seen if source == edge.at]) == 1, "the second was not even sent"


def test_query_for_ourselves(net: Net) -> None:
    (edge,) = formed(net, 1)
    assert [a.record for a in query(edge, "10.77.0.1")] == [None]
    assert edge.of(Punch) == []


def test_query_while_the_nucleus_is_away(net: Net) -> None:
    one, two = formed(net, 2)
    net.nucleus_up = False
    assert [a.record for a in query(one, "10.77.0.2", 10.0)] == [None]
    net.restart_nucleus()
    assert net.run(NOTICE + 10, net.all_registered)
    net.run(NOTICE)
    assert [a.record for a in query(one, "10.77.0.2")] == [two.info]


def test_a_query_that_waits_for_the_registration(net: Net) -> None:
    (old,) = formed(net, 1)
    new = net.edge().start()
    new.client.query(old.info.vip6, net.now)
    net.pump(new)
    net.run(1)
    assert [a.record for a in new.of(QueryAnswered)] == [old.info]


def test_after_a_departure_nobody_is_found(net: Net) -> None:
    one, two = formed(net, 2)
    two.stop()
    net.run(1)
    assert [a.record for a in query(one, "10.77.0.2")] == [None]


# --- large clusters ------------------------------------------------------------------------------------------------


def test_above_the_mesh_limit_the_size_and_queries(seed: int) -> None:
    net = Net(seed)
    net.restart_nucleus(mesh_limit=6)
    edges = formed(net, 6)
    late = formed_more(net, 4)
    net.record = True
    net.run(40)
    assert all(edge.client.cluster_size == 10 for edge in edges + late)
    assert all(knows(edge) <= keys(*edges) for edge in late), "registered into a large cluster: no joins"
    assert not any(late[-1].key in edge.known for edge in edges)
    (answer,) = query(edges[0], late[-1].info.mac)
    assert answer.record == late[-1].info
    late[0].stop()
    net.run(40)
    assert late[0].key in {event.public_key for event in edges[0].of(PeerLeft)}, "departures are told all the same"


def test_small_again_everyone_is_known(seed: int) -> None:
    net = Net(seed)
    net.restart_nucleus(mesh_limit=6)
    edges = formed(net, 5)
    late = formed_more(net, 4)
    net.run(60)
    for edge in edges[:3]:
        edge.stop()
    net.run(40)
    for edge in edges[3:]:
        assert knows(edge) >= keys(*edges[3:], *late) - {edge.key}


# --- the Nucleus goes away -----------------------------------------------------------------------------------------


def test_nucleus_restart(net: Net) -> None:
    edges = formed(net, 6)
    before = net.nucleus.status(net.now).epoch
    net.restart_nucleus()
    assert net.nucleus.status(net.now).epoch != before
    for edge in edges:
        edge.known.clear()
    assert net.run(NOTICE + 10, lambda: cluster(net).edges == 6)
    assert net.run(5, lambda: all(knows(edge) == keys(*edges) - {edge.key} for edge in edges))
    assert all(len(edge.of(Registered)) == 2 for edge in edges)


def test_edges_do_not_come_back_at_one_moment(net: Net) -> None:
    """All started at once, and yet."""
    edges = formed(net, 20)
    net.run(300)
    net.restart_nucleus()
    back = []
    for _ in edges:
        assert net.run(NOTICE + 10, lambda: cluster(net).edges > len(back))
        back.append(net.now)
    assert back[-1] - back[0] > 2 and len(set(back)) > 15


def test_nucleus_away_for_long(net: Net) -> None:
    one, two = formed(net, 2)
    net.nucleus_up = False
    net.run(600)
    assert one.client.state == "connecting"
    (lost,) = one.of(NucleusLost)
    assert "10.0.0.1:51820" in lost.reason and "stopped answering" in lost.reason
    assert one.of(PeerLeft) == [], "nobody else has gone"
    net.restart_nucleus()
    assert net.run(20, net.all_registered)
    net.run(1)
    assert two.key in one.known and one.key in two.known
    net.nucleus_up = False
    net.run(NOTICE)
    assert len(one.of(NucleusLost)) == 2, "once per interruption"


def test_the_edge_starts_before_the_nucleus(net: Net) -> None:
    net.nucleus_up = False
    edge = net.edge().start()
    net.run(NUCLEUS_LOST_AFTER - 0.1)
    assert edge.events == []
    net.run(0.2)
    (lost,) = edge.of(NucleusLost)
    assert "unreachable" in lost.reason and "nucleus-key" in lost.reason
    net.run(200)
    net.restart_nucleus()
    assert net.run(10, lambda: edge.registered)
    assert len(edge.of(NucleusLost)) == 1


def test_another_address_of_the_nucleus(net: Net) -> None:
    edge = net.edge()
    edge.client.contact.set_endpoints([Endpoint("10.0.0.250", 51820)], net.now)
    edge.start()
    net.run(FIRST_RETRY / 2)
    edge.client.contact.set_endpoints([NUCLEUS_AT], net.now)
    net.pump(edge)
    assert net.run(4 * LATENCY + 0.01, lambda: edge.registered)


# --- refusals ------------------------------------------------------------------------------------------------------


def refusal(net: Net, edge: Edge) -> str:
    edge.start()
    assert net.run(2, lambda: edge.client.state == "refused")
    (refused,) = edge.of(Refused)
    assert len(refused.reason) > 20 and refused.reason.isprintable()
    return str(refused.reason)


def test_vip4_taken(net: Net) -> None:
    (holder,) = formed(net, 1)
    sentence = refusal(net, net.edge(vip4="10.77.0.1/24"))
    key = key_text(holder.key)[:8]
    assert sentence == f"VIP 10.77.0.1 is held by key {key}… at {holder.at}; choose another vip4 or stop that edge"
    assert cluster(net).refusals == 1 and cluster(net).edges == 1


def test_mac_taken(net: Net) -> None:
    (holder,) = formed(net, 1)
    sentence = refusal(net, net.edge(mac=holder.info.mac))
    assert f"MAC {holder.info.mac.hex(':')} is held by key {key_text(holder.key)[:8]}…" in sentence


def test_unknown_cluster(net: Net) -> None:
    sentence = refusal(net, net.edge(cluster="fleeet"))
    assert "no cluster 'fleeet'" in sentence
    assert len(net.nucleus.status(net.now).clusters) == 1


@pytest.mark.parametrize(("key", "word"), [(b"b" * 32, "wrong"), (None, "missing")])
def test_wrong_cluster_secret(seed: int, key: bytes | None, word: str) -> None:
    net = Net(seed, [ClusterPolicy("fleet", KEY)])
    right = net.edge(admission_key=KEY).start()
    sentence = refusal(net, net.edge(admission_key=key))
    assert f"the secret of cluster 'fleet' is {word}" in sentence and "join token" in sentence
    assert right.registered and knows(right) == set()


def test_cluster_full(seed: int) -> None:
    net = Net(seed, [ClusterPolicy("fleet", max_edges=2)])
    formed(net, 2)
    assert "has its 2 edges" in refusal(net, net.edge())


def test_a_copied_key_file(net: Net) -> None:
    """The same identity on two machines: the older start is told what to do, the newer one works."""
    first = net.edge().start()
    net.run(1)
    second = net.edge(identity=first.identity).start()
    assert net.run(5, lambda: second.registered)
    net.run(NAT_KEEPALIVE)
    (refused,) = first.of(Refused)
    assert "is a copy" in refused.reason and "omni keygen" in refused.reason and str(second.at) in refused.reason
    assert second.registered and cluster(net).edges == 1


def test_a_clock_that_went_back(net: Net) -> None:
    (edge,) = formed(net, 1)
    edge.kill()
    again = net.edge(identity=edge.identity, vip4="10.77.0.1/16", version=5)
    sentence = refusal(net, again)
    assert "newer start" in sentence and "clock" in sentence


def test_refused_edges_ask_again_and_tell_once(net: Net) -> None:
    (holder,) = formed(net, 1)
    edge = net.edge(vip4="10.77.0.1/24").start()
    net.run(3 * REFUSED_RETRY + 10)
    assert edge.client.state == "refused" and len(edge.of(Refused)) == 1
    assert cluster(net).refusals in (3, 4)
    holder.stop()
    assert net.run(1.2 * REFUSED_RETRY + 1, lambda: edge.registered)


def test_a_replacement_robot_waits_for_the_departure(net: Net) -> None:
    (dead,) = formed(net, 1)
    dead.kill()
    edge = net.edge(vip4="10.77.0.1/24").start()
    assert net.run(LIFETIME + 1.2 * REFUSED_RETRY, lambda: edge.registered)


def test_a_restarted_edge_takes_its_own_place(net: Net) -> None:
    """kill -9 and start: the same key with a newer record, at once."""
    other, edge = formed(net, 2)
    edge.kill()
    net.run(5)
    again = net.edge(number=9, identity=edge.identity, vip4="10.77.0.2/16").start()
    assert net.run(1, lambda: again.registered)
    assert net.run(1, lambda: other.known[edge.key] == (again.record, (again.at, Endpoint("192.168.1.2", 51820))))
    assert cluster(net).edges == 2 and other.of(PeerLeft) == []


def test_wrong_nucleus_key(net: Net) -> None:
    """Silence, so the client names both causes; nothing about it reaches the Nucleus's tables."""
    stranger = Identity.generate(net.rng.randbytes)
    edge = net.edge(nucleus_key=stranger.public_key).start()
    net.record = True
    net.run(60)
    (lost,) = edge.of(NucleusLost)
    assert "10.0.0.1:51820" in lost.reason and "unreachable" in lost.reason and "nucleus-key" in lost.reason
    assert all(source != NUCLEUS_AT for _, source, _ in net.seen)
    assert net.nucleus.status(net.now).sessions == 0 and net.nucleus.drops[DropReason.BAD_MAC1] > 0


def test_clusters_do_not_see_each_other(seed: int) -> None:
    net = Net(seed, [ClusterPolicy("a", KEY), ClusterPolicy("b")])
    ours = [net.edge(cluster="a", admission_key=KEY, vip4=f"10.77.0.{n}/24").start() for n in (1, 2)]
    theirs = [net.edge(cluster="b", vip4=f"10.77.0.{n}/24").start() for n in (1, 2, 3)]
    assert net.run(3, net.all_registered), "the same VIPs in both"
    net.run(1)
    assert knows(ours[0]) == keys(ours[1]) and knows(theirs[0]) == keys(*theirs[1:])
    assert ours[0].client.cluster_size == 2
    for address in ("10.77.0.3", theirs[2].info.mac, theirs[2].key, str(theirs[2].info.vip6)):
        assert [a.record for a in query(ours[0], address)] == [None]
    assert [a.record for a in query(ours[0], "10.77.0.2")] == [ours[1].info]
    assert all(edge.of(Punch) == [] for edge in theirs)
    theirs[0].stop()
    net.run(1)
    assert ours[0].of(PeerLeft) == []


def test_status_is_plain_data(net: Net) -> None:
    formed(net, 2)
    status = asdict(net.nucleus.status(net.now))
    assert status["public_key"] == key_text(net.identity.public_key) and len(status["epoch"]) == 16
    assert status["clusters"][0] | {"name": "fleet", "edges": 2, "joins": 2, "open": True} == status["clusters"][0]


def test_close_wipes_all_sessions(net: Net) -> None:
    formed(net, 3)
    net.nucleus.close(net.now)
    net.nucleus.close(net.now)
    assert net.nucleus.status(net.now).sessions == 0


def test_events_of_a_join_are_complete(net: Net) -> None:
    one, two = formed(net, 2)
    joins = [event for event in one.events if isinstance(event, PeerJoined)]
    assert joins[-1].record == two.info and joins[-1].record.cluster == "fleet"
