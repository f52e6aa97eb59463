"""Every way out of synapse_rx, synapse_mac1, synapse_steer, synapse_open and synapse_deliver, as rows."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from support.outer import packet
from support.planes import frame, seal
from support.rows import (
    AT,
    DATA,
    FOUR,
    FRIEND,
    ME_4,
    ME_6,
    OWN,
    SIX,
    SIXTH,
    STRANGER,
    Row,
    World,
    prefix,
)
from support.synapse import MAX_FRAME, XDP_DROP, XDP_PASS, XDP_REDIRECT

from omni_core.constants import CONTROL_ETHERTYPE, CONTROL_MAC, REJECT_AFTER_MESSAGES, REPLAY_WINDOW
from omni_core.crypto import cookies
from omni_core.dataplane.port import Confirmed, EndpointMoved
from omni_core.drops import DropReason
from omni_core.io.synapse import abi
from omni_core.io.synapse.abi import Way
from omni_core.types import BROADCAST, Endpoint
from omni_core.wire.header import make_nonce

PUBLIC = bytes(range(100, 132))  # our X25519 key
AWAY_4, AWAY_6 = Endpoint("198.51.100.9", 9), Endpoint("2001:db8::99", 9)
ELSEWHERE_4, ELSEWHERE_6 = Endpoint("192.0.2.200", ME_4.port), Endpoint("2001:db8::200", ME_6.port)
OTHER_PORT = Endpoint(ME_4.host, 4500)
CONTROL = frame(CONTROL_MAC, FRIEND, CONTROL_ETHERTYPE, size=20)
FORGED_ID = bytes.fromhex("1122334455667788")

Make = Callable[[World], bytes]


def untouched(row: Row) -> Row:
    """Passed as it is."""
    row.after = row.make
    return row


def foreign(what: str, make: Make) -> Row:
    return untouched(Row(what, make, XDP_PASS, [Way.RX_FOREIGN]))


def passed(what: str, make: Make, way: Way) -> Row:
    return untouched(Row(what, make, XDP_PASS, [way]))


def dropped(what: str, make: Make, reason: DropReason, prepare: Callable[[World], object] = lambda w: None) -> Row:
    """Before the AEAD has accepted it: nothing but the counter changes."""
    return Row(what, make, XDP_DROP, [reason], prepare=prepare)


def refused(what: str, inner: bytes, reason: DropReason) -> Row:
    """Authentic, so that the window moves and the session is confirmed, and yet dropped."""
    return Row(
        what, lambda w: w.sealed(inner), XDP_DROP, [reason], quiet=False, events=confirmed, check=nothing_learned
    )


def delivered(what: str, inner: bytes, vlan: int = 0, **how: object) -> Row:
    """Its source is learned at the peer on ``vlan``, if it was not pinned there."""
    source = inner[6:12]
    peer = how.get("peer", FOUR)
    assert isinstance(peer, int)

    def check(world: World) -> None:
        assert counted(world, peer) == (1, len(inner))
        learned = {(e.mac, e.vlan, e.peer) for e in world.plane.fdb(world.now) if not e.static}
        assert learned == (set() if source in (FRIEND, SIXTH) else {(source, vlan, peer)})

    return Row(
        what,
        lambda w: w.sealed(inner, **how),  # type: ignore[arg-type]
        XDP_REDIRECT,
        [Way.RX_DELIVERED],
        after=lambda w: inner,
        events=lambda w: [Confirmed(w.here[peer].receive_id)],
        quiet=False,
        check=check,
    )


def counted(world: World, peer: int) -> tuple[int, int]:
    stats = world.plane.session_stats(world.here[peer].receive_id)
    return stats.rx_frames, stats.rx_bytes


def confirmed(world: World) -> list[object]:
    return [Confirmed(world.here[FOUR].receive_id)]


def nothing_learned(world: World) -> None:
    assert all(entry.static for entry in world.plane.fdb(world.now))
    assert counted(world, FOUR)[0] == 1


def flipped(data: bytes, at: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def handshake(kind: int, size: int, key: bytes = PUBLIC, flip: int | None = None) -> bytes:
    """With mac1 before the last 16 bytes, as the wire has it."""
    covered = bytes([kind, 1, 0, 0]) + bytes(i * 7 & 0xFF for i in range(size - 32 - 4))
    message = covered + cookies.mac1(key, covered) + bytes(16)
    return message if flip is None else flipped(message, flip)


def message(payload: bytes, destination: Endpoint = ME_4, **outer: object) -> Make:
    source = AT[SIX] if destination.is_ipv6 else AT[FOUR]
    return lambda w: packet(payload, source, destination, **outer)  # type: ignore[arg-type]


def expire(world: World) -> None:
    with world.rig.session(world.here[FOUR].receive_id) as session:
        session.expires = time.monotonic_ns() - 1


def pause(world: World) -> None:
    with world.rig.config() as config:
        config.forwarding = 0


def use_mac1(world: World) -> None:
    with world.rig.config() as config:
        config.mac1_key[:] = cookies.mac1_key(PUBLIC)


def receive(*packets: Make) -> Callable[[World], None]:
    def run(world: World) -> None:
        for make in packets:
            assert world.rig.run("rx", make(world)).code == XDP_REDIRECT

    return run


def tagged(tag: str, ethertype: int = 0x0800, size: int = 64) -> bytes:
    return frame(OWN, STRANGER, ethertype, size, bytes.fromhex(tag))


def own_packet(world: World) -> bytes:
    return packet(seal(world.here[FOUR], 0, 0, DATA), AT[FOUR], ME_4)


def spliced(world: World) -> bytes:
    """The session id of one peer on a packet of the other."""
    theirs = world.sealed(peer=SIX)
    return packet(world.sealed()[42:50] + theirs[62 + 8 :], AT[FOUR], ME_4)


RATE = struct.Struct("=QQQQII")  # struct rate of bpf/maps.h: since, until, began, last, work, cpu


def be_busy(world: World, flows: bool) -> None:
    """As after a burst: the session, and every flow if so said, until long after the test."""
    if world.rig.cpus < 2:
        pytest.skip("one CPU, or a kernel without programs on CPU maps: nothing is ever steered")
    with world.rig.config() as config:
        config.cpus = world.rig.cpus
    until = time.monotonic_ns() + 60 * 10**9
    rate = RATE.pack(until - 10**9, until, 0, 0, 0, 0)
    for name in ("session_rates", *(["flow_rates"] if flows else [])):
        held = world.rig.maps[name]
        for index in range(held.max_entries):
            held.update(index.to_bytes(4, "little"), rate)


def remove(world: World) -> None:
    world.plane.remove_session(world.here[FOUR].receive_id)
    world.plane._slots._wiper.submit(lambda: None).result()  # so that its wipe is not taken for this packet's doing


NOT_OURS = [
    foreign("ARP", lambda w: b"\xff" * 6 + bytes(6) + b"\x08\x06" + bytes(46)),
    foreign("no more than an Ethernet header", lambda w: bytes(12) + b"\x08\x00"),
    foreign("half of an IPv4 header", lambda w: w.sealed()[: 14 + 19]),
    foreign("half of an IPv6 header", lambda w: w.sealed(peer=SIX)[: 14 + 39]),
    foreign("half of a UDP header", lambda w: w.sealed()[: 14 + 20 + 7]),
    foreign("TCP over IPv4", lambda w: w.sealed(protocol=6)),
    foreign("TCP over IPv6", lambda w: w.sealed(peer=SIX, protocol=6)),
    foreign("IPv6 hop-by-hop options", lambda w: w.sealed(peer=SIX, protocol=0)),
    foreign("IP version 5 in IPv4's EtherType", lambda w: w.sealed(version=5)),
    foreign("IP version 4 in IPv6's EtherType", lambda w: w.sealed(peer=SIX, version=4)),
    foreign("IPv4 options: the stack's, and then the socket's", lambda w: w.sealed(options=bytes([1] * 4))),
    foreign("first fragment", lambda w: w.sealed(fragment=0x2000)),
    foreign("last fragment", lambda w: w.sealed(fragment=0x00B9)),
    foreign("another UDP port", lambda w: w.sealed(destination=OTHER_PORT)),
    foreign("tagged on the underlay", lambda w: w.sealed(ethernet=bytes(12) + bytes.fromhex("81000005"))),
    foreign("our port, another host, unknown session", message(FORGED_ID * 10, ELSEWHERE_4)),
    foreign("our port, another host, unknown session, IPv6", message(FORGED_ID * 10, ELSEWHERE_6)),
    foreign("our port, another host, too short for data", message(FORGED_ID, ELSEWHERE_4)),
    foreign("our port, another host, empty", message(b"", ELSEWHERE_4)),
    *(
        foreign(f"our port, another host, control {kind}", message(bytes([kind]) + bytes(63), ELSEWHERE_4))
        for kind in (0, 1, 2, 3, 4, 15)
    ),
]

CONTROL_MESSAGES = [
    passed("initiation", message(handshake(1, 480)), Way.RX_HANDSHAKE),
    passed("initiation over IPv6", message(handshake(1, 480), ME_6), Way.RX_HANDSHAKE),
    passed("initiation, padded on the underlay", message(handshake(1, 480), padding=bytes(9)), Way.RX_HANDSHAKE),
    passed("initiation with a mac2, which is userspace's", message(handshake(1, 480, flip=-1)), Way.RX_HANDSHAKE),
    passed("response", message(handshake(2, 288)), Way.RX_HANDSHAKE),
    passed("response over IPv6", message(handshake(2, 288), ME_6), Way.RX_HANDSHAKE),
    *(
        dropped(f"{name}, a bit of byte {at} flipped", message(handshake(kind, size, flip=at)), DropReason.BAD_MAC1)
        for name, kind, size in (("initiation", 1, 480), ("response", 2, 288))
        for at in (1, 63, 64, size - 33, size - 32, size - 17)
    ),
    dropped("initiation to another key", message(handshake(1, 480, bytes(32))), DropReason.BAD_MAC1),
    dropped("response to another key, IPv6", message(handshake(2, 288, bytes(32)), ME_6), DropReason.BAD_MAC1),
    dropped("initiation, one byte short", message(handshake(1, 480)[:-1]), DropReason.TOO_SHORT),
    dropped("initiation, one byte long", message(handshake(1, 480) + b"\0"), DropReason.TOO_LONG),
    dropped("initiation of a response's size", message(handshake(1, 288)), DropReason.TOO_SHORT),
    dropped("response of an initiation's size", message(handshake(2, 480)), DropReason.TOO_LONG),
    dropped("a type byte alone", message(b"\x01"), DropReason.TOO_SHORT),
    dropped(
        "initiation that ends before its UDP length says",
        lambda w: message(handshake(1, 480))(w)[:-1],
        DropReason.TOO_SHORT,
    ),
    passed("cookie reply", message(b"\x03" + bytes(63)), Way.RX_HANDSHAKE),
    dropped("cookie reply, short", message(b"\x03" + bytes(62)), DropReason.TOO_SHORT),
    dropped("cookie reply, long", message(b"\x03" + bytes(64)), DropReason.TOO_LONG),
    passed("shortest signaling", message(b"\x04" + bytes(40)), Way.RX_SIGNALING),
    passed("longest signaling, IPv6", message(b"\x04" + bytes(1199), ME_6), Way.RX_SIGNALING),
    dropped("signaling without contents", message(b"\x04" + bytes(39)), DropReason.TOO_SHORT),
    dropped("signaling, long", message(b"\x04" + bytes(1200)), DropReason.TOO_LONG),
    *(
        dropped(f"control type {kind}", message(bytes([kind]) + bytes(479)), DropReason.UNKNOWN_TYPE)
        for kind in (0, *range(5, 16))
    ),
]

FORGED = [
    dropped("empty datagram", message(b""), DropReason.TOO_SHORT),
    dropped("UDP length below its header", lambda w: w.sealed(udp_length=7), DropReason.TOO_SHORT),
    dropped("53 bytes", lambda w: w.sealed(cut=53), DropReason.TOO_SHORT),
    dropped("54 bytes, cut off", lambda w: w.sealed(cut=54), DropReason.BAD_TAG),
    dropped("UDP length says 53", lambda w: w.sealed(udp_length=8 + 53), DropReason.TOO_SHORT),
    dropped("UDP length says less than was sealed", lambda w: w.sealed(udp_length=8 + 99), DropReason.BAD_TAG),
    dropped("UDP length says more than there is", lambda w: w.sealed(udp_length=8 + 101), DropReason.BAD_TAG),
    dropped(
        "UDP length reaches into the padding", lambda w: w.sealed(udp_length=109, padding=bytes(9)), DropReason.BAD_TAG
    ),
    dropped("frame of 1523 bytes", lambda w: w.sealed(frame(OWN, FRIEND, size=MAX_FRAME + 1)), DropReason.TOO_LONG),
    dropped("frame of 1523 bytes, IPv6", lambda w: w.sealed(bytes(MAX_FRAME + 1), peer=SIX), DropReason.TOO_LONG),
    dropped("UDP length says 65535", lambda w: w.sealed(udp_length=65535), DropReason.TOO_LONG),
    dropped("nonce without the sequence", lambda w: w.sealed(sequence=5, nonce=6), DropReason.BAD_NONCE),
    dropped("sequence beyond 56 bits", lambda w: w.sealed(sequence=1 << 56, nonce=1 << 56), DropReason.BAD_NONCE),
    dropped("stream 2", lambda w: w.sealed(nonce=make_nonce(0, 2)), DropReason.BAD_NONCE),
    dropped("stream 3", lambda w: w.sealed(nonce=make_nonce(0, 3)), DropReason.BAD_NONCE),
    dropped("session of nobody", message(FORGED_ID + bytes(92)), DropReason.UNKNOWN_SESSION),
    dropped("the other direction's session", lambda w: own_packet(w), DropReason.UNKNOWN_SESSION),
    dropped("session that was removed", lambda w: w.sealed(), DropReason.UNKNOWN_SESSION, lambda w: remove(w)),
    dropped("paused", lambda w: w.sealed(), DropReason.PAUSED, pause),
    dropped("expired", lambda w: w.sealed(), DropReason.SESSION_EXPIRED, expire),
    dropped("message limit", lambda w: w.sealed(sequence=REJECT_AFTER_MESSAGES), DropReason.SESSION_EXPIRED),
    dropped("replayed", lambda w: w.sealed(), DropReason.REPLAYED, receive(lambda w: w.sealed())),
    dropped(
        "replayed from elsewhere", lambda w: w.sealed(source=AWAY_4), DropReason.REPLAYED, receive(lambda w: w.sealed())
    ),
    dropped(
        "replayed on another path",
        lambda w: w.sealed(nonce=make_nonce(0, 0, 3)),
        DropReason.REPLAYED,
        receive(lambda w: w.sealed()),
    ),
    dropped(
        "older than the window",
        lambda w: w.sealed(sequence=0),
        DropReason.REPLAYED,
        receive(lambda w: w.sealed(sequence=REPLAY_WINDOW + 1)),
    ),
    *(
        dropped(f"a bit of byte {at} of the payload flipped", lambda w, at=at: flipped(w.sealed(), 42 + at), reason)
        for at, reason in (
            (7, DropReason.UNKNOWN_SESSION),
            (8, DropReason.BAD_NONCE),
            (16, DropReason.BAD_NONCE),
            (23, DropReason.BAD_TAG),
            (24, DropReason.BAD_TAG),
            (83, DropReason.BAD_TAG),
            (84, DropReason.BAD_TAG),
            (99, DropReason.BAD_TAG),
        )
    ),
    dropped(
        "to another host's address, forged",
        lambda w: flipped(w.sealed(destination=ELSEWHERE_4), -1),
        DropReason.BAD_TAG,
    ),
    dropped("keys of another session", lambda w: spliced(w), DropReason.BAD_TAG),
]

AUTHENTIC = [
    delivered("IPv4", DATA),
    delivered("IPv6", frame(OWN, SIXTH), peer=SIX),
    delivered("IPv6 without a UDP checksum", frame(OWN, SIXTH), peer=SIX, checksum=False),
    delivered("shortest frame", frame(OWN, STRANGER, size=14)),
    delivered("longest frame", frame(OWN, STRANGER, size=MAX_FRAME)),
    delivered("longest frame, IPv6", frame(OWN, STRANGER, size=MAX_FRAME), peer=SIX),
    delivered("padding behind the datagram", frame(OWN, STRANGER, size=14), padding=bytes(range(6))),
    delivered("padding behind a long one", frame(OWN, STRANGER, size=1000), padding=bytes(1400)),
    delivered("padding, IPv6", frame(OWN, STRANGER, size=14), padding=b"\xff" * 6, peer=SIX),
    delivered("group address", frame(BROADCAST, STRANGER)),
    delivered("destination of nobody", frame(bytes.fromhex("0200000000ee"), STRANGER)),
    delivered("EtherCAT", frame(OWN, STRANGER, 0x88A4)),
    delivered("control EtherType to an ordinary address", frame(OWN, STRANGER, CONTROL_ETHERTYPE)),
    delivered("looks like a packet of the TAP", prefix(abi.SlowKind.CONTROL) + bytes(20)),
    delivered("802.1Q", tagged("81000005"), vlan=5),
    delivered("802.1Q with a priority", tagged("8100efff"), vlan=0xFFF),
    delivered("802.1ad", tagged("88a80006 81000007"), vlan=6),
    delivered("priority tag", tagged("8100c000", 0x8892), vlan=0),
    delivered("cut off in the tag: none", tagged("81000005", 0x8100, 18)[:14]),
    delivered("cut off before the type", tagged("81000005", 0x8100, 18)[:17]),
    delivered("whole tag, nothing behind", tagged("81000005", 0x0800, 18), vlan=5),
    delivered("to an address that is not ours (we route for it), known session", DATA, destination=ELSEWHERE_4),
    delivered("stream 1", DATA, nonce=make_nonce(0, 1)),
    delivered("path 63", DATA, nonce=make_nonce(0, 0, 63)),
    delivered("the last sequence", DATA, sequence=REJECT_AFTER_MESSAGES - 1),
    refused("control address, another EtherType", frame(CONTROL_MAC, FRIEND), DropReason.BAD_INNER_FRAME),
    refused(
        "control address, tagged",
        frame(CONTROL_MAC, FRIEND, CONTROL_ETHERTYPE, tag=b"\x81\0\0\5"),
        DropReason.BAD_INNER_FRAME,
    ),
    refused("group source", frame(OWN, BROADCAST), DropReason.SOURCE_MAC_REFUSED),
    refused("control address as source", frame(OWN, CONTROL_MAC), DropReason.SOURCE_MAC_REFUSED),
    refused("our own address as source", frame(FRIEND, OWN), DropReason.SOURCE_MAC_REFUSED),
    refused("another peer's pinned address", frame(OWN, SIXTH), DropReason.SOURCE_MAC_REFUSED),
    refused(
        "another peer's pinned address on a VLAN", frame(OWN, SIXTH, tag=b"\x81\0\0\5"), DropReason.SOURCE_MAC_REFUSED
    ),
    Row(
        "in-session control",
        lambda w: w.sealed(CONTROL),
        XDP_REDIRECT,
        [Way.RX_CONTROL],
        quiet=False,
        events=confirmed,
        after=lambda w: prefix(abi.SlowKind.CONTROL, FOUR, w.here[FOUR].receive_id, AT[FOUR]) + CONTROL,
        check=lambda w: nothing_learned(w),
    ),
    Row(
        "in-session control, IPv6, from elsewhere, padded",
        lambda w: w.sealed(CONTROL, peer=SIX, source=AWAY_6, padding=b"\xee" * 50),
        XDP_REDIRECT,
        [Way.RX_CONTROL],
        quiet=False,
        events=lambda w: [Confirmed(w.here[SIX].receive_id), EndpointMoved(w.here[SIX].receive_id, AWAY_6)],
        after=lambda w: prefix(abi.SlowKind.CONTROL, SIX, w.here[SIX].receive_id, AWAY_6) + CONTROL,
    ),
    Row(
        "from the TAP: reached the socket",
        lambda w: prefix(abi.SlowKind.OPEN) + w.sealed(),
        XDP_REDIRECT,
        [Way.RX_DELIVERED],
        after=lambda w: DATA,
        quiet=False,
        events=confirmed,
        from_tap=True,
    ),
    Row(
        "from the TAP: forged",
        lambda w: prefix(abi.SlowKind.OPEN) + flipped(w.sealed(), -1),
        XDP_DROP,
        [DropReason.BAD_TAG],
        from_tap=True,
    ),
]

STEERED = [
    untouched(
        Row(
            "busy session, busy flow: to another CPU",
            lambda w: w.sealed(),
            XDP_REDIRECT,
            [Way.RX_STEERED],
            prepare=lambda w: be_busy(w, flows=True),
        )
    ),
    untouched(
        Row(
            "busy session, busy flow, forged: the other CPU finds out",
            lambda w: flipped(w.sealed(), -1),
            XDP_REDIRECT,
            [Way.RX_STEERED],
            prepare=lambda w: be_busy(w, flows=True),
        )
    ),
    Row(
        "busy session, quiet flow: opened here",
        lambda w: w.sealed(),
        XDP_REDIRECT,
        [Way.RX_DELIVERED],
        after=lambda w: DATA,
        prepare=lambda w: be_busy(w, flows=False),
        events=lambda w: confirmed(w),
        quiet=False,
    ),
    Row(
        "busy session, frame too short to tell its flow: opened here",
        lambda w: w.sealed(DATA[:14]),
        XDP_REDIRECT,
        [Way.RX_DELIVERED],
        after=lambda w: DATA[:14],
        prepare=lambda w: be_busy(w, flows=True),
        events=lambda w: confirmed(w),
        quiet=False,
    ),
    dropped(
        "busy session, quiet flow, forged",
        lambda w: flipped(w.sealed(), -1),
        DropReason.BAD_TAG,
        lambda w: be_busy(w, flows=False),
    ),
    dropped(
        "busy session, replayed",
        lambda w: w.sealed(),
        DropReason.REPLAYED,
        lambda w: (receive(lambda w: w.sealed())(w), be_busy(w, flows=True)),
    ),
]

GENERIC = [
    replace(passed(what, make, Way.RX_MERGED), program="rx_generic")
    for what, make in (
        ("generic mode: frame of 1523 bytes: several datagrams in one?", lambda w: w.sealed(bytes(MAX_FRAME + 1))),
        ("generic mode: the same over IPv6", lambda w: w.sealed(bytes(MAX_FRAME + 1), peer=SIX)),
        ("generic mode: UDP length says 65535", lambda w: w.sealed(udp_length=65535)),
    )
] + [
    replace(
        delivered("generic mode, busy session, busy flow: opened where it arrives", DATA),
        prepare=lambda w: be_busy(w, flows=True),
        program="rx_generic",
    ),
]

MISSING_PROGRAMS = [
    dropped(
        "synapse_open is not loaded", lambda w: w.sealed(), DropReason.NO_ROOM, lambda w: w.rig.unload(abi.Program.OPEN)
    ),
    dropped(
        "synapse_mac1 is not loaded",
        message(handshake(1, 480)),
        DropReason.NO_ROOM,
        lambda w: w.rig.unload(abi.Program.MAC1),
    ),
    dropped(
        "synapse_deliver is not loaded",
        lambda w: w.sealed(),
        DropReason.NO_ROOM,
        lambda w: w.rig.unload(abi.Program.DELIVER),
    ),
    Row(
        "synapse_steer is not loaded",
        lambda w: w.sealed(),
        XDP_REDIRECT,
        [Way.RX_DELIVERED],
        after=lambda w: DATA,
        prepare=lambda w: (be_busy(w, flows=True), w.rig.unload(abi.Program.STEER)),
        events=lambda w: confirmed(w),
        quiet=False,
    ),
]

RECEIVE_ROWS = NOT_OURS + CONTROL_MESSAGES + FORGED + AUTHENTIC + STEERED + GENERIC + MISSING_PROGRAMS
ALSO_GENERIC = [
    replace(row, program="rx_generic")
    for row in NOT_OURS + CONTROL_MESSAGES + FORGED + AUTHENTIC
    if row not in FORGED or DropReason.TOO_LONG not in row.ways
]
