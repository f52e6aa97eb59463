"""What a handshake carries encrypted, before its body: who initiates, when, and that it knows the cluster secret.

    message 1 payload (INITIATION_PAYLOAD bytes)          message 2 payload (RESPONSE_PAYLOAD bytes)
     0 Ed25519 public key of the initiator 256             0 body length 16
    32 timestamp 64 (ns, grows with every initiation)      2 body, then zeros
    40 secret proof 128 (zeros without a cluster secret)
    56 body length 16
    58 body, then zeros

All integers little-endian. The body belongs to the owner of the sessions.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse, RemoteViolation
from omni_core.types import PublicKey
from omni_core.wire.control import INITIATION_PAYLOAD, RESPONSE_PAYLOAD

PROOF_SIZE = 16
_OFFER = struct.Struct("<32sQ16sH")
_ANSWER = struct.Struct("<H")
OFFER_BODY_MAX = INITIATION_PAYLOAD - _OFFER.size  # 286
ANSWER_BODY_MAX = RESPONSE_PAYLOAD - _ANSWER.size  # 194


class Offer(NamedTuple):
    public_key: PublicKey
    timestamp: int
    proof: bytes
    body: bytes


def encode_offer(public_key: PublicKey, timestamp: int, proof: bytes, body: bytes) -> bytes:
    """Raises LocalMisuse when the body has more than OFFER_BODY_MAX bytes."""
    if len(body) > OFFER_BODY_MAX:
        raise LocalMisuse(f"a handshake body has {len(body)} bytes, {OFFER_BODY_MAX} fit")
    return (_OFFER.pack(public_key, timestamp, proof, len(body)) + body).ljust(INITIATION_PAYLOAD, b"\0")


def decode_offer(payload: bytes) -> Offer:
    if len(payload) != INITIATION_PAYLOAD:
        raise RemoteViolation(DropReason.BAD_PAYLOAD, "offer length")
    public_key, timestamp, proof, length = _OFFER.unpack_from(payload)
    if length > OFFER_BODY_MAX:
        raise RemoteViolation(DropReason.BAD_PAYLOAD, "offer body length")
    return Offer(public_key, timestamp, proof, payload[_OFFER.size : _OFFER.size + length])


def encode_answer(body: bytes) -> bytes:
    """Raises LocalMisuse when the body has more than ANSWER_BODY_MAX bytes."""
    if len(body) > ANSWER_BODY_MAX:
        raise LocalMisuse(f"a handshake answer has {len(body)} bytes, {ANSWER_BODY_MAX} fit")
    return (_ANSWER.pack(len(body)) + body).ljust(RESPONSE_PAYLOAD, b"\0")


def decode_answer(payload: bytes) -> bytes:
    if len(payload) != RESPONSE_PAYLOAD:
        raise RemoteViolation(DropReason.BAD_PAYLOAD, "answer length")
    (length,) = _ANSWER.unpack_from(payload)
    if length > ANSWER_BODY_MAX:
        raise RemoteViolation(DropReason.BAD_PAYLOAD, "answer body length")
    return payload[_ANSWER.size : _ANSWER.size + length]
