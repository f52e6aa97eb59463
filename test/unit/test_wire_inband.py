"""In-session control on the wire: golden bytes, and what is refused."""

from __future__ import annotations

import pytest

from omni_core.constants import CONTROL_MAC
from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse, RemoteViolation
from omni_core.wire.inband import (
    CONTROL_FRAME_SIZE,
    CONTROL_OVERHEAD,
    ControlKind,
    PingTimes,
    decode_control,
    encode_control,
    join_names,
    split_names,
)
from omni_core.wire.interest import DOMAINS_MAX, GROUPS_MAX, Interest, decode_interest, encode_interest

MAC = bytes.fromhex("021122334455")
HEAD = "036f6d6e6900 021122334455 88b5 01"
TIMES = PingTimes(0x1122334455667788, 2, 3)
GROUPS = frozenset({bytes.fromhex("01005e7f0001"), bytes.fromhex("3333000000aa")})

GOLDEN = [
    (ControlKind.KEEPALIVE, 0, b"", PingTimes(), "00 00000000" + 44 * "00"),
    (ControlKind.PING, 0x01020304, b"", PingTimes(5), "01 04030201 0500000000000000" + 36 * "00"),
    (
        ControlKind.PONG, 7, b"", TIMES,
        "02 07000000 8877665544332211 0200000000000000 0300000000000000" + 20 * "00",
    ),
    (ControlKind.GOODBYE, 0, b"", PingTimes(), "03 00000000" + 44 * "00"),
    (ControlKind.INTEREST, 9, b"\xa0", PingTimes(), "04 09000000 0100 a0" + 41 * "00"),
    (ControlKind.INTEREST_ACK, 9, b"", PingTimes(), "05 09000000" + 44 * "00"),
    (ControlKind.SPDP, 0, bytes(range(50)), PingTimes(), "06 00000000 3200" + bytes(range(50)).hex()),
    (ControlKind.SPDP_ALIVE, 0, b"n" * 16, PingTimes(), "07 00000000 1000" + 16 * "6e" + 26 * "00"),
    (ControlKind.SPDP_REQUEST, 0, b"n" * 48, PingTimes(), "08 00000000 3000" + 48 * "6e"),
    (ControlKind.GOSSIP, 0, b"\xa0", PingTimes(), "09 00000000 0100 a0" + 41 * "00"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "token", "body", "times", "rest"), GOLDEN, ids=lambda v: getattr(v, "name", ""))
def test_golden_bytes(kind: ControlKind, token: int, body: bytes, times: PingTimes, rest: str) -> None:
    frame = encode_control(kind, MAC, token, body, times)
    assert frame.hex() == (HEAD + rest).replace(" ", "")
    assert len(frame) == max(CONTROL_FRAME_SIZE, CONTROL_OVERHEAD + len(body))
    assert decode_control(frame) == (kind, token, body, times)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(encode_control(ControlKind.PING, MAC)[:-1], id="short"),
        pytest.param(encode_control(ControlKind.PING, MAC)[:14] + b"\x02" + bytes(49), id="version"),
        pytest.param(encode_control(ControlKind.PING, MAC)[:15] + b"\x0a" + bytes(48), id="kind"),
        pytest.param(encode_control(ControlKind.SPDP, MAC, body=bytes(60))[:-1], id="body cut off"),
        pytest.param(encode_control(ControlKind.SPDP, MAC)[:20] + b"\xff\xff" + bytes(42), id="body past the end"),
    ],
)
def test_malformed(frame: bytes) -> None:
    with pytest.raises(RemoteViolation) as caught:
        decode_control(frame)
    assert caught.value.reason is DropReason.CONTROL_MALFORMED


def test_bodies_that_cannot_be_sent() -> None:
    with pytest.raises(LocalMisuse):
        encode_control(ControlKind.PING, MAC, body=b"x")
    with pytest.raises(LocalMisuse):
        encode_control(ControlKind.SPDP, MAC, body=bytes(65536))


def test_a_later_version_may_say_more() -> None:
    assert decode_control(encode_control(ControlKind.INTEREST, MAC, 1, b"\xa0") + b"more").body == b"\xa0"
    assert decode_control(encode_control(ControlKind.PING, MAC, 1, times=TIMES) + b"more").times == TIMES


def test_names() -> None:
    assert split_names(join_names([b"a" * 16, b"b" * 16])) == [b"a" * 16, b"b" * 16]
    with pytest.raises(RemoteViolation):
        split_names(bytes(17))


@pytest.mark.parametrize(
    ("interest", "text"),
    [
        (Interest(), "a0"),
        (Interest(frozenset(), frozenset()), "a2 0140 0280"),
        (Interest(GROUPS), "a1 01 4c 01005e7f0001 3333000000aa"),
        (Interest(None, frozenset({7, 3, 100}), ask=True), "a2 02 83 03 07 1864 03 f5"),
    ],
)
def test_interest_golden_bytes(interest: Interest, text: str) -> None:
    assert encode_interest(interest).hex() == text.replace(" ", "")
    assert decode_interest(encode_interest(interest)) == interest


def test_more_than_can_be_listed_is_all() -> None:
    groups = frozenset(b"\x01\x00\x5e\x01" + n.to_bytes(2, "big") for n in range(GROUPS_MAX + 1))
    domains = frozenset(range(DOMAINS_MAX + 1))
    assert decode_interest(encode_interest(Interest(groups, domains))) == Interest()
    most = Interest(frozenset(sorted(groups)[1:]), frozenset(range(232, 232 - DOMAINS_MAX, -1)), ask=True)
    body = encode_interest(most)
    assert decode_interest(body) == most
    assert CONTROL_OVERHEAD + len(body) <= 1280 + 14, "fits the smallest MTU"


@pytest.mark.parametrize(
    "body",
    [
        "", "80", "a1 01 45 01005e7f00", "a1 01 46 02005e7f0001", "a1 01 01", "a1 02 81 18e9", "a1 02 81 20",
        "a1 02 81 f5", "a1 02 43 010203", "a1 03 01", "a0 00",
    ],
)  # fmt: skip
def test_interest_malformed(body: str) -> None:
    with pytest.raises(RemoteViolation) as caught:
        decode_interest(bytes.fromhex(body))
    assert caught.value.reason is DropReason.CONTROL_MALFORMED


def test_what_a_side_hears() -> None:
    group = min(GROUPS)
    assert Interest().hears(group, 5) and Interest(GROUPS, frozenset({5})).hears(group, 5)
    assert not Interest(GROUPS, frozenset({5})).hears(group, 6)
    assert not Interest(GROUPS).hears(CONTROL_MAC, 5)
