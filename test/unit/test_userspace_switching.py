"""The python data plane as a switch: what becomes of each frame, both ways. Sessions have a file of their own."""

from __future__ import annotations

import random

import pytest
from support.planes import AT_A, AT_B, MAC_A, MAC_B, PEER_A, PEER_B, Pair, digest, frame, key_pair, seal

from omni_core.constants import CONTROL_ETHERTYPE, CONTROL_MAC, MAX_FRAME
from omni_core.dataplane.port import (
    Confirmed,
    ControlFrame,
    DataPlane,
    FdbEntry,
    Unresolved,
    UnresolvedReason,
)
from omni_core.dataplane.userspace import UserspaceDataPlane
from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse
from omni_core.types import BROADCAST, Endpoint

BEHIND_A = bytes.fromhex("0200000000a1")  # a device that A's port bridges
BEHIND_B = bytes.fromhex("0200000000b1")
STRANGER = bytes.fromhex("0200000000ff")
VLAN_5, VLAN_6 = bytes.fromhex("81000005"), bytes.fromhex("81000006")
UNKNOWN, NO_SESSION = UnresolvedReason.UNKNOWN_DESTINATION, UnresolvedReason.NO_SESSION


@pytest.fixture
def pair(seed: int) -> Pair:
    return Pair(random.Random(seed))


def owners(plane: DataPlane) -> dict[tuple[bytes, int | None], int | None]:
    return {(entry.mac, entry.vlan): entry.peer for entry in plane.fdb(100.0)}


# --- from the port -------------------------------------------------------------------------------------------------


def test_unicast_goes_to_the_one_peer_that_has_it(pair: Pair) -> None:
    sent = frame(MAC_B, MAC_A)
    pair.a.frames_from_port([sent], pair.now)
    ((packet, endpoint),) = pair.a.take_datagrams()
    assert endpoint == AT_B
    assert pair.into_b([packet]) == [sent]
    assert pair.a.take_events() == []
    assert pair.a.drops() == pair.b.drops() == {}


def test_unknown_destination_is_the_ganglions_affair(pair: Pair) -> None:
    sent = frame(STRANGER, MAC_A)
    pair.a.frames_from_port([sent], pair.now)
    assert pair.a.take_events() == [Unresolved(sent, UNKNOWN, None)]
    assert pair.a.take_datagrams() == []
    assert pair.a.drops() == {}, "the Ganglion counts what it lets go"


def test_destination_at_the_local_port_is_left_alone(pair: Pair) -> None:
    pair.a.frames_from_port([frame(MAC_B, BEHIND_A)], pair.now)
    pair.a.take_datagrams()
    pair.a.frames_from_port([frame(BEHIND_A, MAC_A), frame(MAC_A, BEHIND_A)], pair.now)
    assert pair.a.take_datagrams() == pair.a.take_events() == []
    assert pair.a.drops() == {}


def test_group_addresses_are_replicated_to_the_flood_set(pair: Pair) -> None:
    peers = {7: Endpoint("192.0.2.7", 7), 8: Endpoint("192.0.2.8", 8)}
    opened: dict[Endpoint, UserspaceDataPlane] = {AT_B: pair.b}
    for peer, endpoint in peers.items():
        keys, other = key_pair(pair.draw, peer)
        pair.a.add_session(keys, pair.now)
        pair.a.use_session(keys.receive_id)
        pair.a.set_path(peer, endpoint)
        opened[endpoint] = UserspaceDataPlane()
        opened[endpoint].add_session(other, pair.now)
    pair.a.set_flood([7, PEER_B, 8, 7])
    for group in ("ff" * 6, "01005e7fffff", "333300000001", "011b19000000"):
        sent = frame(bytes.fromhex(group), MAC_A)
        pair.a.frames_from_port([sent], pair.now)
        datagrams = pair.a.take_datagrams()
        assert [endpoint for _, endpoint in datagrams] == [peers[7], AT_B, peers[8]], "each once, in the order given"
        for packet, endpoint in datagrams:
            opened[endpoint].datagrams_from_underlay([(packet, AT_A)], pair.now)
            assert opened[endpoint].take_frames() == [sent]
    assert pair.a.take_events() == []
    pair.a.set_flood([])
    pair.a.frames_from_port([frame(BROADCAST, MAC_A)], pair.now)
    assert pair.a.take_datagrams() == pair.a.take_events() == []


