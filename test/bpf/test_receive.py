"""Receiving: synapse_rx and what it calls, row by row (support/rows_receive.py), and what spans several packets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.own_network import own_network
from support.planes import frame
from support.rows import AT, DATA, FOUR, FRIEND, ME_4, ME_6, NOBODY, OWN, SIX, SIXTH, STRANGER, Row, World
from support.rows_receive import ALSO_GENERIC, AWAY_4, AWAY_6, CONTROL, RECEIVE_ROWS, confirmed, counted, use_mac1
from support.synapse import MAC1_KEY, MAX_FRAME, PORT, SYN, XDP_DROP, XDP_REDIRECT, MakeRig

from omni_core.dataplane.port import EndpointMoved
from omni_core.drops import DropReason
from omni_core.io.synapse import abi
from omni_core.io.synapse.abi import Way
from omni_core.types import BROADCAST, Endpoint

pytestmark = pytest.mark.netns

PASSED_UP = ([Way.RX_HANDSHAKE], [Way.RX_SIGNALING])


@pytest.fixture(scope="module", autouse=True)
def network() -> Iterator[None]:
    """Test runs happen in the network namespace of the caller, where the programs look for the Ganglion's socket."""
    with own_network():
        yield


@pytest.fixture
def ganglion_socket(network: None) -> Iterator[socket.socket]:
    """Takes IPv4 and IPv6."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as held:
        held.bind(("::", PORT))
        yield held


@pytest.fixture
def world(make_rig: MakeRig, seed: int, ganglion_socket: socket.socket) -> World:
    return World(make_rig(OWN), seed)


@pytest.mark.parametrize("row", RECEIVE_ROWS, ids=lambda row: row.what)
def test_row(world: World, row: Row) -> None:
    use_mac1(world)
    row.run(world)


@pytest.mark.parametrize("row", ALSO_GENERIC, ids=lambda row: row.what)
def test_row_in_generic_mode(world: World, row: Row) -> None:
    """There the frame is moved to the end of the packet, instead of cutting off what is behind it."""
    use_mac1(world)
    row.run(world)


@pytest.mark.parametrize("row", [row for row in RECEIVE_ROWS if row.ways in PASSED_UP], ids=lambda row: row.what)
def test_control_messages_are_dropped_while_nobody_listens(
    world: World, ganglion_socket: socket.socket, row: Row
) -> None:
    """Passed up, they would be answered with an ICMP error."""
    use_mac1(world)
    ganglion_socket.close()
    replace(row, code=XDP_DROP, ways=[DropReason.NOT_LISTENING], after=None).run(world)


def test_frames_of_every_length_in_generic_mode(world: World) -> None:
    for sequence, size in enumerate(range(14, MAX_FRAME + 1)):
        inner = frame(OWN, FRIEND, size=14) + world.draw.randbytes(size - 14)
        verdict = world.rig.run("rx_generic", world.sealed(inner, sequence=sequence, padding=bytes(size % 5)))
        assert verdict.code == XDP_REDIRECT and verdict.data == inner, size


def test_descriptions_are_different() -> None:
    assert len({row.what for row in RECEIVE_ROWS}) == len(RECEIVE_ROWS)


def test_confirmed_once(world: World) -> None:
    for sequence in range(3):
        assert world.rig.run("rx", world.sealed(sequence=sequence)).code == XDP_REDIRECT
    world.plane.read_events(world.now)
    assert world.plane.take_events() == confirmed(world)


def test_endpoint_moved_is_said_once_per_place_and_by_the_newest_only(world: World) -> None:
    receive_id = world.here[FOUR].receive_id
    steps: list[tuple[int, Endpoint, bool]] = [
        (10, AT[FOUR], False),
        (5, AWAY_4, False),  # late
        (11, AWAY_4, True),
        (12, AWAY_4, False),
        (13, AWAY_6, True),
        (14, AWAY_4, True),
        (15, AT[FOUR], False),
        (16, AWAY_4, True),  # back, and away again
    ]
    for sequence, source, said in steps:
        destination = ME_6 if source.is_ipv6 else ME_4
        verdict = world.rig.run("rx", world.sealed(sequence=sequence, source=source, destination=destination))
        assert verdict.code == XDP_REDIRECT
        world.plane.read_events(world.now)
        moves = [event for event in world.plane.take_events() if isinstance(event, EndpointMoved)]
        assert moves == ([EndpointMoved(receive_id, source)] if said else []), sequence


def test_a_move_is_said_again_after_set_path_and_not_after_a_rekey(world: World) -> None:
    told = []
    for sequence, do in enumerate(
        (
            lambda: None,
            lambda: world.plane.use_session(world.here[FOUR].receive_id),
            world.plane.refresh_routes,
            lambda: world.plane.set_path(FOUR, AT[FOUR]),
        )
    ):
        do()
        world.rig.run("rx", world.sealed(sequence=sequence, source=AWAY_4))
        world.plane.read_events(world.now)
        told.append(EndpointMoved(world.here[FOUR].receive_id, AWAY_4) in world.plane.take_events())
    assert told == [True, False, False, True]


def test_an_address_moves_between_peers_and_the_port(world: World) -> None:
    def home() -> int | None:
        (entry,) = (entry for entry in world.plane.fdb(world.now) if entry.mac == STRANGER)
        return entry.peer

    world.rig.run("rx", world.sealed(frame(OWN, STRANGER)))
    assert home() == FOUR
    world.rig.run("rx", world.sealed(frame(OWN, STRANGER), peer=SIX))
    assert home() == SIX
    world.rig.run("tx", frame(FRIEND, STRANGER))
    assert home() is None
    counts = {int.from_bytes(k, "little"): int.from_bytes(v, "little") for k, v in world.rig.maps["fdb_counts"].items()}
    assert counts == {FOUR: 0, SIX: 0, NOBODY: 0, abi.OWNER_LOCAL: 1}


def test_times_and_counters_tell_data_from_control(world: World) -> None:
    def stats() -> tuple[bool, bool, bool]:
        found = world.plane.session_stats(world.here[FOUR].receive_id)
        return found.last_rx > 0, found.last_rx_data > 0, found.last_unicast > 0

    assert stats() == (False, False, False)
    world.rig.run("rx", world.sealed(CONTROL, 0))
    assert stats() == (True, False, False)
    world.rig.run("rx", world.sealed(frame(BROADCAST, FRIEND), 1))
    assert stats() == (True, True, False)
    world.rig.run("rx", world.sealed(DATA, 2))
    assert stats() == (True, True, True)
    assert counted(world, FOUR) == (3, 20 + 60 + 60)
    found = world.plane.session_stats(world.here[FOUR].receive_id)
    assert 0 <= time.monotonic() - found.last_rx < 5


def test_every_frame_length_is_delivered(world: World) -> None:
    whole = OWN + FRIEND + b"\x08\x00" + world.draw.randbytes(MAX_FRAME - 14)
    for peer in (FOUR, SIX):
        for sequence, size in enumerate(range(14, MAX_FRAME + 1)):
            source = FRIEND if peer == FOUR else SIXTH
            inner = OWN + source + whole[12:size]
            verdict = world.rig.run("rx", world.sealed(inner, sequence, peer, checksum=False))
            assert verdict == (XDP_REDIRECT, inner), size
    assert world.rig.ways() == {Way.RX_DELIVERED: 2 * (MAX_FRAME - 13)}


def test_the_mac1_key_of_a_new_plane_is_the_one_given(world: World) -> None:
    with world.rig.config() as config:
        assert bytes(config.mac1_key) == MAC1_KEY and config.syn_ifindex == SYN
