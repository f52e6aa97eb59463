"""CBOR (RFC 8949) for what comes from the network: a subset in its one deterministic encoding (section 4.2.1).

    unsigned integers below 2**64, byte strings, text strings, arrays, maps with unsigned integers as keys, true,
    false, null. Definite lengths, shortest heads, keys ascending.

`cbor2` does the work; what it takes beyond the subset (tags, floats, other encodings of the same value, bytes behind
the item) is refused here, since signed bytes must have one reading only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import cbor2

from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse, RemoteViolation

Value: TypeAlias = "int | bytes | str | bool | Sequence[Value] | Mapping[int, Value] | None"

MAX_DEPTH = 8
_REFUSALS = (cbor2.CBORError, ValueError, TypeError, ArithmeticError, EOFError, RecursionError, MemoryError)


def encode(value: Value) -> bytes:
    """Raises LocalMisuse for a value outside the subset."""
    if not _in_subset(value, MAX_DEPTH):
        raise LocalMisuse(f"no CBOR here for a {type(value).__name__} of this form")
    try:
        return cbor2.dumps(value, canonical=True)
    except UnicodeEncodeError:
        raise LocalMisuse("text with a surrogate in it") from None


def decode(data: bytes, reason: DropReason) -> Value:
    """Inverse of ``encode``; ``data`` is one item and nothing more. Raises RemoteViolation(reason) on all else."""
    try:
        value: Value = cbor2.loads(data)
        if _in_subset(value, MAX_DEPTH) and cbor2.dumps(value, canonical=True) == data:
            return value
    except _REFUSALS:
        pass
    raise RemoteViolation(reason, "not CBOR of the subset that is used here")


def decode_map(data: bytes, reason: DropReason) -> dict[int, Value]:
    """As ``decode``, of a map."""
    value = decode(data, reason)
    if not isinstance(value, dict):
        raise RemoteViolation(reason, "not a CBOR map")
    return value


def _in_subset(value: object, depth: int) -> bool:
    if value is None or type(value) in (bool, bytes, str):
        return True
    if isinstance(value, int):
        return 0 <= value < 1 << 64
    if depth == 0:
        return False
    if isinstance(value, (list, tuple)):
        return all(_in_subset(element, depth - 1) for element in value)
    if type(value) is dict:
        return all(type(k) is int and 0 <= k < 1 << 64 and _in_subset(v, depth - 1) for k, v in value.items())
    return False
