"""In-session control: Ethernet frames inside the tunnel (EtherType 0x88B5 to CONTROL_MAC), so the fast path needs no
second format.

     0 CONTROL_MAC 48 | 6 sender's overlay MAC 48 | 12 0x88B5 | 14 version 8 | 15 kind 8 | 16 token 32 | 20 body

    KEEPALIVE, GOODBYE      no body
    PING                    20 T1 64
    PONG                    20 T1 64 | 28 T2 64 | 36 T3 64      token and T1 are those of the PING
    INTEREST                20 size 16 | 22 Interest (wire/interest.py)                       token: its generation
    INTEREST_ACK            no body                                                           token: that generation
    SPDP                    20 size 16 | 22 an Ethernet frame with an announcement (wire/rtps.py)
    SPDP_ALIVE              20 size 16 | 22 names of announcements (wire/rtps.py), 16 bytes each
    SPDP_REQUEST            the same
    GOSSIP                  20 size 16 | 22 where peers are (wire/gossip.py)

Big-endian only where Ethernet is; all else is little-endian like the rest of the wire. Zeros fill a frame to 64 bytes.
Times are the wall clock's, in ns since 1970: T1 of the PING's sender when it left, T2 and T3 of the PONG's when the
PING came and the PONG left (RFC 5905, section 8); 0: not known. Kinds from INTEREST on are for peers that understand
them (hello.py: CAPABILITY_GROUPS, and CAPABILITY_GOSSIP for GOSSIP).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum, unique
from typing import NamedTuple

from omni_core.constants import CONTROL_ETHERTYPE, CONTROL_MAC, ETHERNET_HEADER, PROTOCOL_VERSION
from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse, RemoteViolation
from omni_core.types import Mac

CONTROL_FRAME_SIZE = 64  # at least: a keepalive looks like a ping from outside
NAME_SIZE = 16  # bytes that name one announcement
_HEAD = struct.Struct("<BBI")
_TIMES = struct.Struct("<3Q")
_SIZE = struct.Struct("<H")
_BODY = ETHERNET_HEADER + _HEAD.size  # 20
CONTROL_OVERHEAD = _BODY + _SIZE.size  # 22, in front of a body that says its size


@unique
class ControlKind(IntEnum):
    KEEPALIVE = 0
    PING = 1
    PONG = 2
    GOODBYE = 3  # the sender forgets this session and wants no new one for now
    INTEREST = 4  # what the sender's side listens to; repeated until acknowledged
    INTEREST_ACK = 5
    SPDP = 6  # a participant of the sender's side has announced itself, or says that it ends
    SPDP_ALIVE = 7  # these announcements were repeated, unchanged
    SPDP_REQUEST = 8  # please send these announcements
    GOSSIP = 9  # where peers are, while no Nucleus says so


_SIZED = frozenset(
    {
        ControlKind.INTEREST,
        ControlKind.SPDP,
        ControlKind.SPDP_ALIVE,
        ControlKind.SPDP_REQUEST,
        ControlKind.GOSSIP,
    }
)


class PingTimes(NamedTuple):
    """ns since 1970; 0: not known."""

    sent: int = 0  # T1
    received: int = 0  # T2
    answered: int = 0  # T3


NO_TIMES = PingTimes()


class ControlMessage(NamedTuple):
    kind: ControlKind
    token: int
    body: bytes = b""  # of a kind that says its size
    times: PingTimes = NO_TIMES  # of PING and PONG


def encode_control(
    kind: ControlKind, source: Mac, token: int = 0, body: bytes = b"", times: PingTimes = NO_TIMES
) -> bytes:
    """Raises LocalMisuse for a body of more than 65535 bytes, or of a kind that has none."""
    head = CONTROL_MAC + source + CONTROL_ETHERTYPE.to_bytes(2, "big") + _HEAD.pack(PROTOCOL_VERSION, kind, token)
    if kind in _SIZED and len(body) < 1 << 16:
        rest = _SIZE.pack(len(body)) + body
    elif body:
        raise LocalMisuse(f"{kind.name} with a body of {len(body)} bytes")
    else:
        rest = _TIMES.pack(*times) if any(times) else b""
    return (head + rest).ljust(CONTROL_FRAME_SIZE, b"\0")


def decode_control(frame: bytes) -> ControlMessage:
    """Raises RemoteViolation(CONTROL_MALFORMED). Longer frames are accepted: a later version may say more."""
    if len(frame) < CONTROL_FRAME_SIZE:
        raise RemoteViolation(DropReason.CONTROL_MALFORMED, "too short")
    version, number, token = _HEAD.unpack_from(frame, ETHERNET_HEADER)
    if version != PROTOCOL_VERSION or number not in ControlKind._value2member_map_:
        raise RemoteViolation(DropReason.CONTROL_MALFORMED, f"version {version}, kind {number}")
    kind = ControlKind(number)
    if kind in (ControlKind.PING, ControlKind.PONG):
        return ControlMessage(kind, token, times=PingTimes(*_TIMES.unpack_from(frame, _BODY)))
    if kind not in _SIZED:
        return ControlMessage(kind, token)
    (size,) = _SIZE.unpack_from(frame, _BODY)
    if CONTROL_OVERHEAD + size > len(frame):
        raise RemoteViolation(DropReason.CONTROL_MALFORMED, "a body that is cut off")
    return ControlMessage(kind, token, frame[CONTROL_OVERHEAD : CONTROL_OVERHEAD + size])


def join_names(names: Iterable[bytes]) -> bytes:
    return b"".join(names)


def split_names(body: bytes) -> list[bytes]:
    """Raises RemoteViolation(CONTROL_MALFORMED) for a name that is cut off."""
    if len(body) % NAME_SIZE:
        raise RemoteViolation(DropReason.CONTROL_MALFORMED, "a name that is cut off")
    return [body[at : at + NAME_SIZE] for at in range(0, len(body), NAME_SIZE)]