def test_peers_of_the_flood_set_without_a_session_are_named(pair: Pair) -> None:
    sent = frame(BROADCAST, MAC_A)
    pair.a.set_flood([7, PEER_B, 9])
    pair.a.frames_from_port([sent], pair.now)
    assert pair.a.take_events() == [Unresolved(sent, NO_SESSION, 7), Unresolved(sent, NO_SESSION, 9)]
    assert [endpoint for _, endpoint in pair.a.take_datagrams()] == [AT_B]


def test_known_peer_without_a_session(pair: Pair) -> None:
    pair.a.set_static(STRANGER, 9)
    sent = frame(STRANGER, MAC_A)
    pair.a.frames_from_port([sent], pair.now)
    assert pair.a.take_events() == [Unresolved(sent, NO_SESSION, 9)]
    keys, _ = key_pair(pair.draw, 9)
    pair.a.add_session(keys, pair.now)
    pair.a.frames_from_port([sent], pair.now)
    assert pair.a.take_events() == [Unresolved(sent, NO_SESSION, 9)], "receiving only, until use_session"
    pair.a.use_session(keys.receive_id)
    pair.a.frames_from_port([sent], pair.now)
    assert pair.a.drops() == {DropReason.NO_PATH: 1}
    assert pair.a.take_events() == pair.a.take_datagrams() == []


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"", DropReason.FRAME_TOO_SHORT),
        (MAC_B + MAC_A + b"\x08", DropReason.FRAME_TOO_SHORT),
        (frame(MAC_B, MAC_A, size=MAX_FRAME + 1), DropReason.FRAME_TOO_LONG),
        (frame(CONTROL_MAC, MAC_A, CONTROL_ETHERTYPE), DropReason.RESERVED_DESTINATION),
        (frame(CONTROL_MAC, MAC_A, 0x0800), DropReason.RESERVED_DESTINATION),
        (frame(MAC_B, BROADCAST), DropReason.SOURCE_MAC_REFUSED),
        (frame(MAC_B, CONTROL_MAC), DropReason.SOURCE_MAC_REFUSED),
        (frame(BROADCAST, MAC_B), DropReason.SPLIT_HORIZON),
        (frame(STRANGER, MAC_B, tag=VLAN_5), DropReason.SPLIT_HORIZON),
    ],
)
def test_frames_that_the_port_must_not_send(pair: Pair, bad: bytes, reason: DropReason) -> None:
    pair.a.frames_from_port([frame(MAC_B, MAC_A), bad, frame(MAC_B, MAC_A)], pair.now)
    assert len(pair.a.take_datagrams()) == 2, "its neighbours in the batch are not hurt"
    assert pair.a.take_events() == []
    assert pair.a.drops() == {reason: 1}


@pytest.mark.parametrize("size", [0, 13, MAX_FRAME + 1])
def test_frames_to_peer_checks_lengths_too(pair: Pair, size: int) -> None:
    pair.a.frames_to_peer(PEER_B, [bytes(size)], pair.now)
    assert pair.a.take_datagrams() == []
    assert pair.a.drops() == {DropReason.FRAME_TOO_LONG if size > 13 else DropReason.FRAME_TOO_SHORT: 1}


def test_frames_to_peer_asks_nobody_about_the_destination(pair: Pair) -> None:
    frames = [frame(mac, MAC_A) for mac in (STRANGER, BROADCAST, MAC_A, MAC_B)]
    pair.a.frames_to_peer(PEER_B, frames, pair.now)
    assert pair.into_b([packet for packet, _ in pair.a.take_datagrams()]) == frames
    pair.a.frames_to_peer(99, frames, pair.now)
    assert pair.a.drops() == {DropReason.NO_SESSION: 4}
    assert pair.a.take_events() == []


# --- from the underlay ---------------------------------------------------------------------------------------------


def test_sources_are_learned_and_answers_find_the_way_back(pair: Pair) -> None:
    there = frame(MAC_B, BEHIND_A)
    assert pair.into_b(pair.sealed_by_a([there])) == [there]
    assert owners(pair.b)[BEHIND_A, 0] == PEER_A
    assert owners(pair.a)[BEHIND_A, 0] is None
    back = frame(BEHIND_A, BEHIND_B)
    assert pair.into_a(pair.sealed_by_b([back])) == [back]
    assert owners(pair.a)[BEHIND_B, 0] == PEER_B


