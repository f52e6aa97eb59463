"""The kernel engine with a native one beside it: who is told what, in which order, and what becomes of it when it dies.

The native engine is one that only remembers (support/fake_engine.py)."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest
from support.fake_engine import FakeProcess
from support.planes import frame, key_pair, seal
from support.rows import AT, FOUR, FRIEND, NOBODY, OWN, SIX, SIXTH, STRANGER, World
from support.rows_bulk import tcp
from support.synapse import BULK, TC_ACT_OK, TC_ACT_REDIRECT, XDP_REDIRECT, MakeRig

from omni_core.dataplane.port import Confirmed, ControlFrame, EndpointMoved
from omni_core.drops import DropReason
from omni_core.io.native.events import ForeignDatagram, Learned
from omni_core.io.native.protocol import Way as NativeWay
from omni_core.io.synapse import abi
from omni_core.io.synapse.bulk import is_bulk
from omni_core.types import BROADCAST, Endpoint
from omni_core.wire.header import make_nonce

pytestmark = pytest.mark.netns

AWAY = Endpoint("198.51.100.9", 9)
SUPER = tcp()  # to FOUR


@pytest.fixture
def world(make_rig: MakeRig, seed: int) -> World:
    return World(make_rig(OWN), seed)


def begin(world: World) -> FakeProcess:
    """With an engine; FOUR opens stream 1, SIX does not."""
    process = FakeProcess()
    world.plane.set_streams(FOUR, True)
    assert world.plane.use_engine(cast(Any, process))
    return process


def is_on(world: World) -> bool:
    value = world.rig.maps["config"].lookup(bytes(4))
    assert value is not None
    return abi.Config.from_buffer_copy(value).bulk_ifindex == BULK


def entry(world: World, peer: int) -> abi.Peer:
    value = world.rig.maps["peers"].lookup(peer.to_bytes(4, "little"))
    assert value is not None
    return abi.Peer.from_buffer_copy(value)


def takes(world: World, inner: bytes = SUPER) -> bool:
    """Whether synapse_split gives a super-frame to the engine."""
    if is_on(world):
        world.rig.live()
    code = world.rig.run("split", inner, 1366).code
    assert code in (TC_ACT_OK, TC_ACT_REDIRECT)
    return code == TC_ACT_REDIRECT


def test_a_new_engine_gets_everything(world: World) -> None:
    assert not is_on(world) and not takes(world)
    process = FakeProcess()
    client = process.client
    seen: list[tuple[str, bool, int]] = []
    client.on_request = lambda name: seen.append((name, is_on(world), entry(world, FOUR).bulk))
    world.plane.set_streams(FOUR, True)
    assert world.plane.use_engine(cast(Any, process))
    off = ["sessions", "retain", "add_session", "add_session"]
    assert seen[:5] == [*((name, False, 0) for name in off), ("forward", True, 0)], "then packets, then frames"
    assert {each[0] for each in seen[5:]} == {"set_peer", "use_session"}
    for keys in world.here.values():
        held = client.held[keys.receive_id]
        slot = world.rig.maps["session_slots"].lookup(keys.receive_id.to_bytes(8, "little"))
        assert (held.peer, held.slot.to_bytes(4, "little"), held.send_id) == (keys.peer, slot, keys.send_id)
        assert held.keys == (keys.send_key, keys.receive_key)
        with world.rig.session(keys.receive_id) as session:
            assert held.expires == session.expires
    assert client.key_buffers and not any(any(buffer) for buffer in client.key_buffers), "read back, and wiped"
    assert client.paths == {FOUR: (AT[FOUR], 1500), SIX: (AT[SIX], 1500)}
    assert client.used == {peer: keys.receive_id for peer, keys in world.here.items()}
    assert client.forwarding and is_on(world)
    assert (entry(world, FOUR).bulk, entry(world, SIX).bulk, entry(world, NOBODY).bulk) == (1, 0, 0)
    assert takes(world) and not takes(world, tcp(SIXTH))


def test_what_a_peer_opens_may_change(world: World) -> None:
    begin(world)
    world.plane.set_streams(FOUR, False)
    world.plane.set_streams(SIX, True)
    assert not takes(world) and takes(world, tcp(SIXTH))


def test_the_engine_knows_a_session_before_packets_find_it(world: World) -> None:
    client = begin(world).client
    keys, _ = key_pair(world.draw, FOUR)
    seen: list[object] = []
    client.on_request = lambda name: seen.append(
        (name, world.rig.maps["session_slots"].lookup(keys.receive_id.to_bytes(8, "little")))
    )
    with world.rig.stream(world.here[FOUR].receive_id, abi.BULK_STREAM) as stream:
        stream.tx_sequence = 77
    world.plane.add_session(keys, world.now)
    assert seen == [("add_session", None)]
    assert any(keys.send_key), "the caller's are the caller's to wipe"
    assert client.used[FOUR] == world.here[FOUR].receive_id
    with world.rig.stream(world.here[FOUR].receive_id, abi.BULK_STREAM) as stream:
        assert stream.tx_sequence == 77, "a rekey does not touch the session before"


def test_the_engine_uses_a_session_before_the_entry_leads_to_it(world: World) -> None:
    client = begin(world).client
    keys, _ = key_pair(world.draw, FOUR)
    world.plane.add_session(keys, world.now)
    before = bytes(entry(world, FOUR))
    seen: list[object] = []
    client.on_request = lambda name: seen.append((name, bytes(entry(world, FOUR)) == before))
    world.plane.use_session(keys.receive_id)
    assert seen == [("use_session", True)]
    assert entry(world, FOUR).bulk == 1 and takes(world)


def test_a_session_that_goes(world: World) -> None:
    """Its entry first, then the engine, and the slot is nobody's before the engine has answered."""
    client = begin(world).client
    receive_id = world.here[FOUR].receive_id
    slot = world.rig.maps["session_slots"].lookup(receive_id.to_bytes(8, "little"))
    assert slot is not None
    seen: list[object] = []

    def look(name: str) -> None:
        keys = world.rig.maps["session_keys"].lookup(slot)
        seen.append((name, entry(world, FOUR).bulk, keys is not None and any(keys)))

    client.on_request = look
    world.plane.remove_session(receive_id)
    assert seen == [("remove_session", 0, True)]
    assert receive_id not in client.held and not takes(world)
    world.plane.remove_session(receive_id)
    assert len(seen) == 1
    world.plane.add_session(world.here[FOUR], world.now)
    world.plane.use_session(receive_id)
    assert takes(world), "the same session again, told to the engine again"


