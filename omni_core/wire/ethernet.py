"""Inner Ethernet frames, as far as switching and address look-ups need them.

     0             6        12      14                     12      14    16      18
     | destination | source | type  | payload  ...  or ... | TPID  | TCI | type  | payload      (tags may be stacked)

Every function here is total: any bytes give an answer, junk gives None or 0, and nothing raises. Frames come from the
local port or out of an authenticated packet, and in both cases their contents are somebody else's.
"""

from __future__ import annotations

from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from omni_core.constants import CONTROL_ETHERTYPE, CONTROL_MAC, ETHERNET_HEADER
from omni_core.types import Mac, Vip

VLAN_TAG = 4  # bytes of TPID and TCI
TPIDS = frozenset({b"\x81\x00", b"\x88\xa8"})  # IEEE 802.1Q customer tag, 802.1ad service tag
_MAX_TAGS = 2  # 802.1ad: one service tag around one customer tag

_CONTROL_TYPE = CONTROL_ETHERTYPE.to_bytes(2, "big")
_ARP_IPV4_REQUEST = bytes.fromhex("0001 0800 06 04 0001")  # RFC 826: Ethernet, IPv4, sizes 6 and 4, request
_ARP_SIZE = 28
_IPV6_HEADER = 40
_HOP_BY_HOP = 0
_UDP, _ICMPV6 = 17, 58
UDP_HEADER = 8  # bytes
_NEIGHBOUR_SOLICITATION = 135
_SOLICITATION_SIZE = 24
_LIMITED_BROADCAST = IPv4Address("255.255.255.255")


class EtherType(IntEnum):
    """Those that the overlay looks into. All others are carried unread."""

    IPV4 = 0x0800
    ARP = 0x0806
    IPV6 = 0x86DD
    CONTROL = CONTROL_ETHERTYPE


class EthernetHeader(NamedTuple):
    destination: Mac
    source: Mac
    vlan: int  # VLAN id of the outer tag; 0: untagged or priority-tagged
    ethertype: int  # behind the tags; below 0x0600 it is an IEEE 802.3 length
    payload: int  # offset of the first byte behind ``ethertype``


class Transport(NamedTuple):
    """Where the IP headers end."""

    protocol: int  # IPv4 protocol; IPv6 next header, looked for behind one hop-by-hop header
    offset: int  # in the frame, perhaps behind its end
    is_first: bool  # False: a later fragment of an IPv4 packet, so no transport header is there


def parse(frame: bytes) -> EthernetHeader | None:
    """None when the frame is shorter than an Ethernet header.

    A tag that is cut off is no tag: the frame counts as untagged with the TPID as its EtherType, and is carried like
    any other.
    """
    if len(frame) < ETHERNET_HEADER:
        return None
    payload = _payload_offset(frame)
    ethertype = int.from_bytes(frame[payload - 2 : payload], "big")
    return EthernetHeader(frame[0:6], frame[6:12], vlan_id(frame), ethertype, payload)


def vlan_id(frame: bytes) -> int:
    """VLAN id (0..4095) of the outer 802.1Q or 802.1ad tag; 0 when there is none.

    Id 0 marks a priority tag (IEEE 802.1Q, table 9-2), which PROFINET puts on its frames: such a frame belongs to no
    VLAN and shares the table entry of untagged ones.
    """
    if frame[12:14] in TPIDS and len(frame) >= ETHERNET_HEADER + VLAN_TAG:
        return (frame[14] & 0x0F) << 8 | frame[15]
    return 0


def is_control(frame: bytes) -> bool:
    """In-session control: EtherType 0x88B5 to the reserved MAC, untagged."""
    return frame[0:6] == CONTROL_MAC and frame[12:14] == _CONTROL_TYPE


def target_address(frame: bytes) -> Vip | None:
    """The IP address that this frame looks for: target of an ARP request or solicitation, else the IP destination.

    None when there is none, or it is not one host's: multicast, broadcast, loopback, unspecified.
    """
    return arp_target(frame) or solicited_target(frame) or _host(ip_destination(frame))