def test_split_horizon_whatever_the_destination(pair: Pair) -> None:
    """B knows the destinations at third peers or not at all; what came over the overlay still stays with B."""
    keys, _ = key_pair(pair.draw, 7)
    pair.b.add_session(keys, pair.now)
    pair.b.use_session(keys.receive_id)
    pair.b.set_path(7, Endpoint("192.0.2.7", 7))
    pair.b.set_flood([PEER_A, 7])
    pair.b.set_static(STRANGER, 7)
    frames = [frame(mac, MAC_A) for mac in (STRANGER, BROADCAST, MAC_A, MAC_B, BEHIND_B)]
    pair.a.frames_to_peer(PEER_B, frames, pair.now)
    assert pair.into_b([packet for packet, _ in pair.a.take_datagrams()]) == frames
    assert all(isinstance(event, Confirmed) for event in pair.b.take_events())
    assert pair.b.drops() == {}


@pytest.mark.parametrize("source", [BROADCAST, CONTROL_MAC, MAC_B, STRANGER])
def test_sources_that_a_peer_may_not_use(pair: Pair, source: bytes) -> None:
    """A group address, B's own address, and one that is pinned to a third peer."""
    pair.b.set_static(STRANGER, 7)
    before = owners(pair.b)
    assert pair.into_b([seal(pair.keys_a, 0, 0, frame(MAC_B, source))]) == []
    assert pair.b.drops() == {DropReason.SOURCE_MAC_REFUSED: 1}
    assert owners(pair.b) == before


def test_a_mac_moves_between_port_and_peers(pair: Pair) -> None:
    pair.into_b(pair.sealed_by_a([frame(MAC_B, BEHIND_A)]))
    pair.sealed_by_b([frame(BROADCAST, BEHIND_A)])
    assert owners(pair.b)[BEHIND_A, 0] is None
    pair.into_b(pair.sealed_by_a([frame(MAC_B, BEHIND_A)]))
    assert owners(pair.b)[BEHIND_A, 0] == PEER_A


def test_a_mac_that_moves_within_one_batch(pair: Pair) -> None:
    """There and back, also by a priority-tagged frame, which differs in its first bytes and means the same entry."""
    keys, other = key_pair(pair.draw, 7)
    pair.b.add_session(keys, pair.now)
    untagged, tagged = frame(MAC_B, BEHIND_A), frame(MAC_B, BEHIND_A, tag=bytes.fromhex("8100c000"))
    for number, way in enumerate((untagged, tagged)):
        a1, a2 = pair.sealed_by_a([untagged, untagged])
        packets = [a1, seal(other, number, number, way), a2]
        assert pair.into_b(packets) == [untagged, way, untagged]
        assert owners(pair.b)[BEHIND_A, 0] == PEER_A


def test_vlans_have_their_own_entries_and_tags_pass_through(pair: Pair) -> None:
    on_5 = frame(MAC_B, BEHIND_A, tag=VLAN_5)
    assert pair.into_b(pair.sealed_by_a([on_5])) == [on_5]
    assert (BEHIND_A, 5) in owners(pair.b)
    assert (BEHIND_A, 0) not in owners(pair.b)
    answers = [frame(BEHIND_A, MAC_B, tag=tag) for tag in (VLAN_5, VLAN_6, b"", bytes.fromhex("8100a005"))]
    pair.b.frames_from_port(answers, pair.now)
    assert len(pair.b.take_datagrams()) == 2, "VLAN 5, with any priority"
    assert pair.b.take_events()[1:] == [Unresolved(each, UNKNOWN, None) for each in answers[1:3]]


def test_priority_tagged_is_untagged(pair: Pair) -> None:
    profinet = frame(MAC_B, BEHIND_A, 0x8892, tag=bytes.fromhex("8100c000"))
    assert pair.into_b(pair.sealed_by_a([profinet])) == [profinet]
    assert owners(pair.b)[BEHIND_A, 0] == PEER_A


def test_control_frames_never_reach_the_port(pair: Pair) -> None:
    control = frame(CONTROL_MAC, MAC_A, CONTROL_ETHERTYPE, size=20)
    pair.a.frames_to_peer(PEER_B, [control], pair.now)
    packets = [packet for packet, _ in pair.a.take_datagrams()]
    before = pair.b.fdb(pair.now)
    assert pair.into_b(packets) == []
    receive_id = pair.keys_b.receive_id
    assert pair.b.take_events() == [Confirmed(receive_id), ControlFrame(receive_id, control, AT_A)]
    assert pair.b.fdb(pair.now) == before, "nothing is learned from control"
    for bad in (frame(CONTROL_MAC, MAC_A, 0x0800), frame(CONTROL_MAC, MAC_A, CONTROL_ETHERTYPE, tag=VLAN_5)):
        pair.a.frames_to_peer(PEER_B, [bad], pair.now)
        assert pair.into_b([packet for packet, _ in pair.a.take_datagrams()]) == []
    assert pair.b.drops() == {DropReason.BAD_INNER_FRAME: 2}
    assert pair.b.take_events() == []


