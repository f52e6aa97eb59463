"""What an attacker with or without a session can not do to a Nucleus or to a client of it.

Attackers: (1) on the path: sees, drops, repeats, changes datagrams; (2) an insider: has a session, as anyone may who
knows the Nucleus's public key; (3) a Nucleus that lies.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest
from support.insider import Insider
from support.nucleus_net import NUCLEUS_AT, Edge, Net

from omni_core.constants import EDGE_REQUEST_BURST, PUSH_INTERVAL
from omni_core.crypto.identity import Identity
from omni_core.crypto.record import signed
from omni_core.drops import DropReason
from omni_core.engines import nucleus_parties
from omni_core.signaling.admission import ClusterPolicy
from omni_core.signaling.client_events import PeerJoined, Punch, QueryAnswered
from omni_core.signaling.codec import decode_message, encode_message
from omni_core.signaling.endpoints import pack_endpoint
from omni_core.signaling.messages import (
    NO_DELTA,
    ConnectHint,
    Delta,
    Heartbeat,
    HeartbeatAck,
    PeerEntry,
    PeerInfo,
    QueryPeer,
    RegisterAck,
    Status,
)
from omni_core.types import Endpoint
from omni_core.wire.control import ControlType, decode_signaling

KEY = b"a" * 32
SOMEWHERE = (pack_endpoint(Endpoint("10.5.5.5", 5)),)


@pytest.fixture
def net(seed: int) -> Net:
    return Net(seed)


def edges_of(net: Net, cluster: int = 0) -> int:
    return net.nucleus.status(net.now).clusters[cluster].edges


def refused(insider: Insider, message: object) -> RegisterAck:
    before = [(c.edges, c.change) for c in insider.net.nucleus.status(0).clusters]
    answer = insider.ask(message)  # type: ignore[arg-type]
    assert isinstance(answer, RegisterAck) and answer.status is not Status.OK
    assert answer.delta == NO_DELTA and answer.observed is None and answer.epoch == 0 and len(answer.reason) > 20
    assert [(c.edges, c.change) for c in insider.net.nucleus.status(0).clusters] == before
    return answer


# --- an insider ----------------------------------------------------------------------------------------------------


def test_a_forged_record(net: Net) -> None:
    insider = Insider(net)
    for at in (0, 63, 64, 100, -1):
        forged = bytearray(insider.record())
        forged[at] ^= 1
        assert refused(insider, insider.register(record=bytes(forged))).status is Status.BAD_RECORD
    assert net.nucleus.drops[DropReason.BAD_RECORD] == 5


def test_the_record_of_another_key(net: Net) -> None:
    """Genuine, perhaps overheard from the Nucleus's own answers; yet not the session's."""
    victim = net.edge().start()
    net.run(1)
    insider = Insider(net)
    answer = refused(insider, insider.register(record=victim.record))
    assert answer.status is Status.BAD_RECORD and "another key" in answer.reason
    later = signed(victim.identity, "fleet", version=10**18 * 2)
    assert refused(insider, insider.register(record=later)).status is Status.BAD_RECORD
    assert victim.registered


def test_the_record_of_another_cluster(seed: int) -> None:
    net = Net(seed, [ClusterPolicy("a"), ClusterPolicy("b")])
    insider = Insider(net)
    answer = refused(insider, replace(insider.register(cluster="a"), cluster="b"))
    assert answer.status is Status.BAD_RECORD and "for cluster 'a'" in answer.reason


def test_an_older_record_of_its_own(net: Net) -> None:
    insider = Insider(net)
    assert insider.ask(insider.register(record=insider.record(version=5))).status is Status.OK  # type: ignore[union-attr]
    for record in (insider.record(version=4), insider.record(version=5, vip4="10.77.66.2/16")):
        assert refused(insider, insider.register(record=record)).status is Status.STALE_RECORD
    assert insider.ask(insider.register(record=insider.record(version=6))).status is Status.OK  # type: ignore[union-attr]


def test_the_admission_proof_belongs_to_one_session_key_and_cluster(seed: int) -> None:
    net = Net(seed, [ClusterPolicy("a", KEY), ClusterPolicy("b", b"b" * 32)])
    member, thief = Insider(net), Insider(net, "10.66.0.2")
    good = member.register(cluster="a", key=KEY)
    stolen = replace(thief.register(cluster="a"), proof=good.proof)
    assert refused(thief, stolen).status is Status.BAD_PROOF
    again = Insider(net, "10.66.0.3", member.identity)
    assert refused(again, good).status is Status.BAD_PROOF, "another handshake"
    moved = replace(again.register(cluster="b"), proof=again.register(cluster="a", key=KEY).proof)
    assert refused(again, moved).status is Status.BAD_PROOF
    assert again.ask(again.register(cluster="a", key=KEY)).status is Status.OK  # type: ignore[union-attr]


def test_without_registration_nothing_is_told(net: Net) -> None:
    victim = net.edge().start()
    net.run(1)
    insider = Insider(net)
    answer = insider.ask(QueryPeer(7, victim.info.mac))
    assert answer == PeerInfo(7, Status.NOT_REGISTERED, victim.info.mac, None)
    beat = insider.ask(Heartbeat(8, 1, 0, 1, ()))
    assert isinstance(beat, HeartbeatAck) and (beat.status, beat.delta) == (Status.NOT_REGISTERED, NO_DELTA)
    assert insider.say(encode_message(Heartbeat(9, 1, 0, 1, (), leave=True))) == []
    assert victim.of(Punch) == [] and edges_of(net) == 1


def test_a_change_number_from_elsewhere(net: Net) -> None:
    """Whatever an edge claims to have seen, it gets no error and no more than its cluster."""
    insider = Insider(net)
    ack = insider.ask(insider.register())
    assert isinstance(ack, RegisterAck)
    for epoch, seen in ((ack.epoch, (1 << 63) - 1), (ack.epoch, 0), (ack.epoch ^ 1, 0)):
        beat = insider.ask(Heartbeat(2, epoch, seen, 1, ()))
        assert isinstance(beat, HeartbeatAck)
        assert beat.status is (Status.OK if epoch == ack.epoch else Status.NOT_REGISTERED)
        assert beat.delta.until <= 1


def test_messages_that_only_a_nucleus_says(net: Net) -> None:
    insider = Insider(net)
    entry = PeerEntry(insider.record(), SOMEWHERE)
    for message in (
        RegisterAck(1, Status.OK, "", None, 1, 1, NO_DELTA),
        HeartbeatAck(1, Status.OK, "", None, 1, NO_DELTA),
        PeerInfo(1, Status.OK, bytes(4), entry),
        ConnectHint(entry),
    ):
        assert insider.say(encode_message(message)) == []
    assert net.nucleus.drops[DropReason.SIGNALING_MALFORMED] == 4


def test_a_flood_of_requests_from_one_edge(net: Net) -> None:
    insider = Insider(net)
    insider.ask(insider.register())
    answered = sum(len(insider.say(encode_message(QueryPeer(n, bytes(4))))) for n in range(3 * EDGE_REQUEST_BURST))
    assert answered == EDGE_REQUEST_BURST - 1
    assert net.nucleus.drops[DropReason.RATE_LIMITED] == 2 * EDGE_REQUEST_BURST + 1
    other = net.edge().start()
    assert net.run(1, lambda: other.registered), "others do not notice"


def test_strangers_give_way_to_strangers(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions without a registration are bounded, and do not cost a registered edge its session."""
    monkeypatch.setattr(nucleus_parties, "UNREGISTERED_MAX", 5)
    edge = net.edge().start()
    net.run(1)
    strangers = [Insider(net, f"10.66.1.{n}") for n in range(20)]
    for stranger in strangers[-5:]:
        assert stranger.ask(QueryPeer(1, bytes(4))).status is Status.NOT_REGISTERED  # type: ignore[union-attr]
    assert strangers[0].say(encode_message(QueryPeer(1, bytes(4)))) == []
    assert net.nucleus.status(net.now).sessions == 6
    edge.client.query(ipaddress.ip_address("10.77.0.1"), net.now)
    net.pump(edge)
    net.run(0.1)
    assert len(edge.of(QueryAnswered)) == 1 and net.nucleus.drops[DropReason.UNKNOWN_SESSION] == 1


