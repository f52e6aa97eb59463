"""The virtual hosts' frames, against bytes from elsewhere."""

from __future__ import annotations

from ipaddress import IPv4Address

from omni_core.sim.frames import Arp, Udp, arp, ethernet, parse_arp, parse_udp, udp

MAC_A, MAC_B = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
IP_A, IP_B = IPv4Address("10.77.0.1"), IPv4Address("10.77.0.2")


def test_arp_request_and_reply() -> None:
    request = arp(1, MAC_A, IP_A, MAC_B, IP_B)
    assert request == bytes.fromhex(
        "ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 0a4d0001 000000000000 0a4d0002"
    )
    assert parse_arp(request) == Arp(1, MAC_A, IP_A, bytes(6), IP_B)
    reply = arp(2, MAC_B, IP_B, MAC_A, IP_A)
    assert reply[:6] == MAC_A
    assert parse_arp(reply) == Arp(2, MAC_B, IP_B, MAC_A, IP_A)
    assert parse_udp(reply) is None


def test_udp() -> None:
    packet = Udp(IP_A, IP_B, 7400, 7401, b"payload")
    frame = udp(MAC_B, MAC_A, packet)
    assert parse_udp(frame) == packet
    assert parse_arp(frame) is None
    header = frame[14:34]
    assert sum(int.from_bytes(header[i : i + 2], "big") for i in range(0, 20, 2)) % 0xFFFF == 0, "RFC 1071"


def test_vlan_tag() -> None:
    assert ethernet(MAC_B, MAC_A, b"x", 0x0800, vlan=5) == MAC_B + MAC_A + bytes.fromhex("8100 0005 0800") + b"x"
