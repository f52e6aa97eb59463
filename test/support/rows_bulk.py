"""The bulk lane: every way out of synapse_split and synapse_land, and what synapse_rx does with stream 1, as rows."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Any

from support.planes import frame
from support.rows import DATA, FOUR, FRIEND, OWN, SILENT, SIX, SIXTH, STRANGER, Row, World, prefix
from support.rows_receive import AWAY_4, confirmed, counted, expire, pause
from support.synapse import TC_ACT_OK, TC_ACT_REDIRECT, TC_ACT_SHOT, XDP_DROP, XDP_PASS, XDP_REDIRECT

from omni_core.constants import CONTROL_MAC
from omni_core.drops import DropReason
from omni_core.io.synapse import abi
from omni_core.io.synapse.abi import Way
from omni_core.types import BROADCAST, Mac
from omni_core.wire.header import make_nonce

FLOW = struct.Struct("=QQ")  # struct bulk_flow of bpf/maps.h
SEGMENT = 1366  # gso_size
TAG_5 = bytes.fromhex("81000005")
ANOTHER = bytes.fromhex("0200000000fe")
LEASE = abi.LANE_LEASE / 1e9

Do = Callable[[World], object]


def tcp(destination: Mac = FRIEND, source: Mac = OWN, port: int = 1000, size: int = 1400, tag: bytes = b"") -> bytes:
    """A TCP segment of the flow with this source port; checksums are left out."""
    ip = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, size - 14, 0, 0x4000, 64, 6, 0, bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
    )
    segment = struct.pack(">HHIIHHHH", port, 7000, 1, 1, 0x5010, 512, 0, 0)
    return (destination + source + tag + b"\x08\x00" + ip + segment).ljust(size + len(tag), b"\x55")


def lane(world: World, ago: float = 0.0) -> None:
    """The native engine lives, and may seal for FOUR and SIX."""
    world.rig.live(ago)
    for peer in (FOUR, SIX):
        with world.rig.peer(peer) as entry:
            entry.bulk = 1


def flows(world: World) -> dict[bytes, tuple[int, int]]:
    """Hash -> times of the last super-frame and the last frame, in ns."""
    return {key: FLOW.unpack(value) for key, value in world.rig.maps["bulk_flows"].items()}


def after_super_frame(super_ago: float, last_ago: float) -> Do:
    """One of the flow has passed, and then so many seconds. Less than none: time stands still until the row is run."""

    def prepare(world: World) -> None:
        lane(world)
        assert world.rig.run("split", tcp(), SEGMENT).code == TC_ACT_REDIRECT
        (key,) = flows(world)
        now = time.monotonic_ns()
        world.rig.maps["bulk_flows"].update(key, FLOW.pack(now - int(super_ago * 1e9), now - int(last_ago * 1e9)))

    return prepare


def together(*steps: Do) -> Do:
    def prepare(world: World) -> None:
        for step in steps:
            step(world)

    return prepare


def without_lane(world: World) -> None:
    lane(world)
    with world.rig.config() as config:
        config.bulk_ifindex = 0


def ended(world: World) -> None:
    lane(world)
    world.rig.maps["lane"].update(bytes(4), bytes(8))


def not_bulk(world: World) -> None:
    lane(world)
    with world.rig.peer(FOUR) as entry:
        entry.bulk = 0


def learn_on_vlan(world: World) -> None:
    lane(world)
    world.rig.run("rx", world.sealed(frame(OWN, STRANGER, tag=TAG_5)))


def left(what: str, inner: bytes, prepare: Do = lane, gso: int = SEGMENT, quiet: bool = True) -> Row:
    """On its way to the veth, as it is."""
    return Row(
        what, lambda w: inner, TC_ACT_OK, [], lambda w: inner, prepare=prepare, program="split", gso=gso, quiet=quiet
    )


def taken(what: str, inner: bytes, prepare: Do = lane, gso: int = SEGMENT, learned: int | None = None) -> Row:
    """Given to the engine, as it is. ``learned``: VLAN on which its source was."""

    def check(world: World) -> None:
        ((super_, last),) = flows(world).values()
        now = time.monotonic_ns()
        assert now - last < 10**9
        assert (last == super_) is bool(gso)
        local = {e.vlan for e in world.plane.fdb(world.now) if e.peer is None and e.mac == inner[6:12] and not e.static}
        assert local == (set() if learned is None else {learned})

    return Row(
        what,
        lambda w: inner,
        TC_ACT_REDIRECT,
        [Way.TX_BULK],
        lambda w: inner,
        prepare=prepare,
        program="split",
        gso=gso,
        quiet=False,
        check=check,
    )


def no_port(world: World) -> None:
    with world.rig.config() as config:
        config.port_ifindex = 0


def landed(what: str, code: int, way: int, prepare: Do = lane) -> Row:
    return Row(what, lambda w: DATA, code, [way], lambda w: DATA, prepare=prepare, program="land")


SPLIT_ROWS = [
    taken("super-frame", tcp()),
    taken("super-frame to a peer over IPv6", tcp(SIXTH)),
    taken("super-frame, its source is new", tcp(source=STRANGER), learned=0),
    taken(
        "super-frame with an inline tag",
        tcp(STRANGER, source=SILENT[:5] + b"\x44", tag=TAG_5),
        learn_on_vlan,
        learned=5,
    ),
    taken("super-frame, the engine spoke a moment ago", tcp(), lambda w: lane(w, LEASE / 2)),
    taken("frame of the flow, soon after a super-frame", tcp(), after_super_frame(0.05, 0.05), gso=0),
    taken("small frame of the flow, soon after a super-frame", tcp(size=60), after_super_frame(0.05, 0.05), gso=0),
    taken("frame of the flow, soon after another one", tcp(), after_super_frame(5.0, -5.0), gso=0),
    taken("super-frame of a flow that was idle", tcp(), after_super_frame(5.0, 5.0)),
    left("frame", tcp(), gso=0),
    left("frame of the flow after a while", tcp(), after_super_frame(0.2, 0.02), gso=0, quiet=False),
    left("frame of another flow", tcp(port=1001), after_super_frame(0.0, 0.0), gso=0),
    left(
        "frame of the flow, the engine is gone", tcp(), together(after_super_frame(0, 0), lambda w: lane(w, 1.0)), gso=0
    ),
    left("super-frame, no bulk lane", tcp(), without_lane),
    left("super-frame, paused", tcp(), together(lane, pause)),
    left("super-frame, the engine's lease has run out", tcp(), lambda w: lane(w, LEASE + 0.01)),
    left(
        "super-frame, the engine has ended",
        tcp(),
        ended,
    ),
    left("super-frame, the engine cannot seal for the peer", tcp(), not_bulk),
    left("super-frame to a peer without a session", tcp(SILENT)),
    left("super-frame to nobody", tcp(STRANGER)),
    left("super-frame to another VLAN than the station's", tcp(STRANGER), learn_on_vlan),
    left("super-frame to the local port", tcp(OWN)),
    left("super-frame to a group", tcp(BROADCAST)),
    left("super-frame to the control address", tcp(CONTROL_MAC)),
    left("super-frame, source pinned to a peer", tcp(source=SIXTH)),
    left("super-frame, group source", tcp(source=BROADCAST)),
    left("hardly more than a header", frame(FRIEND, OWN, 0x88A4, size=15), gso=0),
]

LAND_ROWS = [
    Row(
        "frame that the engine opened",
        lambda w: DATA,
        TC_ACT_REDIRECT,
        [Way.RX_BULK_DELIVERED],
        lambda w: DATA,
        program="land",
    ),
    Row(
        "frame that the engine opened, paused",
        lambda w: DATA,
        TC_ACT_SHOT,
        [DropReason.PAUSED],
        prepare=pause,
        program="land",
    ),
    Row(
        "frame that the engine opened, no port",
        lambda w: DATA,
        TC_ACT_SHOT,
        [DropReason.NOT_MARKED],
        prepare=lambda w: no_port(w),
        program="land",
    ),
]


def bulk(world: World, sequence: int = 0, **how: Any) -> bytes:
    return world.sealed(sequence=sequence, nonce=make_nonce(sequence, abi.BULK_STREAM), **how)


def from_tap(packet: bytes) -> bytes:
    return prefix(abi.SlowKind.OPEN) + packet


def to_engine(what: str, make: Callable[[World], bytes] = bulk, prepare: Do = lane) -> Row:
    row = Row(what, make, XDP_PASS, [Way.RX_BULK], prepare=prepare)
    row.after = row.make
    return row


def dropped(what: str, make: Callable[[World], bytes], reason: DropReason, prepare: Do = lane, **how: bool) -> Row:
    return Row(what, make, XDP_DROP, [reason], prepare=prepare, **how)  # type: ignore[arg-type]


def opened(what: str, make: Callable[[World], bytes], prepare: Do, **how: bool) -> Row:
    return Row(
        what,
        make,
        XDP_REDIRECT,
        [Way.RX_DELIVERED],
        lambda w: DATA,
        prepare=prepare,
        events=confirmed,
        quiet=False,
        check=lambda w: counted_one(w),
        **how,  # type: ignore[arg-type]
    )


def counted_one(world: World) -> None:
    assert counted(world, FOUR) == (1, len(DATA))


def opened_before(world: World) -> None:
    """While there was no engine."""
    assert world.rig.run("rx", bulk(world)).code == XDP_REDIRECT


def seen_by_engine(world: World) -> None:
    """As if the engine had opened up to sequence 4, and was killed."""
    with world.rig.stream(world.here[FOUR].receive_id, abi.BULK_STREAM) as stream:
        stream.next, stream.ring[0] = 5, 0b11111
    lane(world, 1.0)


STREAM_ROWS = [
    to_engine("stream 1: to the engine"),
    to_engine("stream 1 over IPv6", lambda w: bulk(w, peer=SIX)),
    to_engine("stream 1, another path", lambda w: w.sealed(nonce=make_nonce(0, 1, 5))),
    to_engine(
        "stream 1 from elsewhere: the engine tells",
        lambda w: bulk(w, source=AWAY_4),
    ),
    to_engine("stream 1, forged: the engine finds out", lambda w: bulk(w)[:-1] + b"\0"),
    to_engine("stream 1, opened before: the engine finds out", prepare=together(opened_before, lane)),
    opened("stream 0 while the engine lives", lambda w: w.sealed(), lane),
    opened("stream 1, no bulk lane", bulk, without_lane),
    opened("stream 1, the engine's lease has run out", bulk, lambda w: lane(w, LEASE + 0.01)),
    opened(
        "stream 1, the engine has never lived",
        bulk,
        ended,
    ),
    opened("stream 1, next to what the engine opened before it was killed", lambda w: bulk(w, 5), seen_by_engine),
    dropped("stream 1, the dead engine opened it", lambda w: bulk(w, 4), DropReason.REPLAYED, seen_by_engine),
    dropped("stream 1, expired", bulk, DropReason.SESSION_EXPIRED, together(lane, expire)),
    dropped("stream 1, paused", bulk, DropReason.PAUSED, together(lane, pause)),
    dropped("stream 2 while the engine lives", lambda w: w.sealed(nonce=make_nonce(0, 2)), DropReason.BAD_NONCE),
    dropped("stream 1, sequence not in the nonce", lambda w: w.sealed(nonce=make_nonce(1, 1)), DropReason.BAD_NONCE),
    dropped(
        "stream 1 from the TAP while the engine lives",
        lambda w: from_tap(bulk(w)),
        DropReason.BAD_NONCE,
        from_tap=True,
    ),
    opened(
        "stream 1 from the TAP, no bulk lane",
        lambda w: from_tap(bulk(w)),
        without_lane,
        from_tap=True,
    ),
    opened(
        "stream 0 from the TAP while the engine lives",
        lambda w: from_tap(w.sealed()),
        lane,
        from_tap=True,
    ),
]
