"""The real native engine as a DataPlane that a test can use like the python one.

Its TAP is a socket pair, its UDP sockets are real, in a network of the test's own where every address is local. What
one call of the port brings about is waited for: behind the test's frames or packets goes one of a peer that is only
there for that, the *marker*. The engine's clock is the test's ``now``, from a file (native_clock.c).
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import re
import select
import shutil
import socket
import struct
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from unittest import mock

from support.planes import frame

from omni_core.constants import FDB_AGEING, FDB_MAX_LOCAL, FDB_MAX_PER_PEER, FIRST_DATA_BYTE
from omni_core.crypto.aead import Aead
from omni_core.dataplane.groups import GroupPolicy
from omni_core.dataplane.port import (
    AdoptedSession,
    Datagram,
    DataPlane,
    DataPlaneEvent,
    FdbEntry,
    SessionKeys,
    SessionStats,
)
from omni_core.drops import DropReason
from omni_core.io.native import protocol
from omni_core.io.native.binary import native_binary
from omni_core.io.native.plane import NativeDataPlane
from omni_core.io.native.process import NativeProcess
from omni_core.io.netlink import RouteInfo
from omni_core.io.udp import UdpPort
from omni_core.types import Endpoint, Mac, PeerId

PORT = 51820
HERE_4, HERE_6 = "192.0.2.250", "2001:db8::250"
PLAIN = bytes(10)  # struct virtio_net_hdr of a frame that is whole
ALWAYS = 2**63 - 1  # ns

MARKER: PeerId = 0xFFFF0000
MARKER_MAC: Mac = bytes.fromhex("02ffffffff01")  # at the marker
MARKER_LOCAL: Mac = bytes.fromhex("02ffffffff02")  # at the local port
MARKER_AT = Endpoint("203.0.113.77", 7777)
MARKER_AT_6 = Endpoint("2001:db8:77::77", 7777)
_MARKER_ID, _MARKER_KEY = 0xFFFF, bytearray(b"m" * 32)
_OF_MARKER = {MARKER_MAC, MARKER_LOCAL}

_CHUNK = 32  # packets between two markers: no queue on the way may overflow
_BUFFER = 64 << 20
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 32, 33, 35
_TIMESPEC = struct.Struct("=qq")


def prepare_network() -> None:
    """Of the calling thread, a new one: whatever has an address in it is on this machine."""
    for words in ("-4 route add local 0.0.0.0/1", "-4 route add local 128.0.0.0/1", "-6 route add local ::/0"):
        subprocess.run(["ip", *words.split(), "dev", "lo"], check=True)
    for path in ("ipv4/ip_nonlocal_bind", "ipv6/ip_nonlocal_bind"):
        Path(f"/proc/sys/net/{path}").write_text("1")
    Path("/proc/sys/net/unix/max_dgram_qlen").write_text("100000")


def build_clock(directory: Path) -> Path:
    """native_clock.c, compiled."""
    library = directory / "native_clock.so"
    source = Path(__file__).with_name("native_clock.c")
    subprocess.run(["cc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def sanitizer() -> tuple[str, ...]:
    """The library of AddressSanitizer where the engine is built with it (OMNI_NATIVE): it has to come first."""
    needed = subprocess.run(["ldd", native_binary()], check=True, capture_output=True, text=True).stdout
    return tuple(re.findall(r"=> (\S*/libasan\S*)", needed))


class TestClock:
    """Goes on only, and only when told. ``environment``: for the process that is to have it."""

    __test__ = False

    def __init__(self, library: Path, file: Path, now: float = 1.0) -> None:
        file.write_bytes(bytes(mmap.PAGESIZE))
        file.chmod(0o644)
        with file.open("r+b") as opened:
            self._map = mmap.mmap(opened.fileno(), mmap.PAGESIZE)
        self.environment = {"LD_PRELOAD": " ".join((*sanitizer(), str(library))), "OMNI_TEST_CLOCK": str(file)}
        self._now = 0.0
        self.set(now)

    def set(self, now: float) -> None:
        self._now = max(now, self._now)
        struct.pack_into("=Q", self._map, 0, round(self._now * 10**9))


class NativeRig:
    """A running engine with its surroundings. ``taps``: our ends of the queues, with the header in front of frames."""

    def __init__(self, directory: Path, *, workers: int = 1, environment: Mapping[str, str] | None = None) -> None:
        """In the calling thread's network, which ``prepare_network`` has prepared. ``environment``: of the engine."""
        self.routes: dict[Endpoint, RouteInfo] = {}
        pairs = [_socket_pair() for _ in range(workers)]
        self.taps = [ours for ours, _ in pairs]
        self.port = UdpPort.open(PORT, [HERE_4, HERE_6])
        sockets = self.port.share(workers)
        self.places: dict[Endpoint, socket.socket] = {}
        self._complaints = Path(tempfile.mkdtemp(prefix="omni-native-"))
        self._complaints.chmod(0o777)  # for nobody
        options = f"log_path={self._complaints}/sanitizer:detect_leaks=0:halt_on_error=1"
        try:
            with mock.patch.dict(
                os.environ, {"ASAN_OPTIONS": options, "UBSAN_OPTIONS": options, **(environment or {})}
            ):
                self.process = NativeProcess.start(
                    str(directory / "omni0.native.sock"),
                    name="omni0",
                    mode=protocol.Mode.ALONE,
                    taps=[theirs.fileno() for _, theirs in pairs],
                    sockets=[sock.fileno() for sock in sockets],
                )
        finally:
            for sock in (*sockets, *(theirs for _, theirs in pairs)):
                sock.close()
        self.client = self.process.client

    def adopt(self) -> None:
        """As the next Ganglion does; the one before has left, or will find that it is gone."""
        self.process = NativeProcess.adopt(self.process.path, protocol.Mode.ALONE)
        self.client = self.process.client

    def plane(self, local_mac: Mac | None, **limits: float) -> NativeDataPlane:
        settings = {"ageing": FDB_AGEING, "max_per_peer": FDB_MAX_PER_PEER, "max_local": FDB_MAX_LOCAL, **limits}
        return NativeDataPlane(self.client, local_mac=local_mac, route=self.routes.get, **settings)

    def at(self, endpoint: Endpoint) -> socket.socket:
        """A socket with that address, made when first asked for."""
        sock = self.places.get(endpoint)
        if sock is None:
            family = socket.AF_INET6 if endpoint.is_ipv6 else socket.AF_INET
            sock = self.places[endpoint] = socket.socket(family, socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            sock.bind(endpoint)
            sock.setblocking(False)
        return sock

    def send(self, packet: bytes, source: Endpoint) -> None:
        self.at(source).sendto(packet, (HERE_6 if source.is_ipv6 else HERE_4, PORT))

    def sent_by_engine(self) -> list[Datagram]:
        """What has arrived at the places, in the order in which it was sent."""
        arrived: list[tuple[int, bytes, Endpoint]] = []
        for endpoint, sock in self.places.items():
            with contextlib.suppress(BlockingIOError):
                while True:
                    packet, ancillary, _, _ = sock.recvmsg(65536, 64)
                    seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
                    arrived.append((seconds * 10**9 + nanoseconds, packet, endpoint))
        return [(packet, endpoint) for _, packet, endpoint in sorted(arrived, key=lambda each: each[0])]

    def close(self) -> None:
        self.process.stop()
        self.port.close()
        for sock in (*self.places.values(), *self.taps):
            sock.close()
        said = "".join(file.read_text() for file in self._complaints.iterdir())
        shutil.rmtree(self._complaints)
        assert not said, said


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for sock in pair:
        sock.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER)
        sock.setblocking(False)
    return pair


