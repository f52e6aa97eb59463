"""UDP sockets with many loopback addresses each: every edge has one of its own in 127.0.0.0/8, so that a Nucleus sees
as many hosts as there are edges, from a handful of sockets. The sockets are bound to the device lo.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable

from omni_core.types import Endpoint

_IP_PKTINFO = 8  # ip(7); not in python's socket module before 3.14
_PKTINFO = struct.Struct("=I4s4s")  # struct in_pktinfo: interface, local address, destination
_SO_BINDTODEVICE = 25
_SO_RCVBUFFORCE = 33
_BUFFER = 8 << 20  # bytes; what is lost is to be lost by the Nucleus
_BATCH = 128  # datagrams a wake-up, so that timers get their turn
_ANCILLARY = socket.CMSG_SPACE(_PKTINFO.size)

Receiver = Callable[[bytes, bytes, Endpoint], None]  # (local address, 4 bytes; datagram; source)


class LoopbackPorts:
    """``take`` gives the port that an address sends from. Needs a running event loop; ``close`` it."""

    def __init__(self, count: int, receiver: Receiver) -> None:
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._endpoints: dict[tuple[str, int], Endpoint] = {}
        self._sockets = [_socket() for _ in range(count)]
        self.ports = [sock.getsockname()[1] for sock in self._sockets]
        for sock in self._sockets:
            self._loop.add_reader(sock.fileno(), self._readable, sock)
        self.sent = self.received = self.refused = 0
        self.seen: list[tuple[bytes, int, bytes]] | None = None  # a list: what is sent is kept there, to replay it

    def send(self, data: bytes, at: int, source: bytes, destination: Endpoint) -> None:
        """From socket number ``at`` and the address ``source``. What the socket does not take is lost."""
        if self.seen is not None:
            self.seen.append((data, at, source))
        info = [(socket.IPPROTO_IP, _IP_PKTINFO, _PKTINFO.pack(0, source, b"\0\0\0\0"))]
        try:
            self._sockets[at].sendmsg([data], info, 0, destination)
            self.sent += 1
        except OSError:
            self.refused += 1

    def close(self) -> None:
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())
            sock.close()

    def _readable(self, sock: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                data, ancillary, _, source = sock.recvmsg(2048, _ANCILLARY)
            except BlockingIOError:
                return
            except OSError:
                continue
            endpoint = self._endpoints.get(source)
            if endpoint is None:
                endpoint = self._endpoints[source] = Endpoint(*source)
            self.received += 1
            for _, kind, value in ancillary:
                if kind == _IP_PKTINFO:
                    self._receiver(_PKTINFO.unpack(value)[2], data, endpoint)


def _socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, b"lo\0")
    sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    with contextlib.suppress(PermissionError):  # the limit of net.core.rmem_max holds for others
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    sock.bind(("0.0.0.0", 0))
    return sock
