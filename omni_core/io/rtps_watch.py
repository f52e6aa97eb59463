"""What RTPS (DDS) crosses one interface while a check runs: frames as the wire has them, and what a socket gets of it.

Both, because a packet filter stands between: a frame that came and a socket that did not get it is a firewall here.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Collection

from omni_core.constants import RTPS_DOMAIN_GAIN, RTPS_PORT_BASE
from omni_core.dds.diagnosis import Wire

ETH_P_ALL = 0x0003  # linux/if_ether.h
PACKET_OUTGOING = 4  # linux/if_packet.h
UDP, IPV6_FRAGMENT = 17, 44  # IANA protocol numbers
RTPS_MAGIC = b"RTPS"
VENDORS = {b"\x01\x0f": "Fast DDS", b"\x01\x10": "Cyclone DDS", b"\x01\x01": "Connext"}  # OMG's list
SPDP_GROUP = "239.255.0.1"  # DDSI-RTPS 2.5, section 9.6.2.4
_STEP = 0.2  # s; how soon a watch ends


class RtpsWatch:
    """Context manager; ``seen`` is complete once it has ended."""

    def __init__(self, interface: str, vip4: str, peer: Collection[str], domain: int) -> None:
        """``peer``: its addresses; none: everybody. ``vip4``: "" where DDS uses IPv6.

        What cannot be opened is left out.
        """
        self.seen = Wire()
        self._domain = domain
        self._peer = {socket.inet_pton(socket.AF_INET6 if ":" in a else socket.AF_INET, a) for a in peer if a}
        self._peer_texts = {address for address in peer if address}
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        try:
            raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self._sockets.append(raw)
            raw.bind((interface, 0))
            self._threads.append(threading.Thread(target=self._watch_frames, args=(raw,)))
        except OSError:
            self.seen.frames = False
        if vip4:
            group = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._sockets.append(group)
            try:
                group.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                group.bind((SPDP_GROUP, RTPS_PORT_BASE + RTPS_DOMAIN_GAIN * domain))
                request = socket.inet_aton(SPDP_GROUP) + socket.inet_aton(vip4)
                group.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
                self._threads.append(threading.Thread(target=self._watch_group, args=(group,)))
                self.seen.listens = True
            except OSError:
                pass

    def __enter__(self) -> RtpsWatch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        for opened in self._sockets:
            opened.close()

    def _watch_frames(self, raw: socket.socket) -> None:
        raw.settimeout(_STEP)
        while not self._ended.is_set():
            try:
                frame, address = raw.recvfrom(256)
            except TimeoutError:
                continue
            except OSError:
                return  # the interface went
            count(frame, address[2] == PACKET_OUTGOING, self._domain, self._peer, self.seen)

    def _watch_group(self, group: socket.socket) -> None:
        group.settimeout(_STEP)
        while not self._ended.is_set():
            try:
                data, address = group.recvfrom(64)
            except (TimeoutError, OSError):
                continue
            if data.startswith(RTPS_MAGIC) and (not self._peer_texts or address[0] in self._peer_texts):
                self.seen.to_socket += 1


def count(frame: bytes, outgoing: bool, domain: int, peer: Collection[bytes], seen: Wire) -> None:
    """One Ethernet frame, of which the beginning is enough. ``peer``: its addresses, packed; none: everybody."""
    kind, at = struct.unpack_from("!H", frame, 12)[0] if len(frame) >= 14 else 0, 14
    if kind == 0x0800 and len(frame) >= at + 20:
        source, target, protocol = frame[at + 12 : at + 16], frame[at + 16 : at + 20], frame[at + 9]
        offset = struct.unpack_from("!H", frame, at + 6)[0]
        fragment, multicast, at = bool(offset & 0x3FFF), target[0] & 0xF0 == 0xE0, at + (frame[at] & 15) * 4
    elif kind == 0x86DD and len(frame) >= at + 40:
        source, target, protocol = frame[at + 8 : at + 24], frame[at + 24 : at + 40], frame[at + 6]
        fragment, multicast, at = protocol == IPV6_FRAGMENT, target[0] == 0xFF, at + 40
    else:
        return
    if fragment:
        seen.fragments += 1
        return
    if protocol != UDP or frame[at + 8 : at + 12] != RTPS_MAGIC or len(frame) < at + 16:
        return
    port = struct.unpack_from("!H", frame, at + 2)[0]
    ours = RTPS_PORT_BASE + RTPS_DOMAIN_GAIN * domain <= port < RTPS_PORT_BASE + RTPS_DOMAIN_GAIN * (domain + 1)
    if outgoing:
        seen.ours_multicast += multicast and ours
    elif not peer or source in peer:
        if multicast and port >= RTPS_PORT_BASE:
            seen.domains.add((port - RTPS_PORT_BASE) // RTPS_DOMAIN_GAIN)
        if ours:
            seen.vendors.add(VENDORS.get(frame[at + 14 : at + 16], "another DDS"))  # behind magic and version
            seen.peer_multicast += multicast
            seen.peer_unicast += not multicast
