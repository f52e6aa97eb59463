"""The python data plane and a policy of groups, frames for the local port, what a peer has sent."""

from __future__ import annotations

import random

import pytest
from support.group_frames import ROWS, SOURCE, group_mac, udp
from support.planes import AT_B, MAC_A, MAC_B, PEER_B, Pair, frame, key_pair, seal

from omni_core.constants import MAX_FRAME
from omni_core.dataplane.groups import GroupPolicy
from omni_core.drops import DropReason
from omni_core.types import BROADCAST, Endpoint

GROUP = group_mac("239.1.2.3")
TO_GROUP, TO_ANOTHER = udp("239.1.2.3", 5000), udp("239.1.2.4", 5000)
AT = {7: Endpoint("192.0.2.7", 7), PEER_B: AT_B, 8: Endpoint("192.0.2.8", 8)}
LEASE = 5.0  # s


@pytest.fixture
def pair(seed: int) -> Pair:
    return Pair(random.Random(seed))


def with_others(pair: Pair) -> Pair:
    """Peers 7 and 8 too are in A's flood set, with a session each."""
    for peer in (7, 8):
        keys, _ = key_pair(pair.draw, peer)
        pair.a.add_session(keys, pair.now)
        pair.a.use_session(keys.receive_id)
        pair.a.set_path(peer, AT[peer])
    pair.a.set_flood(AT)
    pair.a.set_static(SOURCE, None)
    return pair


def sent(pair: Pair, data: bytes) -> list[int]:
    """The peers that A seals it for."""
    pair.a.frames_from_port([data], pair.now)
    assert pair.a.take_events() == []
    places = [endpoint for _, endpoint in pair.a.take_datagrams()]
    return [peer for place in places for peer, at in AT.items() if at == place]


def test_the_engine_prunes_until_the_lease_is_over(pair: Pair) -> None:
    with_others(pair)
    begin = pair.now
    policy = GroupPolicy({(GROUP, 5000): frozenset({8, PEER_B}), (GROUP, 0): frozenset()}, frozenset({7, 4711}))
    pair.a.set_groups(policy, begin + LEASE)
    for pair.now in (begin, begin + LEASE - 0.1):
        assert sent(pair, TO_GROUP) == [PEER_B, 8]
        assert sent(pair, udp("239.1.2.3", 5001)) == []
        assert sent(pair, TO_ANOTHER) == [7]
        assert sent(pair, frame(BROADCAST, MAC_A)) == [*AT]
    pair.now = begin + LEASE
    assert sent(pair, TO_GROUP) == sent(pair, TO_ANOTHER) == [*AT]
    pair.a.set_groups(policy, pair.now + LEASE)
    assert sent(pair, TO_GROUP) == [PEER_B, 8]
    pair.a.set_groups(None, pair.now + LEASE)
    assert sent(pair, TO_GROUP) == sent(pair, TO_ANOTHER) == [*AT]
    assert pair.a.drops() == {}


def test_watched_frames_come_back_and_go_by_policy(pair: Pair) -> None:
    """Whether the engine had shown them to the Ganglion before, or not."""
    with_others(pair)
    listed = {row.key: frozenset({8}) for row in ROWS if row.watched and row.key is not None}
    pair.a.set_groups(GroupPolicy(listed, watch=True), pair.now + LEASE)
    for row in ROWS:
        if row.watched:
            assert sent(pair, row.frame) == ([*AT] if row.key is None else [8]), row.name


def test_a_peer_that_has_gone_gets_nothing(pair: Pair) -> None:
    with_others(pair)
    pair.a.set_groups(GroupPolicy({(GROUP, 0): frozenset({PEER_B, 7})}), pair.now + LEASE)
    pair.a.remove_peer(PEER_B)
    assert sent(pair, TO_GROUP) == [7]
    pair.a.set_flood([8])
    assert sent(pair, TO_GROUP) == []
    pair.a.set_flood([8, 7])
    assert sent(pair, TO_GROUP) == [7], "the policy is that of before"


def test_frames_to_port_are_delivered_and_not_learned(pair: Pair) -> None:
    before = pair.a.fdb(pair.now)
    stranger = bytes.fromhex("020000000099")
    given = [frame(BROADCAST, MAC_B), frame(MAC_A, stranger), frame(stranger, MAC_A), frame(MAC_A, MAC_B, size=14)]
    pair.a.frames_to_port([given[0], bytes(13), *given[1:], bytes(MAX_FRAME + 1)], pair.now)
    assert pair.a.take_frames() == given
    assert pair.a.take_datagrams() == pair.a.take_events() == []
    assert pair.a.fdb(pair.now) == before
    assert pair.a.drops() == {DropReason.FRAME_TOO_SHORT: 1, DropReason.FRAME_TOO_LONG: 1}


def test_rx_expected_counts_what_was_sent_on_both_streams(pair: Pair) -> None:
    data = frame(MAC_B, MAC_A)

    def expected() -> int:
        return pair.b.session_stats(pair.keys_b.receive_id).rx_expected

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
