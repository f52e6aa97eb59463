"""Packets of the underlay, built and taken apart by hand: nothing here is shared with what is tested."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from omni_core.types import Endpoint

UDP = 17


def internet_checksum(data: bytes) -> int:
    """RFC 1071, as its first paragraph says it: 16-bit big-endian words in ones' complement, an odd byte padded."""
    total = 0
    for high, low in zip(data[0::2], data[1::2] + b"\0", strict=False):
        total += high << 8 | low
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp_checksum(source: bytes, destination: bytes, datagram: bytes) -> int:
    """RFC 768 and RFC 8200 8.1: 0 is written as 0xffff. ``datagram``: with the UDP header, its checksum zero."""
    if len(source) == 16:
        pseudo = source + destination + len(datagram).to_bytes(4, "big") + bytes([0, 0, 0, UDP])
    else:
        pseudo = source + destination + bytes([0, UDP]) + len(datagram).to_bytes(2, "big")
    return internet_checksum(pseudo + datagram) or 0xFFFF


def packet(
    payload: bytes,
    source: Endpoint,
    destination: Endpoint,
    *,
    ethernet: bytes = bytes.fromhex("020000000e02 020000000e01"),
    protocol: int = UDP,
    udp_length: int | None = None,
    checksum: bool = True,
    identifier: int = 0,
    fragment: int = 0x4000,
    options: bytes = b"",
    ttl: int = 64,
    version: int | None = None,
    padding: bytes = b"",
) -> bytes:
    """Ethernet, IPv4 or IPv6, UDP, payload, padding. ``ethernet``: the addresses. ``checksum``: of UDP; else 0.

    ``fragment``: the IPv4 field, don't-fragment by default. ``options``: of IPv4.
    """
    sender, receiver = (ipaddress.ip_address(each.host).packed for each in (source, destination))
    length = 8 + len(payload) if udp_length is None else udp_length
    head = source.port.to_bytes(2, "big") + destination.port.to_bytes(2, "big") + length.to_bytes(2, "big")
    check = udp_checksum(sender, receiver, head + bytes(2) + payload) if checksum else 0
    udp = head + check.to_bytes(2, "big") + payload
    if len(sender) == 16:
        first = (6 if version is None else version) << 28
        ip = first.to_bytes(4, "big") + len(udp).to_bytes(2, "big") + bytes([protocol, ttl]) + sender + receiver
        return ethernet + b"\x86\xdd" + ip + udp + padding
    size = 20 + len(options)
    first = (4 if version is None else version) << 4 | size // 4
    ip = bytes([first, 0]) + (size + len(udp)).to_bytes(2, "big") + identifier.to_bytes(2, "big")
    ip += fragment.to_bytes(2, "big") + bytes([ttl, protocol])
    rest = sender + receiver + options
    ip += internet_checksum(ip + bytes(2) + rest).to_bytes(2, "big") + rest
    return ethernet + b"\x08\x00" + ip + udp + padding


class Opened(NamedTuple):
    ethernet: bytes  # destination and source
    source: Endpoint
    destination: Endpoint
    payload: bytes


def take_apart(data: bytes) -> Opened:
    """Of a packet without options and padding. Fails where a length or a checksum is wrong."""
    ethertype, ip = data[12:14], data[14:]
    if ethertype == b"\x08\x00":
        assert ip[0] == 0x45 and ip[9] == UDP and internet_checksum(ip[:20]) == 0, "IPv4 header"
        assert int.from_bytes(ip[2:4], "big") == len(ip), "IPv4 total length"
        sender, receiver, udp = ip[12:16], ip[16:20], ip[20:]
    else:
        assert ethertype == b"\x86\xdd" and ip[0] >> 4 == 6 and ip[6] == UDP, "IPv6 header"
        assert int.from_bytes(ip[4:6], "big") == len(ip) - 40, "IPv6 payload length"
        sender, receiver, udp = ip[8:24], ip[24:40], ip[40:]
    assert int.from_bytes(udp[4:6], "big") == len(udp), "UDP length"
    check = int.from_bytes(udp[6:8], "big")
    if check or len(sender) == 16:
        assert check == udp_checksum(sender, receiver, udp[:6] + bytes(2) + udp[8:]), "UDP checksum"
    hosts = [str(ipaddress.ip_address(each)) for each in (sender, receiver)]
    ports = [int.from_bytes(udp[at : at + 2], "big") for at in (0, 2)]
    return Opened(data[:12], Endpoint(hosts[0], ports[0]), Endpoint(hosts[1], ports[1]), udp[8:])
