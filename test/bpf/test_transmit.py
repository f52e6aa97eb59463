"""Transmitting: synapse_tx and what it calls, synapse_out; row by row (support/rows_transmit.py); clones; bounds."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator

import pytest
from support.outer import take_apart
from support.own_network import own_network
from support.planes import frame, key_pair
from support.rows import AT, FOUR, FRIEND, ME_4, ME_6, NOBODY, OWN, SIX, SIXTH, STRANGER, Row, World, prefix
from support.rows_receive import RATE
from support.rows_transmit import GROUP, OUT_ROWS, TRANSMIT_ROWS, short_route
from support.synapse import LOOPBACK, MAX_FRAME, TC_ACT_SHOT, XDP_DROP, XDP_PASS, XDP_REDIRECT, MakeRig

from omni_core.crypto.aead import Aead
from omni_core.drops import DropReason
from omni_core.io.synapse import abi
from omni_core.io.synapse.abi import SlowKind, Way
from omni_core.types import Endpoint

pytestmark = pytest.mark.netns

SLOW_TYPE = abi.SLOW_ETHERTYPE
PEERS = 40


@pytest.fixture
def world(make_rig: MakeRig, seed: int) -> World:
    return World(make_rig(OWN), seed)


@pytest.mark.parametrize("row", TRANSMIT_ROWS, ids=lambda row: row.what)
def test_row(world: World, row: Row) -> None:
    row.run(world)


@pytest.mark.parametrize("row", OUT_ROWS, ids=lambda row: row.what)
def test_out_row(world: World, row: Row) -> None:
    row.run(world)


def test_descriptions_are_different() -> None:
    assert len({row.what for row in TRANSMIT_ROWS + OUT_ROWS}) == len(TRANSMIT_ROWS + OUT_ROWS)


def test_every_frame_length_is_sealed(world: World) -> None:
    """Headers, lengths and checksums by another implementation, the contents by OpenSSL."""
    short_route(9000)(world)
    whole = world.draw.randbytes(MAX_FRAME)
    for peer, mac, source in ((FOUR, FRIEND, ME_4), (SIX, SIXTH, ME_6)):
        opener = Aead(world.there[peer].receive_key)
        for sequence, size in enumerate(range(14, MAX_FRAME + 1)):
            inner = (mac + OWN + b"\x08\x00" + whole)[:size]
            verdict = world.rig.run("tx", inner)
            assert verdict.code == XDP_PASS, size
            opened = take_apart(verdict.data)
            assert (opened.source, opened.destination) == (source, AT[peer])
            header, number = opened.payload[:24], sequence.to_bytes(8, "little")
            assert header == world.here[peer].send_id.to_bytes(8, "little") + number + number
            assert opener.open(sequence, opened.payload[24:], header) == inner, size
            if peer == SIX:
                assert verdict.data[14 + 40 + 6 : 14 + 40 + 8] != bytes(2), "IPv6 needs a checksum (RFC 8200 8.1)"
    assert world.rig.ways() == {Way.TX_SEALED: 2 * (MAX_FRAME - 13)}


def test_a_checksum_of_zero_is_written_as_all_ones(world: World) -> None:
    """RFC 768: 0 means that there is none. The peer's port is chosen so that the sum comes to that."""
    inner = frame(SIXTH, OWN)
    check = int.from_bytes(world.expected(inner, 0, SIX)[60:62], "big")
    port = (AT[SIX].port + check) % 0xFFFF
    assert port, "no port would do with this seed"
    world.plane.set_path(SIX, Endpoint(AT[SIX].host, port))
    data = world.rig.run("tx", inner).data
    assert take_apart(data).destination.port == port
    assert data[60:62] == b"\xff\xff"


def test_sources_of_the_local_port_are_learned(world: World) -> None:
    world.rig.run("tx", frame(FRIEND, STRANGER))
    world.rig.run("tx", frame(FRIEND, STRANGER, tag=bytes.fromhex("81000005")))
    found = {(entry.mac, entry.vlan, entry.peer) for entry in world.plane.fdb(world.now) if not entry.static}
    assert found == {(STRANGER, 0, None), (STRANGER, 5, None)}
    assert world.rig.run("tx", frame(STRANGER, OWN)).code == XDP_DROP
    assert world.rig.ways()[Way.TX_LOCAL] == 1


