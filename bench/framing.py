"""What is left of a link for TCP payload once every header is paid for.

On an Ethernet with an MTU of 1,500 a full frame takes 1,538 bytes of the link: preamble 8, Ethernet header 14, packet
1,500, FCS 4, gap 12. Inside, our overlay's MTU is 1,500 - 20 - 8 - 24 - 16 - 14 = 1,418; IPv4, TCP and its timestamps
take 52 of that. So 1,366 of 1,538 bytes are payload: 888 Mbit/s of 1 Gbit/s. Raw: 1,448 of 1,538, 941 Mbit/s.
"""

from __future__ import annotations

from omni_core.constants import ETHERNET_HEADER, IPV4_HEADER

PREAMBLE, FCS, GAP = 8, 4, 12  # bytes around each frame on the wire (IEEE 802.3, 3.1.1 and 4.4.2)
UNSEEN = PREAMBLE + FCS + GAP  # of which a queueing discipline knows nothing
UNDERLAY_MTU = 1500
WIRE_BYTES = UNSEEN + ETHERNET_HEADER + UNDERLAY_MTU  # 1,538
TCP_HEADER, TCP_TIMESTAMPS = 20, 12  # RFC 9293 section 3.1, RFC 7323 section 3.2 padded to 12


def tcp_payload(mtu: int) -> int:
    """Bytes of TCP payload over IPv4 in a full packet of the interface that the application sees."""
    return mtu - IPV4_HEADER - TCP_HEADER - TCP_TIMESTAMPS


def tcp_limit(rate: float, mtu: int) -> float:
    """Goodput on a link of ``rate`` (same unit) when each full inner packet becomes one full underlay packet.

    ``mtu`` is the inner one. Subjects choose it so that this holds (to a few bytes, where their cipher pads).
    """
    return rate * tcp_payload(mtu) / WIRE_BYTES
