"""In-session control: small Ethernet frames inside the tunnel (EtherType 0x88B5 to CONTROL_MAC), so the fast
path needs no second format.

     0 CONTROL_MAC 48 | 6 sender's overlay MAC 48 | 12 0x88B5 | 14 version 8 | 15 kind 8 | 16 token 32 | 20 zeros to 64

Big-endian only where Ethernet is; the token is little-endian like the rest of the wire. PONG repeats the token
of its PING.
"""

from __future__ import annotations

import struct
from enum import IntEnum, unique
from typing import NamedTuple

from omni_core.constants import CONTROL_ETHERTYPE, CONTROL_MAC, ETHERNET_HEADER, PROTOCOL_VERSION
from omni_core.drops import DropReason
from omni_core.errors import RemoteViolation
from omni_core.types import Mac

CONTROL_FRAME_SIZE = 64  # one size: a keepalive looks like a ping from outside
_BODY = struct.Struct("<BBI")


@unique
class ControlKind(IntEnum):
    KEEPALIVE = 0
    PING = 1
    PONG = 2
    GOODBYE = 3  # the sender forgets this session and wants no new one for now


class ControlMessage(NamedTuple):
    kind: ControlKind
    token: int


def encode_control(kind: ControlKind, source: Mac, token: int = 0) -> bytes:
    head = CONTROL_MAC + source + CONTROL_ETHERTYPE.to_bytes(2, "big")
    return (head + _BODY.pack(PROTOCOL_VERSION, kind, token)).ljust(CONTROL_FRAME_SIZE, b"\0")


def decode_control(frame: bytes) -> ControlMessage:
    """Raises RemoteViolation(CONTROL_MALFORMED). Longer frames are accepted: a later version may say more."""
    if len(frame) < CONTROL_FRAME_SIZE:
        raise RemoteViolation(DropReason.CONTROL_MALFORMED, "too short")
    version, kind, token = _BODY.unpack_from(frame, ETHERNET_HEADER)
    if version != PROTOCOL_VERSION or kind not in ControlKind._value2member_map_:
        raise RemoteViolation(DropReason.CONTROL_MALFORMED, f"version {version}, kind {kind}")
    return ControlMessage(ControlKind(kind), token)
