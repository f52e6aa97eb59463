"""The replay window in the kernel by the numbered edge checks of the python one; and two CPUs that race."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from support.planes import frame
from support.race import race
from support.replay_edges import EDGES
from support.rows import DATA, FOUR, FRIEND, OWN, World
from support.synapse import XDP_DROP, XDP_PASS, XDP_REDIRECT, MakeRig

from omni_core.constants import REJECT_AFTER_MESSAGES, REPLAY_WINDOW
from omni_core.dataplane.port import Confirmed
from omni_core.drops import DropReason
from omni_core.io.synapse import abi
from omni_core.io.synapse.abi import Way
from omni_core.session.replay import ReplayWindow
from omni_core.wire.header import make_nonce

pytestmark = pytest.mark.netns

TURNS = 4000
HEAD = 14 + 20 + 8 + 24  # bytes in front of the inner frame


@pytest.fixture
def world(make_rig: MakeRig, seed: int) -> World:
    return World(make_rig(OWN), seed)


def accepted(world: World, packet: bytes) -> bool:
    code = world.rig.run("rx", packet).code
    assert code in (XDP_DROP, XDP_REDIRECT)
    return code == XDP_REDIRECT


@pytest.mark.parametrize("stream", [0, 1])
@pytest.mark.parametrize("name", EDGES)
def test_edges(world: World, name: str, stream: int) -> None:
    for number, (sequence, fresh) in enumerate(EDGES[name], start=1):
        if sequence < 1 << 56:
            packet = world.sealed(sequence=sequence, nonce=make_nonce(sequence, stream))
            assert accepted(world, packet) is fresh, f"check {number}: sequence {sequence}"


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("start", [0, 63, 8191, REJECT_AFTER_MESSAGES - REPLAY_WINDOW - 2])
def test_a_whole_window_then_none_again(world: World, start: int, backwards: bool) -> None:
    make = world.sealer()
    packets = [make(sequence) for sequence in range(start, start + REPLAY_WINDOW + 1)]
    assert all(accepted(world, packet) for packet in (reversed(packets) if backwards else packets))
    assert not any(accepted(world, packet) for packet in packets)
    older = [make(sequence) for sequence in range(max(0, start - 100), start)]
    assert not any(accepted(world, packet) for packet in older), "older than the window"
    assert world.rig.ways() == {
        Way.RX_DELIVERED: len(packets),
        DropReason.REPLAYED: len(packets) + len(older),
    }


@pytest.mark.parametrize("step", [1, 50, 5000])
def test_random_walk(world: World, seed: int, step: int) -> None:
    """As the python window decides."""
    draw, make, window, head = random.Random(f"{seed} {step}"), world.sealer(), ReplayWindow(), 0
    for _ in range(4000):
        head += draw.randrange(step + 1)
        sequence = max(0, head - int(draw.expovariate(1 / draw.choice((1, 60, REPLAY_WINDOW)))))
        fresh = window.check(sequence)
        assert accepted(world, make(sequence)) is fresh, f"sequence {sequence}, highest {window.highest}"
        if fresh:
            window.update(sequence)


def test_a_forged_packet_does_not_move_the_window(world: World) -> None:
    make = world.sealer()
    assert accepted(world, make(5))
    far = bytearray(make(1 << 40))
    far[-1] ^= 1
    assert not accepted(world, bytes(far))
    assert accepted(world, make(6))
    assert accepted(world, make(0))


# --- two CPUs --------------------------------------------------------------------------------------------------------


def test_no_sequence_is_accepted_twice(world: World) -> None:
    """Both get every packet at the same moment. Who comes second is refused, also when both had found it to be fresh
    and opened it: what is left of such a packet is plaintext."""
    run = world.rig.programs["synapse_rx"].test_run
    make = world.sealer(frame(OWN, FRIEND, size=1400))
    packets = [make(sequence) for sequence in range(TURNS)]
    inner = frame(OWN, FRIEND, size=1400)[:64]

    def receive(turn: int) -> tuple[int, bool]:
        result = run(packets[turn])
        return result.retval, result.data[HEAD : HEAD + 64] == inner

    one, other = race(TURNS, receive, receive)
    pairs = list(zip(one, other, strict=True))
    assert [sorted(code for code, _ in pair) for pair in pairs] == [[XDP_DROP, XDP_REDIRECT]] * TURNS
    opened_in_vain = sum(code == XDP_DROP and plain for pair in pairs for code, plain in pair)
    winners = Counter(pair[0][0] == XDP_REDIRECT for pair in pairs)
    print(f"opened by both: {opened_in_vain} of {TURNS}; won by the first CPU: {winners[True]}")
    assert opened_in_vain > 0, "they never met: this was no race"
    assert world.plane.session_stats(world.here[FOUR].receive_id).rx_frames == TURNS
    assert world.rig.ways() == {Way.RX_DELIVERED: TURNS, DropReason.REPLAYED: TURNS}
    world.plane.read_events(world.now)
    assert world.plane.take_events() == [Confirmed(world.here[FOUR].receive_id)], "once, whoever was first"


def test_no_update_of_the_window_is_lost(world: World) -> None:
    """Each gets its half, neighbours in one block of the bitmap. All are accepted, and none again."""
    run = world.rig.programs["synapse_rx"].test_run
    make = world.sealer()
    packets = [make(sequence) for sequence in range(2 * TURNS)]
    one, other = race(TURNS, lambda turn: run(packets[2 * turn]).retval, lambda turn: run(packets[2 * turn + 1]).retval)
    assert set(one) | set(other) == {XDP_REDIRECT}
    stats = world.plane.session_stats(world.here[FOUR].receive_id)
    assert (stats.rx_frames, stats.rx_bytes) == (2 * TURNS, 2 * TURNS * len(DATA))
    assert not any(accepted(world, packet) for packet in packets)


def test_no_sequence_is_taken_twice(world: World) -> None:
    run = world.rig.programs["synapse_tx"].test_run
    data = frame(FRIEND, OWN, size=200)

    def send(turn: int) -> tuple[int, bytes]:
        result = run(data)
        return result.retval, result.data[42 : 42 + 24]

    one, other = race(TURNS, send, send)
    assert {code for code, _ in one + other} == {XDP_PASS}
    headers = [header for _, header in one + other]
    assert len(set(headers)) == 2 * TURNS
    assert {int.from_bytes(header[8:16], "little") for header in headers} == set(range(2 * TURNS))
    assert all(header[8:16] == header[16:24] for header in headers), "nonce = sequence"
    for mine in (one, other):
        sequences = [header[8:16][::-1] for _, header in mine]
        assert sequences == sorted(sequences), "each CPU's frames in order"
    stats = world.plane.session_stats(world.here[FOUR].receive_id)
    assert (stats.tx_frames, stats.tx_bytes) == (2 * TURNS, 2 * TURNS * len(data))


def test_no_address_is_counted_twice(world: World) -> None:
    """Both learn the same new address of the local port at the same moment: one entry, counted once."""
    run = world.rig.programs["synapse_tx"].test_run
    frames = [frame(FRIEND, b"\x02\x99" + turn.to_bytes(4, "big")) for turn in range(TURNS)]
    race(TURNS, lambda turn: run(frames[turn]).retval, lambda turn: run(frames[turn]).retval)
    learned = [entry for entry in world.plane.fdb(world.now) if not entry.static]
    assert len(learned) == TURNS
    counted = world.rig.maps["fdb_counts"].lookup(abi.OWNER_LOCAL.to_bytes(4, "little"))
    assert counted == TURNS.to_bytes(8, "little")
