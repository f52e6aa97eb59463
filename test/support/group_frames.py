"""Group frames with what groups.py has to say of each, made by a builder; for tests of every engine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from support.inner_frames import HOP_BY_HOP, ICMP_V6, UDP, Packet

from omni_core.constants import ETHERNET_HEADER
from omni_core.dataplane.groups import GroupKey
from omni_core.types import BROADCAST, Mac

SOURCE: Mac = bytes.fromhex("02000000000a")
RTPS = b"RTPS\x02\x03\x01\x0f" + bytes(range(40))
TAG, SERVICE_TAG = (0x8100, 5), (0x88A8, 6)
IGMP, FRAGMENT = 2, 44
_ALERT = (HOP_BY_HOP, bytes.fromhex("00050200000000"))  # router alert: what MLD comes with (RFC 2711)
_OPTIONS = (HOP_BY_HOP, bytes([2]) + bytes(22))
_FIRST = (FRAGMENT, bytes.fromhex("000001 00000007"))
_MORE, _LATER = 0x2000, 0x2003


def group_mac(address: str) -> Mac:
    """RFC 1112, 6.4; RFC 2464, 7."""
    group = ip_address(address)
    if isinstance(group, IPv4Address):
        return bytes.fromhex("01005e") + (int(group) & 0x7FFFFF).to_bytes(3, "big")
    assert isinstance(group, IPv6Address)
    return b"\x33\x33" + group.packed[-4:]


def udp(address: str, port: int, payload: bytes = b"abcd", *, mac: Mac | None = None, **changes: object) -> bytes:
    """A UDP datagram to a group. ``changes``: of the Packet."""
    group = ip_address(address)
    fields: dict[str, object] = {
        "payload": payload,
        "version": group.version,
        "protocol": UDP,
        "macs": (mac or group_mac(address)) + SOURCE,
        "source": (IPv4Address("10.77.0.1") if group.version == 4 else IPv6Address("fd00::1")).packed,
        "destination": group.packed,
        "ports": (7411, port),
    }
    return Packet(**{**fields, **changes}).build()  # type: ignore[arg-type]


def other(address: str, protocol: int, body: bytes, **changes: object) -> bytes:
    """Of another protocol: UDP's header goes."""
    whole = udp(address, 0, body, protocol=UDP, **changes)
    packet = whole[: len(whole) - 8 - len(body)]
    data = bytearray(packet + body)
    at = data.index(UDP, len(packet) - 40 if ":" in address else len(packet) - 20)
    data[at] = protocol
    return bytes(data)


@dataclass(frozen=True)
class GroupFrame:
    name: str
    frame: bytes
    key: GroupKey | None  # what it is looked up by; None: never pruned
    watched: bool = False

    def __str__(self) -> str:
        return self.name


