"""Control messages: literal bytes of each, their sizes, and every reason to reject."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from omni_core.constants import FIRST_DATA_BYTE, SIGNALING_MAX
from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse, RemoteViolation
from omni_core.wire import control
from omni_core.wire.control import (
    COOKIE_REPLY_SIZE,
    INITIATION_SIZE,
    RESPONSE_SIZE,
    SIGNALING_OVERHEAD,
    ControlType,
    CookieReply,
    Initiation,
    Response,
    SignalingPacket,
    decode_cookie_reply,
    decode_initiation,
    decode_response,
    decode_signaling,
    encode_cookie_reply,
    initiation_covered,
    response_covered,
    signaling_header,
)

NOISE_1, NOISE_2 = b"\xa1" * 440, b"\xa2" * 244
MAC1, MAC2 = b"\xb1" * 16, b"\xb2" * 16

INITIATION = bytes.fromhex("01 01 0000 44332211") + NOISE_1 + MAC1 + MAC2
RESPONSE = bytes.fromhex("02 01 0000 44332211 88776655") + NOISE_2 + MAC1 + MAC2
COOKIE_REPLY = bytes.fromhex("03 01 0000 44332211") + b"\xc1" * 24 + b"\xc2" * 32
SIGNALING = bytes.fromhex("04 01 000000000000 8877665544332211 0807060504030201") + b"\xd1" * 20

MESSAGES: dict[str, tuple[Callable[[bytes], Any], bytes]] = {
    "initiation": (decode_initiation, INITIATION),
    "response": (decode_response, RESPONSE),
    "cookie reply": (decode_cookie_reply, COOKIE_REPLY),
    "signaling": (decode_signaling, SIGNALING),
}
EACH = pytest.mark.parametrize(("decode", "packet"), MESSAGES.values(), ids=MESSAGES.keys())
FIXED_SIZE = pytest.mark.parametrize(("decode", "packet"), list(MESSAGES.values())[:3], ids=list(MESSAGES)[:3])


def test_golden_initiation() -> None:
    assert initiation_covered(0x11223344, NOISE_1) + MAC1 + MAC2 == INITIATION
    assert decode_initiation(INITIATION) == Initiation(0x11223344, NOISE_1, MAC1, MAC2, INITIATION[:448])


def test_golden_response() -> None:
    assert response_covered(0x11223344, 0x55667788, NOISE_2) + MAC1 + MAC2 == RESPONSE
    assert decode_response(RESPONSE) == Response(0x11223344, 0x55667788, NOISE_2, MAC1, MAC2, RESPONSE[:256])


def test_golden_cookie_reply() -> None:
    assert encode_cookie_reply(0x11223344, b"\xc1" * 24, b"\xc2" * 32) == COOKIE_REPLY
    assert decode_cookie_reply(COOKIE_REPLY) == CookieReply(0x11223344, b"\xc1" * 24, b"\xc2" * 32)


def test_golden_signaling() -> None:
    header = signaling_header(0x1122334455667788, 0x0102030405060708)
    assert header + b"\xd1" * 20 == SIGNALING
    expected = SignalingPacket(0x1122334455667788, 0x0102030405060708, header, b"\xd1" * 20)
    assert decode_signaling(SIGNALING) == expected


def test_sizes() -> None:
    assert (INITIATION_SIZE, RESPONSE_SIZE, COOKIE_REPLY_SIZE) == (480, 288, 64)
    assert (control.INITIATION_PAYLOAD, control.RESPONSE_PAYLOAD) == (344, 196)
    assert (control.SIGNALING_OVERHEAD, control.SIGNALING_PAYLOAD) == (40, 1160)
    assert control.INITIATION_COVERED % control.BLAKE2S_BLOCK == control.RESPONSE_COVERED % control.BLAKE2S_BLOCK == 0


def test_an_answer_is_never_longer_than_its_question() -> None:
    assert COOKIE_REPLY_SIZE <= RESPONSE_SIZE <= INITIATION_SIZE


def test_every_type_is_below_the_first_data_byte() -> None:
    assert all(0 < kind < FIRST_DATA_BYTE for kind in ControlType)
    assert [message[0] for _, message in MESSAGES.values()] == [1, 2, 3, 4]


@pytest.mark.parametrize("size", [0, 1, 439, 441])
def test_a_noise_message_of_wrong_size_is_misuse(size: int) -> None:
    with pytest.raises(LocalMisuse):
        initiation_covered(1, bytes(size))
    with pytest.raises(LocalMisuse):
        response_covered(1, 2, bytes(size))


# --- every reason to reject ---


def rejected(decode: Callable[[bytes], Any], packet: bytes) -> DropReason:
    with pytest.raises(RemoteViolation) as caught:
        decode(packet)
    return caught.value.reason


@FIXED_SIZE
def test_every_other_length_is_rejected_first(decode: Callable[[bytes], Any], packet: bytes) -> None:
    for size in range(len(packet)):
        assert rejected(decode, packet[:size]) is DropReason.TOO_SHORT
        assert rejected(decode, bytes(size)) is DropReason.TOO_SHORT
    for size in (len(packet) + 1, 2 * len(packet), 65507):
        assert rejected(decode, packet.ljust(size, b"\0")) is DropReason.TOO_LONG
        assert rejected(decode, b"\xff" * size) is DropReason.TOO_LONG


def test_signaling_lengths() -> None:
    for size in range(SIGNALING_OVERHEAD + 1):
        assert rejected(decode_signaling, SIGNALING[:size]) is DropReason.TOO_SHORT
    assert len(decode_signaling(SIGNALING[: SIGNALING_OVERHEAD + 1]).ciphertext) == 17
    assert len(decode_signaling(SIGNALING.ljust(SIGNALING_MAX, b"\0")).ciphertext) == SIGNALING_MAX - 24
    for size in (SIGNALING_MAX + 1, 65507):
        assert rejected(decode_signaling, SIGNALING.ljust(size, b"\0")) is DropReason.TOO_LONG


@EACH
def test_every_other_version_is_rejected(decode: Callable[[bytes], Any], packet: bytes) -> None:
    for version in range(256):
        if version != 1:
            assert rejected(decode, packet[:1] + bytes([version]) + packet[2:]) is DropReason.BAD_VERSION


@EACH
def test_reserved_bits_must_be_zero(decode: Callable[[bytes], Any], packet: bytes) -> None:
    reserved = range(2, 8 if packet[0] == ControlType.SIGNALING else 4)
    for at in reserved:
        for bit in range(8):
            changed = packet[:at] + bytes([1 << bit]) + packet[at + 1 :]
            assert rejected(decode, changed) is DropReason.BAD_VERSION
