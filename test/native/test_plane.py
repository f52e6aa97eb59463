"""The native engine's own side of the data-plane port: adoption, limits, questions, strays, its death, many workers."""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.native_rig import HERE_4, PLAIN, PORT, DrivenNative, NativeRig, wait_for_one
from support.planes import AT_A, AT_B, MAC_A, MAC_B, PEER_A, PEER_B, Pair, frame, key_pair, seal

from omni_core.constants import REJECT_AFTER_TIME
from omni_core.dataplane.groups import GroupPolicy
from omni_core.dataplane.port import (
    NOTE_MAX,
    Confirmed,
    EndpointMoved,
    SessionKeys,
    SessionStats,
    Unresolved,
    UnresolvedReason,
)
from omni_core.dataplane.userspace import UserspaceDataPlane
from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse, SystemRefused
from omni_core.io.native.client import EngineGone
from omni_core.io.native.protocol import Way
from omni_core.io.netlink import RouteInfo
from omni_core.types import BROADCAST, Endpoint
from tools.netlab import wait_for

pytestmark = pytest.mark.netns

DATA = frame(MAC_B, MAC_A)
STRANGER = bytes.fromhex("0200000000ff")

MakeDriven = Callable[..., DrivenNative]


@pytest.fixture
def pair(make_driven: MakeDriven, seed: int) -> Pair:
    """The native engine is A."""
    return Pair(random.Random(seed), a=make_driven(MAC_A))


@pytest.fixture
def rig(network: None, engine_built: None, tmp_path: Path) -> Iterator[NativeRig]:
    made = NativeRig(tmp_path, workers=4)
    yield made
    made.close()


# --- adoption ----------------------------------------------------------------------------------------------------


def test_the_plane_offers_what_was_remembered(pair: Pair) -> None:
    pair.a.remember(pair.keys_a.receive_id, b"first")
    pair.a.remember(pair.keys_a.receive_id, b"note")
    pending, theirs = pair.add_session()
    pair.a.remember(pending.receive_id, b"x" * NOTE_MAX)
    in_use, new = pair.a.adopted()
    assert (in_use.peer, in_use.send_id, in_use.receive_id) == (PEER_B, pair.keys_a.send_id, pair.keys_a.receive_id)
    assert (in_use.sending, in_use.confirmed, in_use.note, in_use.path) == (True, False, b"note", AT_B)
    assert in_use.expires == pair.now + REJECT_AFTER_TIME
    assert (new.receive_id, new.sending, new.confirmed, len(new.note)) == (pending.receive_id, False, False, NOTE_MAX)
    pair.b.use_session(theirs.receive_id)
    pair.into_a(pair.sealed_by_b([frame(MAC_A, MAC_B)]))
    assert [each.confirmed for each in pair.a.adopted()] == [False, True]


def test_the_plane_goes_on_with_what_it_offers_and_ends_the_rest(pair: Pair) -> None:
    pair.a.remember(pair.keys_a.receive_id, b"note")
    pair.add_session()
    lonely, _ = key_pair(pair.draw, 7)
    pair.a.add_session(lonely, pair.now)
    pair.a.set_static(STRANGER, 7)
    pair.a.set_flood([PEER_B, 7])
    pair.a.frames_from_port([frame(b"\x02\0\0\0\0\x09", MAC_A)], pair.now)
    assert [each.receive_id for each in pair.a.adopted()] == [pair.keys_a.receive_id]
    assert pair.a.take_events() == [], "they were for somebody who is gone"
    assert {entry.peer for entry in pair.a.fdb(pair.now)} == {None, PEER_B}
    for receive_id in (lonely.receive_id, 1):
        with pytest.raises(LocalMisuse):
            pair.a.session_stats(receive_id)
    flooded = frame(BROADCAST, MAC_A)
    assert pair.into_b(pair.sealed_by_a([flooded])) == [flooded]
    assert pair.a.take_events() == [], "7 is not flooded to any more"