def test_a_peer_that_goes(world: World) -> None:
    client = begin(world).client
    world.plane.remove_peer(FOUR)
    assert FOUR not in client.paths and world.here[FOUR].receive_id not in client.held
    assert client.log[-1] == "remove_peer"


def test_paths_and_routes(make_rig: MakeRig, seed: int) -> None:
    mtu = {"": 1500}
    world = World(make_rig(OWN, route=lambda endpoint: _route(endpoint, mtu[""])), seed)
    client = begin(world).client
    client.log.clear()
    world.plane.refresh_routes()
    assert client.log == [], "nothing new"
    mtu[""] = 1400
    world.plane.refresh_routes()
    assert client.paths == {FOUR: (AT[FOUR], 1400), SIX: (AT[SIX], 1400)}
    world.plane.set_path(FOUR, AWAY)
    assert client.paths[FOUR] == (AWAY, 1400) and takes(world)
    client.log.clear()
    world.plane.set_path(FOUR, AWAY)
    assert client.log == ["set_peer"], "the same path: EndpointMoved may be told again"


def _route(endpoint: Endpoint, mtu: int) -> Any:
    from support.synapse import default_route

    return default_route(endpoint)._replace(mtu=mtu)


@pytest.mark.parametrize(
    "do",
    [
        lambda world: world.plane.add_session(key_pair(world.draw, FOUR)[0], world.now),
        lambda world: world.plane.remove_session(world.here[SIX].receive_id),
        lambda world: world.plane.remove_peer(SIX),
        lambda world: world.plane.set_path(FOUR, AWAY),
        lambda world: world.plane.read_bulk(world.now),
        lambda world: world.plane.ways(),
        lambda world: world.plane.datagrams_from_underlay([(stream_1(world), AT[FOUR])], world.now),
    ],
    ids=["add_session", "remove_session", "remove_peer", "set_path", "read", "ways", "datagram"],
)
def test_an_engine_that_dies_is_lost_once(world: World, do: Any, caplog: pytest.LogCaptureFixture) -> None:
    process = begin(world)
    assert takes(world)
    lost: list[bool] = []
    world.plane.bulk.on_lost = lambda: lost.append(process.stopped)
    process.client.gone = True
    with caplog.at_level(logging.WARNING):
        do(world)
        world.plane.set_path(FOUR, AT[FOUR])
        world.plane.use_session(world.here[FOUR].receive_id)
    assert lost == [False], "told once, while the connection is open"
    assert process.stopped and not is_on(world)
    assert [record.message for record in caplog.records] == [
        "the native engine is lost, the kernel goes on alone: it has ended"
    ]
    assert not takes(world)
    assert world.rig.run("rx", world.sealed(nonce=make_nonce(0, 1))).code == XDP_REDIRECT, "the kernel opens stream 1"


