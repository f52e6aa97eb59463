"""Signaling messages: literal bytes, bounds of every field, parse -> encode -> parse, and junk."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from omni_core.constants import LOCAL_ENDPOINTS_MAX
from omni_core.crypto.record import RECORD_MAX
from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse, RemoteViolation
from omni_core.signaling import codec
from omni_core.signaling.codec import decode_message, encode_message
from omni_core.signaling.endpoints import observed_endpoint, pack_endpoint, unpack_endpoint
from omni_core.signaling.leases import Lease
from omni_core.signaling.messages import (
    CLUSTER_MAX,
    DELTA_ROOM,
    LEAVE_SIZE,
    REASON_MAX,
    Beat,
    BeatAck,
    ConnectHint,
    Delta,
    Heartbeat,
    HeartbeatAck,
    Message,
    PeerEntry,
    PeerInfo,
    QueryPeer,
    Register,
    RegisterAck,
    Status,
)
from omni_core.types import Endpoint
from omni_core.wire import cbor
from omni_core.wire.control import SIGNALING_PAYLOAD

V4 = bytes.fromhex("0a000001") + (51820).to_bytes(2, "little")
V6 = bytes.fromhex("fd000000000000000000000000000001") + (51820).to_bytes(2, "little")
UINT32, UINT63, UINT64 = (1 << 32) - 1, (1 << 63) - 1, (1 << 64) - 1
BIG_ENTRY = PeerEntry(b"r" * RECORD_MAX, (V6,) * (LOCAL_ENDPOINTS_MAX + 1))

MESSAGES: list[Message] = [
    Register(1, "fleet", b"record", b"", ()),
    Register(UINT32, "c" * CLUSTER_MAX, b"r" * RECORD_MAX, b"p" * 32, (V6,) * LOCAL_ENDPOINTS_MAX, UINT64, UINT63),
    RegisterAck(1, Status.OK, "", V4, 7, 30000, Delta(3, 9, 2, (PeerEntry(b"a", (V4, V6)),), (b"k" * 32,))),
    RegisterAck(1, Status.ADDRESS_TAKEN, "VIP 10.77.0.1 is held by key AbC…", None, 0, 0, Delta(0, 0, 0)),
    Heartbeat(2, 7, 9, 1_700_000_000_000_000_000, (V4,)),
    Heartbeat(0, 7, 9, 5, (), leave=True),
    HeartbeatAck(2, Status.OK, "", V6, 7, Delta(9, 12, 3, more=True, lost=True, omitted=True)),
    HeartbeatAck(0, Status.OK, "", None, 7, Delta(9, 12, 3, (BIG_ENTRY,), (b"k" * 32,) * 2, more=True)),
    HeartbeatAck(2, Status.STALE_RECORD, "x" * REASON_MAX, V4, 7, Delta(0, 0, 0)),
    QueryPeer(3, bytes([10, 77, 0, 1])),
    QueryPeer(3, b"\x02" * 6),
    QueryPeer(3, b"\xfd" * 16),
    PeerInfo(3, Status.NOT_FOUND, b"\x02" * 6, None),
    PeerInfo(3, Status.OK, b"\x02" * 6, BIG_ENTRY),
    ConnectHint(BIG_ENTRY),
    Register(1, "fleet", b"record", b"", (), wants_vip4=True),
    RegisterAck(1, Status.OK, "", V4, 7, 30000, Delta(3, 9, 2), Lease(bytes([10, 77, 0, 9]), 24), draining=True),
    Heartbeat(2, 0, 0, 5, (V4,), standby=True),
    HeartbeatAck(2, Status.OK, "", V6, 7, Delta(9, 12, 3, more=True), draining=True),
    Beat(2, UINT63),
    BeatAck(UINT32),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_decodes_to_what_was_encoded(message: Message) -> None:
    body = encode_message(message)
    assert len(body) <= SIGNALING_PAYLOAD
    assert decode_message(body) == message
    assert encode_message(decode_message(body)) == body


@pytest.mark.parametrize(
    ("message", "literal"),
    [
        # a4: map of 4; key 00 kind, 01 request, 11 (17) address
        (QueryPeer(3, bytes([10, 77, 0, 1])), "a3 00 05 01 03 11 44 0a4d0001"),
        (Beat(2, 9), "a3 00 08 01 02 09 09"),
        (BeatAck(2), "a2 00 09 01 02"),
        (
            Heartbeat(2, 7, 9, 1000, (V4,), leave=True),
            "a7 00 03 01 02 06 81 46 0a0000016cca 08 07 09 09 0e 01 0f 19 03e8",
        ),
        (
            HeartbeatAck(0, Status.OK, "", None, 7, Delta(9, 12, 3, (PeerEntry(b"ab", (V4,)),), (), more=True)),
            "a9 00 04 01 00 02 00 08 07 09 09 0a 0c 0b 03 0c 81 82 42 6162 81 46 0a0000016cca 0e 01",
        ),
    ],
)
def test_golden_bytes(message: Message, literal: str) -> None:
    assert encode_message(message) == bytes.fromhex(literal)


def test_status_numbers_are_part_of_the_protocol() -> None:
    assert [(s.value, s.name) for s in Status] == [
        (0, "OK"),
        (1, "UNKNOWN_CLUSTER"),
        (2, "BAD_PROOF"),
        (3, "BAD_RECORD"),
        (4, "STALE_RECORD"),
        (5, "ADDRESS_TAKEN"),
        (6, "NOT_REGISTERED"),
        (7, "CLUSTER_FULL"),
        (8, "NOT_FOUND"),
        (9, "NOT_ALLOWED"),
        (10, "DENIED"),
    ]


def fields_of(message: Message) -> dict[int, cbor.Value]:
    return cbor.decode_map(encode_message(message), DropReason.SIGNALING_MALFORMED)


REGISTER = MESSAGES[1]
ACK = MESSAGES[7]
REGISTER_ACK = MESSAGES[2]
HEARTBEAT = MESSAGES[4]
QUERY = MESSAGES[9]
INFO = MESSAGES[13]
HINT = MESSAGES[14]
LEASE = MESSAGES[16]
TOO_MANY_ENDPOINTS = [V4] * (LOCAL_ENDPOINTS_MAX + 2)


@pytest.mark.parametrize(
    ("message", "key", "value"),
    [
        (REGISTER, codec.KIND, 10),
        (REGISTER, codec.FLAGS, "1"),
        (LEASE, codec.LEASE, b"\x0a\x4d\x00\x09"),
        (LEASE, codec.LEASE, b"\x0a\x4d\x00\x09\x00"),
        (LEASE, codec.LEASE, b"\x0a\x4d\x00\x09\x21"),
        (REGISTER, codec.KIND, 0),
        (REGISTER, codec.KIND, b"\x01"),
        (REGISTER, codec.KIND, True),
        (REGISTER, codec.REQUEST, UINT32 + 1),
        (REGISTER, codec.REQUEST, True),
        (REGISTER, codec.REQUEST, "1"),
        (REGISTER, codec.CLUSTER, ""),
        (REGISTER, codec.CLUSTER, "c" * (CLUSTER_MAX + 1)),
        (REGISTER, codec.CLUSTER, "a\x1b[31m"),
        (REGISTER, codec.CLUSTER, b"fleet"),
        (REGISTER, codec.RECORD, b""),
        (REGISTER, codec.RECORD, b"r" * (RECORD_MAX + 1)),
        (REGISTER, codec.PROOF, b"p" * 31),
        (REGISTER, codec.ENDPOINTS, [V4] * (LOCAL_ENDPOINTS_MAX + 1)),
        (REGISTER, codec.ENDPOINTS, V4),
        (REGISTER, codec.ENDPOINTS, ["10.0.0.1"]),
        (REGISTER, codec.ENDPOINTS, [V4[:5]]),
        (REGISTER, codec.ENDPOINTS, [V4[:4] + b"\0\0"]),
        (REGISTER, codec.ENDPOINTS, [bytes([224, 0, 0, 1]) + V4[4:]]),
        (REGISTER, codec.ENDPOINTS, [bytes([255] * 4) + V4[4:]]),
        (REGISTER, codec.ENDPOINTS, [bytes(4) + V4[4:]]),
        (REGISTER, codec.ENDPOINTS, [bytes(16) + V4[4:]]),
        (REGISTER, codec.ENDPOINTS, [b"\xff\x02" + bytes(13) + b"\x01" + V4[4:]]),
        (REGISTER, codec.EPOCH, None),
        (REGISTER, codec.SINCE, UINT63 + 1),
        (REGISTER_ACK, codec.STATUS, max(Status) + 1),
        (REGISTER_ACK, codec.INTERVAL, UINT32 + 1),
        (REGISTER_ACK, codec.OBSERVED, b"\0" * 6),
        (REGISTER_ACK, codec.REASON, "x" * (REASON_MAX + 1)),
        (REGISTER_ACK, codec.REASON, "line\nfeed"),
        (REGISTER_ACK, codec.SINCE, 10),  # after UNTIL
        (REGISTER_ACK, codec.SIZE, UINT32 + 1),
        (REGISTER_ACK, codec.LEAVES, [b"k" * 31]),
        (REGISTER_ACK, codec.LEAVES, b"k" * 32),
        (ACK, codec.JOINS, [[b"r"]]),
        (ACK, codec.JOINS, [b"r"]),
        (ACK, codec.JOINS, [[b"", [V4]]]),
        (ACK, codec.JOINS, [[b"r", TOO_MANY_ENDPOINTS]]),
        (ACK, codec.JOINS, {0: 1}),
        (ACK, codec.FLAGS, None),
        (HEARTBEAT, codec.VERSION, "now"),
        (HEARTBEAT, codec.FLAGS, b""),
        (QUERY, codec.ADDRESS, b"12345"),
        (QUERY, codec.ADDRESS, "10.77.0.1"),
        (INFO, codec.STATUS, Status.NOT_FOUND.value),  # with a record
        (INFO, codec.ENDPOINTS, TOO_MANY_ENDPOINTS),
        (HINT, codec.RECORD, "record"),
    ],
)
def test_a_field_out_of_its_bounds(message: Message, key: int, value: cbor.Value) -> None:
    fields = fields_of(message) | {key: value}
    with pytest.raises(RemoteViolation) as caught:
        decode_message(cbor.encode(fields))
    assert caught.value.reason is DropReason.SIGNALING_MALFORMED


OPTIONAL = {codec.REASON, codec.OBSERVED, codec.JOINS, codec.LEAVES, codec.LEASE}


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_missing_field(message: Message) -> None:
    optional = OPTIONAL | {codec.FLAGS} if isinstance(message, Register) else OPTIONAL
    for key in fields_of(message).keys() - optional:
        fields = fields_of(message)
        del fields[key]
        with pytest.raises(RemoteViolation):
            decode_message(cbor.encode(fields))


def test_unknown_keys_pass() -> None:
    assert decode_message(cbor.encode(fields_of(HEARTBEAT) | {40: "later"})) == HEARTBEAT


def test_what_does_not_fit_a_datagram_is_a_bug_of_the_sender() -> None:
    with pytest.raises(LocalMisuse):
        encode_message(replace(ACK, delta=replace(ACK.delta, joins=(BIG_ENTRY,) * 3)))


def test_the_room_for_a_delta_is_there_beside_the_largest_other_fields() -> None:
    n = DELTA_ROOM // LEAVE_SIZE
    leaves = Delta(UINT63, UINT63, UINT32, (), (b"k" * 32,) * n, True, True, True)
    assert len(encode_message(RegisterAck(UINT32, Status.OK, "", V6, UINT64, UINT32, leaves))) <= SIGNALING_PAYLOAD
    joins = (BIG_ENTRY,) * (DELTA_ROOM // BIG_ENTRY.size)
    assert joins, "at least one entry fits, or a delta would never get on"
    delta = Delta(UINT63, UINT63, UINT32, joins, (), True, True, True)
    assert len(encode_message(RegisterAck(UINT32, Status.OK, "", V6, UINT64, UINT32, delta))) <= SIGNALING_PAYLOAD


def test_the_size_of_an_entry_is_not_underestimated() -> None:
    for entry in (BIG_ENTRY, PeerEntry(b"r", ()), PeerEntry(b"r" * 200, (V4, V6))):
        alone = len(encode_message(ConnectHint(entry))) - len(encode_message(ConnectHint(PeerEntry(b"r", ()))))
        assert alone <= entry.size


def test_endpoints() -> None:
    assert unpack_endpoint(V4) == ("10.0.0.1", 51820) and pack_endpoint(Endpoint("10.0.0.1", 51820)) == V4
    assert unpack_endpoint(V6) == ("fd00::1", 51820) and pack_endpoint(Endpoint("fd00::1", 51820)) == V6
    assert pack_endpoint(Endpoint("::ffff:10.0.0.1", 51820)) == V4
    for host, port in (("robot", 1), ("10.0.0.1", 0), ("10.0.0.1", 65536)):
        with pytest.raises(LocalMisuse):
            pack_endpoint(Endpoint(host, port))


@pytest.mark.parametrize("source", [("10.0.0.1", 0), ("224.0.0.1", 5), ("0.0.0.0", 5), ("::", 5), ("ff02::1", 5)])
def test_no_host_has_such_a_source_address(source: tuple[str, int]) -> None:
    with pytest.raises(RemoteViolation):
        observed_endpoint(Endpoint(*source))


def mutations(rng: random.Random) -> list[Callable[[bytes], bytes]]:
    def flip(body: bytes) -> bytes:
        at = rng.randrange(len(body))
        return body[:at] + bytes([body[at] ^ 1 << rng.randrange(8)]) + body[at + 1 :]

    return [
        flip,
        lambda body: body[: rng.randrange(len(body))],
        lambda body: body + rng.randbytes(rng.randrange(1, 9)),
        lambda body: rng.randbytes(rng.randrange(200)),
        lambda body: flip(flip(flip(body))),
    ]


def test_100_000_damaged_messages(seed: int) -> None:
    """Nothing but RemoteViolation comes out, and what still decodes encodes to the same message."""
    rng = random.Random(seed)
    changes = mutations(rng)
    bodies = [encode_message(m) for m in MESSAGES if m is not ACK]
    decoded = 0
    reasons: set[DropReason] = set()
    for _ in range(100_000):
        body = rng.choice(changes)(rng.choice(bodies))
        try:
            message = decode_message(body)
        except RemoteViolation as violation:
            reasons.add(violation.reason)
            continue
        decoded += 1
        assert decode_message(encode_message(message)) == message
    assert 0 < decoded < 60_000 and reasons == {DropReason.SIGNALING_MALFORMED}
