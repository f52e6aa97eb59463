"""The kernel engine as an object: what it refuses, what it carries between the TAP and the Ganglion, and adoption."""

from __future__ import annotations

import time

import pytest
from support.driven import DrivenPlane
from support.outer import take_apart
from support.planes import frame, key_pair, seal
from support.rows import AT, DATA, FOUR, FRIEND, ME_4, ME_6, NOBODY, OWN, SILENT, SIX, SIXTH, STRANGER, World, prefix
from support.synapse import XDP_DROP, XDP_PASS, XDP_REDIRECT, MakeRig, Rig

from omni_core.constants import CONTROL_ETHERTYPE, CONTROL_MAC, FDB_AGEING, REJECT_AFTER_TIME
from omni_core.dataplane.port import (
    NOTE_MAX,
    Confirmed,
    ControlFrame,
    EndpointMoved,
    SessionKeys,
    Unresolved,
    UnresolvedReason,
)
from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse
from omni_core.io.synapse import abi, packets
from omni_core.io.synapse.abi import SlowKind, Way
from omni_core.types import BROADCAST, Endpoint

pytestmark = pytest.mark.netns

OUT = frame(FRIEND, OWN)


@pytest.fixture
def world(make_rig: MakeRig, seed: int) -> World:
    return World(make_rig(OWN), seed)


# --- setters --------------------------------------------------------------------------------------------------------


def test_setters_are_idempotent(world: World) -> None:
    plane = world.plane
    plane.set_flood([FOUR, SIX])
    world.rig.run("rx", world.sealed(source=Endpoint("198.51.100.9", 9)))
    world.rig.run("tx", OUT)
    before = world.rig.snapshot()
    for keys in world.here.values():
        plane.add_session(keys, world.now + 100.0)
        plane.use_session(keys.receive_id)
    plane.set_flood([FOUR, SIX, FOUR])
    plane.set_static(OWN, None)
    plane.set_static(FRIEND, FOUR)
    plane.set_local_addresses([ME_4.host, ME_6.host])
    plane.refresh_routes()
    plane.remove_static(STRANGER)
    plane.remove_session(12345)
    plane.remove_peer(12345)
    plane.tick(world.now)
    assert world.rig.snapshot() == before


def test_a_session_that_is_added_again_goes_on_with_its_sequence(world: World) -> None:
    sequences = []
    for _ in range(3):
        world.plane.add_session(world.here[FOUR], time.monotonic())
        sequences.append(take_apart(world.rig.run("tx", OUT).data).payload[8:16])
    assert sequences == [number.to_bytes(8, "little") for number in range(3)]


def test_what_is_refused(world: World) -> None:
    plane, known = world.plane, world.here[FOUR]
    fresh, _ = key_pair(world.draw, FOUR)
    other = SessionKeys(SIX, known.send_id, known.receive_id, known.send_key, known.receive_key)
    wiped = SessionKeys(FOUR, fresh.send_id, fresh.receive_id, bytearray(32), fresh.receive_key)
    short = SessionKeys(FOUR, fresh.send_id, fresh.receive_id, fresh.send_key[:31], fresh.receive_key)
    before = world.rig.snapshot()
    for keys in (other, wiped, short):
        with pytest.raises(LocalMisuse):
            plane.add_session(keys, world.now)
    for misuse in (
        lambda: plane.use_session(1),
        lambda: plane.session_stats(1),
        lambda: plane.remember(1, b""),
        lambda: plane.remember(known.receive_id, bytes(NOTE_MAX + 1)),
        lambda: plane.set_static(BROADCAST, FOUR),
        lambda: plane.set_static(CONTROL_MAC, None),
    ):
        with pytest.raises(LocalMisuse):
            misuse()
    assert world.rig.snapshot() == before


def test_remove_peer_takes_everything(world: World) -> None:
    plane = world.plane
    plane.set_flood([FOUR, SIX])
    world.rig.run("rx", world.sealed(frame(OWN, STRANGER)))
    for _ in range(2):
        plane.remove_peer(FOUR)
    assert {entry.peer for entry in plane.fdb(world.now)} == {None, SIX, NOBODY}
    assert world.rig.run("rx", world.sealed(sequence=1)).code == XDP_DROP
    assert world.rig.run("tx", frame(STRANGER, OWN)).data.startswith(prefix(SlowKind.UNKNOWN))
    with world.rig.config() as config:
        assert [world.rig.flooded_peer(slot) for slot in config.everyone.slots] == [SIX]
    assert FOUR.to_bytes(4, "little") not in dict(world.rig.maps["flood"].items()).values()
    owners = {int.from_bytes(key, "little") for key in world.rig.maps["fdb_counts"].keys()}  # noqa: SIM118
    assert owners == {SIX, NOBODY, abi.OWNER_LOCAL}
    with pytest.raises(LocalMisuse):
        plane.session_stats(world.here[FOUR].receive_id)


