"""The Ganglion engine without a Nucleus: peers, admission, queues, roaming, life."""

from __future__ import annotations

import dataclasses
import json

import pytest
from support.ganglia import PSK, Edge, Wire, frame

from omni_core.constants import (
    CONTROL_MAC,
    DEAD_AFTER,
    NAT_KEEPALIVE,
    QUEUE_FRAMES_PER_PEER,
    RECONNECT_MAX,
    REKEY_AFTER_TIME,
    REKEY_ATTEMPT_TIME,
)
from omni_core.dataplane.port import Unresolved, UnresolvedReason
from omni_core.drops import DropReason
from omni_core.engines.ganglion_events import PeerDown, PeerUp, PingResult, Warned
from omni_core.engines.settings import StaticMacSettings, StaticPeerSettings
from omni_core.types import Endpoint


@pytest.fixture
def wire(seed: int) -> Wire:
    wire = Wire(seed, 3)
    wire.know_each_other()
    return wire


def texts(edge: Edge, kind: type) -> list[str]:
    return [e.text for e in edge.events if isinstance(e, kind)]


def state_of(edge: Edge, other: Edge, wire: Wire) -> str:
    return next(p.state for p in edge.engine.status(wire.now).peers if p.vip6 == str(other.identity.vip6))


def test_static_peers_form_one_segment(wire: Wire) -> None:
    wire.start()
    a, b, _ = wire.edges
    for edge in wire.edges:
        assert len(texts(edge, PeerUp)) == 2
    unicast = frame(b.mac, a.mac)
    broadcast = frame(b"\xff" * 6, a.mac)
    a.engine.receive_frames([unicast, broadcast], wire.now)
    assert wire.take_frames() == [[], [unicast, broadcast], [broadcast]]


def test_a_frame_that_was_on_its_way_when_the_session_began_is_sent_at_once(wire: Wire) -> None:
    """A data plane that runs beside the Ganglion may say "no session" of a frame, and the session begins meanwhile."""
    wire.start()
    a, b, _ = wire.edges
    peer = a.engine.book.get(b.key)
    assert peer is not None
    late = frame(b.mac, a.mac)
    a.plane._events.append(Unresolved(late, UnresolvedReason.NO_SESSION, peer.id))
    a.engine.receive_frames([], wire.now)
    assert wire.take_frames() == [[], [late], []]
    assert a.engine.status(wire.now).waiting_frames == 0


def test_frames_wait_for_the_handshake_in_order(wire: Wire) -> None:
    a, b, c = wire.edges
    b.online = c.online = False
    wire.start()
    sent = [frame(b.mac, a.mac, bytes([n])) for n in range(QUEUE_FRAMES_PER_PEER + 3)]
    a.engine.receive_frames(sent, wire.now)
    b.online = True
    for peer in a.engine.book:
        a.engine.sessions.resend(peer.public_key, wire.now)
    wire.advance(0.1)
    wire.advance(0.5)  # the tie is settled
    assert wire.take_frames()[1] == sent[3:]
    assert a.engine.drops[DropReason.QUEUE_FULL] == 3


def test_unknown_unicast_floods_and_the_answer_teaches(wire: Wire) -> None:
    wire.start()
    a, b, _ = wire.edges
    host_a, host_b = b"\x02\x00\x00\x00\x00\x0a", b"\x02\x00\x00\x00\x00\x0b"
    question = frame(host_b, host_a)
    a.engine.receive_frames([question], wire.now)
    assert wire.take_frames() == [[], [question], [question]]
    answer = frame(host_a, host_b)
    b.engine.receive_frames([answer], wire.now)
    assert wire.take_frames() == [[answer], [], []], "learned: not to c"
    a.engine.receive_frames([question], wire.now)
    assert wire.take_frames() == [[], [question], []]


def test_local_programs_cannot_send_in_session_control(wire: Wire) -> None:
    wire.start()
    a = wire.edges[0]
    a.engine.receive_frames([frame(CONTROL_MAC, a.mac, bytes(50), 0x88B5)], wire.now)
    assert wire.take_frames() == [[], [], []]
    assert a.engine.plane.drops()[DropReason.RESERVED_DESTINATION] == 1


def test_wrong_secret_gets_no_session(wire: Wire) -> None:
    a, b, c = wire.edges
    c.configure(psk=b"x" * 32)
    wire.start()
    assert state_of(a, b, wire) == "up" and state_of(a, c, wire) == "handshaking"
    assert a.engine.status(wire.now).drops["not_admitted"] >= 1


