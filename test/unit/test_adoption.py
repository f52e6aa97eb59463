"""What a Ganglion leaves with its sessions in the data plane, and how the next one takes them over."""

from __future__ import annotations

import dataclasses
import random

import pytest
from support.ganglia import EPOCH_NS, PSK, Edge, Wire, frame
from support.planes import AT_B, MAC_A, MAC_B, PEER_B, digest, key_pair
from support.planes import Pair as Planes
from support.planes import frame as sized_frame

from omni_core.constants import REJECT_AFTER_TIME, REKEY_AFTER_TIME, UNCONFIRMED_TIME
from omni_core.crypto.identity import Identity
from omni_core.dataplane.port import NOTE_MAX, Confirmed
from omni_core.drops import DropReason
from omni_core.engines.ganglion import GanglionEngine
from omni_core.engines.ganglion_events import PeerUp, PingResult, Warned
from omni_core.engines.notes import Note, decode_note, encode_note, owner_of
from omni_core.engines.peers import Peer
from omni_core.engines.settings import StaticMacSettings, StaticPeerSettings
from omni_core.errors import LocalMisuse
from omni_core.session.adoption import LeftSession, arrange
from omni_core.session.events import SessionRetired, SessionUsable
from omni_core.session.handshake import Profile
from omni_core.session.keypair import Keypair
from omni_core.session.machine import State
from omni_core.session.remote import Remote
from omni_core.types import BROADCAST, Endpoint
from omni_core.wire import cbor
from omni_core.wire.control import ControlType
from omni_core.wire.hello import Hello

# --- the data plane ---------------------------------------------------------------------------------------------------


def test_the_plane_offers_what_was_remembered(seed: int) -> None:
    planes = Planes(random.Random(seed))
    planes.a.remember(planes.keys_a.receive_id, b"first")
    planes.a.remember(planes.keys_a.receive_id, b"note")
    pending, theirs = planes.add_session()
    planes.a.remember(pending.receive_id, b"x" * NOTE_MAX)
    in_use, new = planes.a.adopted()
    assert (in_use.peer, in_use.send_id, in_use.receive_id) == (PEER_B, planes.keys_a.send_id, planes.keys_a.receive_id)
    assert (in_use.sending, in_use.confirmed, in_use.note, in_use.path) == (True, False, b"note", AT_B)
    assert in_use.expires == planes.now + REJECT_AFTER_TIME
    assert (new.receive_id, new.sending, new.confirmed, len(new.note)) == (pending.receive_id, False, False, NOTE_MAX)
    planes.b.use_session(theirs.receive_id)
    planes.into_a(planes.sealed_by_b([sized_frame(MAC_A, MAC_B)]))
    assert [each.confirmed for each in planes.a.adopted()] == [False, True]


def test_the_plane_goes_on_with_what_it_offers_and_ends_the_rest(seed: int) -> None:
    planes = Planes(random.Random(seed))
    planes.a.remember(planes.keys_a.receive_id, b"note")
    planes.add_session()
    lonely, _ = key_pair(planes.draw, 7)
    planes.a.add_session(lonely, planes.now)
    planes.a.set_static(b"\x02\0\0\0\0\x07", 7)
    planes.a.set_flood([PEER_B, 7])
    unknown = sized_frame(b"\x02\0\0\0\0\x09", MAC_A)
    planes.a.frames_from_port([unknown], planes.now)
    assert [each.receive_id for each in planes.a.adopted()] == [planes.keys_a.receive_id]
    assert planes.a.take_events() == [], "they were for somebody who is gone"
    assert {entry.peer for entry in planes.a.fdb(planes.now)} == {None, PEER_B}
    for receive_id in (lonely.receive_id, 1):
        with pytest.raises(LocalMisuse):
            planes.a.session_stats(receive_id)
    flooded = sized_frame(BROADCAST, MAC_A)
    assert planes.into_b(planes.sealed_by_a([flooded])) == [flooded]
    assert planes.a.take_events() == [], "7 is not flooded to any more"


def test_notes_have_a_size_and_a_session(seed: int) -> None:
    planes = Planes(random.Random(seed))
    with pytest.raises(LocalMisuse):
        planes.a.remember(planes.keys_a.receive_id, bytes(NOTE_MAX + 1))
    with pytest.raises(LocalMisuse):
        planes.a.remember(1, b"")


