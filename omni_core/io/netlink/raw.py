"""rtnetlink requests packed by hand (rtnetlink(7)): for what must be quick, or may be asked from an event loop.

A request and its answer take about 20 microseconds here, and a hundred times that through pyroute2.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import Final

NLM_F_ACK: Final = 4
NLM_F_EXCL: Final = 0x200
NLM_F_REPLACE: Final = 0x100
NLM_F_CREATE: Final = 0x400

_NLM_F_REQUEST = 1
_NLM_F_CAPPED, _NLM_F_ACK_TLVS = 0x100, 0x200  # flags of an acknowledgement
_NLMSG_ERROR = 2
_NLMSGERR_ATTR_MSG = 1
_NLA_F_NESTED = 0x8000
_NLA_TYPE_MASK = 0x3FFF
_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 270, 10, 11
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_TIMEOUT = 5.0  # s; the kernel answers before send() returns
_ANSWER_MAX = 65536


class RawNetlink:
    """One NETLINK_ROUTE socket of the network namespace that the calling thread is in."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._sequence = 0
        try:
            for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
            self._socket.settimeout(_TIMEOUT)
            self._socket.bind((0, 0))
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Idempotent."""
        self._socket.close()

    def request(self, kind: int, flags: int, body: bytes) -> bytes:
        """Payload of the one answer; of an acknowledgement (NLM_F_ACK): b"".

        Raises OSError with the kernel's errno, and with its own words where it has any.
        """
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, flags | _NLM_F_REQUEST, self._sequence, 0)
        self._socket.send(header + body)
        while True:
            answer = self._socket.recv(_ANSWER_MAX)
            length, answer_kind, answer_flags, sequence, _ = _HEADER.unpack_from(answer)
            if sequence != self._sequence:
                continue  # of a request that timed out
            if answer_kind == _NLMSG_ERROR:
                _check(answer[:length], answer_flags)
                return b""
            return answer[_HEADER.size : length]


def attribute(kind: int, data: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(data)
    return _ATTRIBUTE.pack(length, kind) + data + bytes(-length % 4)


def number(kind: int, value: int) -> bytes:
    """An attribute of 32 bits."""
    return attribute(kind, struct.pack("=I", value & 0xFFFFFFFF))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | _NLA_F_NESTED, b"".join(attributes))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(kind, data) of each attribute. Stops at one that is cut short."""
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if not _ATTRIBUTE.size <= length <= len(data) - at:
            return
        yield kind & _NLA_TYPE_MASK, data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


def _check(answer: bytes, flags: int) -> None:
    """Raises what a NLMSG_ERROR says, unless it says that all went well."""
    code = -struct.unpack_from("=i", answer, _HEADER.size)[0]
    if code == 0:
        return
    echoed = _HEADER.size + 4
    said = b""
    if flags & _NLM_F_ACK_TLVS:
        request_length = _HEADER.unpack_from(answer, echoed)[0]
        echoed += _HEADER.size if flags & _NLM_F_CAPPED else (request_length + 3) & ~3
        said = dict(attributes(answer[echoed:])).get(_NLMSGERR_ATTR_MSG, b"")
    raise OSError(code, said.rstrip(b"\0").decode(errors="replace") or os.strerror(code))
