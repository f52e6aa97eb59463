"""The underlay sockets: one IPv4 and one IPv6 UDP socket on one port, drained and filled in batches.

Receive  UDP_GRO hands over several equal datagrams of one sender in one call; they are cut apart here.
Send     runs of equal datagrams to one destination go out in one call with UDP_SEGMENT.
Both fall back to plain calls where the kernel, the device or the path MTU refuses (udp(7), linux/udp.h).

The port may be shared with a native engine, which then gets the data (udp_group.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from omni_core.dataplane.port import Datagram
from omni_core.drops import DropCounters, DropReason
from omni_core.errors import OmniError
from omni_core.io import udp_group
from omni_core.io.udp_bind import BURST_BUFFER, bind_again, bind_all, enlarge_receive_buffer

_UDP_SEGMENT = 103
_UDP_GRO = 104

RECEIVE_MAX = 65535  # a GRO super-datagram is never longer
RECEIVE_CALLS = 32  # receive calls per wake-up, so that timers and the TAP get their turn
DISCARD_BATCHES = 1024  # a flood must not hold up the start
SEGMENTS_MAX = 64  # UDP_MAX_SEGMENTS of kernels before 6.9
RUN_BYTES_MAX = 64000  # of one segmented send: below 65,535 less the headers
# A receiver behind a veth with XDP in generic mode sees the run whole; it tells it from one packet by the MTU.
RUN_BYTES_MIN = 1500
PENDING_MAX = 2048  # datagrams kept while a socket is full; more would only be delay
ROUTES_MAX = 4096  # destinations remembered; the oldest is forgotten

_GRO_SPACE = socket.CMSG_SPACE(struct.calcsize("i"))

Receiver: TypeAlias = Callable[[list[Datagram]], None]
_Address: TypeAlias = tuple[str, int]


class _Route:
    """How to reach one destination: the socket, the address as the socket wants it, the longest segment that works."""

    __slots__ = ("address", "segment_max", "sock")

    def __init__(self, sock: socket.socket | None, address: tuple[str, int] | tuple[str, int, int, int]) -> None:
        self.sock = sock
        self.address = address
        self.segment_max = RECEIVE_MAX


class UdpPort:
    """All underlay sockets of one process. Bind first; ``start`` when somebody wants the datagrams."""

    def __init__(self, sockets: Sequence[socket.socket], *, segmentation: bool = True) -> None:
        """Takes the bound sockets over. ``segmentation=False`` leaves UDP_GRO and UDP_SEGMENT alone."""
        self.port: int = sockets[0].getsockname()[1]
        self.drops = DropCounters()
        self._view = memoryview(bytearray(RECEIVE_MAX))
        self._segmentation = segmentation
        self._merging = segmentation
        self._pending: deque[Datagram] = deque()
        self._full: socket.socket | None = None  # the socket that the pending datagrams wait for
        self._loop: asyncio.AbstractEventLoop | None = None
        self._receiver: Receiver | None = None
        self._on_drained: Callable[[], None] | None = None
        self._use(sockets)

    def _use(self, sockets: Sequence[socket.socket]) -> None:
        self._sockets = list(sockets)
        self._by_family: dict[int, socket.socket] = {}
        for sock in self._sockets:
            self._by_family.setdefault(sock.family, sock)
        self._many = len(self._by_family) < len(self._sockets)
        self._routes: dict[_Address, _Route] = {}
        if self._merging:
            self.set_merging(True)

    @classmethod
    def open(cls, port: int, addresses: Sequence[str] = (), *, joins: bool = False) -> UdpPort:
        """Bind every address of ``addresses`` (none: all IPv4 and all IPv6 ones) to one port; 0 picks a free one.

        ``joins``: beside a native engine of ours that lives; say ``steer`` then, or ``reopen`` where it is not there.
        Raises ConfigError("listen_port" or "listen_address") or SystemRefused; nothing is left open.
        """
        return cls(bind_all(port, addresses, joins=joins))

    def set_merging(self, on: bool) -> None:
        """Whether the kernel may merge datagrams on their way here. Alike for all who share the port."""
        self._merging = on
        for sock in self._sockets:
            with contextlib.suppress(OSError):  # before Linux 5.0
                sock.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, on)

    def expect_bursts(self) -> None:
        """Thousands may send to us in one moment: room for them while we work."""
        for sock in self._sockets:
            enlarge_receive_buffer(sock, BURST_BUFFER)

    def receive_unmerged(self) -> None:
        """The kernel is not to merge datagrams on their way here: somebody looks at them before the socket does."""
        self.set_merging(False)

    def share(self, workers: int, *, bulk: bool = False) -> list[socket.socket]:
        """Make place for a native engine, in place of one that has ended or as the first.

        Returns the sockets of its workers: for worker 0 one on each address, then worker 1 ... The caller hands them
        over and closes them, also where nothing comes of it (then ``unshare``). ``bulk``: as in udp_group.py. Our own
        sockets are others afterwards; what waited there is received first. Raises SystemRefused or ConfigError; the
        port is then as ``reopen`` leaves it.
        """
        waiting: list[Datagram] = []
        groups: list[list[socket.socket]] = []
        own: list[socket.socket] = []
        before = [(sock.family, sock.getsockname()) for sock in self._sockets]
        self._unwatch()
        try:
            for sock in self._sockets:
                theirs, mine = udp_group.bind_group(sock, workers, lambda old: waiting.extend(self.receive(old)))
                groups.append(theirs)
                own.append(mine)
                udp_group.steer(mine, workers, bulk=bulk)
        except OmniError:
            for sock in (*own, *(sock for group in groups for sock in group)):
                sock.close()
            self._bind_again(before)
            raise
        self._go_on(own)
        if waiting and self._receiver is not None:
            self._receiver(waiting)  # among them may be an answer that its sender would repeat after seconds only
        return [group[worker] for worker in range(workers) for group in groups]

    def steer(self, workers: int, *, bulk: bool = False) -> None:
        """The same for an engine that lives and was joined. Raises SystemRefused."""
        for sock in self._sockets:
            udp_group.steer(sock, workers, bulk=bulk)

    def unshare(self) -> None:
        """The engine has ended, or never came: the port is only ours again."""
        for sock in self._sockets:
            udp_group.leave_group(sock)

    def reopen(self) -> None:
        """The engine that was joined is not there. For us alone, then. Raises ConfigError("listen_port") when somebody
        else has the port: then it is closed."""
        before = [(sock.family, sock.getsockname()) for sock in self._sockets]
        self._unwatch()
        self._bind_again(before)

    def _bind_again(self, addresses: Sequence[tuple[int, tuple[Any, ...]]]) -> None:
        for sock in self._sockets:
            sock.close()
        self._use(())
        bound: list[socket.socket] = []
        try:
            for family, address in addresses:
                bound.append(bind_again(family, address))
        except OmniError:
            for sock in bound:
                sock.close()
            raise
        self._go_on(bound)

    def _go_on(self, sockets: Sequence[socket.socket]) -> None:
        self._use(sockets)
        self._watch()
        if self._on_drained is not None:
            self._on_drained()  # who waited for a full socket waits no more

    @property
    def families(self) -> frozenset[int]:
        return frozenset(self._by_family)

    @property
    def congested(self) -> bool:
        """True while datagrams wait for a full socket: read no more from the TAP, so that its queue pushes back."""
        return bool(self._pending)

    def start(self, receiver: Receiver, on_drained: Callable[[], None] | None = None) -> None:
        """Hand datagrams to ``receiver`` from now on. What came before is stale and thrown away. Idempotent.

        ``on_drained`` is called each time ``congested`` ends.
        """
        self._loop = asyncio.get_running_loop()
        self._receiver, self._on_drained = receiver, on_drained
        for sock in self._sockets:
            for _ in range(DISCARD_BATCHES):
                if not self.receive(sock):
                    break
        self._watch()

    def _watch(self) -> None:
        if self._loop is not None and self._receiver is not None:
            for sock in self._sockets:
                self._loop.add_reader(sock.fileno(), self._on_readable, sock, self._receiver)

    def stop(self) -> None:
        """Idempotent. What still waits for a full socket is dropped and counted."""
        self._unwatch()
        self._loop = self._receiver = None

    def _unwatch(self) -> None:
        if self._loop is None:
            return
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())
        self._stop_waiting()
        self._drop(len(self._pending))
        self._pending.clear()

    def close(self) -> None:
        """Idempotent."""
        self.stop()
        for sock in self._sockets:
            sock.close()

    # --- receiving ----------------------------------------------------------------------------------------------

    def _on_readable(self, sock: socket.socket, receiver: Receiver) -> None:
        datagrams = self.receive(sock)
        if datagrams:
            receiver(datagrams)

    def receive(self, sock: socket.socket) -> list[Datagram]:
        """What waits on one socket, up to a bound. Errors that ICMP left on it are skipped: they concern one peer."""
        datagrams: list[Datagram] = []
        view = self._view
        for _ in range(RECEIVE_CALLS):
            try:
                length, ancillary, _flags, address = sock.recvmsg_into((view,), _GRO_SPACE)
            except BlockingIOError:
                break
            except OSError:
                continue
            source = address[:2]
            if self._many:
                self._route(source).sock = sock  # answer on the socket that heard it
            size = _gro_size(ancillary) if ancillary else 0
            if 0 < size < length:
                datagrams.extend((bytes(view[at : min(at + size, length)]), source) for at in range(0, length, size))
            else:
                datagrams.append((bytes(view[:length]), source))
        return datagrams

    # --- sending ------------------------------------------------------------------------------------------------

    def send(self, datagrams: Sequence[Datagram]) -> None:
        """Never raises and never blocks. What cannot be sent is counted SEND_FAILED; what must wait, waits bounded."""
        sent = 0 if self._pending else self._send_now(datagrams)
        if sent == len(datagrams):
            return
        room = PENDING_MAX - len(self._pending) if self._loop is not None else 0
        self._pending.extend(datagrams[sent : sent + room])
        self._drop(max(0, len(datagrams) - sent - room))

    def _send_now(self, datagrams: Sequence[Datagram]) -> int:
        """Send in order until a socket is full; returns how many are dealt with."""
        at, end = 0, len(datagrams)
        while at < end:
            payload, destination = datagrams[at]
            route = self._routes.get(destination) or self._route(destination)
            sock = route.sock
            if sock is None:
                self._drop(1)
                at += 1
                continue
            count = _run_length(datagrams, at, end) if self._segmentation and len(payload) <= route.segment_max else 1
            try:
                if count > 1:
                    segment = [(socket.IPPROTO_UDP, _UDP_SEGMENT, struct.pack("H", len(payload)))]
                    sock.sendmsg([data for data, _ in datagrams[at : at + count]], segment, 0, route.address)
                else:
                    sock.sendto(payload, route.address)
            except BlockingIOError:
                self._wait_for(sock)
                return at
            except OSError as error:
                if count > 1 and error.errno in (errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.EOPNOTSUPP):
                    # EINVAL: the segment exceeds the path MTU. EIO: no checksum offload below; others: old kernels.
                    route.segment_max = len(payload) - 1 if error.errno == errno.EINVAL else 0
                    continue
                self._drop(count)
            at += count
        return at

    def _route(self, destination: _Address) -> _Route:
        route = self._routes.get(destination)
        if route is None:
            if len(self._routes) >= ROUTES_MAX:
                del self._routes[next(iter(self._routes))]
            route = self._routes[destination] = self._make_route(destination)
        return route

    def _make_route(self, destination: _Address) -> _Route:
        """Only numeric addresses pass: a name here would make the event loop wait for DNS."""
        host, port = destination
        bare, _, zone = host.partition("%")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            socket.inet_pton(family, bare)
            if not 1 <= port <= 65535:
                raise ValueError(port)
            if not zone:
                return _Route(self._by_family.get(family), (bare, port))
            scope = int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
            return _Route(self._by_family.get(family), (bare, port, 0, scope))
        except (OSError, ValueError):
            return _Route(None, destination)

    def _wait_for(self, sock: socket.socket) -> None:
        if self._loop is not None:
            self._full = sock
            self._loop.add_writer(sock.fileno(), self._on_writable)

    def _on_writable(self) -> None:
        self._stop_waiting()
        for _ in range(self._send_now(list(self._pending))):
            self._pending.popleft()
        if not self._pending and self._on_drained is not None:
            self._on_drained()

    def _stop_waiting(self) -> None:
        if self._loop is not None and self._full is not None:
            self._loop.remove_writer(self._full.fileno())
        self._full = None

    def _drop(self, count: int) -> None:
        if count:
            self.drops.add(DropReason.SEND_FAILED, count)


def _gro_size(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_UDP and kind == _UDP_GRO and len(data) >= 4:
            size: int = struct.unpack_from("i", data)[0]
            return size
    return 0


def _run_length(datagrams: Sequence[Datagram], at: int, end: int) -> int:
    """Datagrams from ``at`` for one segmented send: one destination, equal sizes, the last may be shorter. 1: alone."""
    first, destination = datagrams[at]
    size = len(first)
    last = min(end, at + SEGMENTS_MAX, at + RUN_BYTES_MAX // max(size, 1))
    stop, total = at + 1, size
    while stop < last:
        data, towards = datagrams[stop]
        if len(data) > size or towards != destination or not data:
            break
        stop += 1
        total += len(data)
        if len(data) < size:
            break
    return stop - at if total > RUN_BYTES_MIN else 1