def test_vips_can_not_be_taken_by_moving_between_clusters(seed: int) -> None:
    net = Net(seed, [ClusterPolicy("a"), ClusterPolicy("b")])
    holder = net.edge(1, cluster="a").start()
    net.run(1)
    insider = Insider(net)
    theirs = insider.register(cluster="b", record=insider.record(cluster="b", vip4="10.77.0.1/16"))
    assert insider.ask(theirs).status is Status.OK  # type: ignore[union-attr]
    record = insider.record(cluster="a", vip4="10.77.0.1/16", version=2)
    assert refused(insider, insider.register(cluster="a", record=record)).status is Status.ADDRESS_TAKEN
    assert (edges_of(net, 0), edges_of(net, 1)) == (1, 1) and holder.registered


# --- on the path ---------------------------------------------------------------------------------------------------


def test_replayed_packets(net: Net) -> None:
    """Each packet counts once, in its own session, also after the edge has gone."""
    net.record = True
    edge, other = net.edge().start(), net.edge().start()
    net.run(100)
    edge.stop()
    net.run(1)
    recorded = list(net.seen)
    events, change = len(other.events), net.nucleus.status(0).clusters[0].change
    sent = len(net.seen)
    for data, source, destination in recorded:
        if destination == NUCLEUS_AT:
            net.nucleus.receive_datagram(data, Endpoint("10.66.6.6", 666), net.now)
        else:
            other.receive(data, source, net.now)
    net.pump_nucleus()
    net.pump(other)
    assert len(net.seen) == sent, "no answer to any of them"
    assert net.nucleus.status(0).clusters[0].change == change and edges_of(net) == 1
    assert len(other.events) == events
    assert net.nucleus.drops[DropReason.SIGNALING_REPLAYED] > 0
    initiations = [data for data, _, to in recorded if to == NUCLEUS_AT and data[0] == ControlType.INITIATION]
    assert net.nucleus.drops[DropReason.HANDSHAKE_REPLAYED] == len(initiations) >= 2
    assert net.nucleus.drops[DropReason.UNKNOWN_SESSION] > 0, "of the edge that left"
    assert other.drops(DropReason.SIGNALING_REPLAYED) > 0
    assert net.run(100) and other.registered


