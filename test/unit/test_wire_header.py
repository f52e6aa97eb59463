"""The data header: literal bytes, the nonce's parts, every reason to reject, and what a session id may look like."""

from __future__ import annotations

import pytest

from omni_core.constants import (
    DATA_OVERHEAD,
    FIRST_DATA_BYTE,
    HEADER_SIZE,
    IPV4_OVERHEAD,
    IPV6_OVERHEAD,
    MAX_FRAME,
    MIN_FRAME,
    SEQUENCE_MASK,
)
from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse, RemoteViolation
from omni_core.wire.header import Header, decode_header, encode_header, make_nonce, session_id_from_bytes

#         session id        sequence          nonce: lane 0x45 = stream 1, path 5
GOLDEN = "8877665544332211" "0807060504030200" "0807060504030245"  # fmt: skip
SESSION_ID, SEQUENCE, STREAM, PATH = 0x1122334455667788, 0x0002030405060708, 1, 5
SMALLEST = DATA_OVERHEAD + MIN_FRAME
LARGEST = DATA_OVERHEAD + MAX_FRAME


def packet(header: bytes, size: int = SMALLEST) -> bytes:
    return header.ljust(size, b"\0")


def test_golden_bytes() -> None:
    nonce = make_nonce(SEQUENCE, STREAM, PATH)
    assert encode_header(SESSION_ID, SEQUENCE, nonce).hex() == GOLDEN
    header = decode_header(packet(bytes.fromhex(GOLDEN)))
    assert header == Header(SESSION_ID, SEQUENCE, nonce)
    assert (header.stream, header.path) == (STREAM, PATH)


def test_sizes_are_the_specifications() -> None:
    assert (HEADER_SIZE, DATA_OVERHEAD, IPV4_OVERHEAD, IPV6_OVERHEAD) == (24, 40, 68, 88)
    assert (SMALLEST, LARGEST) == (54, 9274)


@pytest.mark.parametrize(
    ("sequence", "stream", "path", "nonce"),
    [
        (0, 0, 0, 0),
        (1, 0, 0, 1),
        (SEQUENCE_MASK, 0, 0, 0x00FFFFFFFFFFFFFF),
        (0, 0, 1, 0x0100000000000000),
        (0, 0, 63, 0x3F00000000000000),
        (0, 1, 0, 0x4000000000000000),
        (0, 3, 0, 0xC000000000000000),
        (SEQUENCE_MASK, 3, 63, 0xFFFFFFFFFFFFFFFF),
    ],
)
def test_nonce_is_stream_path_sequence(sequence: int, stream: int, path: int, nonce: int) -> None:
    assert make_nonce(sequence, stream, path) == nonce
    header = Header(SESSION_ID, sequence, nonce)
    assert (header.stream, header.path) == (stream, path)


@pytest.mark.parametrize(
    ("sequence", "stream", "path"),
    [(-1, 0, 0), (SEQUENCE_MASK + 1, 0, 0), (0, -1, 0), (0, 4, 0), (0, 0, -1), (0, 0, 64)],
)
def test_a_nonce_part_out_of_its_bits_is_misuse(sequence: int, stream: int, path: int) -> None:
    with pytest.raises(LocalMisuse):
        make_nonce(sequence, stream, path)


# --- every reason to reject ---


def rejected(data: bytes) -> DropReason:
    with pytest.raises(RemoteViolation) as caught:
        decode_header(data)
    return caught.value.reason


def test_length_is_checked_first() -> None:
    good = bytes.fromhex(GOLDEN)
    for size in (0, 1, 23, 24, 39, 40, SMALLEST - 1):
        assert rejected(packet(good, size)[:size]) is DropReason.TOO_SHORT
        assert rejected(bytes(size)) is DropReason.TOO_SHORT
    for size in (LARGEST + 1, 65507):
        assert rejected(packet(good, size)) is DropReason.TOO_LONG
        assert rejected(bytes(size)) is DropReason.TOO_LONG
    for size in (SMALLEST, LARGEST):
        assert decode_header(packet(good, size)).session_id == SESSION_ID


def test_control_bytes_are_no_data() -> None:
    for first in range(256):
        data = packet(bytes([first]) + bytes.fromhex(GOLDEN)[1:])
        if first < FIRST_DATA_BYTE:
            assert rejected(data) is DropReason.UNKNOWN_TYPE
        else:
            assert decode_header(data).session_id & 0xFF == first


def test_the_nonce_must_repeat_the_sequence() -> None:
    for bit in range(64):
        nonce = make_nonce(SEQUENCE, STREAM, PATH) ^ 1 << bit
        data = packet(encode_header(SESSION_ID, SEQUENCE, nonce))
        if bit < 56:
            assert rejected(data) is DropReason.BAD_NONCE
        else:
            assert decode_header(data).nonce == nonce  # another lane: the AEAD and the data plane judge it
    # A sequence beyond 56 bits can not be repeated in the nonce at all.
    assert rejected(packet(encode_header(SESSION_ID, 1 << 56, 0))) is DropReason.BAD_NONCE


# --- session ids ---


@pytest.mark.parametrize(
    ("raw", "wire"),
    [
        ("0011223344556677", "1011223344556677"),
        ("0f11223344556677", "1f11223344556677"),
        ("1011223344556677", "1011223344556677"),
        ("ff00000000000000", "ff00000000000000"),
        ("0000000000000000", "1000000000000000"),
    ],
)
def test_session_id_starts_like_data_on_the_wire(raw: str, wire: str) -> None:
    session_id = session_id_from_bytes(bytes.fromhex(raw))
    assert encode_header(session_id, 0, 0)[:8].hex() == wire
