"""The CBOR subset: RFC 8949's examples, agreement with cbor2's canonical form, and one reading of every byte string."""

from __future__ import annotations

import random
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse, RemoteViolation
from omni_core.wire import cbor

REASON = DropReason.SIGNALING_MALFORMED

# RFC 8949 appendix A, the examples within the subset
EXAMPLES: dict[str, Any] = {
    "00": 0,
    "17": 23,
    "1818": 24,
    "1903e8": 1000,
    "1a000f4240": 1000000,
    "1b000000e8d4a51000": 1000000000000,
    "1bffffffffffffffff": 18446744073709551615,
    "f4": False,
    "f5": True,
    "f6": None,
    "40": b"",
    "4401020304": b"\x01\x02\x03\x04",
    "60": "",
    "6449455446": "IETF",
    "62c3bc": "\u00fc",
    "64f0908591": "\U00010151",
    "80": [],
    "8301820203820405": [1, [2, 3], [4, 5]],
    "a0": {},
    "a201020304": {1: 2, 3: 4},
}


@pytest.mark.parametrize(("encoded", "value"), EXAMPLES.items())
def test_rfc8949_examples(encoded: str, value: Any) -> None:
    assert cbor.encode(value).hex() == encoded
    decoded = cbor.decode(bytes.fromhex(encoded), REASON)
    assert decoded == value
    assert type(decoded) is type(value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**64 - 1) | st.binary(max_size=300) | st.text(max_size=100),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.integers(0, 2**64 - 1), inner, max_size=6),
    max_leaves=20,
)


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@given(VALUES)
def test_agrees_with_cbor2(value: Any) -> None:
    if depth(value) > cbor.MAX_DEPTH:
        with pytest.raises(LocalMisuse):
            cbor.encode(value)
        return
    encoded = cbor.encode(value)
    assert encoded == cbor2.dumps(value, canonical=True)
    assert cbor.decode(encoded, REASON) == cbor2.loads(encoded) == value


def test_random_bytes_have_one_reading_or_none(seed: int) -> None:
    rng = random.Random(seed)
    accepted = 0
    # Mostly short heads of the types in use, or nothing would ever be accepted; and long heads, simple values, tags.
    heads = [0x00, 0x04, 0x40, 0x60, 0x80, 0xA0, 0x18, 0x58, 0x98, 0xB8, 0xC0, 0xF4, 0xFC, 0xFF]
    for _ in range(100_000):
        data = bytes(rng.choice(heads) | rng.randrange(4) for _ in range(rng.randrange(1, 12)))
        try:
            value = cbor.decode(data, REASON)
        except RemoteViolation:
            continue
        accepted += 1
        assert cbor.encode(value) == data
    assert accepted > 1000


REFUSED = {
    "nothing": "",
    "two items": "0000",
    "negative integer": "20",
    "half float": "f93c00",
    "float": "fa47c35000",
    "double": "fb3ff199999999999a",
    "undefined": "f7",
    "simple value": "f0",
    "simple value, long": "f818",
    "break": "ff",
    "tag: date": "c11a514b67b0",
    "tag: big number": "c249010000000000000000",
    "tag: regular expression": "d8236161",
    "tag: shared reference": "d81c80",
    "reserved head": "1c",
    "indefinite bytes": "5f4101ff",
    "indefinite text": "7f6161ff",
    "indefinite array": "9f01ff",
    "indefinite map": "bf0101ff",
    "23 in two bytes": "1817",
    "255 in three bytes": "1900ff",
    "65535 in five bytes": "1a0000ffff",
    "2**32-1 in nine bytes": "1b00000000ffffffff",
    "long head of bytes": "580141",
    "long head of an array": "980100",
    "head cut": "19",
    "head cut in the middle": "1a0000",
    "bytes cut": "420a",
    "text cut": "6261",
    "array cut": "8201",
    "map without its value": "a101",
    "huge bytes": "5bffffffffffffffff",
    "huge array": "9bffffffffffffffff",
    "huge map": "bbffffffffffffffff",
    "keys descending": "a202000100",
    "key twice": "a201000100",
    "text key": "a1616100",
    "negative key": "a12000",
    "array key": "a18000",
    "text not UTF-8": "61ff",
    "text with a surrogate": "63eda080",
    "text overlong": "62c080",
    "too deep": "81" * 9 + "00",
    "far too deep": "81" * 5000,
    "maps too deep": "a100" * 9 + "00",
}


@pytest.mark.parametrize("encoded", REFUSED.values(), ids=REFUSED.keys())
def test_everything_else_is_refused_with_the_callers_reason(encoded: str) -> None:
    with pytest.raises(RemoteViolation) as caught:
        cbor.decode(bytes.fromhex(encoded), REASON)
    assert caught.value.reason is REASON


def test_the_depth_limit_is_exact() -> None:
    assert cbor.decode(b"\x81" * cbor.MAX_DEPTH + b"\x00", REASON)
    cbor.encode(cbor.decode(b"\x81" * cbor.MAX_DEPTH + b"\x00", REASON))


def test_decode_map_wants_a_map() -> None:
    assert cbor.decode_map(b"\xa1\x01\x02", REASON) == {1: 2}
    for encoded in ("00", "80", "f6", "f5"):
        with pytest.raises(RemoteViolation):
            cbor.decode_map(bytes.fromhex(encoded), REASON)


def test_tuples_are_arrays() -> None:
    assert cbor.encode((1, (2,))) == cbor.encode([1, [2]])


@pytest.mark.parametrize(
    "value", [-1, 2**64, 1.5, {1, 2}, {"a": 1}, {True: 1}, {-1: 1}, "\ud800", object, bytearray(1)], ids=repr
)
def test_encoding_anything_else_is_misuse(value: Any) -> None:
    with pytest.raises(LocalMisuse):
        cbor.encode(value)