def test_packets_of_one_session_in_another(net: Net) -> None:
    one, two = Insider(net), Insider(net, "10.66.0.2")
    packet = bytearray(one.link.seal(encode_message(one.register())))
    packet[8:16] = two.link.send_id.to_bytes(8, "little")
    assert two.send(bytes(packet)) == [] and edges_of(net) == 0
    assert net.nucleus.drops[DropReason.SIGNALING_FORGED] == 1


def test_reflected_packets(net: Net) -> None:
    """What the Nucleus sent comes back to it, and what the edge sent to the edge."""
    net.record = True
    edge = net.edge().start()
    net.run(1)
    for data, source, _ in list(net.seen):
        if data[0] == ControlType.SIGNALING:
            if source == NUCLEUS_AT:
                net.nucleus.receive_datagram(data, edge.at, net.now)
            else:
                edge.receive(data, NUCLEUS_AT, net.now)
    assert net.nucleus.drops[DropReason.UNKNOWN_SESSION] >= 1 and edge.drops(DropReason.UNKNOWN_SESSION) >= 1


@pytest.mark.parametrize("host", ["224.0.0.1", "0.0.0.0", "255.255.255.255", "ff02::1", "::"])
def test_an_authentic_packet_from_no_host(net: Net, host: str) -> None:
    """Carried on with a made-up source, it does not become an endpoint that others would have to refuse."""
    edge = net.edge().start()
    net.run(1)
    insider = Insider(net)
    insider.ask(insider.register())
    net.run(PUSH_INTERVAL + 0.1)
    datagram = insider.link.seal(encode_message(Heartbeat(2, 1, 0, 1, ())))
    assert insider.send(datagram, Endpoint(host, 5)) == []
    assert insider.send(insider.link.seal(encode_message(Heartbeat(2, 1, 0, 1, ()))), Endpoint("10.66.0.1", 0)) == []
    assert net.nucleus.drops[DropReason.SIGNALING_MALFORMED] == 2
    assert edge.known[insider.identity.public_key][1] == (insider.at,)


