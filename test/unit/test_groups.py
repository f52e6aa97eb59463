"""Who gets a group frame, and which ones the Ganglion looks at: one frame of each kind, and the python engine."""

from __future__ import annotations

import random

import pytest
from support.group_frames import ROWS, GroupFrame, group_mac, udp
from support.planes import AT_B, MAC_A, MAC_B, PEER_B, Pair, frame, seal

from omni_core.constants import MAX_FRAME
from omni_core.dataplane.groups import GroupPolicy, group_key, is_watched, targets
from omni_core.dataplane.port import Unresolved, UnresolvedReason
from omni_core.drops import DropReason
from omni_core.types import BROADCAST

GROUP = group_mac("239.1.2.3")


@pytest.fixture
def pair(seed: int) -> Pair:
    return Pair(random.Random(seed))


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_what_a_frame_is(row: GroupFrame) -> None:
    assert group_key(row.frame) == row.key
    assert is_watched(row.frame) == row.watched


def test_a_frame_to_one_station_is_not_watched() -> None:
    watched = next(row.frame for row in ROWS if row.name == "SPDP, IPv4")
    assert is_watched(watched)
    assert not is_watched(MAC_B + watched[6:])


FLOOD = (5, 3, 9, 7)
POLICY = GroupPolicy(
    {(GROUP, 0): frozenset({3, 5, 8}), (GROUP, 5000): frozenset({9, 8}), (GROUP, 5001): frozenset()}, frozenset({7, 8})
)


@pytest.mark.parametrize(
    ("data", "policy", "expected"),
    [
        (udp("239.1.2.3", 5000), POLICY, (9,)),
        (udp("239.1.2.3", 5001), POLICY, ()),
        (udp("239.1.2.3", 5002), POLICY, (5, 3)),
        (udp("239.129.2.3", 5002), POLICY, (5, 3)),  # the same MAC
        (udp("239.1.2.4", 5000), POLICY, (7,)),
        (udp("239.1.2.4", 5000), GroupPolicy(), ()),
        (udp("239.1.2.3", 5000), None, FLOOD),
        (udp("224.0.0.1", 5000), GroupPolicy(), FLOOD),
        (frame(BROADCAST, MAC_A), GroupPolicy(), FLOOD),
        (b"", GroupPolicy(), FLOOD),
    ],
)
def test_targets(data: bytes, policy: GroupPolicy | None, expected: tuple[int, ...]) -> None:
    assert targets(data, FLOOD, policy) == expected


def test_the_engine_prunes_until_the_lease_is_over(pair: Pair) -> None:
    sent, elsewhere = udp("239.1.2.3", 5000), udp("239.1.2.4", 5000)
    pair.a.set_flood([7, PEER_B])
    pair.a.set_groups(GroupPolicy({(GROUP, 0): frozenset({PEER_B})}, watch=True), pair.now + 5.0)

    def outcome(data: bytes, now: float) -> tuple[list, list]:
        pair.a.frames_from_port([data], now)
        return [endpoint for _, endpoint in pair.a.take_datagrams()], pair.a.take_events()

    everyone = [AT_B], [Unresolved(elsewhere, UnresolvedReason.NO_SESSION, 7)]
    assert outcome(sent, pair.now) == outcome(sent, pair.now + 4.9) == ([AT_B], [])
    assert outcome(elsewhere, pair.now + 4.9) == ([], [])
    assert outcome(elsewhere, pair.now + 5.0) == everyone
    pair.a.set_groups(GroupPolicy({(GROUP, 0): frozenset({PEER_B})}), pair.now + 10.0)
    assert outcome(elsewhere, pair.now + 5.0) == ([], [])
    pair.a.set_groups(None, pair.now + 10.0)
    assert outcome(elsewhere, pair.now + 5.0) == everyone
    assert pair.a.drops() == {}


def test_a_peer_that_has_gone_gets_nothing(pair: Pair) -> None:
    pair.a.set_groups(GroupPolicy({(GROUP, 0): frozenset({PEER_B})}), pair.now + 5.0)
    pair.a.remove_peer(PEER_B)
    pair.a.frames_from_port([udp("239.1.2.3", 5000)], pair.now)
    assert pair.a.take_datagrams() == pair.a.take_events() == []


def test_frames_to_port_are_delivered_and_not_learned(pair: Pair) -> None:
    before = pair.a.fdb(pair.now)
    given = [frame(BROADCAST, MAC_B), frame(MAC_A, bytes.fromhex("020000000099")), frame(MAC_A, MAC_A)]
    pair.a.frames_to_port([given[0], bytes(13), *given[1:], bytes(MAX_FRAME + 1)], pair.now)
    assert pair.a.take_frames() == given
    assert pair.a.take_datagrams() == pair.a.take_events() == []
    assert pair.a.fdb(pair.now) == before
    assert pair.a.drops() == {DropReason.FRAME_TOO_SHORT: 1, DropReason.FRAME_TOO_LONG: 1}


def test_rx_expected_counts_what_was_sent_on_both_streams(pair: Pair) -> None:
    data = frame(MAC_B, MAC_A)
    expected = lambda: pair.b.session_stats(pair.keys_b.receive_id).rx_expected  # noqa: E731
    assert expected() == 0
    for sequence, stream, total in ((0, 0, 1), (9, 0, 10), (4, 0, 10), (99, 1, 110), (4, 0, 110)):
        pair.into_b([seal(pair.keys_a, sequence, stream << 62 | sequence, data)])
        assert expected() == total, (sequence, stream)
    forged = bytearray(seal(pair.keys_a, 500, 500, data))
    forged[-1] ^= 1
    pair.into_b([bytes(forged)])
    assert expected() == 110
    assert pair.b.session_stats(pair.keys_b.receive_id).rx_frames == 4
    assert pair.a.session_stats(pair.keys_a.receive_id).rx_expected == 0
