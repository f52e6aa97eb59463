"""Group frames in the kernel: rows (support/rows_groups.py), random policies beside the oracle, slots of peers."""

from __future__ import annotations

import time

import pytest
from support.group_frames import ROWS, SOURCE, cut_or_flipped, group_mac, udp
from support.rows import FOUR, OWN, SIX, Row, World
from support.rows_groups import GROUP_ROWS, LONG, MAC, TO_ANOTHER, TO_GROUP, WATCHED
from support.synapse import XDP_DROP, XDP_PASS, XDP_REDIRECT, MakeRig, Rig

from omni_core.dataplane.groups import GroupPolicy, is_watched, targets
from omni_core.dataplane.port import Unresolved, UnresolvedReason
from omni_core.io.synapse import abi
from omni_core.io.synapse.abi import Way
from omni_core.types import PeerId
from omni_core.wire.ethernet import EtherType, parse

pytestmark = pytest.mark.netns

_SET = abi.SlowPrefix.address.offset


@pytest.fixture
def world(make_rig: MakeRig, seed: int) -> World:
    world = World(make_rig(OWN), seed)
    world.plane.set_static(SOURCE, None)
    return world


@pytest.mark.parametrize("row", GROUP_ROWS, ids=lambda row: row.what)
def test_row(world: World, row: Row) -> None:
    row.run(world)


def test_descriptions_are_different() -> None:
    assert len({row.what for row in GROUP_ROWS}) == len(GROUP_ROWS)


def reached(rig: Rig, frame: bytes) -> set[PeerId] | None:
    """Whom synapse_out would clone it for; None: the Ganglion gets it."""
    verdict = rig.run("tx", frame)
    if verdict.code == XDP_REDIRECT:
        return None
    if verdict.code == XDP_DROP:
        return set()
    assert verdict.code == XDP_PASS
    return {rig.flooded_peer(slot) for slot in abi.PeerSet.from_buffer_copy(verdict.data, _SET).slots}


def asks(frame: bytes) -> bool:
    header = parse(frame)
    return header is not None and (header.ethertype == EtherType.ARP or _is_solicitation(frame, header.payload))


def _is_solicitation(frame: bytes, at: int) -> bool:
    return frame[at - 2 : at] == b"\x86\xdd" and len(frame) > at + 40 and frame[at + 6] == 58 and frame[at + 40] == 135


def test_10_000_frames_under_random_policies(world: World) -> None:
    draw, plane = world.draw, world.plane
    peers = [10 * number for number in range(1, 21)]
    keys = [row.key for row in ROWS if row.key is not None]

    def some() -> frozenset[PeerId]:
        return frozenset(draw.sample(peers, draw.choice((0, 1, 3, 19))))

    flood: list[PeerId] = []
    policy: GroupPolicy | None = None
    until = 0.0
    seen = set()
    for number in range(10_000):
        if number % 100 == 0:
            flood = draw.sample(peers, draw.randrange(len(peers)))
            plane.set_flood(flood)
        if number % 50 == 0:
            known = {key: some() for key in draw.sample(keys, draw.randrange(len(keys)))}
            known |= {(mac, 0): some() for mac, _ in draw.sample(keys, 4)}
            policy = draw.choice((None, *([GroupPolicy(known, some(), draw.random() < 0.5)] * 9)))
            until = time.monotonic() + draw.choice((-1.0, *([LONG] * 9)))
            plane.set_groups(policy, until)
        holding = policy if until > time.monotonic() else None
        frame = cut_or_flipped(draw) if number % 2 else draw.choice(ROWS).frame
        if asks(frame) or (holding is not None and holding.watch and is_watched(frame)):
            expected = None
        else:
            expected = set(targets(frame, flood, holding))
        assert reached(world.rig, frame) == expected, frame.hex()
        seen.add(expected is None or len(expected) < len(flood))
    assert seen == {True, False}
    ways = world.rig.ways()
    assert set(ways) >= {Way.TX_GROUP, Way.TX_WATCHED, Way.TX_NOBODY, Way.TX_FLOODED}


# --- slots ----------------------------------------------------------------------------------------------------------


def slots(world: World) -> dict[PeerId, int]:
    with world.rig.config() as config:
        return {world.rig.flooded_peer(slot): slot for slot in config.everyone.slots}


def test_a_peer_keeps_its_slot(world: World) -> None:
    plane = world.plane
    first = list(range(1000, 1000 + abi.FLOOD))
    plane.set_flood(first)
    before = slots(world)
    assert before == {peer: slot for slot, peer in enumerate(first)}
    plane.set_flood([2000, *reversed(first[1:]), 1003])
    assert slots(world) == {**{peer: before[peer] for peer in first[1:]}, 2000: 0}
    plane.set_flood([FOUR, first[60]])
    assert slots(world)[first[60]] == before[first[60]]
    plane.set_flood([SIX, FOUR])
    now = slots(world)
    plane.remove_peer(FOUR)
    assert slots(world) == {SIX: now[SIX]}
    assert {value for _, value in world.rig.maps["flood"].items()} == {bytes(4), SIX.to_bytes(4, "little")}


