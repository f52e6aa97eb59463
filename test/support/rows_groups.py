"""What synapse_tx does with group frames while a policy holds, as rows: each of group_frames.py, and each rule."""

from __future__ import annotations

import time
from collections.abc import Iterable

from support.group_frames import ROWS, SOURCE, GroupFrame, group_mac, udp
from support.planes import frame
from support.rows import FOUR, FRIEND, OWN, SIX, Row, World, prefix
from support.rows_transmit import Do, dropped, flooded, pause, to_ganglion
from support.synapse import XDP_REDIRECT

from omni_core.dataplane.groups import GroupKey, GroupPolicy
from omni_core.drops import DropReason
from omni_core.io.synapse import abi
from omni_core.io.synapse.abi import SlowKind, Way
from omni_core.types import BROADCAST, PeerId

MAC = group_mac("239.1.2.3")
TO_GROUP, TO_ANOTHER = udp("239.1.2.3", 5000), udp("239.1.2.4", 5000)
WATCHED = next(row.frame for row in ROWS if row.name == "SPDP, IPv4")
LONG = 100.0  # s


def policy(
    groups: dict[GroupKey, Iterable[PeerId]] | None = None,
    elsewhere: Iterable[PeerId] = (),
    watch: bool = False,
    lease: float = LONG,
    flood: Iterable[PeerId] = (FOUR, SIX),
) -> Do:
    def prepare(world: World) -> None:
        world.plane.set_static(SOURCE, None)
        world.plane.set_flood(flood)
        known = {key: frozenset(peers) for key, peers in (groups or {}).items()}
        world.plane.set_groups(GroupPolicy(known, frozenset(elsewhere), watch), time.monotonic() + lease)

    return prepare


def under_a_policy(row: GroupFrame) -> Row:
    """Its group and port are FOUR's alone, and nothing else is listened to."""
    prepare = policy({row.key: [FOUR]} if row.key else None, watch=True)
    what = f"under a policy: {row.name}"
    if row.name == "solicited-node":
        return to_ganglion(what, row.frame, SlowKind.GROUP, Way.TX_GROUP, prepare=prepare)
    if row.watched:
        return to_ganglion(what, row.frame, SlowKind.GROUP, Way.TX_WATCHED, prepare=prepare)
    return flooded(what, row.frame, (FOUR,) if row.key else (FOUR, SIX), prepare)


def local(what: str, inner: bytes) -> Row:
    return Row(
        what,
        lambda w: prefix(SlowKind.LOCAL) + inner,
        XDP_REDIRECT,
        [Way.RX_LOCAL],
        after=lambda w: inner,
        program="tx",
        from_tap=True,
    )


LOCAL = prefix(SlowKind.LOCAL)

GROUP_ROWS = [
    *map(under_a_policy, ROWS),
    flooded("by group and port", TO_GROUP, (SIX,), policy({(MAC, 5000): [SIX], (MAC, 0): [FOUR]}, [FOUR])),
    flooded("by group: another port", TO_GROUP, (FOUR,), policy({(MAC, 5001): [SIX], (MAC, 0): [FOUR]}, [SIX])),
    flooded("elsewhere", TO_ANOTHER, (SIX,), policy({(MAC, 0): [FOUR]}, [SIX])),
    flooded("both ends of the slots", TO_GROUP, (FOUR, SIX), policy({(MAC, 0): [FOUR, SIX]})),
    flooded("who is not in the flood set does not count", TO_GROUP, (SIX,), policy({(MAC, 0): [SIX, 4711]})),
    dropped("nobody listens", TO_GROUP, Way.TX_NOBODY, policy({(MAC, 0): []}, [FOUR])),
    dropped("nobody listens elsewhere", TO_ANOTHER, Way.TX_NOBODY, policy({(MAC, 0): [FOUR]})),
    flooded("the lease is over", TO_ANOTHER, (FOUR, SIX), policy(lease=-0.001)),
    flooded("watched, when the lease is over", WATCHED, (FOUR, SIX), policy(watch=True, lease=-0.001)),
    flooded("watched, which nobody wants to see", WATCHED, (SIX,), policy(elsewhere=[SIX])),
    to_ganglion(
        "watched, and nobody there", WATCHED, SlowKind.GROUP, Way.TX_WATCHED, prepare=policy(watch=True, flood=())
    ),
    to_ganglion(
        "more peers than slots: the Ganglion prunes",
        TO_GROUP,
        SlowKind.GROUP,
        Way.TX_GROUP,
        prepare=policy({(MAC, 0): []}, flood=range(1000, 1001 + abi.FLOOD)),
    ),
    to_ganglion(
        "ARP, under a policy",
        frame(BROADCAST, OWN, 0x0806, 42),
        SlowKind.GROUP,
        Way.TX_GROUP,
        prepare=policy(watch=True),
    ),
    dropped(
        "watched, but its source is pinned to a peer",
        WATCHED[:6] + FRIEND + WATCHED[12:],
        DropReason.SPLIT_HORIZON,
        policy(watch=True),
    ),
    local("from the TAP: for the local port", frame(OWN, FRIEND)),
    local("from the TAP: for the local port, a group", WATCHED),
    local("from the TAP: for the local port, from nowhere", frame(FRIEND, SOURCE)),
    local("from the TAP: for the local port, shortest", frame(OWN, FRIEND, size=14)),
    dropped("from the TAP: 13 bytes for the local port", LOCAL + bytes(13), DropReason.FRAME_TOO_SHORT, from_tap=True),
    dropped(
        "from the TAP: 1523 bytes for the local port",
        LOCAL + frame(OWN, FRIEND, size=1523),
        DropReason.FRAME_TOO_LONG,
        from_tap=True,
    ),
    dropped("from the TAP: for the local port, paused", LOCAL + frame(OWN, FRIEND), DropReason.PAUSED, pause, True),
]
