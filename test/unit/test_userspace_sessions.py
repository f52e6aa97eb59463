"""The python data plane's sessions: wire format, rekey, expiry, replay, streams, confirmation, roaming, key hygiene."""

from __future__ import annotations

import random

import nacl.bindings
import pytest
from support.planes import AT_A, AT_B, MAC_A, MAC_B, PEER_A, PEER_B, Pair, frame, seal

from omni_core.constants import (
    CONTROL_ETHERTYPE,
    CONTROL_MAC,
    MAX_FRAME,
    MIN_FRAME,
    REJECT_AFTER_MESSAGES,
    REJECT_AFTER_TIME,
    REPLAY_WINDOW,
)
from omni_core.crypto.aead import Aead
from omni_core.dataplane.port import Confirmed, EndpointMoved, SessionKeys, SessionStats, Unresolved, UnresolvedReason
from omni_core.dataplane.userspace import UserspaceDataPlane
from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse
from omni_core.types import BROADCAST, Endpoint
from omni_core.wire.header import make_nonce

DATA = frame(MAC_B, MAC_A)
EXPIRY = 100.0 + REJECT_AFTER_TIME  # the pair's sessions are made at 100


@pytest.fixture
def pair(seed: int) -> Pair:
    return Pair(random.Random(seed))


# --- on the wire ---------------------------------------------------------------------------------------------------


def test_packet_by_another_implementation() -> None:
    """Every byte of two packets, sealed by libsodium: the header is associated data, the nonce 0x00000000 || nonce."""
    key = bytes(range(32))
    plane = UserspaceDataPlane()
    plane.add_session(SessionKeys(1, 0x8877665544332211, 0x10, bytearray(key), bytearray(key)), 0.0)
    plane.use_session(0x10)
    plane.set_path(1, AT_B)
    plane.frames_to_peer(1, [DATA, DATA], 0.0)
    for number, (packet, endpoint) in enumerate(plane.take_datagrams()):
        header = bytes.fromhex("1122334455667788") + 2 * number.to_bytes(8, "little")
        nonce = bytes(4) + number.to_bytes(8, "little")
        sealed = nacl.bindings.crypto_aead_chacha20poly1305_ietf_encrypt(DATA, header, nonce, key)
        assert packet == header + sealed
        assert endpoint == AT_B


TAGS = {
    "IPv4": "0800",
    "ARP": "0806",
    "IPv6": "86dd",
    "VLAN": "810060050800",
    "QinQ": "88a80005810000060800",
    "EtherCAT": "88a4",
    "PROFINET": "8892",
    "PROFINET, priority-tagged": "8100c0008892",
    "PTP": "88f7",
    "LLC": "0003",
    "local experimental": "88b5",
}


@pytest.mark.parametrize("kind", TAGS)
def test_frames_of_every_length_arrive_as_they_were(pair: Pair, kind: str) -> None:
    """A frame may end anywhere, also in the middle of a tag."""
    head = MAC_B + MAC_A + bytes.fromhex(TAGS[kind])
    longest = head + pair.draw.randbytes(MAX_FRAME - len(head))
    for low in range(MIN_FRAME, MAX_FRAME + 1, 500):
        frames = [longest[:size] for size in range(low, min(low + 500, MAX_FRAME + 1))]
        packets = pair.sealed_by_a(frames)
        assert [len(packet) for packet in packets] == [len(each) + 40 for each in frames]
        assert pair.into_b(packets) == frames
    assert pair.a.drops() == pair.b.drops() == {}
    stats = pair.b.session_stats(pair.keys_b.receive_id)
    assert stats.rx_frames == MAX_FRAME - MIN_FRAME + 1
    assert stats.rx_bytes == sum(range(MIN_FRAME, MAX_FRAME + 1))


# --- rekey ---------------------------------------------------------------------------------------------------------


