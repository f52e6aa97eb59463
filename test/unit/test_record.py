"""The peer record: golden bytes, round trip, any flipped bit refused, and signed nonsense refused as well."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import cbor2
import pytest

from omni_core.crypto.identity import Identity, mac_of, vip6_of
from omni_core.crypto.record import RECORD_MAX, PeerRecord, open_record, signed
from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse, RemoteViolation

ME = Identity.from_seed(bytes(range(32)))
OTHER = Identity.from_seed(bytes(range(1, 33)))
LABEL = b"omni peer record 1"
MAC = bytes.fromhex("0200deadbeef")
FULL: dict[str, Any] = {
    "cluster": "warehouse",
    "version": 1_700_000_000_000_000_000,
    "vip4": "10.77.0.1/24",
    "mac": MAC,
    "name": "robot-1",
    "capabilities": 5,
}
GOLDEN_BODY = "a6016977617265686f75736502450a4d00011803460200deadbeef0467726f626f742d310505061b17979cfe362a0000"
GOLDEN_SIGNATURE = (
    "a1e805dbda8f04ed06599c5e2c99027d53d77e3229df864dfa6120bf17cb5f8dde0aaeb76e266bb99bb05ba49af875b8"
    "f3977bb8feb4ea14671750762b27d004"
)


def sign_body(body: bytes, identity: Identity = ME) -> bytes:
    """A record with any body at all and a true signature: what a hostile member of the cluster can make."""
    return identity.sign(LABEL + identity.public_key + body) + identity.public_key + body


def test_golden() -> None:
    data = signed(ME, **FULL)
    assert data == bytes.fromhex(GOLDEN_SIGNATURE) + ME.public_key + bytes.fromhex(GOLDEN_BODY)
    assert cbor2.loads(bytes.fromhex(GOLDEN_BODY)) == {
        1: "warehouse",
        2: bytes([10, 77, 0, 1, 24]),
        3: MAC,
        4: "robot-1",
        5: 5,
        6: 1_700_000_000_000_000_000,
    }


def test_everything_comes_back() -> None:
    record = open_record(signed(ME, **FULL))
    assert (record.public_key, record.vip6) == (ME.public_key, vip6_of(ME.public_key))
    assert {name: getattr(record, name) for name in FULL} == FULL
    assert record.encode() == signed(ME, **FULL)


def test_what_is_left_out_has_its_default() -> None:
    data = signed(ME, "c", version=0)
    record = open_record(data)
    expected = PeerRecord(ME.public_key, "c", None, ME.vip6, mac_of(ME.public_key), "", 0, 0, data[:64])
    assert record == expected
    assert record.encode() == data
    assert len(data) == 64 + 32 + 1 + 3 + 2


def test_the_derived_mac_is_not_repeated() -> None:
    assert signed(ME, "c", version=1, mac=ME.mac) == signed(ME, "c", version=1)


def test_the_longest_record_has_record_max_bytes() -> None:
    top = 2**64 - 1
    data = signed(ME, "c" * 63, version=top, vip4="10.77.0.1/24", mac=MAC, name="n" * 63, capabilities=top)
    assert len(data) == RECORD_MAX
    assert open_record(data).encode() == data


def test_random_records_round_trip(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(200):
        identity = Identity.generate(rng.randbytes)
        values: dict[str, Any] = {"cluster": rng.choice(["a", "A.b_c-9", "x" * 63]), "version": rng.getrandbits(64)}
        if rng.random() < 0.5:
            values["vip4"] = (
                f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}/{rng.choice([8, 32])}"
            )
        if rng.random() < 0.5:
            values["mac"] = b"\x02" + rng.randbytes(5)
        if rng.random() < 0.5:
            values["name"] = rng.choice(["r", "robot.local", "R2-D2"])
        if rng.random() < 0.5:
            values["capabilities"] = rng.getrandbits(64) | 1
        record = open_record(signed(identity, **values))
        assert {name: getattr(record, name) for name in values} == values
        assert open_record(record.encode()) == record


# --- forgeries ---


def refuse(data: bytes) -> None:
    with pytest.raises(RemoteViolation) as caught:
        open_record(data)
    assert caught.value.reason is DropReason.BAD_RECORD


def test_every_flipped_bit_is_refused() -> None:
    data = signed(ME, **FULL)
    for bit in range(8 * len(data)):
        refuse(flip(data, bit))


def test_every_truncation_and_extension_is_refused() -> None:
    data = signed(ME, **FULL)
    for length in range(len(data)):
        refuse(data[:length])
    for extra in (b"\0", data, bytes(RECORD_MAX)):
        refuse(data + extra)


def test_another_key_or_another_label_does_not_fit() -> None:
    data = signed(ME, **FULL)
    refuse(data[:64] + OTHER.public_key + data[96:])
    body = data[96:]
    for message in (ME.public_key + body, b"omni peer record 2" + ME.public_key + body, LABEL + body):
        refuse(ME.sign(message) + ME.public_key + body)


def test_random_bytes_are_refused(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(5000):
        refuse(rng.randbytes(rng.randrange(RECORD_MAX + 20)))


def test_random_signed_bodies_never_escape(seed: int) -> None:
    """Signed by a true key: whatever is inside, it is a record that encodes to the same bytes, or BAD_RECORD."""
    rng = random.Random(seed)
    good = signed(ME, **FULL)[96:]
    reasons = set()
    for _ in range(3000):
        body = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        data = sign_body(bytes(body))
        try:
            record = open_record(data)
        except RemoteViolation as violation:
            reasons.add(violation.reason)
        else:
            assert record.encode() == data
    assert reasons == {DropReason.BAD_RECORD}


GOOD_BODY: dict[Any, Any] = {1: "c", 6: 1}
BAD_BODIES = {
    "not a map": ["c", 1],
    "no cluster": {6: 1},
    "no version": {1: "c"},
    "empty": {},
    "unknown field": GOOD_BODY | {7: 1},
    "field 0": {0: 1} | GOOD_BODY,
    "text key": GOOD_BODY | {"a": 1},
    "cluster empty": GOOD_BODY | {1: ""},
    "cluster too long": GOOD_BODY | {1: "c" * 64},
    "cluster of bytes": GOOD_BODY | {1: b"c"},
    "cluster with a slash": GOOD_BODY | {1: "a/b"},
    "cluster with a newline": GOOD_BODY | {1: "a\n"},
    "cluster null": GOOD_BODY | {1: None},
    "vip4 short": GOOD_BODY | {2: bytes([10, 0, 0, 1])},
    "vip4 text": GOOD_BODY | {2: "10.77"},
    "vip4 prefix 0": GOOD_BODY | {2: bytes([10, 0, 0, 1, 0])},
    "vip4 prefix 33": GOOD_BODY | {2: bytes([10, 0, 0, 1, 33])},
    "vip4 of the network": GOOD_BODY | {2: bytes([10, 0, 0, 0, 24])},
    "vip4 of the broadcast": GOOD_BODY | {2: bytes([10, 0, 0, 255, 24])},
    "vip4 multicast": GOOD_BODY | {2: bytes([239, 0, 0, 1, 24])},
    "vip4 loopback": GOOD_BODY | {2: bytes([127, 0, 0, 1, 8])},
    "vip4 unspecified": GOOD_BODY | {2: bytes([0, 0, 0, 0, 32])},
    "vip4 limited broadcast": GOOD_BODY | {2: bytes([255, 255, 255, 255, 32])},
    "mac short": GOOD_BODY | {3: MAC[:5]},
    "mac multicast": GOOD_BODY | {3: b"\x01" + MAC[1:]},
    "mac broadcast": GOOD_BODY | {3: b"\xff" * 6},
    "mac zero": GOOD_BODY | {3: bytes(6)},
    "mac derived, repeated": GOOD_BODY | {3: ME.mac},
    "name empty": GOOD_BODY | {4: ""},
    "name too long": GOOD_BODY | {4: "n" * 64},
    "name with a terminal escape": GOOD_BODY | {4: "\x1b[2J"},
    "name of bytes": GOOD_BODY | {4: b"n"},
    "capabilities 0": GOOD_BODY | {5: 0},
    "capabilities negative": GOOD_BODY | {5: -1},
    "capabilities true": GOOD_BODY | {5: True},
    "capabilities beyond 64 bits": GOOD_BODY | {5: 2**64},
    "version true": GOOD_BODY | {6: True},
    "version negative": GOOD_BODY | {6: -1},
    "version float": GOOD_BODY | {6: 1.0},
    "version text": GOOD_BODY | {6: "1"},
}


@pytest.mark.parametrize("value", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_signed_nonsense_is_refused(value: Any) -> None:
    refuse(sign_body(cbor2.dumps(value, canonical=True)))


def test_the_good_body_of_these_tests_is_good() -> None:
    assert open_record(sign_body(cbor2.dumps(GOOD_BODY, canonical=True))).cluster == "c"


@pytest.mark.parametrize(
    "body",
    [
        "a2066101",
        "a206010161 63",
        "a30161630601 0601",
        "a201616306 1801",
        "bf016163 0601ff",
        "a2017f6163ff0601",
        "a201616306c101",
    ],
    ids=["cut", "keys descending", "key twice", "long head", "indefinite map", "indefinite text", "tag"],
)
def test_other_encodings_are_refused(body: str) -> None:
    refuse(sign_body(bytes.fromhex(body.replace(" ", ""))))


@pytest.mark.parametrize(
    "key", [bytes(32), (1).to_bytes(32, "little"), b"\xff" * 32], ids=["order 4", "identity", "no point"]
)
def test_a_bad_point_signs_nothing(key: bytes) -> None:
    """A key of low order can have signatures that fit every message; it is refused before one is looked at."""
    refuse((1).to_bytes(32, "little") + bytes(32) + key + cbor2.dumps(GOOD_BODY, canonical=True))


# --- our own mistakes ---


@pytest.mark.parametrize(
    "change",
    [
        {"cluster": ""},
        {"cluster": "a b"},
        {"version": -1},
        {"version": 2**64},
        {"vip4": "10.77.0.1/33"},
        {"vip4": "10.77.0.0/24"},
        {"vip4": "nonsense"},
        {"mac": b"\x02"},
        {"mac": b"\xff" * 6},
        {"mac": b""},
        {"name": "no spaces here"},
        {"name": "\ud800"},
        {"capabilities": -1},
        {"capabilities": 2**64},
    ],
    ids=str,
)
def test_signing_a_wrong_value_is_misuse(change: dict[str, Any]) -> None:
    with pytest.raises(LocalMisuse):
        signed(ME, **(FULL | change))


def test_records_do_not_change() -> None:
    record = open_record(signed(ME, **FULL))
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.version = 3  # type: ignore[misc]


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