def test_an_old_packet_does_not_move_an_edge_back(net: Net) -> None:
    insider = Insider(net)
    ack = insider.ask(insider.register())
    assert isinstance(ack, RegisterAck)
    beat = Heartbeat(2, ack.epoch, 0, 1, ())
    first, second = insider.link.seal(encode_message(beat)), insider.link.seal(encode_message(beat))
    new_place = Endpoint("10.66.0.77", 7)
    assert len(insider.send(second, new_place)) == 1
    assert len(insider.send(first)) == 1, "answered, for it is authentic"
    (answer,) = insider.send(insider.link.seal(encode_message(QueryPeer(3, insider.identity.mac))), new_place)
    found = decode_message(insider.link.open(decode_signaling(answer)))
    assert isinstance(found, PeerInfo) and found.peer is not None
    assert found.peer.endpoints == (pack_endpoint(new_place),)


# --- a Nucleus that lies -------------------------------------------------------------------------------------------


def tell(net: Net, edge: Edge, message: object) -> None:
    """As if the Nucleus had said it."""
    party = net.nucleus._parties[edge.key]
    assert party.sending is not None
    edge.client.receive(party.sending.seal(encode_message(message)), NUCLEUS_AT, net.now)  # type: ignore[arg-type]
    net.pump(edge)


def lie(net: Net, edge: Edge, *records: bytes) -> None:
    seen = edge.client._cursor.seen
    entries = tuple(PeerEntry(record, SOMEWHERE) for record in records)
    ack = HeartbeatAck(0, Status.OK, "", None, edge.client._cursor.epoch, Delta(seen, seen + 1, 2, entries))
    tell(net, edge, ack)


def test_records_are_checked_by_the_edge(net: Net) -> None:
    edge = net.edge().start()
    net.run(1)
    peer = Identity.generate(net.rng.randbytes)
    forged = bytearray(signed(peer, "fleet", version=5))
    forged[70] ^= 1
    lie(net, edge, bytes(forged), b"nothing", signed(peer, "other", version=5), signed(peer, "fleet", version=5))
    assert [event.record.public_key for event in edge.of(PeerJoined)] == [peer.public_key], "one bad one spoils nothing"
    assert edge.drops(DropReason.BAD_RECORD) == 3


def test_a_record_can_not_be_rolled_back(net: Net) -> None:
    edge = net.edge().start()
    net.run(1)
    peer = Identity.generate(net.rng.randbytes)
    old, new = signed(peer, "fleet", version=5, vip4="10.77.1.1/16"), signed(peer, "fleet", version=6)
    lie(net, edge, old)
    lie(net, edge, new)
    joined = len(edge.of(PeerJoined))
    lie(net, edge, old)
    tell(net, edge, ConnectHint(PeerEntry(old, SOMEWHERE)))
    assert len(edge.of(PeerJoined)) == joined == 2 and edge.of(Punch) == []
    assert edge.drops(DropReason.STALE_RECORD) == 2


def test_an_answer_with_somebody_elses_record(net: Net) -> None:
    edge = net.edge().start()
    net.run(1)
    peer = Identity.generate(net.rng.randbytes)
    asked = ipaddress.ip_address("10.77.9.9")
    edge.client.query(asked, net.now)
    edge.client.take_datagrams()
    other = PeerEntry(signed(peer, "fleet", version=5, vip4="10.77.1.1/16"), SOMEWHERE)
    tell(net, edge, PeerInfo(1, Status.OK, asked.packed, other))
    assert edge.of(QueryAnswered) == [QueryAnswered(asked, None)] and edge.drops(DropReason.BAD_RECORD) == 1