def test_rekey_loses_nothing(pair: Pair) -> None:
    """Old and new session are both valid for receiving while packets of both are in flight, in any order."""
    frames = [frame(MAC_B, MAC_A, size=60 + n) for n in range(300)]
    back = [frame(MAC_A, MAC_B, size=60 + n) for n in range(300)]
    packets, packets_back = pair.sealed_by_a(frames[:100]), pair.sealed_by_b(back[:100])
    new_a, new_b = pair.add_session()
    packets += pair.sealed_by_a(frames[100:200])
    pair.a.use_session(new_a.receive_id)  # the initiator first; the responder when it has heard from it
    packets += pair.sealed_by_a(frames[200:])
    packets_back += pair.sealed_by_b(back[100:200])
    pair.draw.shuffle(packets)
    assert sorted(pair.into_b(packets)) == sorted(frames)
    assert Confirmed(new_b.receive_id) in pair.b.take_events()
    pair.b.use_session(new_b.receive_id)
    packets_back += pair.sealed_by_b(back[200:])
    pair.draw.shuffle(packets_back)
    assert sorted(pair.into_a(packets_back)) == sorted(back)
    assert pair.a.drops() == pair.b.drops() == {}
    assert pair.a.take_events() == [Confirmed(each) for each in confirmed_order(packets_back, pair, new_a)]

    late = pair.sealed_by_a([DATA])
    pair.a.remove_session(pair.keys_a.receive_id)
    pair.b.remove_session(pair.keys_b.receive_id)
    assert pair.into_b(late + pair.sealed_by_a([DATA])) == [DATA, DATA]
    assert pair.into_b(packets) == []
    assert pair.b.drops() == {DropReason.UNKNOWN_SESSION: 200, DropReason.REPLAYED: 100}


def confirmed_order(packets: list[bytes], pair: Pair, new: SessionKeys) -> list[int]:
    """Receive ids in the order of their first packet."""
    ids = [int.from_bytes(packet[:8], "little") for packet in packets]
    return sorted((pair.keys_a.receive_id, new.receive_id), key=ids.index)


def test_going_back_to_a_session_goes_on_with_its_sequence(pair: Pair) -> None:
    new_a, _ = pair.add_session()
    nonces = set()
    for _ in range(3):
        for keys in (pair.keys_a, new_a):
            pair.a.use_session(keys.receive_id)
            pair.a.add_session(keys, pair.now)
            for packet in pair.sealed_by_a([DATA, DATA]):
                nonces.add(packet[:24])
    assert len(nonces) == 12


def test_removing_the_sending_session_leaves_the_peer_without(pair: Pair) -> None:
    new_a, _ = pair.add_session()
    for _ in range(2):
        pair.a.remove_session(pair.keys_a.receive_id)
    pair.a.frames_from_port([DATA], pair.now)
    assert pair.a.take_events() == [Unresolved(DATA, UnresolvedReason.NO_SESSION, PEER_B)]
    pair.a.use_session(new_a.receive_id)
    assert pair.into_b(pair.sealed_by_a([DATA])) == [DATA]


# --- expiry --------------------------------------------------------------------------------------------------------


def test_nothing_is_opened_or_sealed_past_its_time(pair: Pair) -> None:
    in_time, late = pair.sealed_by_a([DATA, DATA])
    pair.now = EXPIRY - 0.001
    assert pair.into_b([in_time]) == [DATA]
    assert len(pair.sealed_by_a([DATA])) == 1
    pair.now = EXPIRY
    assert pair.into_b([late]) == []
    assert pair.b.drops() == {DropReason.SESSION_EXPIRED: 1}
    assert pair.sealed_by_a([DATA, frame(BROADCAST, MAC_A)]) == []
    assert pair.a.take_events() == [
        Unresolved(each, UnresolvedReason.NO_SESSION, PEER_B) for each in (DATA, frame(BROADCAST, MAC_A))
    ]
    pair.a.frames_to_peer(PEER_B, [DATA], pair.now)
    assert pair.a.take_datagrams() == []
    assert pair.a.drops() == {DropReason.SESSION_EXPIRED: 1}