def test_the_next_plane_goes_on_where_this_one_left(pair: Pair) -> None:
    """Also while there is none: the engine alone seals, opens, learns."""
    first = pair.sealed_by_a([DATA] * 3)
    pair.a.remember(pair.keys_a.receive_id, b"note")
    rig = pair.a.rig
    rig.process.leave()
    rig.taps[0].send(PLAIN + DATA)
    packet = wait_for_one(rig.at(AT_B))
    assert packet[8] == 3, "its sequence goes on"
    behind_b = frame(MAC_A, b"\x02\0\0\0\0\xb1")
    pair.b.frames_from_port([behind_b], pair.now)
    for packet_b, _ in pair.b.take_datagrams():
        rig.send(packet_b, AT_B)
    assert wait_for_one(rig.taps[0]) == PLAIN + behind_b
    rig.adopt()
    pair.a = DrivenNative(rig, MAC_A, pair.a._clock)
    (offered,) = pair.a.adopted()
    assert (offered.peer, offered.confirmed, offered.path) == (PEER_B, True, AT_B)
    assert pair.a.session_stats(offered.receive_id).tx_frames == 4
    more = pair.sealed_by_a([DATA])
    assert more[0][8] == 4
    assert pair.into_b([*first, packet, *more]) == [DATA] * 5
    assert (b"\x02\0\0\0\0\xb1", PEER_B) in {(row.mac, row.peer) for row in pair.a.fdb(pair.now)}
    with pytest.raises(LocalMisuse, match="another session"):
        pair.a.add_session(SessionKeys(9, 1, offered.receive_id, bytearray(b"k" * 32), bytearray(b"k" * 32)), pair.now)


def test_a_move_is_told_again_to_the_next_plane(pair: Pair) -> None:
    pair.a.remember(pair.keys_a.receive_id, b"note")
    away = Endpoint("198.51.100.9", 9)
    packets = pair.sealed_by_b([frame(MAC_A, MAC_B)] * 2)
    pair.into_a(packets[:1], away)
    pair.a.adopted()
    pair.a.set_path(PEER_B, AT_B)
    pair.into_a(packets[1:], away)
    assert pair.a.take_events() == [EndpointMoved(pair.keys_a.receive_id, away)]


# --- what the python engine's tests cannot say -------------------------------------------------------------------


def test_setters_are_idempotent(pair: Pair) -> None:
    sent = pair.sealed_by_a([DATA] * 2)
    rows = pair.a.fdb(pair.now)
    pair.a.add_session(pair.keys_a, pair.now + 1.0)
    pair.a.use_session(pair.keys_a.receive_id)
    pair.a.set_path(PEER_B, AT_B)
    pair.a.set_flood([PEER_B])
    pair.a.set_static(MAC_B, PEER_B)
    pair.a.set_static(MAC_A, None)
    pair.a.remove_static(STRANGER)
    pair.a.remove_session(12345)
    pair.a.remove_peer(12345)
    assert pair.a.fdb(pair.now) == rows
    sent += pair.sealed_by_a([DATA])
    assert [packet[8] for packet in sent] == [0, 1, 2]
    (row,) = [each for each in pair.a.rig.client.sessions() if each.receive_id == pair.keys_a.receive_id]
    assert row.expires == int((100.0 + REJECT_AFTER_TIME) * 10**9)


def test_a_peer_without_a_path_gets_one_from_its_first_packet(make_driven: MakeDriven, seed: int) -> None:
    draw = random.Random(seed)
    here, there = key_pair(draw, PEER_A)
    plane = make_driven(MAC_B)
    plane.add_session(here, 100.0)
    packet = seal(there, 0, 0, DATA)
    plane.datagrams_from_underlay([(packet, AT_A)], 100.0)
    assert plane.take_events() == [Confirmed(here.receive_id), EndpointMoved(here.receive_id, AT_A)]
    plane.use_session(here.receive_id)
    plane.frames_to_peer(PEER_A, [DATA], 100.0)
    assert plane.drops() == {DropReason.NO_PATH: 1}


def test_limits_reach_the_table(make_driven: MakeDriven, seed: int) -> None:
    """An owner at its bound loses its oldest quarter, and nobody else anything."""
    draw = random.Random(seed)
    here, there = key_pair(draw, PEER_A)
    plane = make_driven(None, max_per_peer=8, max_local=4)
    plane.add_session(here, 0.0)
    for number in range(20):
        now = 2.0 * number
        source = bytes([2, 0, 0, 0, 1, number])
        plane.datagrams_from_underlay([(seal(there, number, number, frame(MAC_B, source)), AT_A)], now)
        plane.frames_from_port([frame(BROADCAST, bytes([2, 0, 0, 0, 2, number]))], now)
    rows = plane.fdb(40.0)
    for owner, kind, bound in ((PEER_A, 1, 8), (None, 2, 4)):
        mine = sorted(row.mac[5] for row in rows if row.peer == owner)
        assert all(row.mac[4] == kind for row in rows if row.peer == owner)
        assert bound - bound // 4 <= len(mine) <= bound and mine == list(range(20 - len(mine), 20))
    with pytest.raises(LocalMisuse):
        plane.rig.plane(None, max_local=0)


