"""100,000 packets each, parse -> encode -> parse. Attacker model: any bytes of any length may arrive.

Accepted bytes must come back identical (one encoding per message); the others raise RemoteViolation and nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from omni_core.constants import DATA_OVERHEAD, HEADER_SIZE, LANE_SHIFT, MAX_FRAME, MIN_FRAME, SEQUENCE_MASK
from omni_core.drops import DropReason
from omni_core.errors import RemoteViolation
from omni_core.wire import control
from omni_core.wire.header import decode_header, encode_header, make_nonce

PACKETS = 100_000


def encode_initiation(packet: bytes) -> bytes:
    m = control.decode_initiation(packet)
    assert m.covered == control.initiation_covered(m.sender_index, m.noise)
    return m.covered + m.mac1 + m.mac2


def encode_response(packet: bytes) -> bytes:
    m = control.decode_response(packet)
    assert m.covered == control.response_covered(m.sender_index, m.receiver_index, m.noise)
    return m.covered + m.mac1 + m.mac2


def encode_cookie_reply(packet: bytes) -> bytes:
    return control.encode_cookie_reply(*control.decode_cookie_reply(packet))


def encode_signaling(packet: bytes) -> bytes:
    m = control.decode_signaling(packet)
    assert m.header == control.signaling_header(m.session_id, m.counter)
    return m.header + m.ciphertext


CODECS: dict[int, tuple[Callable[[bytes], bytes], int]] = {
    control.ControlType.INITIATION: (encode_initiation, control.INITIATION_SIZE),
    control.ControlType.RESPONSE: (encode_response, control.RESPONSE_SIZE),
    control.ControlType.COOKIE_REPLY: (encode_cookie_reply, control.COOKIE_REPLY_SIZE),
    control.ControlType.SIGNALING: (encode_signaling, 200),
}


def test_random_control_packets(seed: int) -> None:
    rng = random.Random(seed)
    kinds = list(CODECS)
    accepted, reasons = 0, set()
    for _ in range(PACKETS):
        kind = rng.choice(kinds)
        recode, size = CODECS[kind]
        draw = rng.random()
        if draw < 0.3:  # length off by a little, or any length
            size = max(2, size + rng.randrange(-3, 4)) if draw < 0.15 else rng.randrange(2, 1400)
        # Mostly a right version and zero fields, each now and then not.
        head = bytes([kind, 1, 0, 0, 0, 0, 0, 0]) if draw < 0.9 else bytes([kind]) + rng.randbytes(7)
        packet = (head + rng.randbytes(max(0, size - 8)))[:size]
        try:
            again = recode(packet)
        except RemoteViolation as violation:
            reasons.add(violation.reason)
        else:
            accepted += 1
            assert again == packet
            assert recode(again) == packet
    assert accepted > PACKETS // 2
    assert reasons == {DropReason.TOO_SHORT, DropReason.TOO_LONG, DropReason.BAD_VERSION}


def test_random_data_packets(seed: int) -> None:
    rng = random.Random(seed)
    filler = bytes(DATA_OVERHEAD + MAX_FRAME + 10)
    accepted, reasons = 0, set()
    for _ in range(PACKETS):
        draw = rng.random()
        size = rng.randrange(DATA_OVERHEAD + MIN_FRAME, 1500)
        if draw < 0.1:
            size = rng.randrange(DATA_OVERHEAD + MIN_FRAME)
        elif draw < 0.12:
            size = len(filler) - rng.randrange(10)
        if draw < 0.3:
            head = rng.randbytes(HEADER_SIZE)
        else:
            sequence = rng.getrandbits(56)
            head = encode_header(rng.getrandbits(64), sequence, rng.getrandbits(8) << LANE_SHIFT | sequence)
        packet = (head + filler[HEADER_SIZE:size])[:size]
        try:
            header = decode_header(packet)
        except RemoteViolation as violation:
            reasons.add(violation.reason)
        else:
            accepted += 1
            assert encode_header(*header) == packet[:HEADER_SIZE]
            assert header.nonce & SEQUENCE_MASK == header.sequence
            assert make_nonce(header.sequence, header.stream, header.path) == header.nonce
    assert accepted > PACKETS // 2
    assert reasons == {DropReason.TOO_SHORT, DropReason.TOO_LONG, DropReason.UNKNOWN_TYPE, DropReason.BAD_NONCE}