def _rows() -> list[GroupFrame]:
    spdp, spdp6, other4, other6 = "239.255.0.1", "ff15::7f00:1", "239.1.2.3", "ff05::1:3"
    mac, mac6, omac, omac6 = map(group_mac, (spdp, spdp6, other4, other6))
    rows = [
        GroupFrame("broadcast", udp("255.255.255.255", 7400, mac=BROADCAST), None),
        GroupFrame("broadcast with RTPS", udp("255.255.255.255", 7400, RTPS, mac=BROADCAST), None, True),
        GroupFrame("no IP: PTP", bytes.fromhex("011b19000000") + SOURCE + bytes.fromhex("88f7") + bytes(44), None),
        GroupFrame("no IP to an IPv4 group", omac + SOURCE + bytes.fromhex("88b6") + bytes(46), None),
        GroupFrame("no IP to an IPv6 group", omac6 + SOURCE + bytes.fromhex("88b6") + bytes(46), None),
        GroupFrame("IPv6 to a group of IPv4", udp(other6, 1, mac=omac), None),
        GroupFrame("IPv4 to a group of IPv6", udp(other4, 1, mac=omac6), None),
        GroupFrame("MPLS multicast's MAC", udp(other4, 1, mac=bytes.fromhex("01005e800001")), None),
        GroupFrame("three tags", udp(other4, 1, tags=(SERVICE_TAG, TAG, TAG)), None),
        GroupFrame("link-local, IPv4", udp("224.0.0.251", 5353), None),
        GroupFrame("a group that shares a link-local MAC", udp("239.128.0.5", 5000), None),
        GroupFrame("next to link-local, IPv4", udp("224.0.1.129", 319), (group_mac("224.0.1.129"), 319)),
        GroupFrame("link-local, IPv6", udp("ff02::fb", 5353), None),
        GroupFrame("solicited-node", other("ff02::1:ff00:2", ICMP_V6, b"\x87" + bytes(23)), None),
        GroupFrame("next to solicited-node", udp("ff02::1:fe00:2", 9), (group_mac("ff02::1:fe00:2"), 9)),
        GroupFrame("next to link-local, IPv6", udp("ff02::1:2", 547), (group_mac("ff02::1:2"), 547)),
        GroupFrame("group, IPv4", udp(other4, 5000), (omac, 5000)),
        GroupFrame("group, IPv6", udp(other6, 5000), (omac6, 5000)),
        GroupFrame("port 0", udp(other4, 0), (omac, 0)),
        GroupFrame("port 65535", udp(other4, 65535), (omac, 65535)),
        GroupFrame("no UDP, IPv4", other(other4, 47, bytes(30)), (omac, 0)),
        GroupFrame("no UDP, IPv6", other(other6, 47, bytes(30)), (omac6, 0)),
        GroupFrame("one tag", udp(other4, 5000, tags=(TAG,)), (omac, 5000)),
        GroupFrame("two tags", udp(other6, 5000, tags=(SERVICE_TAG, TAG)), (omac6, 5000)),
        GroupFrame("options, IPv4", udp(other4, 5000, ip_options=bytes(40)), (omac, 5000)),
        GroupFrame("hop-by-hop header", udp(other6, 5000, extensions=(_OPTIONS,)), (omac6, 5000)),
        GroupFrame("destination options", udp(other6, 5000, extensions=((60, bytes(7)),)), (omac6, 0)),
        GroupFrame("first fragment, IPv4", udp(other4, 5000, fragment=_MORE), (omac, 5000)),
        GroupFrame("later fragment, IPv4", udp(other4, 5000, fragment=_LATER), (omac, 0)),
        GroupFrame("fragment, IPv6", udp(other6, 5000, extensions=(_FIRST,)), (omac6, 0)),
        GroupFrame("IPv4 header cut", udp(other4, 5000)[: ETHERNET_HEADER + 19], (omac, 0)),
        GroupFrame("IPv6 header cut", udp(other6, 5000)[: ETHERNET_HEADER + 39], (omac6, 0)),
        GroupFrame("UDP header cut", udp(other4, 5000, b"")[:-1], (omac, 0)),
        GroupFrame("UDP header cut, IPv6", udp(other6, 5000, b"")[:-1], (omac6, 0)),
        GroupFrame("nothing behind the type", udp(other4, 5000)[:ETHERNET_HEADER], (omac, 0)),
        GroupFrame("SPDP, IPv4", udp(spdp, 7400, RTPS), (mac, 7400), True),
        GroupFrame("SPDP, IPv6", udp(spdp6, 7400, RTPS), (mac6, 7400), True),
        GroupFrame("SPDP of domain 7", udp(spdp, 7400 + 250 * 7, RTPS), (mac, 9150), True),
        GroupFrame("SPDP of domain 232", udp(spdp, 7400 + 250 * 232, RTPS), (mac, 65400), True),
        GroupFrame("SPDP, one tag", udp(spdp, 7650, RTPS, tags=(TAG,)), (mac, 7650), True),
        GroupFrame("SPDP, two tags", udp(spdp6, 7650, RTPS, tags=(SERVICE_TAG, TAG)), (mac6, 7650), True),
        GroupFrame("SPDP, options", udp(spdp, 7400, RTPS, ip_options=bytes(8)), (mac, 7400), True),
        GroupFrame("SPDP, hop-by-hop", udp(spdp6, 7400, RTPS, extensions=(_OPTIONS,)), (mac6, 7400), True),
        GroupFrame("SPDP to a link-local group", udp("224.0.0.5", 7400, RTPS), None, True),
        GroupFrame("SPDP, first fragment", udp(spdp, 7400, RTPS, fragment=_MORE), (mac, 7400), True),
        GroupFrame("SPDP, later fragment", udp(spdp, 7400, RTPS, fragment=_LATER), (mac, 0)),
        GroupFrame("RTPS and nothing behind", udp(spdp, 7400, b"RTPS"), (mac, 7400), True),
        GroupFrame("RTPS cut", udp(spdp, 7400, b"RTP"), (mac, 7400)),
        GroupFrame("no RTPS on its port", udp(spdp, 7400, b"RTPX" + RTPS), (mac, 7400)),
        GroupFrame("RTPS data of a domain", udp(spdp, 7401, RTPS), (mac, 7401)),
        GroupFrame("RTPS one below the base", udp(spdp, 7399, RTPS), (mac, 7399)),
        GroupFrame("RTPS 250 below the base", udp(spdp, 7150, RTPS), (mac, 7150)),
        GroupFrame("IGMP query", other("224.0.0.1", IGMP, b"\x11" + bytes(11)), None, True),
        GroupFrame("IGMPv3 report", other("224.0.0.22", IGMP, b"\x22" + bytes(15)), None, True),
        GroupFrame(
            "IGMPv2 report to the group", other(other4, IGMP, b"\x16" + bytes(7), ip_options=bytes(4)), None, True
        ),
        GroupFrame("IGMP, two tags", other("224.0.0.22", IGMP, bytes(8), tags=(SERVICE_TAG, TAG)), None, True),
    ]
    for kind, name, is_mld in (
        (130, "MLD query", True),
        (131, "MLD report", True),
        (132, "MLD done", True),
        (143, "MLDv2 report", True),
        (128, "ping", False),
        (142, "next to MLDv2", False),
    ):
        body = bytes([kind]) + bytes(23)
        key = None if is_mld else (omac6, 0)
        rows.append(GroupFrame(name, other(other6, ICMP_V6, body, extensions=(_ALERT,)), key, is_mld))
        rows.append(GroupFrame(f"{name} without an alert", other(other6, ICMP_V6, body), key, is_mld))
    report = other("ff02::16", ICMP_V6, b"\x8f" + bytes(27), extensions=(_ALERT,))
    rows.append(GroupFrame("MLDv2 report to all routers", report, None, True))
    rows.append(GroupFrame("MLD cut in front of its type", report[: ETHERNET_HEADER + 48], None))
    return rows


ROWS: Sequence[GroupFrame] = tuple(_rows())


def cut_or_flipped(draw: random.Random) -> bytes:
    """One of the rows, cut anywhere or with a few bytes changed, still long enough for an interface to carry it."""
    data = bytearray(draw.choice(ROWS).frame)
    for _ in range(draw.choice((0, 1, 1, 2, 4))):
        byte = draw.choice((0, 2, 5, 17, 44, 58, 0x45, 0x60, draw.randrange(256)))
        data[draw.randrange(12, min(len(data), 80))] = byte
    if draw.random() < 0.5:
        del data[draw.randrange(ETHERNET_HEADER, len(data) + 1) :]
    return bytes(data)