def test_the_control_ethertype_to_other_addresses_is_ordinary(pair: Pair) -> None:
    sent = frame(MAC_B, MAC_A, CONTROL_ETHERTYPE)
    assert pair.into_b(pair.sealed_by_a([sent])) == [sent]


# --- the table and the peers ---------------------------------------------------------------------------------------


def test_fdb_shows_ages_and_tick_drops_the_old(pair: Pair) -> None:
    pair.into_b(pair.sealed_by_a([frame(MAC_B, BEHIND_A)]))
    assert set(pair.b.fdb(pair.now + 10.0)) == {
        FdbEntry(MAC_B, None, None, True, 0.0),
        FdbEntry(MAC_A, None, PEER_A, True, 0.0),
        FdbEntry(BEHIND_A, 0, PEER_A, False, 10.0),
    }
    pair.b.tick(pair.now + 299.0)
    assert (BEHIND_A, 0) in owners(pair.b)
    pair.b.tick(pair.now + 300.0)
    assert (BEHIND_A, 0) not in owners(pair.b)


def test_remove_static(pair: Pair) -> None:
    pair.a.set_static(STRANGER, PEER_B, 5)
    pair.a.frames_from_port([frame(STRANGER, MAC_A, tag=VLAN_5), frame(STRANGER, MAC_A)], pair.now)
    assert len(pair.a.take_datagrams()) == len(pair.a.take_events()) == 1
    for _ in range(2):
        pair.a.remove_static(STRANGER, 5)
    pair.a.frames_from_port([frame(STRANGER, MAC_A, tag=VLAN_5)], pair.now)
    assert pair.a.take_datagrams() == []


def test_limits_reach_the_table(pair: Pair) -> None:
    plane = UserspaceDataPlane(max_per_peer=2, max_local=1, ageing=10.0)
    keys, other = key_pair(pair.draw)
    plane.add_session(other, 0.0)
    for n in range(5):
        source = (0x020000000100 + n).to_bytes(6, "big")
        plane.datagrams_from_underlay([(seal(keys, n, n, frame(MAC_B, source)), AT_A)], 0.0)
        plane.frames_from_port([frame(BROADCAST, bytes([2, 9, 9, 9, 9, n]))], 0.0)
    assert sorted(entry.mac[-1] for entry in plane.fdb(0.0)) == [3, 4, 4]
    with pytest.raises(LocalMisuse):
        UserspaceDataPlane(max_local=0)


def test_remove_peer_takes_everything_and_is_idempotent(pair: Pair) -> None:
    pair.into_b(pair.sealed_by_a([frame(MAC_B, BEHIND_A)]))
    pair.b.take_events()
    for _ in range(2):
        pair.b.remove_peer(PEER_A)
        assert owners(pair.b) == {(MAC_B, None): None}
    assert pair.into_b(pair.sealed_by_a([frame(MAC_B, BEHIND_A)])) == []
    assert pair.b.drops() == {DropReason.UNKNOWN_SESSION: 1}
    pair.b.frames_from_port([frame(BROADCAST, MAC_B)], pair.now)
    pair.b.frames_to_peer(PEER_A, [frame(BROADCAST, MAC_B)], pair.now)
    assert pair.b.take_datagrams() == pair.b.take_events() == []
    with pytest.raises(LocalMisuse):
        pair.b.session_stats(pair.keys_b.receive_id)


def test_setters_are_idempotent(pair: Pair) -> None:
    before = digest(pair.a)
    pair.a.add_session(pair.keys_a, pair.now + 1.0)
    pair.a.use_session(pair.keys_a.receive_id)
    pair.a.set_path(PEER_B, AT_B)
    pair.a.set_flood([PEER_B])
    pair.a.set_static(MAC_B, PEER_B)
    pair.a.set_static(MAC_A, None)
    pair.a.remove_static(STRANGER)
    pair.a.remove_session(12345)
    pair.a.remove_peer(12345)
    assert digest(pair.a) == before
