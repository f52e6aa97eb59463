"""Control messages: first byte 0x01..0x0f, little-endian. The outer, unencrypted layout only.

    initiation (480)       response (288)          cookie reply (64)       signaling (40 + n)
     0 type 0x01            0 type 0x02             0 type 0x03             0 type 0x04
     1 version              1 version               1 version               1 version
     2 zero 16              2 zero 16               2 zero 16               2 zero 48
     4 sender index 32      4 sender index 32       4 receiver index 32     8 session id 64
     8 Noise msg 1  (440)   8 receiver index 32     8 nonce 192            16 counter 64
   448 mac1 128            12 Noise msg 2 (244)    32 sealed cookie 256    24 ciphertext + tag
   464 mac2 128           256 mac1 128
                          272 mac2 128

Initiation and response have one size each, so that mac1 covers whole BLAKE2s blocks (cheap in XDP), the length says
nothing about the sender, and an answer is never longer than what asked for it. Noise IK (Noise specification,
section 7.5): message 1 is e 32, s 32+16, payload+16; message 2 is e 32, payload+16.
Payloads are padded with zeros behind their CBOR item.
"""

from __future__ import annotations

import struct
from enum import IntEnum, unique
from typing import NamedTuple

from omni_core.constants import HEADER_SIZE, PROTOCOL_VERSION, SIGNALING_MAX, TAG_SIZE
from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse, RemoteViolation

MAC_SIZE = 16
BLAKE2S_BLOCK = 64
COOKIE_SIZE = 16
COOKIE_NONCE_SIZE = 24  # XChaCha20

_INITIATION_HEAD = struct.Struct("<BBHI")
_RESPONSE_HEAD = struct.Struct("<BBHII")
_COOKIE_HEAD = struct.Struct("<BBHI")
_SIGNALING_HEAD = struct.Struct("<BB6xQQ")

INITIATION_COVERED = 7 * BLAKE2S_BLOCK  # bytes under mac1
RESPONSE_COVERED = 4 * BLAKE2S_BLOCK
INITIATION_SIZE = INITIATION_COVERED + 2 * MAC_SIZE
RESPONSE_SIZE = RESPONSE_COVERED + 2 * MAC_SIZE
COOKIE_REPLY_SIZE = _COOKIE_HEAD.size + COOKIE_NONCE_SIZE + COOKIE_SIZE + TAG_SIZE
INITIATION_PAYLOAD = INITIATION_COVERED - _INITIATION_HEAD.size - (32 + 32 + TAG_SIZE) - TAG_SIZE  # 344
RESPONSE_PAYLOAD = RESPONSE_COVERED - _RESPONSE_HEAD.size - 32 - TAG_SIZE  # 196
SIGNALING_OVERHEAD = HEADER_SIZE + TAG_SIZE
SIGNALING_PAYLOAD = SIGNALING_MAX - SIGNALING_OVERHEAD
assert _SIGNALING_HEAD.size == HEADER_SIZE and RESPONSE_SIZE <= INITIATION_SIZE


@unique
class ControlType(IntEnum):
    INITIATION = 0x01
    RESPONSE = 0x02
    COOKIE_REPLY = 0x03
    SIGNALING = 0x04
    RELAY = 0x05  # reserved; no engine sends it yet


class Initiation(NamedTuple):
    sender_index: int
    noise: bytes
    mac1: bytes
    mac2: bytes
    covered: bytes  # what mac1 is computed over; mac2 covers ``covered + mac1``


class Response(NamedTuple):
    sender_index: int
    receiver_index: int
    noise: bytes
    mac1: bytes
    mac2: bytes
    covered: bytes


class CookieReply(NamedTuple):
    receiver_index: int
    nonce: bytes
    sealed_cookie: bytes


class SignalingPacket(NamedTuple):
    session_id: int
    counter: int
    header: bytes  # the associated data
    ciphertext: bytes


def initiation_covered(sender_index: int, noise: bytes) -> bytes:
    """The bytes under mac1. Append mac1 and mac2 to have the message."""
    message = _INITIATION_HEAD.pack(ControlType.INITIATION, PROTOCOL_VERSION, 0, sender_index) + noise
    if len(message) != INITIATION_COVERED:
        raise LocalMisuse(f"an initiation's Noise message has {len(noise)} bytes")
    return message


