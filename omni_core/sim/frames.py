"""Test frames: Ethernet, ARP (RFC 826) and UDP over IPv4, built and taken apart just far enough for virtual hosts."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import NamedTuple

from omni_core.types import BROADCAST, Mac
from omni_core.wire.ethernet import EtherType, parse

TEST_ETHERTYPE = 0x88B6  # IEEE 802 local experimental 2

_ARP = struct.Struct("!HHBBH6s4s6s4s")
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_UDP = struct.Struct("!HHHH")
_UDP_PROTOCOL = 17


class Arp(NamedTuple):
    operation: int  # 1 request, 2 reply
    sender_mac: Mac
    sender: IPv4Address
    target_mac: Mac
    target: IPv4Address


class Udp(NamedTuple):
    source: IPv4Address
    destination: IPv4Address
    source_port: int
    port: int
    payload: bytes


def ethernet(
    destination: Mac, source: Mac, payload: bytes, ethertype: int = TEST_ETHERTYPE, vlan: int | None = None
) -> bytes:
    tag = b"" if vlan is None else struct.pack("!HH", 0x8100, vlan)
    return destination + source + tag + struct.pack("!H", ethertype) + payload


def arp(operation: int, sender_mac: Mac, sender: IPv4Address, target_mac: Mac, target: IPv4Address) -> bytes:
    """A request (operation 1) goes to all, a reply (2) to ``target_mac``."""
    asked = bytes(6) if operation == 1 else target_mac
    body = _ARP.pack(1, EtherType.IPV4, 6, 4, operation, sender_mac, sender.packed, asked, target.packed)
    return ethernet(BROADCAST if operation == 1 else target_mac, sender_mac, body, EtherType.ARP)


def udp(destination_mac: Mac, source_mac: Mac, packet: Udp) -> bytes:
    segment = _UDP.pack(packet.source_port, packet.port, _UDP.size + len(packet.payload), 0) + packet.payload
    head = (0x45, 0, _IPV4.size + len(segment), 0, 0, 64, _UDP_PROTOCOL)
    addresses = (packet.source.packed, packet.destination.packed)
    checksum = _checksum(_IPV4.pack(*head, 0, *addresses))
    return ethernet(destination_mac, source_mac, _IPV4.pack(*head, checksum, *addresses) + segment, EtherType.IPV4)


def parse_arp(frame: bytes) -> Arp | None:
    header = parse(frame)
    if header is None or header.ethertype != EtherType.ARP or len(frame) < header.payload + _ARP.size:
        return None
    _, _, _, _, operation, sender_mac, sender, target_mac, target = _ARP.unpack_from(frame, header.payload)
    return Arp(operation, sender_mac, IPv4Address(sender), target_mac, IPv4Address(target))


def parse_udp(frame: bytes) -> Udp | None:
    header = parse(frame)
    if header is None or header.ethertype != EtherType.IPV4:
        return None
    packet = frame[header.payload :]
    if len(packet) < _IPV4.size + _UDP.size or packet[0] != 0x45 or packet[9] != _UDP_PROTOCOL:
        return None
    source_port, port, length, _ = _UDP.unpack_from(packet, _IPV4.size)
    payload = packet[_IPV4.size + _UDP.size : _IPV4.size + length]
    return Udp(IPv4Address(packet[12:16]), IPv4Address(packet[16:20]), source_port, port, payload)


def _checksum(header: bytes) -> int:
    """RFC 1071, over an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total