def arp_target(frame: bytes) -> IPv4Address | None:
    """Target of an ARP request (RFC 826). None for an announcement (RFC 5227: target = sender), which asks nothing."""
    body = _payload_of(frame, EtherType.ARP)
    if len(body) < _ARP_SIZE or body[0:8] != _ARP_IPV4_REQUEST:
        return None
    sender, target = body[14:18], body[24:28]
    if sender == target:
        return None
    address = IPv4Address(target)
    return address if _is_host(address) else None


def solicited_target(frame: bytes) -> IPv6Address | None:
    """Target of an IPv6 neighbour solicitation (RFC 4861, 4.3 and the checks of 7.1.1 but for the checksum)."""
    packet = _payload_of(frame, EtherType.IPV6)
    if len(packet) < _IPV6_HEADER + _SOLICITATION_SIZE or packet[0] >> 4 != 6:
        return None
    next_header, hop_limit = packet[6], packet[7]
    kind, code = packet[_IPV6_HEADER], packet[_IPV6_HEADER + 1]
    if next_header != _ICMPV6 or hop_limit != 255 or kind != _NEIGHBOUR_SOLICITATION or code != 0:
        return None
    address = IPv6Address(packet[_IPV6_HEADER + 8 : _IPV6_HEADER + 24])
    return address if _is_host(address) else None


def ip_destination(frame: bytes) -> Vip | None:
    """Destination address of an IPv4 or IPv6 packet, of whatever kind; None when the frame holds no whole IP header."""
    packet = _payload_of(frame, EtherType.IPV4)
    if packet:
        header_length = (packet[0] & 0x0F) * 4
        if packet[0] >> 4 == 4 and 20 <= header_length <= len(packet):
            return IPv4Address(packet[16:20])
        return None
    packet = _payload_of(frame, EtherType.IPV6)
    if len(packet) >= _IPV6_HEADER and packet[0] >> 4 == 6:
        return IPv6Address(packet[24:40])
    return None


def transport(frame: bytes) -> Transport | None:
    """None when the frame holds no whole IP header. Extension headers of IPv6 other than hop-by-hop (RFC 8200, 4.3)
    are not followed: the protocol is then theirs."""
    packet = _payload_of(frame, EtherType.IPV4)
    if packet:
        header_length = (packet[0] & 0x0F) * 4
        if packet[0] >> 4 != 4 or not 20 <= header_length <= len(packet):
            return None
        is_first = not (packet[6] & 0x1F or packet[7])
        return Transport(packet[9], len(frame) - len(packet) + header_length, is_first)
    packet = _payload_of(frame, EtherType.IPV6)
    if len(packet) < _IPV6_HEADER or packet[0] >> 4 != 6:
        return None
    protocol, offset = packet[6], _IPV6_HEADER
    if protocol == _HOP_BY_HOP:
        if len(packet) < _IPV6_HEADER + 8:
            return None
        protocol, offset = packet[offset], offset + 8 * (packet[offset + 1] + 1)
    return Transport(protocol, len(frame) - len(packet) + offset, True)


def udp_port(frame: bytes, found: Transport) -> int:
    """Destination port; 0 when there is no whole UDP header."""
    if found.protocol != _UDP or not found.is_first or len(frame) < found.offset + UDP_HEADER:
        return 0
    return int.from_bytes(frame[found.offset + 2 : found.offset + 4], "big")


def _payload_offset(frame: bytes) -> int:
    offset = ETHERNET_HEADER
    for _ in range(_MAX_TAGS):
        if frame[offset - 2 : offset] not in TPIDS or len(frame) < offset + VLAN_TAG:
            break
        offset += VLAN_TAG
    return offset


def _payload_of(frame: bytes, ethertype: EtherType) -> bytes:
    """Payload of a frame of that EtherType; empty for all others."""
    if len(frame) < ETHERNET_HEADER:
        return b""
    offset = _payload_offset(frame)
    if int.from_bytes(frame[offset - 2 : offset], "big") != ethertype:
        return b""
    return frame[offset:]


def _is_host(address: Vip) -> bool:
    if address.is_multicast or address.is_loopback or address.is_unspecified:
        return False
    return address != _LIMITED_BROADCAST


def _host(address: Vip | None) -> Vip | None:
    return address if address is not None and _is_host(address) else None