def test_a_newcomer_in_a_used_slot_gets_what_is_its_own(world: World) -> None:
    """And nothing of what the one before it listened to."""
    plane = world.plane
    plane.set_flood(range(1000, 1000 + abi.FLOOD))
    plane.set_groups(GroupPolicy({(MAC, 0): frozenset({1001, 2001})}), time.monotonic() + LONG)
    assert reached(world.rig, TO_GROUP) == {1001}
    plane.set_flood([*range(1002, 1000 + abi.FLOOD), 2000, 2001])
    assert reached(world.rig, TO_GROUP) == {2001}
    plane.remove_peer(2001)
    assert reached(world.rig, TO_GROUP) == set()
    plane.set_flood([*range(1002, 1000 + abi.FLOOD), 3000, 3001])
    assert reached(world.rig, TO_GROUP) == set()
    assert reached(world.rig, udp("224.0.0.251", 5353)) == {*range(1002, 1000 + abi.FLOOD), 3000, 3001}


def test_setting_the_same_again_changes_the_time_alone(world: World) -> None:
    plane, policy = world.plane, GroupPolicy({(MAC, 0): frozenset({FOUR})}, frozenset({SIX}), True)
    plane.set_flood([FOUR, SIX])
    now = time.monotonic()
    plane.set_groups(policy, now + LONG)
    before = world.rig.snapshot()
    plane.set_groups(GroupPolicy(dict(policy.groups), policy.elsewhere, True), now + LONG)
    plane.set_flood([SIX, FOUR])
    assert world.rig.snapshot() == before
    plane.set_groups(policy, now + 2 * LONG)
    after = world.rig.snapshot()
    assert [name for name in after if after[name] != before[name]] == ["config"]
    plane.set_groups(None, now + LONG)
    assert not world.rig.maps["groups"].keys()
    assert reached(world.rig, WATCHED) == reached(world.rig, TO_ANOTHER) == {FOUR, SIX}


def test_more_groups_than_the_table_holds_are_flooded(world: World) -> None:
    """But for those there is still watched. With the next policy that fits they are pruned again."""
    plane, until = world.plane, time.monotonic() + LONG
    plane.set_flood([FOUR, SIX])
    nobody: frozenset[PeerId] = frozenset()
    half = abi.GROUPS // 2 + 1

    def groups(first: int, count: int) -> GroupPolicy:
        return GroupPolicy(
            {(MAC[:3] + n.to_bytes(3, "big"), 0): nobody for n in range(first, first + count)}, watch=True
        )

    whole = group_mac("239.1.0.0")
    first = int.from_bytes(whole[3:], "big")
    plane.set_groups(groups(first, half), until)
    assert reached(world.rig, TO_GROUP) == set()
    plane.set_groups(groups(first + half, half), until)  # both do not fit at once
    assert reached(world.rig, udp("239.1.33.33", 1)) == set()
    assert len(world.rig.maps["groups"].keys()) == half
    plane.set_groups(groups(first, abi.GROUPS + 1), until)
    assert reached(world.rig, TO_GROUP) == {FOUR, SIX}
    assert reached(world.rig, WATCHED) is None
    plane.set_groups(GroupPolicy(), until)
    assert reached(world.rig, TO_GROUP) == set()


# --- what goes through the Ganglion, and the next one ---------------------------------------------------------------


def test_what_the_ganglion_sends_on_is_pruned_too(world: World) -> None:
    plane, now = world.plane, world.now
    flood = [*range(1000, 1000 + abi.FLOOD), FOUR, SIX]  # more than there are slots
    plane.set_flood(flood)
    plane.set_groups(GroupPolicy({(MAC, 0): frozenset({FOUR, 1001})}), now + LONG)
    plane.frames_from_port([TO_GROUP, TO_ANOTHER], now)
    assert [each[16:20] for each in plane.take_tap_packets()] == [FOUR.to_bytes(4, "little")]
    assert plane.take_events() == [Unresolved(TO_GROUP, UnresolvedReason.NO_SESSION, 1001)]
    plane.frames_from_port([TO_ANOTHER], now + LONG)
    assert len(plane.take_tap_packets()) + len(plane.take_events()) == len(flood)


def test_the_next_plane_reads_slots_and_the_rest_of_the_lease(make_rig: MakeRig, seed: int) -> None:
    first = World(make_rig(OWN), seed)
    first.plane.set_static(SOURCE, None)
    first.plane.set_flood([4711, SIX, FOUR])
    first.plane.remove_peer(4711)
    first.plane.set_groups(GroupPolicy({(MAC, 0): frozenset({FOUR})}, watch=True), time.monotonic() + LONG)
    held = slots(first)
    assert 0 not in held.values()
    first.plane.detach()

    rig: Rig = make_rig(OWN, adopt=True)
    world = first
    world.rig, world.plane = rig, rig.plane
    assert slots(world) == held
    assert rig.plane._groups.peers == (SIX, FOUR)
    assert reached(rig, TO_GROUP) == {FOUR}, "until its time is over"
    assert reached(rig, WATCHED) is None
    rig.plane.set_groups(GroupPolicy({(MAC, 5000): frozenset({SIX})}, watch=True), time.monotonic() + LONG)
    assert reached(rig, TO_GROUP) == {SIX}
    assert len(rig.maps["groups"].keys()) == 1, "what the earlier one listed is gone"
    rig.plane.detach()

    rig = make_rig(OWN, adopt=True)
    world.rig, world.plane = rig, rig.plane
    rig.plane.set_flood([FOUR, SIX, 1234])
    assert slots(world) == {**held, 1234: 0}
    assert reached(rig, TO_GROUP) == {FOUR, SIX, 1234}, "nobody has said what the newcomer listens to"
    assert not rig.maps["groups"].keys()