def test_nothing_is_opened_or_sealed_past_the_message_limit(pair: Pair) -> None:
    last, beyond = (seal(pair.keys_a, n, n, DATA) for n in (REJECT_AFTER_MESSAGES - 1, REJECT_AFTER_MESSAGES))
    assert pair.into_b([beyond, last, beyond]) == [DATA]
    assert pair.b.drops() == {DropReason.SESSION_EXPIRED: 2}
    pair.a._sessions[pair.keys_a.receive_id].next_sequence = REJECT_AFTER_MESSAGES - 1
    pair.a.frames_from_port([DATA, DATA], pair.now)
    ((packet, _),) = pair.a.take_datagrams()
    assert packet == last
    assert pair.a.take_events() == [Unresolved(DATA, UnresolvedReason.NO_SESSION, PEER_B)]
    pair.a.frames_to_peer(PEER_B, [DATA], pair.now)
    assert pair.a.drops() == {DropReason.SEQUENCE_EXHAUSTED: 1}
    new = pair.add_session()
    pair.use(*new)
    assert pair.into_b(pair.sealed_by_a([DATA])) == [DATA]


# --- replay and streams --------------------------------------------------------------------------------------------


def test_each_stream_has_its_own_window(pair: Pair) -> None:
    packets = [
        seal(pair.keys_a, n, make_nonce(n, stream), DATA) for stream in (0, 1) for n in (0, 1, REPLAY_WINDOW + 5)
    ]
    assert len(pair.into_b(packets)) == 6
    assert pair.into_b(packets) == []
    assert pair.b.drops() == {DropReason.REPLAYED: 6}


@pytest.mark.parametrize("stream", [2, 3])
def test_other_streams_are_refused(pair: Pair, stream: int) -> None:
    assert pair.into_b([seal(pair.keys_a, 0, make_nonce(0, stream), DATA)]) == []
    assert pair.b.drops() == {DropReason.BAD_NONCE: 1}


def test_two_paths_carry_one_sequence(pair: Pair) -> None:
    """The same frame sealed for two paths: the first copy is delivered, the other dropped, whichever comes first."""
    both = [[seal(pair.keys_a, n, make_nonce(n, 0, path), DATA) for path in (3, 63)] for n in range(2)]
    assert pair.into_b([*both[0], *reversed(both[1])]) == [DATA, DATA]
    assert pair.b.drops() == {DropReason.REPLAYED: 2}


@pytest.mark.parametrize("nonce", [1, 1 << 55, (1 << 56) + 1])
def test_the_nonce_must_carry_the_sequence(pair: Pair, nonce: int) -> None:
    assert pair.into_b([seal(pair.keys_a, 0, nonce, DATA)]) == []
    assert pair.b.drops() == {DropReason.BAD_NONCE: 1}


def test_a_forged_packet_does_not_move_the_window(pair: Pair) -> None:
    true = pair.sealed_by_a([DATA])[0]
    far_ahead = 2 * (1 << 40).to_bytes(8, "little")
    assert pair.into_b([true[:-1] + bytes([true[-1] ^ 1]), true[:8] + far_ahead + true[24:]]) == []
    assert pair.into_b([true]) == [DATA]
    assert pair.b.drops() == {DropReason.BAD_TAG: 2}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda true: b"", DropReason.TOO_SHORT),
        (lambda true: true[:53], DropReason.TOO_SHORT),
        (lambda true: true[:54], DropReason.BAD_TAG),
        (lambda true: true + bytes(MAX_FRAME + 41 - len(true)), DropReason.TOO_LONG),
        (lambda true: true + bytes(MAX_FRAME + 40 - len(true)), DropReason.BAD_TAG),
        (lambda true: b"\x0f" + true[1:], DropReason.UNKNOWN_TYPE),
        (lambda true: b"\x00" + true[1:], DropReason.UNKNOWN_TYPE),
        (lambda true: true[:1] + bytes([true[1] ^ 1]) + true[2:], DropReason.UNKNOWN_SESSION),
        (lambda true: true[:8] + b"\x01" + true[9:], DropReason.BAD_NONCE),
        (lambda true: true[:23] + b"\x01" + true[24:], DropReason.BAD_TAG),  # another path: the lane is authenticated
        (lambda true: true[:24] + bytes(30), DropReason.BAD_TAG),
    ],
)
def test_each_reason_to_drop_a_packet(pair: Pair, make: object, reason: DropReason) -> None:
    true = pair.sealed_by_a([DATA])[0]
    assert callable(make)
    assert pair.into_b([make(true), true]) == [DATA], "its neighbour in the batch is not hurt"
    assert pair.b.drops() == {reason: 1}


