"""IGMP and MLD, as far as it is wanted: whether a frame is one, and from whom. What is listened to, the kernel's own
table says (io/multicast_groups.py). Total."""

from __future__ import annotations

from omni_core.types import Mac
from omni_core.wire.ethernet import EtherType, Transport, parse, transport

_IGMP, _ICMPV6 = 2, 58
_MLD = frozenset({130, 131, 132, 143})  # RFC 2710, 3: query, report, done; RFC 3810, 5.2: report of version 2


def is_listening(frame: bytes, ethertype: int, found: Transport) -> bool:
    """IGMP or MLD: a host says, or a router asks, which groups are listened to."""
    if ethertype == EtherType.IPV4:
        return found.protocol == _IGMP
    return found.protocol == _ICMPV6 and found.offset < len(frame) and frame[found.offset] in _MLD


def listening_from(frame: bytes) -> Mac | None:
    """Source MAC of a report (or leave) that says what a host listens to, or of a router's query; else None."""
    header, found = parse(frame), transport(frame)
    if header is None or found is None:
        return None
    return header.source if is_listening(frame, header.ethertype, found) else None
