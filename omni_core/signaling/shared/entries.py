"""An edge as the shared store keeps it; the layout is drawn in io/redis_scripts/common.lua."""

from __future__ import annotations

import struct
from typing import NamedTuple

from omni_core.signaling.edge import Edge
from omni_core.signaling.endpoints import PackedEndpoint
from omni_core.types import Mac, PublicKey

_LENGTH = struct.Struct(">H")
DIGITS = 20


class MalformedEntry(ValueError):
    """Not written by a Nucleus of this version."""


class Entry(NamedTuple):
    number: int
    edge: Edge


def digits(number: int) -> bytes:
    return b"%020d" % number


def pack_edge(edge: Edge, nucleus: str, observed: PackedEndpoint, local: tuple[PackedEndpoint, ...]) -> bytes:
    """The entry without its number."""
    short = (edge.cluster.encode(), nucleus.encode(), edge.vip4, edge.vip6, bytes(edge.mac))
    long = (observed, edge.name.encode(), edge.record, *local)
    return b"".join(
        [
            digits(edge.version),
            *(bytes([len(field)]) + field for field in short),
            *(_LENGTH.pack(len(field)) + field for field in long),
        ]
    )


def unpack_entry(key: PublicKey, data: bytes) -> Entry:
    """Raises MalformedEntry."""
    try:
        number, version, at = int(data[:DIGITS]), int(data[DIGITS : 2 * DIGITS]), 2 * DIGITS
        short: list[bytes] = []
        for _ in range(5):
            end = at + 1 + data[at]
            short.append(data[at + 1 : end])
            at = end
        long: list[bytes] = []
        while at < len(data):
            end = at + 2 + _LENGTH.unpack_from(data, at)[0]
            long.append(data[at + 2 : end])
            at = end
        cluster, nucleus, vip4, vip6, mac = short
        observed, name, record, *local = long
        if at != len(data) or len(key) != 32:
            raise ValueError("length")
        edge = Edge(
            PublicKey(key), cluster.decode(), record, version, vip4, vip6, Mac(mac), observed, tuple(local),
            name.decode(), nucleus=nucleus.decode(),
        )  # fmt: skip
    except (ValueError, IndexError, struct.error) as error:
        raise MalformedEntry(str(error)) from None
    return Entry(number, edge)
