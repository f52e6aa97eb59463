"""Which way this machine sends a UDP packet to an endpoint."""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

from omni_core.io.netlink.raw import RawNetlink, attribute, attributes, number
from omni_core.io.netlink.refusals import translated
from omni_core.types import Endpoint

_RTM_GETROUTE = 26
_RTN_UNICAST = 1
_RTA_DST, _RTA_SRC, _RTA_OIF, _RTA_PREFSRC, _RTA_METRICS = 1, 2, 4, 7, 8
_RTA_UID, _RTA_IP_PROTO, _RTA_SPORT, _RTA_DPORT = 25, 27, 28, 29
_RTAX_MTU = 2
_RTMSG = struct.Struct("=BBBBBBBBI")  # family, dst_len, src_len, tos, table, protocol, scope, type, flags
_SIOCGIFMTU = 0x8921
_IFREQ_NUMBER = struct.Struct("=16si20x")


class RouteInfo(NamedTuple):
    """The kernel's answer. ``source`` is the address that our packets carry; ``mtu`` of the path, as far as known."""

    ifindex: int
    source: str
    mtu: int  # bytes, IP packet


class RouteLookup:
    """Asks for routes from one UDP port, as our own socket's packets are routed (rules by user, protocol, ports too).

    Quick enough for an event loop. A context manager.
    """

    def __init__(self, port: int, listen: Sequence[str] = ()) -> None:
        """``listen``: the addresses that the sockets are bound to; empty: all. Raises SystemRefused."""
        self._port = port
        self._sources = {socket.AF_INET6 if ":" in address else socket.AF_INET: address for address in reversed(listen)}
        self._bound = bool(listen)
        with translated("network", "open a netlink socket"):
            self._netlink = RawNetlink()
        self._mtu_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def __enter__(self) -> RouteLookup:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Idempotent."""
        self._netlink.close()
        self._mtu_socket.close()

    def route_to(self, endpoint: Endpoint) -> RouteInfo | None:
        """None: there is no way now, it ends on this machine, or ``listen`` has no address of this family."""
        host, _, zone = endpoint.host.partition("%")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return None  # a name
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        if self._bound and family not in self._sources:
            return None
        bits = address.max_prefixlen
        wanted = attribute(_RTA_DST, address.packed)
        source_bits = 0
        if family in self._sources:
            wanted += attribute(_RTA_SRC, ipaddress.ip_address(self._sources[family]).packed)
            source_bits = bits
        if zone:
            wanted += number(_RTA_OIF, int(zone) if zone.isdigit() else socket.if_nametoindex(zone))
        precise = number(_RTA_UID, os.geteuid()) + attribute(_RTA_IP_PROTO, bytes([socket.IPPROTO_UDP]))
        precise += attribute(_RTA_SPORT, struct.pack("!H", self._port))
        precise += attribute(_RTA_DPORT, struct.pack("!H", endpoint.port))
        header = _RTMSG.pack(family, bits, source_bits, 0, 0, 0, 0, 0, 0)
        try:
            try:
                answer = self._netlink.request(_RTM_GETROUTE, 0, header + wanted + precise)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                    raise
                answer = self._netlink.request(_RTM_GETROUTE, 0, header + wanted)  # before Linux 4.19
            return self._read(answer, address.version)
        except OSError:
            return None  # unreachable now, prohibited, or the device has just gone

    def _read(self, answer: bytes, version: int) -> RouteInfo | None:
        found = dict(attributes(answer[_RTMSG.size :]))
        if _RTMSG.unpack_from(answer)[7] != _RTN_UNICAST or _RTA_OIF not in found:
            return None
        (index,) = struct.unpack("=I", found[_RTA_OIF])
        source = found.get(_RTA_PREFSRC) or found.get(_RTA_SRC)
        text = (
            str(ipaddress.ip_address(source))
            if source
            else self._sources.get(socket.AF_INET if version == 4 else socket.AF_INET6, "")
        )
        if not text:
            return None
        mtu = self._link_mtu(index)
        of_route = dict(attributes(found.get(_RTA_METRICS, b""))).get(_RTAX_MTU)
        if of_route:
            mtu = min(mtu, struct.unpack("=I", of_route)[0])
        return RouteInfo(index, text, mtu)

    def _link_mtu(self, index: int) -> int:
        request = _IFREQ_NUMBER.pack(socket.if_indextoname(index).encode(), 0)
        mtu: int = _IFREQ_NUMBER.unpack(fcntl.ioctl(self._mtu_socket, _SIOCGIFMTU, request))[1]
        return mtu