def test_the_old_session_is_used_until_the_new_one_is(world: World) -> None:
    """And after a return it goes on with its sequence: no nonce twice."""
    first = world.here[FOUR]
    world.rig.run("tx", frame(FRIEND, OWN))
    second, _ = key_pair(world.draw, FOUR)
    world.plane.add_session(second, world.now)
    headers = []
    for keys in (first, second, first, second):
        world.plane.use_session(keys.receive_id)
        headers.append(take_apart(world.rig.run("tx", frame(FRIEND, OWN)).data).payload[:16])
    ids = [first.send_id, second.send_id, first.send_id, second.send_id]
    assert headers == [
        send_id.to_bytes(8, "little") + sequence.to_bytes(8, "little")
        for send_id, sequence in zip(ids, (1, 0, 2, 1), strict=True)
    ]


# --- group frames: synapse_out clones what synapse_tx marked -------------------------------------------------------


@pytest.fixture
def heard(world: World) -> Iterator[socket.socket]:
    """What arrives at loopback, which stands for the TAP, in a network of our own."""
    with own_network():
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(SLOW_TYPE)) as listener:
            listener.bind(("lo", SLOW_TYPE))
            listener.setblocking(False)
            with world.rig.config() as config:
                config.tap_ifindex = LOOPBACK
            yield listener


def clones(listener: socket.socket, count: int) -> list[bytes]:
    """Waits for so many; there must not be more."""
    listener.settimeout(5.0)
    found = [listener.recv(4096) for _ in range(count)]
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.recv(4096)
    return found


def flooded(world: World, inner: bytes, slots: Iterable[int] | None = None, peer: int = 0) -> bytes:
    """As synapse_tx leaves it for these slots (None: the whole flood set), or synapse_out for the peer."""
    with world.rig.config() as config:
        chosen = config.everyone.slots if slots is None else slots
    return world.rig.mark() + prefix(SlowKind.SEAL, peer, slots=chosen)[6:] + inner


@pytest.mark.parametrize("size", [14, 60, MAX_FRAME])
def test_a_group_frame_is_cloned_for_each_peer(world: World, heard: socket.socket, size: int) -> None:
    inner = frame(GROUP[:6], OWN, size=size)
    peers = [SIX, FOUR, NOBODY, *range(100, 100 + PEERS)]
    world.plane.set_flood(peers)
    verdict = world.rig.run("out", flooded(world, inner))
    assert verdict.code == TC_ACT_SHOT
    assert clones(heard, len(peers)) == [flooded(world, inner, peer=peer) for peer in peers]
    assert world.rig.ways() == {Way.OUT_CLONED: len(peers)}


@pytest.mark.parametrize("slots", [[], [0], [63], [64], [127], [1, 62, 65, 126], [*range(0, 128, 2)]], ids=str)
def test_for_those_whose_slot_is_in_the_set(world: World, heard: socket.socket, slots: list[int]) -> None:
    world.plane.set_flood(range(1000, 1000 + abi.FLOOD))
    assert world.rig.run("out", flooded(world, GROUP, slots)).code == TC_ACT_SHOT
    assert clones(heard, len(slots)) == [flooded(world, GROUP, slots, 1000 + slot) for slot in slots]
    assert world.rig.ways() == ({Way.OUT_CLONED: len(slots)} if slots else {})


def test_clones_are_sealed_like_any_frame_from_the_tap(world: World, heard: socket.socket) -> None:
    world.plane.set_flood([FOUR, NOBODY, SIX])
    world.rig.run("out", flooded(world, GROUP))
    verdicts = [world.rig.run("tx", clone) for clone in clones(heard, 3)]
    assert [verdict.code for verdict in verdicts] == [XDP_PASS, XDP_DROP, XDP_PASS]
    assert verdicts[0].data == world.expected(GROUP, 0, FOUR)
    assert verdicts[2].data == world.expected(GROUP, 0, SIX)
    assert world.rig.ways() == {Way.OUT_CLONED: 3, DropReason.NO_SESSION: 1, Way.TX_SEALED: 2}


