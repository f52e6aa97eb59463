"""Every way out of synapse_tx, synapse_seal, synapse_wrap and synapse_out, as rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from support.planes import frame
from support.rows import AT, FOUR, FRIEND, NOBODY, OWN, SILENT, SIX, SIXTH, STRANGER, Row, World, prefix
from support.synapse import (
    HERE_4,
    HERE_6,
    MAX_FRAME,
    TC_ACT_REDIRECT,
    TC_ACT_SHOT,
    UNDERLAY,
    XDP_DROP,
    XDP_PASS,
    XDP_REDIRECT,
)

from omni_core.constants import CONTROL_ETHERTYPE, CONTROL_MAC, IPV4_OVERHEAD, IPV6_OVERHEAD, REJECT_AFTER_MESSAGES
from omni_core.drops import DropReason
from omni_core.io.netlink import RouteInfo
from omni_core.io.synapse import abi
from omni_core.io.synapse.abi import SlowKind, Way
from omni_core.types import BROADCAST

DATA = frame(FRIEND, OWN)
VLAN_5 = bytes.fromhex("81000005")
GROUP = frame(BROADCAST, OWN)
LOOK_UP = frame(BROADCAST, OWN, 0x0806, 42)  # ARP
SOLICITATION = (
    bytes.fromhex("3333ff000001") + OWN + bytes.fromhex("86dd 60000000 0018 3aff") + bytes(32) + b"\x87" + bytes(23)
)
PATH_MTU = 1500

Make = Callable[[World], bytes]
Do = Callable[[World], object]


def nothing(world: World) -> None:
    pass


def sealed(what: str, inner: bytes, peer: int = FOUR, from_tap: bool = False, prepare: Do = nothing) -> Row:
    def check(world: World) -> None:
        stats = world.plane.session_stats(world.here[peer].receive_id)
        control = inner[:6] == CONTROL_MAC and inner[12:14] == CONTROL_ETHERTYPE.to_bytes(2, "big")
        assert (stats.tx_frames, stats.tx_bytes) == (1, len(inner))
        assert (stats.last_tx > 0, stats.last_tx_data > 0) == (True, not control)
        assert (stats.last_unicast > 0) == (not inner[0] & 1)

    return Row(
        what,
        lambda w: (prefix(SlowKind.SEAL, peer) if from_tap else b"") + inner,
        XDP_PASS,
        [Way.TX_SEALED],
        after=lambda w: w.expected(inner, 0, peer),
        prepare=prepare,
        quiet=False,
        program="tx",
        from_tap=from_tap,
        check=check,
    )


def to_socket(what: str, inner: bytes, peer: int = FOUR, prepare: Do = nothing) -> Row:
    """Sealed as any other, and then to the Ganglion's socket."""
    return Row(
        what,
        lambda w: inner,
        XDP_REDIRECT,
        [Way.TX_SEND],
        after=lambda w: prefix(SlowKind.SEND, peer, 0, AT[peer]) + payload(w.expected(inner, 0, peer), peer),
        prepare=prepare,
        quiet=False,
        program="tx",
    )


def payload(data: bytes, peer: int) -> bytes:
    return data[14 + (40 if peer == SIX else 20) + 8 :]


def to_ganglion(what: str, inner: bytes, kind: SlowKind, way: Way, peer: int = 0, prepare: Do = nothing) -> Row:
    return Row(
        what,
        lambda w: inner,
        XDP_REDIRECT,
        [way],
        after=lambda w: prefix(kind, peer) + inner,
        prepare=prepare,
        program="tx",
    )


def flooded(what: str, inner: bytes, peers: Iterable[int] = (FOUR, SIX), prepare: Do | None = None) -> Row:
    """Group frames go to synapse_out, which clones them for the peers whose slots are in the prefix."""

    def after(world: World) -> bytes:
        slots = [world.plane._groups._slots[peer] for peer in peers]
        assert [world.rig.flooded_peer(slot) for slot in slots] == list(peers)
        return world.rig.mark() + prefix(SlowKind.SEAL, slots=slots)[6:] + inner

    return Row(what, lambda w: inner, XDP_PASS, [Way.TX_FLOODED], after=after, prepare=prepare or flood, program="tx")


def dropped(what: str, make: bytes | Make, reason: int, prepare: Do = nothing, from_tap: bool = False) -> Row:
    packet: Make = (lambda w: make) if isinstance(make, bytes) else make
    return Row(what, packet, XDP_DROP, [reason], prepare=prepare, program="tx", from_tap=from_tap)


