"""Group frames and the native engine: what it shows to the Ganglion, and how long a policy holds."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from support.group_frames import ROWS, RTPS, SOURCE, group_mac, udp
from support.inner_frames import NEEDS_CSUM, UDP, Packet, Vnet
from support.native_rig import PLAIN, DrivenNative
from support.planes import MAC_A, PEER_B, Pair, frame

from omni_core.dataplane.groups import GroupPolicy
from omni_core.errors import LocalMisuse, SystemRefused
from omni_core.io.native import protocol
from omni_core.io.native.protocol import Way
from omni_core.types import BROADCAST
from tools.netlab import wait_for

pytestmark = pytest.mark.netns

LEASE = 5.0  # s
GROUP = group_mac("239.1.2.3")
TO_GROUP = udp("239.1.2.3", 5000)
WATCHED = [row for row in ROWS if row.watched]
ANNOUNCEMENT = Packet(
    RTPS, protocol=UDP, ports=(7411, 7400), destination=bytes([239, 255, 0, 1]), macs=group_mac("239.255.0.1") + SOURCE
)


@pytest.fixture
def pair(make_driven: Callable[..., DrivenNative], seed: int) -> Pair:
    """The native engine is A."""
    return Pair(random.Random(seed), a=make_driven(MAC_A))


def seen_from(pair: Pair, sent: list[bytes]) -> list[bytes]:
    """What the Ganglion is shown; B gets nothing of that. ``sent``: with the header of the TAP."""
    native, taps = pair.a.native, pair.a.rig.taps
    for each in sent:
        taps[0].send(each)
    seen: list[bytes] = []
    wait_for(lambda: seen.extend(native.read_events()[0]) or len(seen) >= len(sent), 5, "all to be told")
    assert pair.a.rig.sent_by_engine() == []
    return seen


def test_watched_frames_are_for_the_ganglion_alone(pair: Pair) -> None:
    pair.a.set_groups(GroupPolicy({(GROUP, 0): frozenset({PEER_B})}, watch=True), pair.now + LEASE)
    assert seen_from(pair, [PLAIN + row.frame for row in WATCHED]) == [row.frame for row in WATCHED]
    assert pair.a.native.ways() == {Way.TX_WATCHED: len(WATCHED)}
    assert pair.into_b(pair.sealed_by_a([TO_GROUP])) == [TO_GROUP]


def test_a_watched_frame_is_shown_with_its_checksum(pair: Pair) -> None:
    """The TAP gives it unfinished; it may be sent from here to a host that checks."""
    pair.a.set_groups(GroupPolicy(watch=True), pair.now + LEASE)
    packet, data = ANNOUNCEMENT, ANNOUNCEMENT.build_open()
    vnet = Vnet(NEEDS_CSUM, csum_start=packet.transport, csum_offset=packet.checksum_offset)
    assert data != ANNOUNCEMENT.build()
    assert seen_from(pair, [vnet.pack() + data]) == [ANNOUNCEMENT.build()]


def test_the_policy_ends_with_the_connection(pair: Pair) -> None:
    """Whoever dies looks at nothing any more; the engine floods, at once and for the next Ganglion too."""
    policy = GroupPolicy({(GROUP, 0): frozenset()}, watch=True)
    pair.a.set_groups(policy, pair.now + LEASE)
    pair.a.remember(pair.keys_a.receive_id, b"note")
    pair.a.set_static(SOURCE, None)
    assert pair.sealed_by_a([TO_GROUP]) == []
    rig = pair.a.rig
    rig.process.leave()
    rig.adopt()
    pair.a = DrivenNative(rig, MAC_A, pair.a._clock)
    assert len(pair.a.adopted()) == 1
    for data in (TO_GROUP, WATCHED[0].frame):
        assert pair.into_b(pair.sealed_by_a([data])) == [data]
    pair.a.set_groups(policy, pair.now + LEASE)
    assert pair.sealed_by_a([TO_GROUP]) == []


def test_the_same_policy_is_only_extended(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[bool, int]] = []
    extend = pair.a.rig.client.extend_groups

    def spy(watch: bool, until: int) -> None:
        told.append((watch, until))
        extend(watch, until)

    monkeypatch.setattr(pair.a.rig.client, "extend_groups", spy)
    pair.a.set_static(SOURCE, None)
    for count, now in enumerate((pair.now, pair.now + 4.0, pair.now + 8.0)):
        pair.now = now
        pair.a.set_groups(GroupPolicy({(GROUP, 5000): frozenset()}), now + LEASE)
        assert pair.sealed_by_a([TO_GROUP]) == []
        assert len(told) == count
    pair.now += LEASE
    assert pair.into_b(pair.sealed_by_a([TO_GROUP])) == [TO_GROUP]


def test_a_policy_longer_than_the_engine_takes(pair: Pair) -> None:
    """Everything is flooded, in place of half a policy."""
    everyone = frozenset(range(1, 4001))
    groups = {(b"\1\0\x5e\1" + number.to_bytes(2, "big"), 0): everyone for number in range(600)}
    pair.a.set_static(SOURCE, None)
    pair.a.set_groups(GroupPolicy({(GROUP, 0): frozenset()}), pair.now + LEASE)
    assert pair.sealed_by_a([TO_GROUP]) == []
    pair.a.set_groups(GroupPolicy(groups, watch=True), pair.now + LEASE)
    for data in (TO_GROUP, WATCHED[0].frame):
        assert pair.into_b(pair.sealed_by_a([data])) == [data]
    pair.a.set_groups(GroupPolicy({**groups, (GROUP, 0): frozenset()}), 0.0)
    pair.a.set_groups(GroupPolicy(dict(list(groups.items())[:300]), everyone), pair.now + LEASE)
    assert pair.into_b(pair.sealed_by_a([TO_GROUP])) == [TO_GROUP]


def test_what_makes_no_sense_changes_nothing(pair: Pair) -> None:
    client = pair.a.rig.client
    pair.a.set_static(SOURCE, None)
    pair.a.set_groups(GroupPolicy({(GROUP, 0): frozenset()}), pair.now + LEASE)
    until = int((pair.now + LEASE) * 10**9)

    def request(flags: int, entries: bytes = b"", until: int = until) -> bytes:
        return bytes(protocol.SetGroups(until, flags)) + entries

    entry = bytes(protocol.GroupEntry(peers=1)) + b"\2\0\0\0"
    for body in (
        b"", request(0)[:-1], request(0, entry[:-1]), request(0, entry[:11]), request(0, b"\2" + entry[1:]),
        request(0, bytes(6) + b"\1\0" + entry[8:]), request(0, bytes(8) + b"\xff" * 4), request(4, entry),
        request(6), request(0, entry, 0), request(2, b"", 0),
    ):  # fmt: skip
        with pytest.raises((SystemRefused, LocalMisuse)):
            client._ask(protocol.Message.SET_GROUPS, body)
    client._ask(protocol.Message.SET_GROUPS, request(2, entry))
    with pytest.raises(SystemRefused):
        client._ask(protocol.Message.SET_GROUPS, request(0, b"?"))
    client._ask(protocol.Message.SET_GROUPS, request(0, bytes(6) + bytes(6)))  # without what came in the part before
    assert pair.sealed_by_a([TO_GROUP]) == []
    assert pair.a.native.ways()[Way.TX_NOBODY] == 1


def test_frames_for_the_port_while_it_is_paused(pair: Pair) -> None:
    client, given = pair.a.rig.client, frame(BROADCAST, SOURCE)
    client.forward(False)
    pair.a.frames_to_port([given], pair.now)
    client.forward(True)
    pair.a.frames_to_port([given], pair.now)
    assert pair.a.take_frames() == [given]
    ways: Any = pair.a.native.ways()
    assert (ways[Way.RX_LOCAL], len(pair.a.drops())) == (1, 1)