# --- notes ------------------------------------------------------------------------------------------------------------

NOTE = Note(b"o" * 16, b"k" * 32, True, 2**64 - 1, Hello("n" * 63, None, 0), True, 2**63, b"t" * 8)


def test_a_note_comes_back_and_fits() -> None:
    for note in (NOTE, dataclasses.replace(NOTE, heard=None, initiator=False, hello=Hello("", None), member=False)):
        assert decode_note(encode_note(note)) == note
    assert len(encode_note(NOTE)) <= NOTE_MAX // 2


def malformed_notes() -> list[bytes]:
    good = cbor.decode_map(encode_note(NOTE), DropReason.BAD_PAYLOAD)
    wrong: list[bytes] = [b"", b"\xff" * 40, cbor.encode([]), cbor.encode({}), encode_note(NOTE)[:-1]]
    for key in good:
        wrong.append(cbor.encode({k: v for k, v in good.items() if k != key or k == 5}) if key != 5 else b"\0")
        wrong.append(cbor.encode({**good, key: "text"}))
        wrong.append(cbor.encode({**good, key: [1]}))
    wrong.append(cbor.encode({**good, 1: 2}))
    wrong.append(cbor.encode({**good, 3: b"k" * 31}))
    wrong.append(cbor.encode({**good, 6: b"no hello"}))
    wrong.append(cbor.encode({**good, 8: True}))
    return wrong


def test_malformed_notes_are_no_notes() -> None:
    for data in malformed_notes():
        assert decode_note(data) is None, data.hex()


