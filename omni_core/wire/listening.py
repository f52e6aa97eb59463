"""IGMP and MLD, as far as it is wanted: whether a frame is one, and from whom. What is listened to, the kernel's own
table says (io/multicast_groups.py). Total."""

from __future__ import annotations

from omni_core.types import Mac
from omni_core.wire.ethernet import EtherType, parse, transport

_IGMP, _ICMPV6 = 2, 58
_MLD_QUERY = 130  # RFC 3810, 5.1
_MLD_REPORTS = frozenset({131, 132, 143})  # RFC 2710, 3: report, done; RFC 3810, 5.2: report of version 2


def listening_from(frame: bytes) -> Mac | None:
    """Source MAC of a report (or leave) that says what a host listens to, or of a router's query; else None."""
    header, found = parse(frame), transport(frame)
    if header is None or found is None:
        return None
    if header.ethertype == EtherType.IPV4:
        return header.source if found.protocol == _IGMP else None
    if found.protocol == _ICMPV6 and found.offset < len(frame):
        kind = frame[found.offset]
        return header.source if kind in _MLD_REPORTS or kind == _MLD_QUERY else None
    return None