def test_the_next_engine_goes_on(world: World) -> None:
    """Its sequences are in the map, which nobody has touched."""
    first = begin(world)
    first.client.counted = {NativeWay.TX_SEALED: 5, DropReason.BAD_TAG: 1}
    assert world.plane.ways()[NativeWay.TX_SEALED] == 5
    with world.rig.stream(world.here[FOUR].receive_id, abi.BULK_STREAM) as stream:
        stream.tx_sequence, stream.next = 1000, 5
    first.client.gone = True
    world.plane.read_bulk(world.now)
    assert entry(world, FOUR).bulk, "which says nothing while there is no engine"
    second = begin(world)
    assert takes(world)
    second.client.counted = {NativeWay.TX_SEALED: 7}
    assert set(second.client.held) == {keys.receive_id for keys in world.here.values()} and takes(world)
    with world.rig.stream(world.here[FOUR].receive_id, abi.BULK_STREAM) as stream:
        assert (stream.tx_sequence, stream.next) == (1000, 5)
    assert world.plane.ways()[NativeWay.TX_SEALED] == 12
    assert world.plane.drops()[DropReason.BAD_TAG] == 1


def test_an_engine_that_dies_while_it_is_told(world: World) -> None:
    process = FakeProcess()

    def die(name: str) -> None:
        process.client.gone = name == "add_session"

    process.client.on_request = die
    world.plane.set_streams(FOUR, True)
    assert not world.plane.use_engine(cast(Any, process))
    assert process.stopped and not is_on(world) and entry(world, FOUR).bulk == 0


def test_a_session_that_the_engine_does_not_have(world: World) -> None:
    """It had no room, say: the peer's frames stay in the kernel."""
    process = begin(world)
    keys, _ = key_pair(world.draw, FOUR)
    world.plane.add_session(keys, world.now)
    del process.client.held[keys.receive_id]
    world.plane.use_session(keys.receive_id)
    assert entry(world, FOUR).bulk == 0 and not takes(world) and is_on(world)


def test_close_ends_the_engine_and_detach_does_not(world: World, make_rig: MakeRig, seed: int) -> None:
    process = begin(world)
    world.plane.close()
    assert process.stopped and not is_on(world)
    world = World(make_rig(OWN), seed)
    process = begin(world)
    world.plane.detach()
    assert process.left and not process.stopped and is_on(world)