def out(what: str, make: Make, code: int, way: int) -> Row:
    """What synapse_out lets go is not changed by it: the next hop's addresses come with the redirect."""
    return Row(what, make, code, [way], after=make if code == TC_ACT_REDIRECT else None, program="out")


def flood(world: World) -> None:
    world.plane.set_flood([FOUR, SIX])


def pause(world: World) -> None:
    with world.rig.config() as config:
        config.forwarding = 0


def expire(world: World) -> None:
    with world.rig.session(world.here[FOUR].receive_id) as session:
        session.expires = time.monotonic_ns() - 1


def exhaust(world: World) -> None:
    with world.rig.session(world.here[FOUR].receive_id) as session:
        session.tx_sequence = REJECT_AFTER_MESSAGES


def no_route(world: World) -> None:
    world.plane._route = lambda endpoint: None
    world.plane.refresh_routes()


def short_route(mtu: int) -> Do:
    def set_mtu(world: World) -> None:
        world.plane._route = lambda endpoint: RouteInfo(UNDERLAY, HERE_6 if endpoint.is_ipv6 else HERE_4, mtu)
        world.plane.refresh_routes()

    return set_mtu


def no_path(world: World) -> None:
    """The session is the peer's, but where it is nobody knows."""
    world.plane.remove_peer(FOUR)
    world.plane._slots._wiper.submit(lambda: None).result()
    world.plane.add_session(world.here[FOUR], world.now)
    world.plane.use_session(world.here[FOUR].receive_id)
    world.plane.set_static(FRIEND, FOUR)


def only_receive(world: World) -> None:
    world.plane.remove_session(world.here[FOUR].receive_id)
    world.plane._slots._wiper.submit(lambda: None).result()
    world.plane.add_session(world.here[FOUR], world.now)


def unload(program: abi.Program) -> Do:
    return lambda w: w.rig.unload(program)


def learned(mac: bytes, vlan: int, peer: int | None) -> Do:
    return lambda w: w.plane.set_static(mac, peer, vlan)


def marked(ethertype: int, tail: bytes = bytes(46), ifindex: int = UNDERLAY) -> Make:
    return lambda w: w.rig.mark() + bytes(2) + ifindex.to_bytes(4, "little") + ethertype.to_bytes(2, "big") + tail


def wrongly_marked(at: int) -> Make:
    def make(world: World) -> bytes:
        data = bytearray(marked(0x0800)(world))
        data[at] ^= 1
        return bytes(data)

    return make


SEALED = [
    sealed("over IPv4", DATA),
    sealed("over IPv6", frame(SIXTH, OWN), SIX),
    sealed("shortest frame", frame(FRIEND, OWN, size=14)),
    sealed("shortest frame, IPv6", frame(SIXTH, OWN, size=14), SIX),
    sealed("longest frame of the path", frame(FRIEND, OWN, size=PATH_MTU - IPV4_OVERHEAD)),
    sealed("longest frame of the path, IPv6", frame(SIXTH, OWN, size=PATH_MTU - IPV6_OVERHEAD), SIX),
    sealed("longest frame of a longer path", frame(FRIEND, OWN, size=MAX_FRAME), prepare=short_route(9000)),
    sealed("longest frame of a longer path, IPv6", frame(SIXTH, OWN, size=MAX_FRAME), SIX, prepare=short_route(9000)),
    sealed("EtherCAT", frame(FRIEND, OWN, 0x88A4)),
    sealed("802.1Q to an address pinned on every VLAN", frame(FRIEND, OWN, tag=VLAN_5)),
    sealed("priority tag", frame(FRIEND, OWN, 0x8892, tag=bytes.fromhex("8100c000"))),
    sealed("802.1Q to an address of that VLAN", frame(STRANGER, OWN, tag=VLAN_5), prepare=learned(STRANGER, 5, FOUR)),
    sealed(
        "802.1ad, the service VLAN counts",
        frame(STRANGER, OWN, tag=bytes.fromhex("88a8000581000006")),
        prepare=learned(STRANGER, 5, FOUR),
    ),
    sealed("one VLAN wins over every VLAN", frame(SIXTH, OWN, tag=VLAN_5), FOUR, prepare=learned(SIXTH, 5, FOUR)),
    sealed(
        "and on another VLAN it does not",
        frame(SIXTH, OWN, tag=bytes.fromhex("81000006")),
        SIX,
        prepare=learned(SIXTH, 5, FOUR),
    ),
    sealed("from the TAP: a frame that waited", DATA, from_tap=True),
    sealed("from the TAP: whatever its destination", frame(OWN, SIXTH), from_tap=True),
    sealed("from the TAP: flooded", GROUP, SIX, from_tap=True),
    sealed("from the TAP: in-session control", frame(CONTROL_MAC, OWN, CONTROL_ETHERTYPE, 20), from_tap=True),
    sealed("from the TAP: the control address with another EtherType", frame(CONTROL_MAC, OWN, size=20), from_tap=True),
    sealed("from the TAP: shortest", frame(FRIEND, OWN, size=14), from_tap=True),
    to_socket("one byte longer than the path", frame(FRIEND, OWN, size=PATH_MTU - IPV4_OVERHEAD + 1)),
    to_socket("one byte longer than the path, IPv6", frame(SIXTH, OWN, size=PATH_MTU - IPV6_OVERHEAD + 1), SIX),
    to_socket("longest frame", frame(FRIEND, OWN, size=MAX_FRAME)),
    to_socket("no route known", DATA, prepare=no_route),
    to_socket("no route known, IPv6", frame(SIXTH, OWN), SIX, prepare=no_route),
    to_socket("shortest, no route known", frame(FRIEND, OWN, size=14), prepare=no_route),
]