def test_entries_age(world: World) -> None:
    world.rig.run("rx", world.sealed(frame(OWN, STRANGER)))
    now = time.monotonic()
    world.plane.tick(now + FDB_AGEING - 60.0)
    assert STRANGER in {entry.mac for entry in world.plane.fdb(now)}
    world.plane.tick(now + FDB_AGEING)
    rows = world.plane.fdb(now)
    assert {entry.mac for entry in rows} == {OWN, FRIEND, SIXTH, SILENT}
    assert all(entry.static for entry in rows), "the pinned ones stay"


def test_the_first_packet_gives_a_peer_its_path(make_rig: MakeRig, seed: int) -> None:
    world = World(make_rig(OWN), seed)
    here, there = key_pair(world.draw, 11)
    plane = DrivenPlane(world.rig)
    plane.add_session(here, world.now)
    at = Endpoint("192.0.2.11", 11)
    plane.datagrams_from_underlay([(seal(there, 0, 0, DATA), at)], world.now)
    assert plane.take_events() == [Confirmed(here.receive_id), EndpointMoved(here.receive_id, at)]


def test_the_plane_stands_still_after_close(world: World) -> None:
    for _ in range(2):
        world.plane.close()
    assert world.rig.run("tx", OUT).code == XDP_DROP
    assert world.rig.run("rx", world.sealed()).code == XDP_DROP
    assert world.plane.drops() == {DropReason.PAUSED: 1, DropReason.UNKNOWN_SESSION: 1}


# --- between the TAP and the Ganglion -------------------------------------------------------------------------------


def test_what_comes_from_the_tap(world: World) -> None:
    control = frame(CONTROL_MAC, FRIEND, CONTROL_ETHERTYPE, size=20)
    raw = [
        prefix(SlowKind.GROUP) + frame(BROADCAST, OWN),
        prefix(SlowKind.UNKNOWN) + frame(STRANGER, OWN),
        prefix(SlowKind.NO_SESSION, NOBODY) + frame(SILENT, OWN),
        prefix(SlowKind.CONTROL, FOUR, 99, AT[FOUR]) + control,
        prefix(SlowKind.SEND, SIX, 0, AT[SIX]) + b"sealed",
    ]
    assert world.plane.receive_from_tap(raw, world.now) == [frame(BROADCAST, OWN)]
    assert world.plane.take_events() == [
        Unresolved(frame(STRANGER, OWN), UnresolvedReason.UNKNOWN_DESTINATION, None),
        Unresolved(frame(SILENT, OWN), UnresolvedReason.NO_SESSION, NOBODY),
        ControlFrame(99, control, AT[FOUR]),
    ]
    assert world.plane.take_datagrams() == [(b"sealed", AT[SIX])]
    assert world.plane.drops() == {}


def test_junk_on_the_tap_is_counted(world: World) -> None:
    """Another program may write to the interface: it is one of the host's."""
    whole = prefix(SlowKind.CONTROL) + DATA
    junk = [whole[:size] for size in range(len(prefix(SlowKind.CONTROL)))]
    junk += [prefix(SlowKind.SEAL) + DATA, prefix(SlowKind.OPEN) + DATA, whole[:12] + b"\x08\x00" + whole[14:], DATA]
    junk += [whole[:14] + bytes([kind]) + whole[15:] for kind in (0, 6, 15, 18, 255)]
    assert world.plane.receive_from_tap(junk, world.now) == []
    assert world.plane.take_events() == world.plane.take_datagrams() == []
    assert world.plane.drops() == {DropReason.NOT_MARKED: len(junk)}


@pytest.mark.parametrize("peer", [FOUR, SIX])
def test_a_datagram_of_the_socket_is_opened_by_the_programs(world: World, peer: int) -> None:
    """Fragments, and interfaces without XDP. It may come from anywhere, as any other packet."""
    inner = frame(OWN, SIXTH if peer == SIX else FRIEND)
    source = Endpoint("2001:db8::77" if peer == SIX else "198.51.100.77", 77)
    world.plane.datagrams_from_underlay([(seal(world.there[peer], 0, 0, inner), tuple(source))], world.now)
    (written,) = world.plane.take_tap_packets()
    assert packets.parse(written) is not None
    assert world.rig.run_from_tap(written) == (XDP_REDIRECT, inner)
    world.plane.read_events(world.now)
    receive_id = world.here[peer].receive_id
    assert world.plane.take_events() == [Confirmed(receive_id), EndpointMoved(receive_id, source)]
    assert world.rig.ways() == {Way.RX_DELIVERED: 1}


