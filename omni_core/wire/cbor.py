"""CBOR (RFC 8949) for what comes from the network: a subset in its one deterministic encoding (section 4.2.1).

    unsigned integers below 2**64, byte strings, text strings, arrays, maps with unsigned integers as keys, true,
    false, null. Definite lengths, shortest heads, keys ascending.

`cbor2` does the work; what it takes beyond the subset (tags, floats, other encodings of the same value, bytes behind
the item) is refused here, since signed bytes must have one reading only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import cbor2

from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse, RemoteViolation

Value: TypeAlias = "int | bytes | str | bool | Sequence[Value] | Mapping[int, Value] | None"

MAX_DEPTH = 8
_REFUSALS = (cbor2.CBORError, ValueError, TypeError, ArithmeticError, EOFError, RecursionError, MemoryError)


def encode(value: Value) -> bytes:
    """Raises LocalMisuse for a value outside the subset."""
    form = _form(value, MAX_DEPTH)
    if not form:
        raise LocalMisuse(f"no CBOR here for a {type(value).__name__} of this form")
    try:
        return cbor2.dumps(value) if form == _SORTED else cbor2.dumps(value, canonical=True)
    except UnicodeEncodeError:
        raise LocalMisuse("text with a surrogate in it") from None


def decode(data: bytes, reason: DropReason) -> Value:
    """Inverse of ``encode``; ``data`` is one item and nothing more. Raises RemoteViolation(reason) on all else."""
    try:
        value: Value = cbor2.loads(data)
        # Encoded again it has the shortest heads, definite lengths, each key once, and nothing behind it. Sorting,
        # most of cbor2's work for the canonical form, would change nothing.
        if _form(value, MAX_DEPTH) == _SORTED and cbor2.dumps(value) == data:
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


_SCALARS = frozenset({bytes, str, bool, type(None)})
_UINT_END = 1 << 64
_OUTSIDE, _IN_SUBSET, _SORTED = range(3)


def _form(value: Any, depth: int) -> int:
    """_OUTSIDE the subset, _IN_SUBSET, or _SORTED: in the subset, and the keys of every map in it ascend."""
    kind = type(value)
    if kind in _SCALARS:
        return _SORTED
    if isinstance(value, int):
        return _SORTED if 0 <= value < _UINT_END else _OUTSIDE
    if depth == 0:
        return _OUTSIDE
    form, last = _SORTED, -1
    if kind is dict:
        for key in value:
            if type(key) is not int or not 0 <= key < _UINT_END:
                return _OUTSIDE
            if key <= last:
                form = _IN_SUBSET
            last = key
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return _OUTSIDE
    for element in value:
        kind = type(element)
        if kind in _SCALARS or (kind is int and 0 <= element < _UINT_END):
            continue  # most are: a call for each would be most of the time
        inner = _form(element, depth - 1)
        if inner < form:
            form = inner
        if not form:
            return _OUTSIDE
    return form