# --- confirmation and roaming --------------------------------------------------------------------------------------


def test_confirmed_once_by_the_first_authentic_packet(pair: Pair) -> None:
    first, second = pair.sealed_by_a([DATA, DATA])
    pair.into_b([first[:-1] + bytes([first[-1] ^ 1])])
    assert pair.b.take_events() == []
    pair.into_b([second, first])
    assert pair.b.take_events() == [Confirmed(pair.keys_b.receive_id)]


def test_roaming_follows_the_newest_authentic_packet_only(pair: Pair) -> None:
    away, elsewhere = Endpoint("198.51.100.9", 9), Endpoint("2001:db8::9", 9)
    packets = pair.sealed_by_a([DATA] * 8)
    receive_id = pair.keys_b.receive_id
    pair.into_b(packets[2:3])
    assert pair.b.take_events() == [Confirmed(receive_id)]
    pair.into_b(packets[0:1], away)
    assert pair.b.take_events() == [], "delivered late: not the newest"
    pair.into_b([packets[3][:-1] + b"?"], away)
    assert pair.b.take_events() == [], "not authentic"
    pair.into_b(packets[2:3], away)
    assert pair.b.take_events() == [], "replayed"
    pair.into_b(packets[3:5], tuple(away))  # a plain tuple, as a socket gives it
    assert pair.b.take_events() == [EndpointMoved(receive_id, away)], "once"
    pair.into_b(packets[5:6], elsewhere)
    assert pair.b.take_events() == [EndpointMoved(receive_id, elsewhere)]
    pair.b.frames_from_port([frame(MAC_A, MAC_B)], pair.now)
    assert pair.b.take_datagrams()[0][1] == AT_A, "the path is the Ganglion's to change"
    pair.b.set_path(PEER_A, elsewhere)
    pair.into_b(packets[6:7], elsewhere)
    assert pair.b.take_events() == []
    pair.into_b(packets[7:8], AT_A)
    assert pair.b.take_events() == [EndpointMoved(receive_id, AT_A)]


def test_a_move_that_the_ganglion_ignored_is_told_again_after_a_return(pair: Pair) -> None:
    away = Endpoint("198.51.100.9", 9)
    packets = pair.sealed_by_a([DATA] * 4)
    told = []
    for packet, source in zip(packets, (AT_A, away, AT_A, away), strict=True):
        pair.into_b([packet], source)
        told.append(EndpointMoved(pair.keys_b.receive_id, away) in pair.b.take_events())
    assert told == [False, True, False, True]


def test_a_move_is_told_again_after_the_ganglion_has_set_a_path(pair: Pair) -> None:
    away = Endpoint("198.51.100.9", 9)
    for packet in pair.sealed_by_a([DATA] * 3):
        pair.b.take_events()
        pair.into_b([packet], away)
        assert EndpointMoved(pair.keys_b.receive_id, away) in pair.b.take_events()
        pair.b.set_path(PEER_A, AT_A)


def test_a_peer_without_a_path_gets_one_from_its_first_packet(pair: Pair) -> None:
    plane = UserspaceDataPlane()
    plane.add_session(pair.keys_b, pair.now)
    plane.datagrams_from_underlay([(packet, AT_A) for packet in pair.sealed_by_a([DATA])], pair.now)
    receive_id = pair.keys_b.receive_id
    assert plane.take_events() == [Confirmed(receive_id), EndpointMoved(receive_id, AT_A)]


# --- counters and keys ---------------------------------------------------------------------------------------------


