"""CBOR (RFC 8949) for what comes from the network: a small subset in its one deterministic encoding (section 4.2.1).

    unsigned integers below 2**64, byte strings, text strings, arrays, maps with unsigned integers as keys, true,
    false, null. Definite lengths, shortest heads, keys ascending, at most MAX_DEPTH deep.

A general decoder also builds dates, big decimals, regular expressions and shared references from tags, and takes
several encodings of one value; nothing here wants them, and signed bytes must have one reading only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse, RemoteViolation

Value: TypeAlias = "int | bytes | str | bool | Sequence[Value] | Mapping[int, Value] | None"

MAX_DEPTH = 8

_UINT, _BYTES, _TEXT, _ARRAY, _MAP, _SIMPLE = 0, 2, 3, 4, 5, 7
_FALSE, _TRUE, _NULL = 20, 21, 22


def encode(value: Value) -> bytes:
    """Raises LocalMisuse for a value outside the subset."""
    out = bytearray()
    _encode(out, value, MAX_DEPTH)
    return bytes(out)


def decode(data: bytes, reason: DropReason) -> Value:
    """Inverse of ``encode``; ``data`` is one item and nothing more. Raises RemoteViolation(reason) on all else."""
    reader = _Reader(data, reason)
    value = reader.item(MAX_DEPTH)
    if reader.at != len(data):
        raise RemoteViolation(reason, "bytes behind the CBOR item")
    return value


def decode_map(data: bytes, reason: DropReason) -> dict[int, Value]:
    """As ``decode``, of a map."""
    value = decode(data, reason)
    if not isinstance(value, dict):
        raise RemoteViolation(reason, "not a CBOR map")
    return value


def _encode(out: bytearray, value: Value, depth: int) -> None:
    if value is None or isinstance(value, bool):
        out.append(_SIMPLE << 5 | (_NULL if value is None else _TRUE if value else _FALSE))
    elif isinstance(value, int):
        _head(out, _UINT, value)
    elif isinstance(value, bytes):
        _head(out, _BYTES, len(value))
        out += value
    elif isinstance(value, str):
        text = _utf8(value)
        _head(out, _TEXT, len(text))
        out += text
    elif depth == 0:
        raise LocalMisuse(f"a value nested deeper than {MAX_DEPTH}")
    elif isinstance(value, (list, tuple)):
        _head(out, _ARRAY, len(value))
        for element in value:
            _encode(out, element, depth - 1)
    elif isinstance(value, dict):
        if not all(type(key) is int for key in value):
            raise LocalMisuse("a map key that is not an integer")
        _head(out, _MAP, len(value))
        for key in sorted(value):
            _head(out, _UINT, key)
            _encode(out, value[key], depth - 1)
    else:
        raise LocalMisuse(f"no CBOR here for {type(value).__name__}")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise LocalMisuse("text with a surrogate in it") from None


def _head(out: bytearray, major: int, argument: int) -> None:
    if not 0 <= argument < 1 << 64:
        raise LocalMisuse(f"{argument} is not an unsigned 64-bit integer")
    if argument < 24:
        out.append(major << 5 | argument)
        return
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << 8 * size:
            out.append(major << 5 | info)
            out += argument.to_bytes(size, "big")
            return


class _Reader:
    __slots__ = ("at", "data", "reason")

    def __init__(self, data: bytes, reason: DropReason) -> None:
        self.data = data
        self.at = 0
        self.reason = reason

    def item(self, depth: int) -> Value:
        major, argument = self.head()
        if major == _UINT:
            return argument
        if major == _BYTES:
            return self.take(argument)
        if major == _TEXT:
            try:
                return self.take(argument).decode()
            except UnicodeDecodeError:
                raise RemoteViolation(self.reason, "text that is not UTF-8") from None
        if major == _SIMPLE:
            if argument in (_FALSE, _TRUE):
                return argument == _TRUE
            if argument == _NULL:
                return None
        if major not in (_ARRAY, _MAP):
            raise RemoteViolation(self.reason, "a CBOR type that is not used here")
        if depth == 0:
            raise RemoteViolation(self.reason, "CBOR nested too deep")
        if argument > len(self.data) - self.at:  # an element has at least one byte
            raise RemoteViolation(self.reason, "CBOR ends early")
        if major == _ARRAY:
            return [self.item(depth - 1) for _ in range(argument)]
        return self.map(argument, depth)

    def map(self, pairs: int, depth: int) -> dict[int, Value]:
        result: dict[int, Value] = {}
        last = -1
        for _ in range(pairs):
            major, key = self.head()
            if major != _UINT or key <= last:
                raise RemoteViolation(self.reason, "CBOR map keys are not ascending integers")
            last = key
            result[key] = self.item(depth - 1)
        return result

    def head(self) -> tuple[int, int]:
        (initial,) = self.take(1)
        major, info = initial >> 5, initial & 31
        if info < 24:
            return major, info
        if info > 27 or major == _SIMPLE:  # indefinite lengths; floats and simple values in more than one byte
            raise RemoteViolation(self.reason, "a CBOR form that is not used here")
        size = 1 << (info - 24)
        argument = int.from_bytes(self.take(size), "big")
        if argument < (24 if size == 1 else 1 << 4 * size):  # it would have fitted the next smaller form
            raise RemoteViolation(self.reason, "a CBOR head that is not the shortest")
        return major, argument

    def take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.data):
            raise RemoteViolation(self.reason, "CBOR ends early")
        piece = self.data[self.at : end]
        self.at = end
        return piece