SLOW = [
    to_ganglion("group frame, the Ganglion floods", GROUP, SlowKind.GROUP, Way.TX_GROUP),
    to_ganglion("shortest group frame", GROUP[:14], SlowKind.GROUP, Way.TX_GROUP),
    to_ganglion("longest group frame", frame(BROADCAST, OWN, size=MAX_FRAME), SlowKind.GROUP, Way.TX_GROUP),
    to_ganglion("ARP, though the kernel floods", LOOK_UP, SlowKind.GROUP, Way.TX_GROUP, prepare=flood),
    to_ganglion(
        "ARP behind a tag", frame(BROADCAST, OWN, 0x0806, 46, VLAN_5), SlowKind.GROUP, Way.TX_GROUP, prepare=flood
    ),
    to_ganglion(
        "ARP behind two tags",
        frame(BROADCAST, OWN, 0x0806, 50, bytes.fromhex("88a80005") + VLAN_5),
        SlowKind.GROUP,
        Way.TX_GROUP,
        prepare=flood,
    ),
    to_ganglion("neighbour solicitation", SOLICITATION, SlowKind.GROUP, Way.TX_GROUP, prepare=flood),
    to_ganglion(
        "solicitation behind a tag",
        SOLICITATION[:12] + VLAN_5 + SOLICITATION[12:],
        SlowKind.GROUP,
        Way.TX_GROUP,
        prepare=flood,
    ),
    flooded("group frame, the kernel floods", GROUP),
    flooded("multicast", frame(bytes.fromhex("01005e0000fb"), OWN)),
    flooded("IPv6 multicast that asks nothing", SOLICITATION[:54] + b"\x86" + SOLICITATION[55:]),
    flooded("solicitation, cut off", SOLICITATION[:54]),
    flooded("ARP, cut off in its tag", (BROADCAST + OWN + VLAN_5)[:17]),
    to_ganglion("unknown destination", frame(STRANGER, OWN), SlowKind.UNKNOWN, Way.TX_UNKNOWN),
    to_ganglion(
        "unknown on this VLAN",
        frame(STRANGER, OWN, tag=VLAN_5),
        SlowKind.UNKNOWN,
        Way.TX_UNKNOWN,
        prepare=learned(STRANGER, 6, FOUR),
    ),
    to_ganglion("peer that never had a session", frame(SILENT, OWN), SlowKind.NO_SESSION, Way.TX_NO_SESSION, NOBODY),
    to_ganglion("session for receiving only", DATA, SlowKind.NO_SESSION, Way.TX_NO_SESSION, FOUR, only_receive),
    to_ganglion("expired session", DATA, SlowKind.NO_SESSION, Way.TX_NO_SESSION, FOUR, expire),
    to_ganglion("message limit", DATA, SlowKind.NO_SESSION, Way.TX_NO_SESSION, FOUR, exhaust),
]

SEAL_NOBODY, SEAL_FOUR = prefix(SlowKind.SEAL, NOBODY), prefix(SlowKind.SEAL, FOUR)