def test_every_length_of_a_datagram_of_the_socket(world: World) -> None:
    """From nothing to more than a frame: no program may stumble over one."""
    whole = seal(world.there[FOUR], 0, 0, frame(OWN, FRIEND, size=1522)) + bytes(40)
    world.plane.datagrams_from_underlay([(whole[:size], AT[FOUR]) for size in range(len(whole) + 1)], world.now)
    codes = [world.rig.run_from_tap(written).code for written in world.plane.take_tap_packets()]
    assert [size for size, code in enumerate(codes) if code == XDP_REDIRECT] == [1522 + 40]
    assert set(codes) == {XDP_DROP, XDP_REDIRECT}


def test_events_of_sessions_that_are_gone_are_not_told(world: World) -> None:
    world.rig.run("rx", world.sealed(source=Endpoint("198.51.100.9", 9)))
    world.plane.remove_session(world.here[FOUR].receive_id)
    world.plane.read_events(world.now)
    assert world.plane.take_events() == []


# --- adoption -------------------------------------------------------------------------------------------------------


def test_the_next_plane_goes_on_where_this_one_left(make_rig: MakeRig, seed: int) -> None:
    first = World(make_rig(OWN), seed)
    first.plane.set_flood([FOUR, SIX])
    unused, _ = key_pair(first.draw, SIX)
    forgotten, _ = key_pair(first.draw, SIX)
    lonely, _ = key_pair(first.draw, 12)
    for keys in (unused, forgotten, lonely):
        first.plane.add_session(keys, first.now)
    for keys in (*first.here.values(), unused):
        first.plane.remember(keys.receive_id, b"note of %d" % keys.peer)
    first.rig.run("rx", first.sealed(source=Endpoint("198.51.100.9", 9)))  # events that nobody takes
    for _ in range(3):
        first.rig.run("tx", OUT)
    mark = first.rig.mark()
    first.plane.detach()
    assert first.rig.run("tx", OUT).code == XDP_PASS, "frames go on meanwhile"
    assert first.rig.run("rx", first.sealed(sequence=1)).code == XDP_REDIRECT

    rig: Rig = make_rig(OWN, adopt=True)
    offered = {each.receive_id: each for each in rig.plane.adopted()}
    assert set(offered) == {first.here[FOUR].receive_id, first.here[SIX].receive_id, unused.receive_id}
    for keys in (*first.here.values(), unused):
        each = offered[keys.receive_id]
        assert (each.peer, each.send_id, each.path) == (keys.peer, keys.send_id, AT[keys.peer])
        assert each.note == b"note of %d" % keys.peer
        assert each.sending is (keys is not unused)
        assert each.confirmed is (keys.peer == FOUR)
        assert each.expires == pytest.approx(first.now + REJECT_AFTER_TIME, abs=1e-3)
    assert rig.plane.take_events() == [], "they were for somebody who is gone"
    rig.plane.read_events(first.now)
    assert rig.plane.take_events() == []

    assert rig.mark() == mark, "packets on their way to synapse_out carry it"
    assert take_apart(rig.run("tx", OUT).data).payload[8:16] == (4).to_bytes(8, "little"), "no nonce twice"
    assert rig.run("rx", first.sealed(sequence=1)).code == XDP_DROP, "the window is as it was"
    assert {entry.peer for entry in rig.plane.fdb(first.now)} == {None, FOUR, SIX}, "nobody is left without a session"
    for gone in (forgotten, lonely):
        with pytest.raises(LocalMisuse):
            rig.plane.session_stats(gone.receive_id)
    rig.plane.use_session(unused.receive_id)
    sealed = take_apart(rig.run("tx", frame(SIXTH, OWN)).data)
    assert sealed.payload == seal(unused, 0, 0, frame(SIXTH, OWN))
    rig.plane.remove_peer(FOUR)
    assert rig.plane._groups.peers == (SIX,), "the flood set was taken over"
    rig.plane.set_static(FRIEND, SIX)
    rig.plane.remove_peer(SIX)
    assert {entry.peer for entry in rig.plane.fdb(first.now)} == {None}, "pins of the earlier one can be removed"
    rig.plane.close()
    for name in ("session_keys", "sessions", "notes", "session_slots", "peers"):
        assert not any(any(value) for _, value in rig.maps[name].items()), name


def test_a_move_is_told_again_to_the_next_plane(make_rig: MakeRig, seed: int) -> None:
    first = World(make_rig(OWN), seed)
    away = Endpoint("198.51.100.9", 9)
    first.plane.remember(first.here[FOUR].receive_id, b"note")
    first.rig.run("rx", first.sealed(source=away))
    first.plane.detach()
    rig: Rig = make_rig(OWN, adopt=True)
    rig.plane.adopted()
    rig.plane.set_path(FOUR, AT[FOUR])
    rig.run("rx", first.sealed(sequence=1, source=away))
    rig.plane.read_events(first.now)
    assert rig.plane.take_events() == [EndpointMoved(first.here[FOUR].receive_id, away)]