def wait_for_one(sock: socket.socket) -> bytes:
    assert select.select([sock], [], [], 10)[0], "nothing came"
    return sock.recv(70000)


class DrivenNative(DataPlane):
    """``clock``: its time is the test's ``now``; without one ``now`` must be CLOCK_MONOTONIC. One worker."""

    def __init__(self, rig: NativeRig, local_mac: Mac | None, clock: TestClock | None = None, **limits: float) -> None:
        self.rig = rig
        self.native = rig.plane(local_mac, **limits)
        self._clock = clock
        self._events: list[DataPlaneEvent] = []
        self._frames: list[bytes] = []
        self._datagrams: list[Datagram] = []
        self._drops: Counter[DropReason] = Counter()
        self._aead, self._sequence = Aead(_MARKER_KEY), 0
        self._add_marker()

    def _add_marker(self) -> None:
        client = self.rig.client
        client.add_session(MARKER, protocol.NO_SLOT, 0xFF, _MARKER_ID, _MARKER_KEY, _MARKER_KEY, ALWAYS)
        client.use_session(_MARKER_ID)
        client.set_peer(MARKER, MARKER_AT)
        client.set_static(MARKER_MAC, MARKER, None)
        client.set_static(MARKER_LOCAL, None, None)
        self.rig.at(MARKER_AT)

    @property
    def name(self) -> str:
        return self.native.name

    # --- sessions and paths, switching ---

    def add_session(self, keys: SessionKeys, now: float) -> None:
        self._at(now)
        self.native.add_session(keys, now)

    def use_session(self, receive_id: int) -> None:
        self.native.use_session(receive_id)

    def remove_session(self, receive_id: int) -> None:
        self.native.remove_session(receive_id)

    def session_stats(self, receive_id: int) -> SessionStats:
        return self.native.session_stats(receive_id)

    def remember(self, receive_id: int, note: bytes) -> None:
        self.native.remember(receive_id, note)

    def adopted(self) -> list[AdoptedSession]:
        self._events.clear()
        offered = self.native.adopted()
        self._add_marker()
        self._sequence = 0
        return offered

    def set_path(self, peer: PeerId, endpoint: Endpoint) -> None:
        self.rig.at(Endpoint(*endpoint))
        self.native.set_path(peer, endpoint)

    def remove_peer(self, peer: PeerId) -> None:
        self.native.remove_peer(peer)

    def set_flood(self, peers: Iterable[PeerId]) -> None:
        self.native.set_flood(peers)

    def set_groups(self, policy: GroupPolicy | None, until: float) -> None:
        self.native.set_groups(policy, until)

    def set_static(self, mac: Mac, peer: PeerId | None, vlan: int | None = None) -> None:
        self.native.set_static(mac, peer, vlan)

    def remove_static(self, mac: Mac, vlan: int | None = None) -> None:
        self.native.remove_static(mac, vlan)

    def fdb(self, now: float) -> list[FdbEntry]:
        return [row for row in self.native.fdb(now) if row.mac not in _OF_MARKER]

    # --- traffic ---

    def frames_from_port(self, frames: Sequence[bytes], now: float) -> None:
        self._at(now)
        marker = frame(MARKER_MAC, MARKER_LOCAL)
        for chunk in _chunks(frames):
            for each in (*chunk, marker):
                self.rig.taps[0].send(PLAIN + each)
            wait_for_one(self.rig.at(MARKER_AT))
            self._collect(now)

    def frames_to_peer(self, peer: PeerId, frames: Sequence[bytes], now: float) -> None:
        self._at(now)
        for chunk in _chunks(frames):
            self.native.frames_to_peer(peer, chunk, now)
            self._collect(now)

    def frames_to_port(self, frames: Sequence[bytes], now: float) -> None:
        self._at(now)
        self.native.frames_to_port(frames, now)
        self._collect(now)  # it has written them by then
        with contextlib.suppress(BlockingIOError):
            while True:
                got = self.rig.taps[0].recv(70000)
                assert got.startswith(PLAIN)
                self._frames.append(got[len(PLAIN) :])

    def datagrams_from_underlay(self, datagrams: Sequence[Datagram], now: float) -> None:
        self._at(now)
        marker = frame(MARKER_LOCAL, MARKER_MAC)
        for is_ipv6, run in itertools.groupby(datagrams, lambda each: ":" in each[1][0]):  # a socket for each family
            for chunk in _chunks(list(run)):
                for payload, source in chunk:
                    self.rig.send(payload, Endpoint(*source))
                    self._from_own_sockets(now)
                self.rig.send(self._seal(marker), MARKER_AT_6 if is_ipv6 else MARKER_AT)
                while (got := wait_for_one(self.rig.taps[0])[len(PLAIN) :]) != marker:
                    self._frames.append(got)
                self._collect(now)

    def take_datagrams(self) -> list[Datagram]:
        taken, self._datagrams = self._datagrams, []
        return taken

    def take_frames(self) -> list[bytes]:
        taken, self._frames = self._frames, []
        return taken

    def take_events(self) -> list[DataPlaneEvent]:
        taken, self._events = self._events, []
        return taken

    # --- housekeeping ---

    def tick(self, now: float) -> None:
        self._at(now)
        for _ in range(2):  # the engine looks at its table after each request, when it is time
            self.native.ways()

    def drops(self) -> Mapping[DropReason, int]:
        return dict(sorted((self._drops + Counter(self.native.drops())).items()))

    def close(self) -> None:
        self.native.close()

    # --- inside ---

    def _at(self, now: float) -> None:
        if self._clock is not None:
            self._clock.set(now)

    def _seal(self, inner: bytes) -> bytes:
        header = b"".join(each.to_bytes(8, "little") for each in (_MARKER_ID, self._sequence, self._sequence))
        packet = header + self._aead.seal(self._sequence, inner, header)
        self._sequence += 1
        return packet

    def _from_own_sockets(self, now: float) -> None:
        """What the Ganglion gets itself."""
        for sock in self.rig.port._sockets:
            for payload, source in self.rig.port.receive(sock):
                if not payload:
                    self._drops[DropReason.TOO_SHORT] += 1
                elif payload[0] < FIRST_DATA_BYTE:
                    self._drops[DropReason.UNKNOWN_TYPE] += 1
                else:
                    self.native.datagrams_from_underlay([(payload, source)], now)

    def _collect(self, now: float) -> None:
        self.native.ways()  # its answer comes after whatever we told the engine before
        questions, _ = self.native.read_events()
        if questions:
            self.native.frames_from_port(questions, now)
            self.native.ways()
            assert self.native.read_events() == ([], [])
        self._events += self.native.take_events()
        self._datagrams += self.rig.sent_by_engine()


def _chunks(things: Sequence) -> Iterator[Sequence]:
    for at in range(0, len(things), _CHUNK):
        yield things[at : at + _CHUNK]
