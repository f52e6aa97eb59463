"""News of the kernel's interfaces, addresses and routes."""

from __future__ import annotations

import socket
import struct
from enum import Flag

# linux/rtnetlink.h: RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE,
# RTMGRP_IPV4_RULE, RTNLGRP_IPV6_RULE
_GROUPS = 0x1 | 0x10 | 0x100 | 0x40 | 0x400 | 0x80 | 1 << 18
_ROUTE_MESSAGES = frozenset((24, 25, 32, 33))  # RTM_NEWROUTE, RTM_DELROUTE, RTM_NEWRULE, RTM_DELRULE
_HEADER = struct.Struct("=IHHII")


class Changes(Flag):
    """What has changed; details are to be asked from Netlink."""

    LINKS = 1  # or addresses
    ROUTES = 2  # or rules


NO_CHANGES = Changes(0)


class ChangeSocket:
    """Readable when a link, an address, a route or a rule changed."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        try:
            self._socket.bind((0, _GROUPS))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> Changes:
        seen = NO_CHANGES
        for _ in range(256):
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                break
            except OSError:  # ENOBUFS: messages were lost, which is news too
                return Changes.LINKS | Changes.ROUTES
            at = 0
            while at + _HEADER.size <= len(data):
                length, kind, *_ = _HEADER.unpack_from(data, at)
                seen |= Changes.ROUTES if kind in _ROUTE_MESSAGES else Changes.LINKS
                at += max(_HEADER.size, (length + 3) & ~3)
        return seen

    def close(self) -> None:
        self._socket.close()