def test_stats_are_of_both_streams(world: World) -> None:
    world.rig.run("tx", frame(FRIEND, OWN))
    before = world.plane.session_stats(world.here[FOUR].receive_id)
    with world.rig.stream(world.here[FOUR].receive_id, abi.BULK_STREAM) as stream:
        stream.tx_sequence, stream.tx_bytes, stream.rx_frames, stream.rx_bytes = 10, 1000, 20, 2000
        stream.last_tx, stream.last_rx, stream.last_unicast = 2**62, 2**62 + 10**9, 2**62 + 2 * 10**9
    stats = world.plane.session_stats(world.here[FOUR].receive_id)
    assert (stats.tx_frames, stats.tx_bytes) == (before.tx_frames + 10, before.tx_bytes + 1000)
    assert (stats.rx_frames, stats.rx_bytes) == (20, 2000)
    times = (stats.last_tx, stats.last_tx_data, stats.last_rx, stats.last_rx_data, stats.last_unicast)
    assert times == (2**62 / 1e9, 2**62 / 1e9, 2**62 / 1e9 + 1, 2**62 / 1e9 + 1, 2**62 / 1e9 + 2)


# --- what the engine tells ------------------------------------------------------------------------------------------


def test_events_become_the_planes(world: World) -> None:
    client = begin(world).client
    here = world.here[FOUR].receive_id
    told = [Confirmed(here), EndpointMoved(here, AWAY), ControlFrame(here, b"frame", AWAY)]
    client.events = [*told, Confirmed(1), EndpointMoved(2, AWAY), ForeignDatagram(b"\1 control", AWAY)]
    assert world.plane.read_bulk(world.now) == [(b"\1 control", AWAY)]
    assert world.plane.take_events() == told, "of sessions that are there"
    assert world.plane.read_bulk(world.now) == []


def test_stream_1_of_the_socket_goes_to_the_engine(world: World) -> None:
    zero, one = seal(world.there[FOUR], 0, 0, frame(OWN, FRIEND)), stream_1(world)
    assert is_bulk(one) and not is_bulk(zero) and not is_bulk(one[:23]) and not is_bulk(b"")
    client = begin(world).client
    world.plane.datagrams_from_underlay([(zero, AT[FOUR]), (one, AT[FOUR])], world.now)
    assert client.datagrams == [(one, AT[FOUR])]
    assert len(world.plane.take_tap_packets()) == 1
    client.gone = True
    world.plane.datagrams_from_underlay([(zero, AT[FOUR]), (one, AT[FOUR])], world.now)
    assert len(world.plane.take_tap_packets()) == 2, "the programs open it"


def stream_1(world: World) -> bytes:
    return seal(world.there[FOUR], 0, make_nonce(0, abi.BULK_STREAM), frame(OWN, FRIEND))


def learn(world: World, mac: bytes, vlan: int = 0, peer: int = FOUR) -> None:
    assert world.plane.bulk.engine is not None
    cast(Any, world.plane.bulk.engine).events = [Learned(mac, vlan, peer)]
    world.plane.read_bulk(world.now)


def learned(world: World) -> dict[tuple[bytes, int | None], int | None]:
    return {(e.mac, e.vlan): e.peer for e in world.plane.fdb(world.now) if not e.static}


def counted(world: World, peer: int) -> int:
    return int.from_bytes(world.rig.maps["fdb_counts"].lookup(peer.to_bytes(4, "little")) or b"", "little")


def test_what_the_engine_learned(world: World) -> None:
    begin(world)
    learn(world, STRANGER)
    learn(world, STRANGER, vlan=5)
    assert learned(world) == {(STRANGER, 0): FOUR, (STRANGER, 5): FOUR} and counted(world, FOUR) == 2
    learn(world, STRANGER, peer=SIX)
    assert learned(world) == {(STRANGER, 0): SIX, (STRANGER, 5): FOUR}
    assert (counted(world, FOUR), counted(world, SIX)) == (1, 1)
    world.now += 100.0
    assert max(e.age for e in world.plane.fdb(world.now) if not e.static) >= 100.0
    learn(world, STRANGER, peer=SIX)
    learn(world, STRANGER, vlan=5)
    assert max(e.age for e in world.plane.fdb(world.now) if not e.static) < 1.0, "seen again"
    world.rig.run("tx", frame(STRANGER, OWN))
    assert world.plane.session_stats(world.here[SIX].receive_id).tx_frames == 1, "the programs look there"