def test_an_empty_flood_set(world: World, heard: socket.socket) -> None:
    world.plane.set_flood([])
    assert world.rig.run("out", flooded(world, GROUP)).code == TC_ACT_SHOT
    assert clones(heard, 0) == []
    assert world.rig.ways() == {}


def test_the_largest_flood_set_and_one_more(world: World, heard: socket.socket) -> None:
    world.plane.set_flood(range(1000, 1000 + abi.FLOOD))
    world.rig.run("out", flooded(world, GROUP))
    assert len(clones(heard, abi.FLOOD)) == abi.FLOOD
    world.plane.set_flood(range(1000, 1001 + abi.FLOOD))
    with world.rig.config() as config:
        assert config.flood_slow
        config.tap_ifindex = LOOPBACK + 1  # so that this run comes from elsewhere
    assert world.rig.run("tx", GROUP).code == XDP_REDIRECT
    assert world.rig.ways() == {Way.OUT_CLONED: abi.FLOOD, Way.TX_GROUP: 1}


def test_a_clone_that_cannot_be_made(world: World, heard: socket.socket) -> None:
    world.plane.set_flood([FOUR, SIX])
    with world.rig.config() as config:
        config.tap_ifindex = 4711
    world.rig.run("out", flooded(world, GROUP))
    assert world.rig.ways() == {DropReason.NO_ROOM: 2}


# --- the bound of the FDB --------------------------------------------------------------------------------------------


def test_an_owner_at_its_bound_learns_again_when_the_oldest_have_gone(make_rig: MakeRig, seed: int) -> None:
    world = World(make_rig(OWN, max_local=8, max_per_peer=8), seed)

    def learned() -> list[int]:
        return sorted(e.mac[-1] for e in world.plane.fdb(world.now) if not e.static and e.peer is None)

    def send(number: int) -> None:
        assert world.rig.run("tx", frame(FRIEND, bytes([2, 9, 9, 9, 9, number]))).code == XDP_PASS

    for number in range(8):
        send(number)
    assert learned() == list(range(8))
    world.plane.read_events(world.now)
    for number in range(8, 12):
        send(number)
    assert learned() == list(range(8)), "at its bound: forwarded, not learned"
    world.plane.read_events(world.now)  # the event; a quarter makes room
    assert learned() == list(range(2, 8)), "the oldest have gone"
    for number in (12, 13, 14):
        send(number)
    assert learned() == [*range(2, 8), 12, 13]


def test_a_lost_event_does_not_stop_learning_for_good(make_rig: MakeRig, seed: int) -> None:
    """Addresses may also move to an owner that is full, and bring it over its bound."""
    world = World(make_rig(OWN, max_local=4, max_per_peer=64), seed)
    for number in range(8):
        world.rig.run("rx", world.sealed(frame(OWN, bytes([2, 9, 9, 9, 9, number])), number))
    for number in range(8):  # all move to the local port
        world.rig.run("tx", frame(FRIEND, bytes([2, 9, 9, 9, 9, number])))
    world.rig.run("tx", frame(FRIEND, STRANGER))
    world.plane._ring.read()  # lost, if there was one
    world.plane.tick(world.now)
    world.rig.run("tx", frame(FRIEND, STRANGER))
    world.plane.read_events(world.now)
    world.rig.run("tx", frame(FRIEND, STRANGER))
    rows = [entry for entry in world.plane.fdb(time.monotonic()) if not entry.static]
    assert STRANGER in {entry.mac for entry in rows} and len(rows) <= 4


@pytest.mark.parametrize(("size", "said"), [(60, 1), (255, 1), (256, 0), (1400, 0)])
def test_many_small_frames_are_said_once_in_a_while(world: World, size: int, said: int) -> None:
    heard: list[float] = []
    world.plane.on_small_frames = lambda: heard.append(0.0)
    busy = RATE.pack(0, time.monotonic_ns() + 10**10, 0, 0, 0, 0)
    world.rig.maps["small_rate"].update(bytes(4), busy)
    for _ in range(5):
        assert world.rig.run("tx", frame(FRIEND, OWN, size=size)).code == XDP_PASS
    world.plane.read_events(world.now)
    assert len(heard) == said