def test_keys_of_the_wrong_kind_never_reach_the_engine(pair: Pair) -> None:
    before = pair.a.rig.client.sessions()
    for size in (0, 31, 33):
        with pytest.raises(LocalMisuse):
            pair.a.add_session(SessionKeys(9, 1, 2, bytearray(b"k" * size), bytearray(b"k" * 32)), pair.now)
    assert pair.a.rig.client.sessions() == before


def test_it_holds_a_bounded_number_of_sessions(make_driven: MakeDriven, seed: int) -> None:
    draw, plane = random.Random(seed), make_driven(MAC_A)
    held = [key_pair(draw, 1 + number % 100)[0] for number in range(2047)]  # and the marker's
    for keys in held:
        plane.add_session(keys, 100.0)
    one_more, _ = key_pair(draw, 1)
    with pytest.raises(LocalMisuse, match="holds 2048 sessions"):
        plane.add_session(one_more, 100.0)
    assert len(plane.rig.client.sessions()) == 2048, "in several messages"
    plane.remove_session(held[0].receive_id)
    plane.add_session(one_more, 100.0)
    plane.close()
    assert plane.rig.client.sessions() == []


def test_many_entries_of_the_table_are_told(make_driven: MakeDriven) -> None:
    plane = make_driven(MAC_A)
    macs = [bytes([2, 0, 0, 1]) + number.to_bytes(2, "big") for number in range(5000)]
    plane.frames_from_port([frame(BROADCAST, mac) for mac in macs], 100.0)
    assert {row.mac for row in plane.fdb(100.0)} == {MAC_A, *macs}


def test_questions_are_shown_to_the_ganglion_and_then_sent(pair: Pair) -> None:
    """ARP and neighbour solicitations; DrivenNative brings them back as the Ganglion does."""
    arp = frame(BROADCAST, MAC_A, 0x0806)
    solicitation = bytes.fromhex("3333ff000001") + MAC_A + bytes.fromhex("86dd") + bytes.fromhex("6000000000203aff")
    solicitation += bytes(32) + b"\x87" + bytes(31)
    seen: list[bytes] = []
    read = pair.a.native.read_events

    def spy() -> Any:
        questions, control = read()
        seen.extend(questions)
        return questions, control

    pair.a.native.read_events = spy
    assert pair.into_b(pair.sealed_by_a([arp, solicitation, DATA])) == [DATA, arp, solicitation]
    assert seen == [arp, solicitation]


def test_frames_before_the_ganglion_wants_them(pair: Pair) -> None:
    packets = pair.sealed_by_b([frame(MAC_A, MAC_B)] * 2)
    pair.a.rig.client.forward(False)
    pair.a.rig.taps[0].send(PLAIN + DATA)
    pair.a.rig.send(packets[0], AT_B)
    wait_for(lambda: pair.a.drops() == {DropReason.PAUSED: 2}, 5, "both to be dropped")
    pair.a.rig.client.forward(True)
    assert pair.into_a(packets[1:]) == [frame(MAC_A, MAC_B)]


def test_data_that_reached_the_ganglions_socket(pair: Pair) -> None:
    good, short = pair.sealed_by_b([frame(MAC_A, MAC_B)])[0], b"\xff" * 53
    for payload in (good, short, good):
        pair.a.native.datagrams_from_underlay([(payload, AT_B)], pair.now)
    assert wait_for_one(pair.a.rig.taps[0]) == PLAIN + frame(MAC_A, MAC_B)
    wait_for(lambda: pair.a.drops() == {DropReason.TOO_SHORT: 1, DropReason.REPLAYED: 1}, 5, "the others")


def test_control_that_reached_the_engines_socket(pair: Pair) -> None:
    """Merged with data of the same size, say."""
    native = pair.a.native
    # Two in one call: the kernel chooses the socket by the first, and gives both when it has merged them.
    first = pair.sealed_by_b([frame(MAC_A, MAC_B)])[0]
    control = b"\1" + bytes(len(first) - 1)
    segment = [(socket.IPPROTO_UDP, 103, struct.pack("H", len(first)))]  # UDP_SEGMENT
    pair.a.rig.at(AT_B).sendmsg([first, control], segment, 0, (HERE_4, PORT))
    got: list[Any] = []
    wait_for(lambda: got.extend(native.read_events()[1]) or got, 5, "the control message")
    assert got == [(control, AT_B)]
    assert wait_for_one(pair.a.rig.taps[0]) == PLAIN + frame(MAC_A, MAC_B)