def test_what_the_engine_must_not_learn(world: World) -> None:
    begin(world)
    world.plane.set_static(STRANGER, SIX, 5)
    for mac, vlan, peer in (
        (OWN, 0, FOUR),
        (FRIEND, 7, SIX),
        (BROADCAST, 0, FOUR),
        (STRANGER, 5, FOUR),
        (SIXTH, 0, 4711),
    ):
        learn(world, mac, vlan, peer)
    assert learned(world) == {} and counted(world, FOUR) == 0
    learn(world, STRANGER, 6)
    assert learned(world) == {(STRANGER, 6): FOUR}
    learn(world, b"\2\0\0\0\1\1", 0, 4711)
    assert len(learned(world)) == 1, "an owner that is gone"


def test_an_owner_at_its_bound(make_rig: MakeRig, seed: int) -> None:
    """The oldest quarter goes, as when the programs are at it."""
    world = World(make_rig(OWN, max_per_peer=8), seed)
    begin(world)
    for number in range(12):
        learn(world, bytes([2, 9, 0, 0, 0, number]))
        world.now += 1.0
    numbers = sorted(mac[-1] for mac, _ in learned(world))
    assert numbers[-1] == 11 and len(numbers) <= 8 and counted(world, FOUR) == len(numbers)
    assert numbers == list(range(12 - len(numbers), 12))


# --- adoption ---------------------------------------------------------------------------------------------------------


def test_the_next_ganglion_takes_the_engine_over(make_rig: MakeRig, seed: int) -> None:
    first = World(make_rig(OWN), seed)
    client = begin(first).client
    for keys in first.here.values():
        first.plane.remember(keys.receive_id, b"note")
    lonely, _ = key_pair(first.draw, 12)
    first.plane.add_session(lonely, first.now)
    missing, _ = key_pair(first.draw, FOUR)
    first.plane.add_session(missing, first.now)
    first.plane.remember(missing.receive_id, b"note")
    first.plane.detach()
    assert takes(first), "the lane goes on meanwhile"

    del client.held[missing.receive_id]
    client.held[99] = client.held[first.here[FOUR].receive_id]._replace(slot=99)  # of a Ganglion before that one
    client.log.clear()
    rig = make_rig(OWN, adopt=True)
    process = FakeProcess()
    process.client = client
    assert rig.plane.use_engine(process)
    assert client.log.count("add_session") == 1, "what it has already is not told again"
    assert set(client.held) == {lonely.receive_id, missing.receive_id, *(k.receive_id for k in first.here.values())}
    first.rig = rig
    assert takes(first), "who opens stream 1 is known before the notes are read"
    with rig.stream(first.here[SIX].receive_id, abi.BULK_STREAM) as stream:
        stream.rx_frames = 1
    offered = {each.receive_id: each.confirmed for each in rig.plane.adopted()}
    assert offered[first.here[SIX].receive_id] and not offered[first.here[FOUR].receive_id]
    assert lonely.receive_id not in client.held
    assert lonely.receive_id not in offered


def test_without_an_engine_to_take_over_the_lane_is_off(make_rig: MakeRig, seed: int) -> None:
    first = World(make_rig(OWN), seed)
    begin(first)
    first.plane.detach()
    rig = make_rig(OWN, adopt=True)
    rig.plane.bulk.end()
    first.rig = rig
    assert not is_on(first)
    assert rig.run("rx", first.sealed(nonce=make_nonce(0, 1))).code == XDP_REDIRECT