def test_allow_list_refuses_the_others_but_not_static_peers(seed: int) -> None:
    wire = Wire(seed, 3)
    a, b, c = wire.edges
    a.configure(allowed_keys=frozenset({b.key}), static_peers=())
    for edge in (b, c):
        edge.configure(static_peers=(StaticPeerSettings(a.key, (a.endpoint,)),))
    wire.start()
    assert [p.name for p in a.engine.status(wire.now).peers] == ["r2"]
    assert a.engine.sessions.drops[DropReason.NOT_ADMITTED] == 1


def test_open_cluster_without_nucleus_admits_only_static_peers(seed: int) -> None:
    wire = Wire(seed, 2)
    a, b = wire.edges
    a.configure(psk=None)
    b.configure(psk=None, static_peers=(StaticPeerSettings(a.key, (a.endpoint,)),))
    wire.start()
    assert len(a.engine.book) == 0
    a.configure(static_peers=(StaticPeerSettings(b.key, (b.endpoint,)),))
    wire.start()
    wire.advance(1.0)  # b's own initiation is in flight and may outrank a's
    assert state_of(a, b, wire) == "up"


def test_a_vip4_that_is_ours_is_refused_with_a_sentence(seed: int) -> None:
    wire = Wire(seed, 2)
    wire.know_each_other()
    a, b = wire.edges
    b.configure(vip4=a.settings.vip4)
    wire.start()
    assert any("10.77.0.1, which is ours" in t and "Fix" in t for t in texts(a, Warned) + texts(b, Warned))


def test_the_first_holder_of_a_vip4_keeps_it(wire: Wire) -> None:
    a, b, c = wire.edges
    c.configure(vip4=b.settings.vip4)
    a.engine.start(wire.now)
    b.engine.start(wire.now)
    wire.pump()
    c.engine.start(wire.now)
    wire.advance(10.0)
    holder = [p for p in a.engine.status(wire.now).peers if p.vip4 == "10.77.0.2"]
    assert [p.name for p in holder] == ["r2"]
    assert any("r3" in t and "belongs to r2" in t for t in texts(a, Warned))


def test_roaming_follows_authentic_packets_only(wire: Wire) -> None:
    wire.start()
    a, b, _ = wire.edges
    old = b.endpoint
    [(_, _, genuine)] = [x for x in wire.log if x[0] == old and x[1] == a.endpoint and x[2][0] >= 0x10][-1:]
    a.engine.receive_datagrams([(genuine, Endpoint("192.0.2.66", 1))], wire.now)  # a replay
    a.engine.receive_datagrams([(genuine[:-1] + b"\0", Endpoint("192.0.2.66", 1))], wire.now)  # a forgery
    assert a.engine.book.get(b.key).path == old  # type: ignore[union-attr]
    b.endpoint = Endpoint("10.0.9.9", 1234)
    b.engine.set_local_endpoints([b.endpoint], wire.now)
    wire.pump()
    assert a.engine.book.get(b.key).path == b.endpoint  # type: ignore[union-attr]
    sent = frame(b.mac, a.mac)
    a.engine.receive_frames([sent], wire.now)
    assert wire.take_frames()[1] == [sent]


def test_rekeys_lose_no_frame(wire: Wire) -> None:
    wire.start()
    a, b, _ = wire.edges
    sent = []
    for n in range(3 * int(REKEY_AFTER_TIME)):
        sent.append(frame(b.mac, a.mac, n.to_bytes(4, "big")))
        a.engine.receive_frames([sent[-1]], wire.now)
        wire.advance(1.0)
    assert wire.take_frames()[1] == sent
    sessions = next(p for p in a.engine.status(wire.now).peers if p.name == "r2").sessions
    assert len(sessions) == 2 and sum(s.sending for s in sessions) == 1


def test_an_idle_session_stays_up_with_few_packets(wire: Wire) -> None:
    wire.start()
    wire.log.clear()
    wire.advance(10 * NAT_KEEPALIVE)
    for edge in wire.edges:
        assert not texts(edge, PeerDown)
    directed = [x for x in wire.log if x[0] == wire.edges[0].endpoint and x[1] == wire.edges[1].endpoint]
    assert len(directed) <= 2 * 10 + 10


