"""Which peers get which group frames: the rule that every engine follows, and its oracle.

    broadcast, non-IP multicast, link-local groups     -> the whole flood set
    IGMP and MLD, to whatever group                    -> the whole flood set (RFC 4541, 2.1.1: routers listen to all)
    IP multicast to a group in ``groups``              -> the peers listed for (group MAC, UDP destination port), else
                                                          for (group MAC, 0); both intersected with the flood set
    IP multicast to any other group                    -> ``elsewhere``, intersected with the flood set

A group is known by its MAC address, as in any switch: 32 IPv4 groups share one (RFC 1112, 6.4), which only ever adds
receivers. Link-local groups, whose MAC is 01:00:5e:00:00:xx or 33:33:00:00:00:xx, and solicited-node groups
(33:33:ff:xx:xx:xx) are never pruned (RFC 4541, 2.1.2 and 3). Fragments other than the first have no port: (MAC, 0).

An IP packet is one by its EtherType, behind at most two VLAN tags, and by a group MAC of its kind. Its port is that of
a whole UDP header, in IPv6 perhaps behind one hop-by-hop header; behind other extension headers none is looked for.

What the Ganglion wants to see is *watched* (``is_watched``): with ``GroupPolicy.watch`` such frames from the local port
go to the Ganglion and nowhere else; it gives them back through ``frames_from_port`` when they are to be sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from omni_core.constants import RTPS_DOMAIN_GAIN, RTPS_PORT_BASE
from omni_core.types import Mac, PeerId
from omni_core.wire.ethernet import UDP_HEADER, EtherType, parse, transport, udp_port
from omni_core.wire.listening import is_listening

GroupKey: TypeAlias = tuple[Mac, int]  # group MAC, UDP destination port; port 0: any other, and what has no port


@dataclass(frozen=True)
class GroupPolicy:
    """Not to be changed once an engine has it: it tells by comparing whether there is anything new."""

    groups: Mapping[GroupKey, frozenset[PeerId]] = field(default_factory=dict)
    elsewhere: frozenset[PeerId] = frozenset()
    watch: bool = False


def targets(frame: bytes, flood: Sequence[PeerId], policy: GroupPolicy | None) -> tuple[PeerId, ...]:
    """The peers of ``flood``, in its order, that get this group frame. Total: junk goes to all."""
    key = group_key(frame) if policy is not None else None
    if policy is None or key is None:
        return tuple(flood)
    listed = policy.groups.get(key)
    if listed is None:
        listed = policy.groups.get((key[0], 0), policy.elsewhere)
    return tuple(peer for peer in flood if peer in listed)


def group_key(frame: bytes) -> GroupKey | None:
    """What a frame from the local port is looked up by; None: not pruned."""
    header = parse(frame)
    if header is None:
        return None
    mac = header.destination
    if header.ethertype == EtherType.IPV4:
        is_pruned = mac[0:3] == b"\x01\x00\x5e" and mac[3] < 0x80 and mac[3:5] != b"\0\0"
    elif header.ethertype == EtherType.IPV6:
        is_pruned = mac[0:2] == b"\x33\x33" and mac[2] != 0xFF and mac[2:5] != b"\0\0\0"
    else:
        is_pruned = False
    if not is_pruned:
        return None
    found = transport(frame)
    if found is None:
        return mac, 0
    return None if is_listening(frame, header.ethertype, found) else (mac, udp_port(frame, found))


def is_watched(frame: bytes) -> bool:
    """IGMP, MLD and RTPS discovery, to a group address: multicast (RFC 1112), or broadcast. Total: junk is not watched.

    RTPS discovery is UDP to the discovery port of a domain, and begins with "RTPS" (DDSI-RTPS 2.3, 8.3.3.1).
    """
    if not frame or not frame[0] & 1:
        return False
    header, found = parse(frame), transport(frame)
    if header is None or found is None:
        return False
    if is_listening(frame, header.ethertype, found):
        return True
    port = udp_port(frame, found)
    if port < RTPS_PORT_BASE or (port - RTPS_PORT_BASE) % RTPS_DOMAIN_GAIN:
        return False
    body = found.offset + UDP_HEADER
    return frame[body : body + 4] == b"RTPS"