def test_any_flipped_byte_is_a_note_or_none(seed: int) -> None:
    draw = random.Random(seed)
    good = encode_note(NOTE)
    for _ in range(2000):
        data = bytearray(good)
        for _ in range(draw.randrange(1, 4)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        decode_note(bytes(data))


def test_the_owner_is_identity_cluster_and_secret(seed: int) -> None:
    draw = random.Random(seed)
    a, b = (Identity.generate(draw.randbytes) for _ in range(2))
    profiles = [Profile("peer", "c"), Profile("peer", "d"), Profile("peer", "c", PSK), Profile("peer", "c", b"j" * 32)]
    owners = {owner_of(identity, profile) for identity in (a, b) for profile in profiles}
    assert len(owners) == 8 and {len(owner) for owner in owners} == {16}


# --- sessions ---------------------------------------------------------------------------------------------------------

T = 1000.0


def left(number: int, created: float, what: str) -> LeftSession:
    """``what``: i(nitiator), s(ending), c(onfirmed)."""
    return LeftSession(number, number, "i" in what, "s" in what, "c" in what, created)


@pytest.mark.parametrize(
    ("sessions", "state", "current", "previous", "pending", "useless"),
    [
        pytest.param([], State.DOWN, None, None, None, [], id="1 nothing"),
        pytest.param([(T - 9, "is")], State.UP, 0, None, None, [], id="2 ours in use"),
        pytest.param([(T - 9, "sc")], State.UP, 0, None, None, [], id="3 theirs in use"),
        pytest.param([(T - 9, "sc"), (T - 1, "")], State.REANSWERED, 0, None, 1, [], id="4 answered, not confirmed"),
        pytest.param([(T - 9, "sc"), (T - 1, "c")], State.UP, 1, 0, None, [], id="5 confirmed meanwhile"),
        pytest.param([(T - 9, "is"), (T - 1, "i")], State.UP, 1, 0, None, [], id="6 died before it was used"),
        pytest.param([(T - 99, "c"), (T - 9, "is")], State.UP, 1, 0, None, [], id="7 after a rekey"),
        pytest.param([(T - 99, "i"), (T - 9, "sc"), (T, "c")], State.UP, 2, 1, None, [0], id="8 one too many"),
        pytest.param([(T - 99, "i"), (T - 9, "sc"), (T, "")], State.REANSWERED, 1, 0, 2, [], id="9 all three"),
        pytest.param([(T - 9, "")], State.ANSWERED, None, None, 0, [], id="10 only answered"),
        pytest.param([(T - 9, "is"), (T - 20, "")], State.UP, 0, None, None, [1], id="11 older than what is in use"),
        pytest.param([(T - 180, "is")], State.DOWN, None, None, None, [0], id="12 expired"),
        pytest.param([(T - 200, "is"), (T - 9, "")], State.ANSWERED, None, None, 1, [0], id="13 one expired"),
        pytest.param([(T - 9, "is"), (T - 9, "")], State.REANSWERED, 0, None, 1, [], id="14 made at one moment"),
    ],
)
def test_what_becomes_of_sessions(
    sessions: list[tuple[float, str]],
    state: State,
    current: int | None,
    previous: int | None,
    pending: int | None,
    useless: list[int],
) -> None:
    peer = Remote(b"k" * 32, Profile("peer"))
    rest = arrange(peer, [left(n, *each) for n, each in enumerate(sessions)], T)
    found = [keypair and keypair.receive_id for keypair in (peer.current, peer.previous, peer.pending)]
    assert (peer.state, *found) == (state, current, previous, pending)
    assert [each.receive_id for each in rest] == useless
    for keypair in (peer.current, peer.previous, peer.pending):
        assert keypair is None or (keypair.adopted and not keypair.send_key and not keypair.receive_key)


@pytest.mark.parametrize(("initiator", "due"), [(True, 0.0), (False, 15.0)])
def test_timers_run_from_the_age_of_the_session(seed: int, initiator: bool, due: float) -> None:
    edge = Edge(1, random.Random(seed))
    sessions, remote = edge.engine.sessions, Identity.generate(edge.rng.randbytes).public_key
    at = Endpoint("10.0.0.2", 1)
    sessions.adopt(remote, [left(7, T - 100, "isc" if initiator else "sc")], at, None, T)
    assert sessions.next_timer() == T - 100 + REJECT_AFTER_TIME, "not renewed before it is wanted"
    sessions.connect(remote, [at], T)
    assert sessions.take_datagrams() == []
    when = sessions.next_timer()
    assert when is not None and 0 <= when - (T - 100 + REKEY_AFTER_TIME + due) <= 0.334
    sessions.handle_timer(when)
    assert [datagram[0] for datagram, _ in sessions.take_datagrams()] == [ControlType.INITIATION]
    assert sessions.sending(remote) is not None and sessions.take_events() == []
    with pytest.raises(LocalMisuse):
        sessions.adopt(remote, [], None, None, T)


def test_events_of_an_adoption(seed: int) -> None:
    edge = Edge(1, random.Random(seed))
    sessions, remote = edge.engine.sessions, Identity.generate(edge.rng.randbytes).public_key
    sessions.adopt(remote, [left(1, T - 200, "i"), left(2, T - 9, "s"), left(3, T - 2, "c")], None, None, T)
    assert sessions.take_events() == [SessionRetired(remote, 1), SessionUsable(remote, 3)]
    assert sessions.remote_of(1) is None and sessions.remote_of(2) == sessions.remote_of(3) == remote


def test_a_stranger_that_never_confirms_is_forgotten(seed: int) -> None:
    edge = Edge(1, random.Random(seed))
    sessions, remote = edge.engine.sessions, Identity.generate(edge.rng.randbytes).public_key
    sessions.adopt(remote, [left(1, T - 2, "")], None, None, T)
    assert sessions.next_timer() == T - 2 + UNCONFIRMED_TIME
    sessions.handle_timer(T - 2 + UNCONFIRMED_TIME)
    assert len(sessions) == 0 and sessions.next_timer() is None


# --- the Ganglion -----------------------------------------------------------------------------------------------------


def restart(edge: Edge, **changes: object) -> None:
    """Another engine over the same data plane, as after kill -9; not started."""
    edge.settings = dataclasses.replace(edge.settings, **changes)  # type: ignore[arg-type]
    edge.engine = GanglionEngine(
        edge.settings,
        edge.identity,
        edge.plane,
        random=edge.rng.randbytes,
        unix_ns=lambda now: EPOCH_NS + int(now * 1e9),
    )
    edge.events.clear()


@pytest.fixture
def wire(seed: int) -> Wire:
    """Three edges, all up, seconds after their handshakes."""
    wire = Wire(seed, 3)
    wire.know_each_other()
    wire.start()
    wire.advance(8)
    return wire


def texts(edge: Edge, kind: type) -> list[str]:
    return [event.text for event in edge.events if isinstance(event, kind)]


def sending(edge: Edge, other: Edge) -> Keypair:
    keypair = edge.engine.sessions.sending(other.key)
    assert keypair is not None
    return keypair


def peer_of(edge: Edge, other: Edge) -> Peer:
    peer = edge.engine.book.get(other.key)
    assert peer is not None
    return peer


def ids(edge: Edge) -> set[int]:
    return {k.receive_id for peer in edge.engine.book for k in edge.engine.sessions.keypairs(peer.public_key)}


def test_everything_is_as_before(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c = wire.edges
    host_b = b"\x02\0\0\0\0\x0b"
    b.engine.receive_frames([frame(BROADCAST, host_b)], wire.now)
    wire.take_frames()
    before, peers, pins = ids(a), {p.public_key: p.id for p in a.engine.book}, a.plane.fdb(wire.now)
    timers, flood = a.engine.sessions.next_timer(), a.engine.peering.flood
    floods: list[set[int]] = []
    set_flood = a.plane.set_flood
    monkeypatch.setattr(a.plane, "set_flood", lambda peers: (floods.append(set(peers)), set_flood(peers)))
    restart(a)
    a.engine.start(wire.now)
    assert ids(a) == before and {p.public_key: p.id for p in a.engine.book} == peers
    assert a.plane.fdb(wire.now) == pins
    assert floods == [set(flood)], "never a smaller one in between"
    assert a.engine.sessions.next_timer() == pytest.approx(timers, abs=0.4)
    wire.pump()
    assert len(texts(a, PeerUp)) == 2 and all("in a session that an earlier run made" in t for t in texts(a, PeerUp))
    assert [(p.adopted, p.rtt_s) for p in a.engine.status(wire.now).peers] == [(True, 0.0)] * 2, "they were told"
    assert {(p.name, p.vip4, p.endpoint) for p in a.engine.status(wire.now).peers} == {
        (e.settings.name, str(e.settings.vip4.ip), str(e.endpoint)) for e in (b, c) if e.settings.vip4
    }
    sent = [frame(host_b, a.mac), frame(BROADCAST, a.mac)]
    a.engine.receive_frames(sent, wire.now)
    assert wire.take_frames() == [[], sent, sent[1:]]
    wire.advance(REKEY_AFTER_TIME + 20)
    assert not {sending(a, b).receive_id, sending(a, c).receive_id} & before
    assert [p.adopted for p in a.engine.status(wire.now).peers] == [False, False]


def test_no_key_is_in_the_control_plane_or_in_a_note(wire: Wire) -> None:
    a = wire.edges[0]
    keys = []
    for peer in a.engine.book:
        for keypair in a.engine.sessions.keypairs(peer.public_key):
            assert not any(keypair.send_key) and not any(keypair.receive_key)
            session = a.plane._sessions[keypair.receive_id]
            keys += [bytes(session.sealer._key), bytes(session.opener._key)]
    secrets = [*keys, PSK, a.identity.exchange_private]
    for each in a.plane.adopted():
        assert not any(secret[n : n + 8] in each.note for secret in secrets for n in range(0, 32, 8))


def test_new_peers_get_new_ids(wire: Wire, seed: int) -> None:
    a = wire.edges[0]
    highest = max(peer.id for peer in a.engine.book)
    restart(a)
    a.engine.start(wire.now)
    stranger = a.engine.book.add(Identity.generate(a.rng.randbytes).public_key)
    assert stranger.id == highest + 1


def test_an_old_initiation_is_still_old(wire: Wire) -> None:
    a, b, _ = wire.edges
    old = {
        datagram
        for source, destination, datagram in wire.log
        if source == b.endpoint and destination == a.endpoint and datagram[0] == ControlType.INITIATION
    }
    assert old or any(k.initiator for k in a.engine.sessions.keypairs(b.key))
    b.engine.sessions.rekey(a.key, wire.now)
    latest = [datagram for datagram, _ in b.engine.sessions.take_datagrams()]
    assert [datagram[0] for datagram in latest] == [ControlType.INITIATION]
    a.engine.receive_datagrams([(latest[0], b.endpoint)], wire.now)
    a.engine.take_datagrams()
    restart(a)
    a.engine.start(wire.now)
    before = ids(a)
    replayed = [*old, *latest]
    a.engine.receive_datagrams([(datagram, Endpoint("10.6.6.6", 1)) for datagram in replayed], wire.now)
    assert a.engine.sessions.drops.as_dict() == {DropReason.HANDSHAKE_REPLAYED: len(replayed)}
    assert ids(a) == before and peer_of(a, b).path == b.endpoint


def test_a_malformed_note_ends_its_session_and_nothing_else(wire: Wire) -> None:
    for data in malformed_notes():
        a, b, c = wire.edges
        (keypair,) = a.engine.sessions.keypairs(b.key)
        a.plane.remember(keypair.receive_id, data)
        restart(a)
        a.engine.start(wire.now)
        wire.pump()
        if data:  # without a note it is not even offered
            assert texts(a, Warned) == [
                "sessions that an earlier Ganglion left were ended, not taken over: 1 with a note that makes no sense"
            ]
        status = a.engine.status(wire.now).peers
        assert [p.name for p in status if p.adopted] == [c.settings.name]
        wire.advance(3)
        assert {p.state for p in a.engine.status(wire.now).peers} == {"up"}, "a new handshake"
        assert len(a.engine.sessions.keypairs(b.key)) == 1


@pytest.mark.parametrize(
    "changes", [{"cluster": "d"}, {"psk": b"j" * 32}, {"psk": None}], ids=["cluster", "secret", "no secret"]
)
def test_sessions_of_another_owner_end(wire: Wire, changes: dict[str, object]) -> None:
    a = wire.edges[0]
    restart(a, static_peers=(), **changes)
    a.engine.start(wire.now)
    assert len(a.engine.book) == 0 and a.plane.adopted() == []
    assert [entry.mac for entry in a.plane.fdb(wire.now)] == [a.mac]
    wire.pump()
    assert "2 of another identity, cluster, secret or version" in texts(a, Warned)[0]


def test_sessions_of_another_identity_end(wire: Wire) -> None:
    a = wire.edges[0]
    former, a.identity = a.mac, Identity.generate(a.rng.randbytes)
    restart(a)
    a.engine.start(wire.now)
    assert a.plane.adopted() == []
    owned = {entry.mac: entry.peer for entry in a.plane.fdb(wire.now)}
    assert former not in owned and owned[a.mac] is None
    wire.pump()
    wire.advance(1)
    assert len(texts(a, Warned)) == 1


def test_who_is_not_admitted_any_more_is_not_taken_over(wire: Wire) -> None:
    a, b, c = wire.edges
    restart(a, static_peers=(), allowed_keys=frozenset({c.key}))
    a.engine.start(wire.now)
    assert [peer.public_key for peer in a.engine.book] == [c.key]
    assert {each.peer for each in a.plane.adopted()} == {peer_of(a, c).id}
    assert b.mac not in {entry.mac for entry in a.plane.fdb(wire.now)}


def test_expired_sessions_are_not_taken_over(wire: Wire) -> None:
    a = wire.edges[0]
    restart(a)
    wire.now += REJECT_AFTER_TIME
    for edge in wire.edges[1:]:
        edge.engine.handle_timer(wire.now)
    a.engine.start(wire.now)
    assert ids(a) == set() and a.plane.adopted() == []
    wire.pump()
    wire.advance(7)
    assert {p.state for p in a.engine.status(wire.now).peers} == {"up"}
    assert texts(a, Warned) == []


def test_static_entries_follow_the_configuration(wire: Wire) -> None:
    a, b, c = wire.edges
    kept, moved, gone, local, was_local = (bytes([2, 0, 0, 0, 9, n]) for n in range(5))
    restart(
        a,
        static_macs=(
            StaticMacSettings(kept, b.key),
            StaticMacSettings(moved, b.key, 7),
            StaticMacSettings(gone, c.key),
            StaticMacSettings(was_local, None),
        ),
    )
    a.engine.start(wire.now)
    restart(
        a,
        static_macs=(
            StaticMacSettings(kept, b.key),
            StaticMacSettings(moved, c.key, 7),
            StaticMacSettings(local, None, 3),
        ),
    )
    a.engine.start(wire.now)
    to_b, to_c = (peer_of(a, edge).id for edge in (b, c))
    assert {(e.mac, e.vlan): e.peer for e in a.plane.fdb(wire.now) if e.static} == {
        (a.mac, None): None,
        (b.mac, None): to_b,
        (c.mac, None): to_c,
        (kept, None): to_b,
        (moved, 7): to_c,
        (local, 3): None,
    }


def test_what_we_tell_about_ourselves_has_changed(wire: Wire) -> None:
    """Then the peers hear it at once, in a new handshake, and not only at the next rekey."""
    a, b, _ = wire.edges
    before = ids(a)
    restart(a)
    a.engine.start(wire.now)
    wire.advance(1)
    assert ids(a) == before
    restart(a, name="renamed")
    a.engine.start(wire.now)
    wire.pump()
    assert "renamed" in {peer.name for peer in b.engine.status(wire.now).peers}


def test_detach_says_and_changes_nothing(wire: Wire) -> None:
    a, b, _ = wire.edges
    token = a.engine.ping(b"\x02\0\0\0\0\x77", wire.now)
    wire.pump()
    before = digest(a.plane)
    a.engine.detach(wire.now)
    a.engine.detach(wire.now)
    assert a.engine.take_datagrams() == [] and digest(a.plane) == before
    assert [e for e in a.engine.take_events() if isinstance(e, PingResult)] == [
        PingResult(token, None, "the Ganglion is being restarted")
    ]
    assert not a.engine.running and a.engine.next_timer() is None and len(a.engine.book) == 0
    known = {each.receive_id for each in a.plane.adopted()}
    a.engine.start(wire.now)  # the same object may start again
    assert ids(a) == known and len(known) == 2
    a.engine.stop(wire.now)
    a.engine.detach(wire.now)
    assert a.plane.adopted() == []
    wire.advance(1)
    assert {p.state for p in b.engine.status(wire.now).peers if p.name == a.settings.name} == {"lost"}


def test_a_confirmation_that_nobody_heard(wire: Wire) -> None:
    """The event went to the Ganglion that died; the data plane knows."""
    a, b, _ = wire.edges
    b.engine.sessions.rekey(a.key, wire.now)
    (initiation,) = (datagram for datagram, to in b.engine.sessions.take_datagrams() if to == a.endpoint)
    a.engine.receive_datagrams([(initiation, b.endpoint)], wire.now)
    for datagram, to in a.engine.take_datagrams():
        if to == b.endpoint:
            b.engine.receive_datagrams([(datagram, a.endpoint)], wire.now)
    data = [(datagram, b.endpoint) for datagram, to in b.engine.take_datagrams() if to == a.endpoint]
    a.plane.datagrams_from_underlay(data, wire.now)
    assert any(isinstance(event, Confirmed) for event in a.plane._events)
    restart(a)
    a.engine.start(wire.now)
    assert sending(a, b).send_id == sending(b, a).receive_id
    to_b = [each for each in a.plane.adopted() if each.peer == peer_of(a, b).id]
    assert [each.receive_id for each in to_b if each.sending] == [sending(a, b).receive_id]


def test_a_hundred_peers(seed: int) -> None:
    wire = Wire(seed, 101)
    hub, *spokes = wire.edges
    hub.engine.start(wire.now)
    for n, spoke in enumerate(spokes):
        spoke.configure(static_peers=(StaticPeerSettings(hub.key, (hub.endpoint,)),), name=f"spoke-{n}")
        spoke.engine.start(wire.now)
        wire.pump()
    assert len(hub.engine.peering.flood) == 100
    before = ids(hub)
    restart(hub)
    hub.engine.start(wire.now)
    wire.pump()
    assert ids(hub) == before and len(hub.engine.peering.flood) == 100
    assert len(texts(hub, PeerUp)) == 100 and texts(hub, Warned) == []
    sent = frame(BROADCAST, hub.mac)
    hub.engine.receive_frames([sent], wire.now)
    assert wire.take_frames() == [[], *([[sent]] * 100)]
