"""How large an RTPS message may be, so that IP never cuts it on the overlay.

One lost IP fragment loses the whole datagram, and holds memory for ``net.ipv4.ipfrag_time``; DDS itself cuts samples
into numbered fragments of its own and repairs single ones. So the limit belongs into DDS.
"""

from __future__ import annotations

from omni_core.errors import ConfigError

IPV4_HEADER = 20  # bytes; RFC 791, without options
IPV6_HEADER = 40  # RFC 8200, without extension headers
UDP_HEADER = 8  # RFC 768

# OMG DDSI-RTPS 2.5, sections 9.4.4 (header) and 9.4.5 (submessages, each with its 4 byte header).
RTPS_HEADER = 20
INFO_TS = 12
INFO_DST = 16
DATA_FRAG = 36
INLINE_QOS = 12  # status info, and the list's end
HEARTBEAT = 32  # asked for with the data
FRAGMENT_OVERHEAD = RTPS_HEADER + INFO_TS + INFO_DST + DATA_FRAG + INLINE_QOS + HEARTBEAT

FRAGMENT_MIN = 1025  # bytes; DDSI-RTPS 2.5, section 8.4.14.1.1: a fragment is longer than 1 kB
MTU_MIN = 1280  # bytes; RFC 8200, section 5: every IPv6 link carries that
MTU_MAX = 65535


def message_size(mtu: int, *, ipv6: bool) -> int:
    """Bytes of the largest UDP payload that fits into one IP packet of ``mtu`` bytes. Raises ConfigError("mtu")."""
    if not MTU_MIN <= mtu <= MTU_MAX:
        raise ConfigError("mtu", f"{mtu} is out of range {MTU_MIN}..{MTU_MAX}", "give the MTU of the overlay interface")
    return mtu - (IPV6_HEADER if ipv6 else IPV4_HEADER) - UDP_HEADER


def fragment_size(message: int) -> int:
    """Bytes of a sample in one DATA_FRAG, so that the message around it has ``message`` bytes at most; whole words."""
    return max(FRAGMENT_MIN + 3, message - FRAGMENT_OVERHEAD) & ~3
