"""The data packet header: 24 bytes, little-endian, all of it associated data of the AEAD.

     0               8               16              24                               24+n       24+n+16
     | session_id 64 | sequence 64   | nonce 64      | ChaCha20(inner Ethernet frame) | Poly1305 |

nonce = lane << 56 | sequence; lane = stream << 6 | path (ARCHITECTURE.md, "On the wire").
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from omni_core.constants import (
    DATA_OVERHEAD,
    FIRST_DATA_BYTE,
    HEADER_SIZE,
    LANE_SHIFT,
    MAX_FRAME,
    MAX_STREAMS,
    MIN_FRAME,
    SEQUENCE_MASK,
    STREAM_SHIFT,
)
from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse, RemoteViolation

HEADER = struct.Struct("<QQQ")
assert HEADER.size == HEADER_SIZE


class Header(NamedTuple):
    session_id: int
    sequence: int
    nonce: int

    @property
    def stream(self) -> int:
        return self.nonce >> (LANE_SHIFT + STREAM_SHIFT)

    @property
    def path(self) -> int:
        return (self.nonce >> LANE_SHIFT) & ((1 << STREAM_SHIFT) - 1)


def make_nonce(sequence: int, stream: int = 0, path: int = 0) -> int:
    """Raises LocalMisuse when a part is out of its bits: a truncated nonce could repeat."""
    if not (0 <= sequence <= SEQUENCE_MASK and 0 <= stream < MAX_STREAMS and 0 <= path < 1 << STREAM_SHIFT):
        raise LocalMisuse(f"nonce parts out of range: sequence={sequence} stream={stream} path={path}")
    return ((stream << STREAM_SHIFT) | path) << LANE_SHIFT | sequence


def encode_header(session_id: int, sequence: int, nonce: int) -> bytes:
    return HEADER.pack(session_id, sequence, nonce)


def decode_header(packet: bytes) -> Header:
    """Length first, then fields, then the nonce rule. Raises RemoteViolation with the drop reason."""
    if len(packet) < DATA_OVERHEAD + MIN_FRAME:
        raise RemoteViolation(DropReason.TOO_SHORT)
    if len(packet) > DATA_OVERHEAD + MAX_FRAME:
        raise RemoteViolation(DropReason.TOO_LONG)
    header = Header(*HEADER.unpack_from(packet))
    if packet[0] < FIRST_DATA_BYTE:
        raise RemoteViolation(DropReason.UNKNOWN_TYPE)
    if header.nonce & SEQUENCE_MASK != header.sequence:
        raise RemoteViolation(DropReason.BAD_NONCE)
    return header


def session_id_from_bytes(raw: bytes) -> int:
    """8 bytes of key material -> session id whose first wire byte says "data" (both sides apply the same rule)."""
    if raw[0] < FIRST_DATA_BYTE:
        raw = bytes([raw[0] | FIRST_DATA_BYTE]) + raw[1:]
    return int.from_bytes(raw, "little")