def response_covered(sender_index: int, receiver_index: int, noise: bytes) -> bytes:
    message = _RESPONSE_HEAD.pack(ControlType.RESPONSE, PROTOCOL_VERSION, 0, sender_index, receiver_index) + noise
    if len(message) != RESPONSE_COVERED:
        raise LocalMisuse(f"a response's Noise message has {len(noise)} bytes")
    return message


def encode_cookie_reply(receiver_index: int, nonce: bytes, sealed_cookie: bytes) -> bytes:
    return _COOKIE_HEAD.pack(ControlType.COOKIE_REPLY, PROTOCOL_VERSION, 0, receiver_index) + nonce + sealed_cookie


def signaling_header(session_id: int, counter: int) -> bytes:
    return _SIGNALING_HEAD.pack(ControlType.SIGNALING, PROTOCOL_VERSION, session_id, counter)


def decode_initiation(packet: bytes) -> Initiation:
    """Exact length, version and zero fields first. Raises RemoteViolation."""
    _check_head(packet, INITIATION_SIZE)
    covered = packet[:INITIATION_COVERED]
    _, _, _, sender = _INITIATION_HEAD.unpack_from(packet)
    return Initiation(
        sender,
        packet[_INITIATION_HEAD.size : INITIATION_COVERED],
        packet[INITIATION_COVERED : INITIATION_COVERED + MAC_SIZE],
        packet[INITIATION_COVERED + MAC_SIZE :],
        covered,
    )


def decode_response(packet: bytes) -> Response:
    _check_head(packet, RESPONSE_SIZE)
    covered = packet[:RESPONSE_COVERED]
    _, _, _, sender, receiver = _RESPONSE_HEAD.unpack_from(packet)
    return Response(
        sender,
        receiver,
        packet[_RESPONSE_HEAD.size : RESPONSE_COVERED],
        packet[RESPONSE_COVERED : RESPONSE_COVERED + MAC_SIZE],
        packet[RESPONSE_COVERED + MAC_SIZE :],
        covered,
    )


def decode_cookie_reply(packet: bytes) -> CookieReply:
    _check_head(packet, COOKIE_REPLY_SIZE)
    _, _, _, receiver = _COOKIE_HEAD.unpack_from(packet)
    start = _COOKIE_HEAD.size
    return CookieReply(receiver, packet[start : start + COOKIE_NONCE_SIZE], packet[start + COOKIE_NONCE_SIZE :])


def receiver_index(packet: bytes) -> int:
    """Of a response or cookie reply, which need not be one: for whom among several it is."""
    at = _RESPONSE_HEAD.size - 4 if packet[0] == ControlType.RESPONSE else _COOKIE_HEAD.size - 4
    return int.from_bytes(packet[at : at + 4], "little")


def session_id(packet: bytes) -> int:
    """Of a signaling packet, which need not be one."""
    return int.from_bytes(packet[8:16], "little")


def decode_signaling(packet: bytes) -> SignalingPacket:
    if len(packet) <= SIGNALING_OVERHEAD:
        raise RemoteViolation(DropReason.TOO_SHORT)
    if len(packet) > SIGNALING_MAX:
        raise RemoteViolation(DropReason.TOO_LONG)
    if packet[1] != PROTOCOL_VERSION or any(packet[2:8]):
        raise RemoteViolation(DropReason.BAD_VERSION)
    _, _, session_id, counter = _SIGNALING_HEAD.unpack_from(packet)
    return SignalingPacket(session_id, counter, packet[:HEADER_SIZE], packet[HEADER_SIZE:])


def _check_head(packet: bytes, size: int) -> None:
    if len(packet) < size:
        raise RemoteViolation(DropReason.TOO_SHORT)
    if len(packet) > size:
        raise RemoteViolation(DropReason.TOO_LONG)
    if packet[1] != PROTOCOL_VERSION or packet[2] or packet[3]:
        raise RemoteViolation(DropReason.BAD_VERSION)