def test_stats_tell_data_from_control(pair: Pair) -> None:
    control = frame(CONTROL_MAC, MAC_A, CONTROL_ETHERTYPE, size=20)
    pair.now = 101.0
    packets = pair.sealed_by_a([DATA, DATA])
    pair.now = 102.0
    pair.a.frames_to_peer(PEER_B, [control], pair.now)
    packets += [packet for packet, _ in pair.a.take_datagrams()]
    assert pair.a.session_stats(pair.keys_a.receive_id) == SessionStats(
        tx_frames=3, tx_bytes=140, last_tx=102.0, last_tx_data=101.0, last_unicast=101.0
    )
    for now, packet in zip((103.0, 104.0, 105.0), packets, strict=True):
        pair.now = now
        pair.into_b([packet])
    snapshot = pair.b.session_stats(pair.keys_b.receive_id)
    assert snapshot == SessionStats(
        rx_frames=3, rx_bytes=140, rx_expected=3, last_rx=105.0, last_rx_data=104.0, last_unicast=104.0
    )
    pair.into_b(pair.sealed_by_a([DATA]))
    assert snapshot.rx_frames == 3, "a snapshot"
    pair.a.frames_to_peer(PEER_B, [DATA], 200.0)
    assert pair.a.session_stats(pair.keys_a.receive_id).last_tx_data == 200.0, "a frame that waited is data"
    pair.into_b([packet for packet, _ in pair.a.take_datagrams()])
    pair.now = 201.0
    pair.into_b(pair.sealed_by_a([frame(BROADCAST, MAC_A)]))
    for plane, keys in ((pair.a, pair.keys_a), (pair.b, pair.keys_b)):
        stats = plane.session_stats(keys.receive_id)
        assert max(stats.last_tx_data, stats.last_rx_data) == 201.0
        assert stats.last_unicast < 201.0, "a broadcast is for nobody in particular"


def test_sessions_that_are_not_there(pair: Pair) -> None:
    for call in (pair.a.use_session, pair.a.session_stats):
        with pytest.raises(LocalMisuse):
            call(424242)
    pair.a.remove_session(424242)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_must_be_keys(pair: Pair, size: int) -> None:
    for bad in (SessionKeys(9, 1, 2, bytearray(b"k" * size), bytearray(b"k" * 32)),
                SessionKeys(9, 1, 2, bytearray(b"k" * 32), bytearray(b"k" * size)),
                SessionKeys(9, 1, 2, bytearray(32), bytearray(b"k" * 32)),
                SessionKeys(9, 1, 2, bytearray(b"k" * 32), bytearray(32))):  # fmt: skip
        with pytest.raises(LocalMisuse):
            pair.a.add_session(bad, pair.now)
        with pytest.raises(LocalMisuse):
            pair.a.use_session(2)


def test_a_receive_id_belongs_to_one_session(pair: Pair) -> None:
    keys = pair.keys_a
    for bad in (
        SessionKeys(99, keys.send_id, keys.receive_id, keys.send_key, keys.receive_key),
        SessionKeys(keys.peer, keys.send_id + 1, keys.receive_id, keys.send_key, keys.receive_key),
    ):
        with pytest.raises(LocalMisuse):
            pair.a.add_session(bad, pair.now)
    assert pair.into_b(pair.sealed_by_a([DATA])) == [DATA]


def test_the_plane_has_its_own_copy_of_the_keys(pair: Pair) -> None:
    for keys in (pair.keys_a, pair.keys_b):
        for key in (keys.send_key, keys.receive_key):
            key[:] = bytes(32)
    assert pair.into_b(pair.sealed_by_a([DATA])) == [DATA]


def test_keys_are_wiped_on_removal_and_on_close(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    wiped: list[int] = []
    original = Aead.wipe
    monkeypatch.setattr(Aead, "wipe", lambda self: (wiped.append(id(self)), original(self))[1])
    pair.a.add_session(pair.keys_a, pair.now)
    pair.a.remove_session(pair.keys_a.receive_id)
    assert len(set(wiped)) == 2
    pair.add_session()
    pair.add_session()
    for _ in range(2):
        pair.b.close()
    assert len(set(wiped)) == 2 + 6
    assert pair.sealed_by_b([frame(MAC_A, MAC_B)]) == []


def test_repr_shows_no_key(pair: Pair) -> None:
    for shown in (repr(pair.keys_a), repr(pair.a)):
        assert pair.keys_a.send_key.hex() not in shown
        assert repr(bytes(pair.keys_a.send_key))[2:-1] not in shown