def test_requests_to_an_edge(net: Net) -> None:
    edge = net.edge().start()
    net.run(1)
    tell(net, edge, QueryPeer(1, bytes(4)))
    tell(net, edge, Heartbeat(1, 1, 1, 1, ()))
    assert edge.drops(DropReason.SIGNALING_MALFORMED) == 2


def test_a_leave_of_ourselves_is_not_believed(net: Net) -> None:
    edge = net.edge().start()
    net.run(1)
    seen, epoch = edge.client._cursor.seen, edge.client._cursor.epoch
    before = len(edge.events)
    tell(net, edge, HeartbeatAck(0, Status.OK, "", None, epoch, Delta(seen, seen + 1, 1, (), (edge.key,))))
    assert len(edge.events) == before


def test_a_nucleus_that_counts_anew_is_registered_with_anew(net: Net) -> None:
    """A restart behind one session (a shared store, say): change numbers of two lives are never mixed."""
    edge = net.edge().start()
    net.run(1)
    tell(net, edge, HeartbeatAck(0, Status.OK, "", None, edge.client._cursor.epoch ^ 1, Delta(0, 99, 1)))
    assert edge.client.state == "connecting" and edge.client._cursor.seen < 99
    assert net.run(1, lambda: edge.registered)


def test_the_nucleus_is_where_its_newest_packet_came_from(net: Net) -> None:
    edge = net.edge().start()
    net.run(1)
    party = net.nucleus._parties[edge.key]
    assert party.sending is not None
    body = encode_message(HeartbeatAck(0, Status.OK, "", None, edge.client._cursor.epoch, Delta(0, 0, 1)))
    older, newer = party.sending.seal(body), party.sending.seal(body)
    moved = Endpoint("10.0.0.2", 51820)
    edge.client.receive(newer, moved, net.now)
    assert edge.client.endpoint == moved
    edge.client.receive(older, NUCLEUS_AT, net.now)
    edge.client.receive(newer, Endpoint("10.66.6.6", 6), net.now)
    assert edge.client.endpoint == moved


def test_a_goodbye_of_an_older_start_is_not_taken(net: Net) -> None:
    """The late goodbye of a robot that is already back."""
    insider = Insider(net)
    insider.ask(insider.register(record=insider.record(version=5)))
    assert insider.say(encode_message(Heartbeat(0, 0, 0, 4, (), leave=True))) == []
    assert edges_of(net) == 1 and net.nucleus.drops[DropReason.STALE_RECORD] == 1
    insider.say(encode_message(Heartbeat(0, 0, 0, 5, (), leave=True)))
    assert edges_of(net) == 0


def test_a_key_that_moves_to_another_cluster_leaves_its_first(seed: int) -> None:
    net = Net(seed, [ClusterPolicy("a"), ClusterPolicy("b")])
    witness = net.edge(cluster="a").start()
    insider = Insider(net)
    insider.ask(insider.register(cluster="a"))
    assert net.run(1, lambda: insider.identity.public_key in witness.known)
    insider.ask(insider.register(cluster="b"))
    assert (edges_of(net, 0), edges_of(net, 1)) == (1, 1)
    assert net.run(1, lambda: insider.identity.public_key not in witness.known)


def test_an_edge_that_the_nucleus_forgot_registers_again_when_it_asks(net: Net) -> None:
    edge = net.edge().start()
    net.run(1)
    net.nucleus._store.remove(edge.key, net.now)
    edge.client.query(ipaddress.ip_address("10.77.9.9"), net.now)
    net.pump(edge)
    assert net.run(1, lambda: edge.of(QueryAnswered) != []) and edge.registered and edges_of(net) == 1