def test_a_path_has_the_mtu_of_its_route(pair: Pair) -> None:
    """A super-frame is cut to what fits."""
    told: list[Any] = []
    set_peer = pair.a.rig.client.set_peer
    pair.a.rig.client.set_peer = lambda *each: (told.append(each), set_peer(*each))[1]
    native, routes = pair.a.native, pair.a.rig.routes
    routes[AT_B] = RouteInfo(1, HERE_4, 1400)
    for _ in range(2):
        native.refresh_routes()
    routes[AT_B] = RouteInfo(1, HERE_4, 1300)
    native.refresh_routes()
    del routes[AT_B]
    native.refresh_routes()
    assert told == [(PEER_B, AT_B, 1400), (PEER_B, AT_B, 1300), (PEER_B, AT_B, 0)]
    native.set_path(PEER_B, Endpoint("nowhere.example", 1))
    assert native._paths[PEER_B] == (AT_B, 0), "no address: it keeps the one before"


# --- its death ---------------------------------------------------------------------------------------------------


def test_nothing_raises_when_the_engine_has_gone(pair: Pair) -> None:
    plane, told = pair.a.native, []
    plane.on_gone = told.append
    os.kill(pair.a.rig.process.pid, signal.SIGKILL)
    receive_id = pair.keys_a.receive_id
    keys, _ = key_pair(pair.draw)
    for call in (
        lambda: plane.add_session(keys, 1.0), lambda: plane.use_session(receive_id),
        lambda: plane.remember(receive_id, b"note"), lambda: plane.set_path(PEER_B, AT_B),
        lambda: plane.set_flood([1]), lambda: plane.set_static(STRANGER, 1), lambda: plane.remove_static(STRANGER),
        lambda: plane.set_groups(GroupPolicy(), 5.0), lambda: plane.frames_to_port([DATA], 1.0),
        lambda: plane.frames_from_port([DATA], 1.0), lambda: plane.frames_to_peer(PEER_B, [DATA], 1.0),
        lambda: plane.datagrams_from_underlay([(bytes(100), AT_B)], 1.0), lambda: plane.tick(1.0),
        plane.refresh_routes, plane.drops, plane.take_datagrams, plane.take_frames, plane.take_events,
    ):  # fmt: skip
        call()
    assert plane.session_stats(receive_id) == SessionStats()
    assert plane.fdb(1.0) == plane.adopted() == [] and plane.read_events() == ([], []) and not plane.pending
    with pytest.raises(LocalMisuse):
        plane.use_session(424242)
    plane.remove_session(receive_id)
    plane.remove_peer(PEER_B)
    plane.close()
    plane.close()
    assert len(told) == 1 and isinstance(told[0], EngineGone) and plane.gone is told[0]


# --- several workers ---------------------------------------------------------------------------------------------


def test_four_workers(rig: NativeRig, seed: int) -> None:
    """Peers at many places, rekeys, packets in any order, each opened once: whichever worker they come to."""
    draw = random.Random(seed)
    plane = rig.plane(MAC_A)
    now = 10.0**9  # long from now: nothing expires
    remotes: list[tuple[Endpoint, UserspaceDataPlane]] = []
    sent: Counter[bytes] = Counter()
    packets = []
    for number in range(1, 41):
        place = Endpoint(f"198.51.100.{number}", 1000 + number)
        mac = bytes([2, 0, 0, 0, 3, number])
        remote = UserspaceDataPlane(mac)
        remote.set_path(1, place)
        remote.set_static(MAC_A, 1)
        for generation in range(3):
            here, there = key_pair(draw, number, 1)
            plane.add_session(here, now)
            remote.add_session(there, now)
            plane.use_session(here.receive_id)
            remote.use_session(there.receive_id)
            frames = [frame(MAC_A, mac, size=60 + 40 * generation + n) for n in range(20)]
            remote.frames_from_port(frames, now)
            packets += [(packet, place) for packet, _ in remote.take_datagrams()]
            sent.update(frames)
        plane.set_path(number, place)
        rig.at(place)
        remotes.append((place, remote))
    draw.shuffle(packets)
    got: Counter[bytes] = Counter()
    for at in range(0, len(packets), 100):
        for packet, place in packets[at : at + 100]:
            rig.send(packet, place)
            rig.send(packet, place)
        received(rig, got, min(at + 100, len(packets)))
    assert got == sent
    wait_for(lambda: plane.drops() == {DropReason.REPLAYED: len(packets)}, 5, "the second copies")
    assert plane.ways()[Way.RX_OPENED] == len(packets)
    assert sum(plane.session_stats(row.receive_id).rx_frames for row in rig.client.sessions()) == len(packets)

    back = [frame(bytes([2, 0, 0, 0, 3, number]), MAC_A, size=60 + n) for number in range(1, 41) for n in range(20)]
    for number, each in enumerate(back):
        rig.taps[number % 4].send(PLAIN + each)
    arrived: Counter[bytes] = Counter()
    for place, remote in remotes:
        for _ in range(20):
            remote.datagrams_from_underlay([(wait_for_one(rig.at(place)), (HERE_4, PORT))], now)
        arrived.update(remote.take_frames())
        assert remote.drops() == {}
    assert arrived == Counter(back)


