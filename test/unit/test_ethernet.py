"""Inner Ethernet frames: literal bytes in, fields and look-up targets out."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from omni_core.constants import CONTROL_MAC
from omni_core.wire import ethernet

DST = bytes.fromhex("020000000001")
SRC = bytes.fromhex("020000000002")
ARP = "0001 0800 06 04"
WHO_HAS = f"{ARP} 0001 020000000002 0a4d0001 000000000000 0a4d0002"  # 10.77.0.1 asks for 10.77.0.2
IPV4_HEADER = "45 00 0014 0000 0000 40 11 0000 0a4d0001"
SOLICIT = (
    "6 0000000 0018 3a ff fd6f6d6e000000000000000000000001 ff0200000000000000000001ff000002"  # to solicited-node
    "87 00 0000 00000000 fd6f6d6e000000000000000000000002"
)


def frame(ethertype: str, payload: str = "", tags: str = "") -> bytes:
    return DST + SRC + bytes.fromhex(tags + ethertype + payload.replace(" ", ""))


@pytest.mark.parametrize(
    ("tags", "ethertype", "vlan", "offset"),
    [
        ("", "0800", 0, 14),
        ("", "88a4", 0, 14),
        ("", "0003", 0, 14),
        ("81000005", "0800", 5, 18),
        ("8100e005", "0800", 5, 18),
        ("8100ffff", "88f7", 4095, 18),
        ("8100c000", "8892", 0, 18),
        ("88a80123", "86dd", 0x123, 18),
        ("88a80123 81000005", "0806", 0x123, 22),
        ("88a80123 81000005 81000006", "0806", 0x123, 22),
    ],
)
def test_header(tags: str, ethertype: str, vlan: int, offset: int) -> None:
    data = frame(ethertype, "00" * 30, tags)
    expected = (DST, SRC, vlan, 0x8100 if len(tags) > 20 else int(ethertype, 16), offset)
    assert ethernet.parse(data) == expected
    assert ethernet.vlan_id(data) == vlan


@pytest.mark.parametrize("tail", ["8100", "8100 00", "8100 0005", "8100 0005 08", "88a8 0005 08"])
def test_a_tag_that_is_cut_off_is_no_tag(tail: str) -> None:
    data = DST + SRC + bytes.fromhex(tail)
    header = ethernet.parse(data)
    assert header == (DST, SRC, 0, int(tail[:4], 16), 14)
    assert ethernet.vlan_id(data) == 0


def test_too_short_is_no_frame() -> None:
    for size in range(14):
        assert ethernet.parse(bytes(size)) is None
    assert ethernet.parse(bytes(14)) == (bytes(6), bytes(6), 0, 0, 14)


@pytest.mark.parametrize("tags", ["", "81000005", "8100c000", "88a80005 81000006"])
@pytest.mark.parametrize(
    ("ethertype", "payload", "target"),
    [
        ("0806", WHO_HAS, "10.77.0.2"),
        ("0806", WHO_HAS + "00" * 18, "10.77.0.2"),  # padded to 60 bytes
        ("86dd", SOLICIT, "fd6f:6d6e::2"),
        ("86dd", SOLICIT + "0101020000000002", "fd6f:6d6e::2"),  # with the source link-layer option
        ("0800", IPV4_HEADER + "0a4d0002", "10.77.0.2"),
        ("86dd", "6000000000001140" + "00" * 16 + "fd6f6d6e000000000000000000000003", "fd6f:6d6e::3"),
    ],
)
def test_target_address(tags: str, ethertype: str, payload: str, target: str) -> None:
    assert ethernet.target_address(frame(ethertype, payload, tags)) == ip_address(target)


@pytest.mark.parametrize(
    ("why", "ethertype", "payload"),
    [
        ("ARP reply", "0806", WHO_HAS.replace("04 0001", "04 0002")),
        ("ARP for another hardware", "0806", WHO_HAS.replace("0001 0800", "0006 0800")),
        ("ARP for another protocol", "0806", WHO_HAS.replace("0001 0800", "0001 86dd")),
        ("ARP cut off", "0806", WHO_HAS[:-2]),
        ("ARP announcement", "0806", WHO_HAS.replace("0a4d0002", "0a4d0001")),
        ("ARP for 0.0.0.0", "0806", WHO_HAS.replace("0a4d0002", "00000000")),
        ("ARP for a multicast address", "0806", WHO_HAS.replace("0a4d0002", "e0000001")),
        ("IPv4 broadcast", "0800", IPV4_HEADER + "ffffffff"),
        ("IPv4 multicast", "0800", IPV4_HEADER + "efff0001"),
        ("IPv4 loopback", "0800", IPV4_HEADER + "7f000001"),
        ("IPv4 header cut off", "0800", IPV4_HEADER + "0a4d00"),
        ("IPv4 header length too small", "0800", IPV4_HEADER.replace("45", "44", 1) + "0a4d0002"),
        ("IPv4 options cut off", "0800", IPV4_HEADER.replace("45", "46", 1) + "0a4d0002"),
        ("IPv4 version", "0800", IPV4_HEADER.replace("45", "55", 1) + "0a4d0002"),
        ("IPv6 header cut off", "86dd", SOLICIT[:70]),
        ("another EtherType", "88a4", IPV4_HEADER + "0a4d0002"),
        ("no payload", "0800", ""),
    ],
)
def test_frames_that_look_for_nobody(why: str, ethertype: str, payload: str) -> None:
    assert ethernet.target_address(frame(ethertype, payload)) is None, why


@pytest.mark.parametrize(
    ("why", "changed"),
    [
        ("hop limit below 255: forwarded (RFC 4861, 7.1.1)", SOLICIT.replace("3a ff", "3a fe")),
        ("not ICMPv6", SOLICIT.replace("3a ff", "11 ff")),
        ("advertisement", SOLICIT.replace("87 00", "88 00")),
        ("code", SOLICIT.replace("87 00", "87 01")),
        ("multicast target", SOLICIT.replace("00000000 fd", "00000000 ff")),
        ("cut off", SOLICIT[:-2]),
        ("version", SOLICIT.replace("6 0000000", "4 0000000")),
    ],
)
def test_no_solicitation(why: str, changed: str) -> None:
    assert ethernet.solicited_target(frame("86dd", changed)) is None, why


def test_single_helpers() -> None:
    assert ethernet.arp_target(frame("0806", WHO_HAS)) == IPv4Address("10.77.0.2")
    assert ethernet.solicited_target(frame("86dd", SOLICIT)) == IPv6Address("fd6f:6d6e::2")
    assert ethernet.ip_destination(frame("86dd", SOLICIT)) == IPv6Address("ff02::1:ff00:2")
    assert ethernet.ip_destination(frame("0800", IPV4_HEADER + "ffffffff")) == IPv4Address("255.255.255.255")
    assert ethernet.ip_destination(frame("0806", WHO_HAS)) is None


def test_control_frames() -> None:
    assert ethernet.is_control(CONTROL_MAC + SRC + b"\x88\xb5")
    assert ethernet.is_control(CONTROL_MAC + SRC + b"\x88\xb5anything")
    assert not ethernet.is_control(CONTROL_MAC + SRC + b"\x88\xb6")
    assert not ethernet.is_control(DST + SRC + b"\x88\xb5")
    assert not ethernet.is_control(CONTROL_MAC + SRC + b"\x81\x00\x00\x05\x88\xb5"), "tagged"
    assert not ethernet.is_control(CONTROL_MAC)
