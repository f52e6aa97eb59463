"""Underlay endpoints in signaling: address (4 or 16 bytes, network order), then port (16 bits, little-endian)."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias

from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse, RemoteViolation
from omni_core.types import Endpoint

PackedEndpoint: TypeAlias = bytes

PACKED_SIZES = (6, 18)


@lru_cache(maxsize=4096)
def pack_endpoint(endpoint: Endpoint) -> PackedEndpoint:
    """Raises LocalMisuse when the host is no IP address or the port is none: names are resolved by the caller."""
    try:
        address = ipaddress.ip_address(endpoint[0])
    except ValueError:
        raise LocalMisuse(f"{endpoint[0]!r} is not an IP address") from None
    if not 0 < endpoint[1] <= 0xFFFF:
        raise LocalMisuse(f"{endpoint[1]} is not a UDP port")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped  # how a dual-stack socket shows an IPv4 peer (RFC 4291 section 2.5.5.2)
    return address.packed + endpoint[1].to_bytes(2, "little")


_OCTETS = {str(octet): octet for octet in range(256)}


def observed_endpoint(source: Endpoint) -> PackedEndpoint:
    """The source of an authentic packet, to be told to others. Raises RemoteViolation where it is no host's address:
    whoever carries a packet chooses its source, and others refuse a message with such an endpoint in it.
    """
    host, port = source
    try:
        # Dotted IPv4, without a memory of the last few thousand sources: a Nucleus hears each once in a heartbeat.
        a, b, c, d = [_OCTETS[part] for part in host.split(".")]
        packed = bytes((a, b, c, d, port & 0xFF, port >> 8))
    except (KeyError, ValueError):
        try:
            packed = pack_endpoint(source)
        except LocalMisuse:
            raise RemoteViolation(DropReason.SIGNALING_MALFORMED, "source") from None
    check_packed(packed)
    return packed


def pack_usable(endpoints: Iterable[Endpoint]) -> list[PackedEndpoint]:
    """Those that are addresses of hosts."""
    packed: list[PackedEndpoint] = []
    for endpoint in endpoints:
        with contextlib.suppress(RemoteViolation):
            packed.append(observed_endpoint(endpoint))
    return packed


@lru_cache(maxsize=4096)
def unpack_endpoint(packed: PackedEndpoint) -> Endpoint:
    """Inverse of ``pack_endpoint``. Raises RemoteViolation for what can not be the address of one host."""
    check_packed(packed)
    return Endpoint(str(ipaddress.ip_address(packed[:-2])), int.from_bytes(packed[-2:], "little"))


def unpack_endpoints(packed: Iterable[PackedEndpoint]) -> tuple[Endpoint, ...]:
    return tuple(unpack_endpoint(p) for p in packed)


def check_packed(packed: bytes) -> None:
    """Length, port, and no group or unspecified address. Raises RemoteViolation(SIGNALING_MALFORMED)."""
    size = len(packed)
    if size not in PACKED_SIZES or packed[-2:] == b"\0\0":
        raise RemoteViolation(DropReason.SIGNALING_MALFORMED, "endpoint")
    first = packed[0]
    if size == 6:
        if first == 0 or first >= 224:  # RFC 6890: this network; RFC 5771, RFC 1112: multicast, reserved, broadcast
            raise RemoteViolation(DropReason.SIGNALING_MALFORMED, "endpoint")
    elif first == 0xFF or not any(packed[:16]):  # RFC 4291: multicast, unspecified
        raise RemoteViolation(DropReason.SIGNALING_MALFORMED, "endpoint")