def received(rig: NativeRig, got: Counter[bytes], total: int) -> None:
    def look() -> bool:
        for tap in rig.taps:
            try:
                while True:
                    got[tap.recv(70000)[len(PLAIN) :]] += 1
            except BlockingIOError:
                pass
        return got.total() >= total

    wait_for(look, 10, f"{total} frames")


def test_a_session_follows_its_peer_to_another_worker(rig: NativeRig, seed: int) -> None:
    draw = random.Random(seed)
    plane = rig.plane(MAC_A)
    here, there = key_pair(draw, PEER_B, PEER_A)
    plane.add_session(here, 10.0**9)
    got: Counter[bytes] = Counter()
    for number in range(800):
        place = Endpoint("198.51.100.9", 2000 + number // 200)
        rig.send(seal(there, number, number, frame(MAC_A, MAC_B, size=60 + number)), place)
        if number % 50 == 49:
            received(rig, got, number + 1)
    assert got == Counter(frame(MAC_A, MAC_B, size=60 + number) for number in range(800))
    assert plane.drops() == {} and plane.session_stats(here.receive_id).rx_frames == 800


def test_unresolved_frames_of_all_workers(rig: NativeRig) -> None:
    plane = rig.plane(MAC_A)
    frames = [frame(STRANGER, MAC_A, size=60 + number) for number in range(40)]
    for number, each in enumerate(frames):
        rig.taps[number % 4].send(PLAIN + each)
    events: list[Any] = []
    wait_for(
        lambda: (plane.read_events() and events.extend(plane.take_events())) or len(events) == 40, 5, "all of them"
    )
    assert sorted(event.frame for event in events) == sorted(frames)
    assert {(event.reason, event.peer) for event in events} == {(UnresolvedReason.UNKNOWN_DESTINATION, None)}
    assert all(isinstance(event, Unresolved) for event in events)


def test_a_peer_on_a_socket_of_its_family(rig: NativeRig) -> None:
    plane = rig.plane(MAC_A)
    for peer, host in ((1, "192.0.2.66"), (2, "2001:db8::66")):
        here, _ = key_pair(random.Random(peer), peer)
        plane.add_session(here, 10.0**9)
        plane.use_session(here.receive_id)
        plane.set_path(peer, Endpoint(host, 66))
        rig.at(Endpoint(host, 66))
        plane.frames_to_peer(peer, [DATA], 10.0**9)
        wait_for_one(rig.at(Endpoint(host, 66)))


def test_what_the_engine_refuses_is_logged(rig: NativeRig, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemRefused, match="SET_FLOOD"):
        rig.client.set_flood(range(5000))
    rig.plane(MAC_A).set_flood(range(5000))
    assert [message.split(".")[0] for message in caplog.messages] == ["omni-native: SET_FLOOD: Invalid argument"]


def test_a_zone_that_is_no_interface_any_more(rig: NativeRig) -> None:
    plane = rig.plane(MAC_A)

    def route(endpoint: Endpoint) -> RouteInfo | None:
        raise OSError("no such interface")

    plane._route = route
    plane.set_path(1, Endpoint("fe80::1%gone0", 1))
    plane.refresh_routes()
    assert plane._paths == {}