def test_a_silent_peer_is_noticed_lost_and_found_again(wire: Wire) -> None:
    wire.start()
    a, b, _ = wire.edges
    b.online = False
    wire.advance(1.0)
    a.engine.receive_frames([frame(b.mac, a.mac)], wire.now)
    wire.log.clear()
    wire.advance(DEAD_AFTER + 5)
    assert any(x[0] == a.endpoint and x[1] == b.endpoint and x[2][0] == 1 for x in wire.log), "a new handshake is tried"
    wire.advance(300.0)
    assert len(texts(a, PeerDown)) == 1 and state_of(a, b, wire) in ("lost", "handshaking")
    b.online = True
    wire.advance(REKEY_ATTEMPT_TIME + RECONNECT_MAX)
    assert state_of(a, b, wire) == state_of(b, a, wire) == "up"


def test_kill_and_restart_recovers_within_one_handshake(wire: Wire) -> None:
    wire.start()
    a, b, _ = wire.edges
    wire.advance(30.0)
    b.build()  # nothing was said: the process died
    wire.log.clear()
    b.engine.start(wire.now)
    wire.pump()
    between = [x[2][0] for x in wire.log if {x[0], x[1]} == {a.endpoint, b.endpoint} and x[2][0] < 0x10]
    assert between == [1, 2]
    sent = frame(b.mac, a.mac)
    a.engine.receive_frames([sent], wire.now)
    assert wire.take_frames()[1] == [sent]


def test_stop_says_goodbye_and_start_comes_back(wire: Wire) -> None:
    wire.start()
    a, b, _ = wire.edges
    b.engine.stop(wire.now)
    b.engine.stop(wire.now)
    wire.pump()
    assert texts(a, PeerDown) and "goodbye" in texts(a, PeerDown)[0]
    assert b.engine.next_timer() is None and b.engine.status(wire.now).state == "stopped"
    b.engine.receive_datagrams([(b"\x01" * 480, a.endpoint)], wire.now)
    b.engine.receive_frames([frame(a.mac, b.mac)], wire.now)
    assert b.engine.take_datagrams() == [] and b.engine.take_frames() == []
    wire.advance(1.0)
    b.engine.start(wire.now)
    b.engine.start(wire.now)
    wire.pump()
    assert state_of(a, b, wire) == "up"


def test_ping_answers_and_says_why_not(wire: Wire) -> None:
    wire.start()
    a, b, c = wire.edges
    token = a.engine.ping(b.settings.vip4.ip, wire.now)  # type: ignore[union-attr]
    wire.pump()
    assert a.events[-1] == PingResult(token, 0.0, "")
    c.online = False
    a.engine.ping(c.identity.vip6, wire.now, timeout=1.0)
    a.engine.ping(bytes(6), wire.now, timeout=1.0)
    wire.advance(1.0)
    results = [e for e in a.events if isinstance(e, PingResult)][-2:]
    assert [r.rtt for r in results] == [None, None]
    assert results[0].text == "no answer" and "no edge of this cluster" in results[1].text


def test_static_macs_are_pinned(seed: int) -> None:
    wire = Wire(seed, 3)
    wire.know_each_other()
    a, b, c = wire.edges
    pinned = b"\x02\x00\x00\x00\x00\x77"
    a.configure(static_macs=(StaticMacSettings(pinned, b.key),))
    wire.start()
    c.engine.receive_frames([frame(b"\xff" * 6, pinned)], wire.now)  # c pretends to be it
    assert wire.take_frames()[0] == []
    sent = frame(pinned, a.mac)
    a.engine.receive_frames([sent], wire.now)
    assert wire.take_frames() == [[], [sent], []]


def test_status_is_json_and_holds_no_secret(wire: Wire) -> None:
    wire.start()
    a = wire.edges[0]
    text = json.dumps(a.engine.status(wire.now).as_dict())
    keys = [k for p in a.engine.book for k in a.engine.sessions.keypairs(p.public_key)]
    for secret in (
        PSK,
        a.identity.exchange_private,
        *(bytes(k.send_key) for k in keys),
        *(bytes(k.receive_key) for k in keys),
    ):
        assert secret.hex() not in text and repr(bytes(secret))[2:-1] not in text
    for keypair in keys:
        assert f"{keypair.receive_id:x}" not in text and keypair.receive_id.to_bytes(8, "little").hex() not in text
    for value in (a.settings, a.engine.settings, dataclasses.replace(a.settings)):
        assert repr(PSK) not in repr(value)


def test_split_horizon(wire: Wire) -> None:
    """Nothing that came from the overlay is sent to it again, whatever its destination."""
    wire.start()
    a, b, _ = wire.edges
    wire.log.clear()
    b.engine.receive_frames([frame(b"\xff" * 6, b.mac), frame(a.mac, b.mac), frame(b"\x02" * 6, b.mac)], wire.now)
    wire.pump()
    assert {x[0] for x in wire.log} == {b.endpoint}