DROPPED = [
    dropped("destination at the local port", frame(OWN, OWN), Way.TX_LOCAL),
    dropped("frame of 1523 bytes", frame(FRIEND, OWN, size=MAX_FRAME + 1), DropReason.FRAME_TOO_LONG),
    dropped("group frame of 1523 bytes", frame(BROADCAST, OWN, size=MAX_FRAME + 1), DropReason.FRAME_TOO_LONG),
    dropped("paused", DATA, DropReason.PAUSED, pause),
    dropped("group frame, paused", GROUP, DropReason.PAUSED, pause),
    dropped("group frame, nobody there", GROUP, Way.TX_NOBODY, lambda w: w.plane.set_flood([])),
    dropped("group source", frame(FRIEND, BROADCAST), DropReason.SOURCE_MAC_REFUSED),
    dropped("source pinned to a peer", frame(FRIEND, SIXTH), DropReason.SPLIT_HORIZON),
    dropped("group frame, source pinned to a peer", frame(BROADCAST, SIXTH), DropReason.SPLIT_HORIZON),
    dropped("to the control address", frame(CONTROL_MAC, OWN, CONTROL_ETHERTYPE), DropReason.RESERVED_DESTINATION),
    dropped(
        "to the control address, the kernel floods", frame(CONTROL_MAC, OWN), DropReason.RESERVED_DESTINATION, flood
    ),
    dropped("peer without a path", DATA, DropReason.NO_PATH, no_path),
    dropped(
        "from the TAP: shorter than the prefix", prefix(SlowKind.SEAL)[:47], DropReason.FRAME_TOO_SHORT, from_tap=True
    ),
    dropped("from the TAP: 13 bytes to seal", SEAL_FOUR + DATA[:13], DropReason.FRAME_TOO_SHORT, from_tap=True),
    dropped(
        "from the TAP: 1523 bytes to seal",
        SEAL_FOUR + frame(FRIEND, OWN, size=MAX_FRAME + 1),
        DropReason.FRAME_TOO_LONG,
        from_tap=True,
    ),
    dropped("from the TAP: paused", SEAL_FOUR + DATA, DropReason.PAUSED, pause, True),
    dropped("from the TAP: no prefix", frame(FRIEND, OWN), DropReason.NOT_MARKED, from_tap=True),
    *(
        dropped(
            f"from the TAP: kind {kind}",
            bytes(prefix(SlowKind.SEAL)[:14]) + bytes([kind]) + bytes(33) + DATA,
            DropReason.NOT_MARKED,
            from_tap=True,
        )
        for kind in (0, SlowKind.GROUP, SlowKind.CONTROL, SlowKind.SEND, 15, 19, 255)
    ),
    dropped("from the TAP: peer without a session", SEAL_NOBODY + DATA, DropReason.NO_SESSION, from_tap=True),
    dropped("from the TAP: peer of nobody", prefix(SlowKind.SEAL, 4711) + DATA, DropReason.NO_SESSION, from_tap=True),
    dropped("from the TAP: expired session", SEAL_FOUR + DATA, DropReason.SESSION_EXPIRED, expire, True),
    dropped("from the TAP: message limit", SEAL_FOUR + DATA, DropReason.SEQUENCE_EXHAUSTED, exhaust, True),
    dropped("from the TAP: peer without a path", SEAL_FOUR + DATA, DropReason.NO_PATH, no_path, True),
    dropped("synapse_seal is not loaded", DATA, DropReason.NO_ROOM, unload(abi.Program.SEAL)),
    dropped(
        "from the TAP: synapse_rx_generic is not loaded",
        lambda w: prefix(SlowKind.OPEN) + w.sealed(),
        DropReason.NO_ROOM,
        unload(abi.Program.RX_GENERIC),
        True,
    ),
    Row(
        "synapse_wrap is not loaded: the sequence is spent",
        lambda w: DATA,
        XDP_DROP,
        [DropReason.NO_ROOM],
        prepare=unload(abi.Program.WRAP),
        quiet=False,
        program="tx",
    ),
]

OUT_ROWS = [
    out("sealed, IPv4", marked(0x0800), TC_ACT_REDIRECT, Way.OUT_SENT),
    out("sealed, IPv6", marked(0x86DD), TC_ACT_REDIRECT, Way.OUT_SENT),
    out("not marked", lambda w: frame(FRIEND, OWN), TC_ACT_SHOT, DropReason.NOT_MARKED),
    out("a group frame, not marked", lambda w: GROUP, TC_ACT_SHOT, DropReason.NOT_MARKED),
    out("the prefix of the TAP, not marked", lambda w: SEAL_FOUR + DATA, TC_ACT_SHOT, DropReason.NOT_MARKED),
    *(
        out(f"a bit of byte {at} of the mark is wrong", wrongly_marked(at), TC_ACT_SHOT, DropReason.NOT_MARKED)
        for at in range(6)
    ),
]

TRANSMIT_ROWS = SEALED + SLOW + DROPPED
