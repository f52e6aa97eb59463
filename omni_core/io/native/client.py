"""One connection of the Ganglion to a native engine: requests that are answered, one-way messages, events.

A request blocks its caller until the engine has answered, about 50 us. What the engine tells meanwhile is kept for
``take_events``. When the engine has ended, says what makes no sense or does not answer in time, every call from then on
raises EngineGone. Not thread-safe.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import struct
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from omni_core.dataplane.groups import GroupKey, GroupPolicy
from omni_core.errors import LocalMisuse, SystemRefused
from omni_core.io.native import protocol
from omni_core.io.native.events import Event, parse, parse_event
from omni_core.io.native.protocol import GroupsFlag, Message, Mode
from omni_core.types import Endpoint, Mac, PeerId

TIMEOUT = 2.0  # s for an answer
EVENTS_AT_ONCE = 1024  # that one ``take_events`` reads, so that timers get their turn
_BUFFER = 1 << 20  # bytes of messages on their way
_SO_SNDBUFFORCE = 32  # past net.core.wmem_max; needs CAP_NET_ADMIN
_NS = 1_000_000_000

_HEADER = ctypes.sizeof(protocol.MessageHeader)
_REPLY = ctypes.sizeof(protocol.Reply)
_NEXT = struct.Struct("=II")  # in front of rows: where the next ones begin, and nothing
_ENTRY = struct.Struct("=6sHI")  # struct group_entry
_ENTRIES_MAX = protocol.MESSAGE_MAX - _HEADER - ctypes.sizeof(protocol.SetGroups)
_ELSEWHERE = (bytes(6), 0)
_NOT_THERE = {errno.ENOENT: "there is no session with this receive id"}
_NO_MISUSE: dict[int, str] = {}

_Struct = TypeVar("_Struct", bound=ctypes.Structure)


class EngineGone(SystemRefused):
    """The engine's process has ended, or does not do what it should. It has to be started again.

    ``silent``: it did not answer in time, and may still live.
    """

    def __init__(self, problem: str, *, silent: bool = False) -> None:
        super().__init__("omni-native", problem, "see dmesg, or use another engine")
        self.silent = silent


@dataclass(frozen=True)
class EngineHello:
    version: int
    mode: Mode
    workers: int
    pid: int  # as the engine knows it: of its own pid namespace
    build: str


@dataclass(frozen=True)
class SessionRow:
    """A session that the engine holds. ``expires`` in ns; ``path``: of its peer."""

    peer: PeerId
    send_id: int
    receive_id: int
    expires: int
    sending: bool
    confirmed: bool
    path: Endpoint | None
    note: bytes = field(repr=False)


@dataclass(frozen=True)
class FdbRow:
    """``vlan`` None: all; ``owner`` None: the local port; ``seen`` in ns."""

    mac: Mac
    vlan: int | None
    owner: PeerId | None
    static: bool
    seen: int


class NativeClient:
    """``connect`` makes one."""

    def __init__(self, sock: socket.socket, timeout: float = TIMEOUT) -> None:
        """Takes the connected socket over and says HELLO. Raises EngineGone, or SystemRefused for another version."""
        self._sock = sock
        self.timeout = timeout
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)
        self._serial = 0
        self._view = memoryview(bytearray(protocol.MESSAGE_MAX))
        self._events: list[Event] = []
        self._gone: EngineGone | None = None
        self.not_taken = 0  # one-way messages that a full socket did not take
        sock.setblocking(False)
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER)
        except OSError:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        try:
            self.hello = self._say_hello()
        except BaseException:
            sock.close()
            raise

    @classmethod
    def connect(cls, path: str, timeout: float = TIMEOUT) -> NativeClient:
        """To the engine that listens at ``path``, in place of whoever was connected. Raises EngineGone when none
        answers, SystemRefused when it is of another version."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        sock.settimeout(timeout)
        try:
            sock.connect(path)
        except OSError as error:
            sock.close()
            raise EngineGone(f"no engine answers at {path} ({error.strerror or error})") from None
        return cls(sock, timeout)

    def fileno(self) -> int:
        """Readable when there are events, or the engine has ended."""
        return self._sock.fileno()

    def peer_credentials(self, size: int) -> bytes:
        """struct ucred of the process that listens."""
        return self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)

    @property
    def pending(self) -> bool:
        """Events came while an answer was awaited: there are some though the socket may not be readable."""
        return bool(self._events)

    def close(self) -> None:
        """The engine goes on. Idempotent."""
        self._end("the connection was closed")
        self._sock.close()

    def take_events(self) -> list[Event]:
        """All that waits, up to a bound; never blocks. Raises EngineGone when the engine has and nothing is left."""
        try:
            for _ in range(EVENTS_AT_ONCE):
                message = self._receive()
                if message is None:
                    break
                self._events.append(self._event(*message))
        except EngineGone:
            if not self._events:
                raise
        taken, self._events = self._events, []
        return taken

    # --- requests -----------------------------------------------------------------------------------------------

    def configure(self, ageing_s: float, max_per_peer: int, max_local: int) -> None:
        self._ask(Message.CONFIGURE, protocol.Configuration(int(ageing_s * _NS), max_per_peer, max_local))

    def forward(self, on: bool) -> None:
        """Off, as an engine begins: nothing is sealed or opened."""
        self._ask(Message.FORWARD, protocol.Forward(on))

    def add_session(
        self,
        peer: PeerId,
        slot: int,
        send_id: int,
        receive_id: int,
        send_key: bytearray,
        receive_key: bytearray,
        expires_ns: int,
    ) -> None:
        """``slot``: of the kernel's maps in mode bulk, else NO_SLOT. Keys of 32 bytes each; no copy stays here.

        LocalMisuse when another session has the id, or there is no room.
        """
        message = bytearray(_HEADER + ctypes.sizeof(protocol.AddSession))
        body = protocol.AddSession.from_buffer(message, _HEADER)
        body.peer, body.slot, body.send_id, body.receive_id, body.expires = peer, slot, send_id, receive_id, expires_ns
        misuse = {
            errno.EEXIST: "another session has this receive id",
            errno.ENOSPC: f"the native engine holds {protocol.MAX_SESSIONS} sessions or {protocol.MAX_PEERS} peers",
        }
        try:
            body.send_key[:] = send_key
            body.receive_key[:] = receive_key
            self._exchange(Message.ADD_SESSION, message, misuse)
        finally:
            message[:] = bytes(len(message))

    def use_session(self, receive_id: int) -> None:
        """LocalMisuse when it is not there."""
        self._ask(Message.USE_SESSION, protocol.SessionId(receive_id), _NOT_THERE)

    def remove_session(self, receive_id: int) -> None:
        """Its keys are wiped when this returns. None there: fine."""
        self._ask(Message.REMOVE_SESSION, protocol.SessionId(receive_id))

    def set_peer(self, peer: PeerId, endpoint: tuple[str, int], mtu: int = 0, socket: int | None = None) -> None:
        """``mtu``: of the path, an IP packet; 0: not known. ``socket``: index among those of a worker.

        Raises OSError for an endpoint that is no IP address.
        """
        index = protocol.ANY_SOCKET if socket is None else socket
        self._ask(Message.SET_PEER, protocol.SetPeer(peer, mtu, protocol.pack_place(endpoint), index))

    def remove_peer(self, peer: PeerId) -> None:
        self._ask(Message.REMOVE_PEER, protocol.PeerId(peer))

    def set_flood(self, peers: Sequence[PeerId]) -> None:
        self._ask(Message.SET_FLOOD, struct.pack(f"={len(peers)}I", *peers))

    def set_groups(self, policy: GroupPolicy | None, until_ns: int) -> None:
        """``policy`` holds until then. LocalMisuse when it is longer than the engine takes: nothing has changed."""
        if policy is None:
            self._ask(Message.SET_GROUPS, protocol.SetGroups())
            return
        misuse = {errno.ENOSPC: f"a policy of groups longer than {protocol.GROUPS_BYTES} bytes"}
        flags = GroupsFlag.WATCH if policy.watch else GroupsFlag(0)
        body = b""
        for entry in (_group_entry(*each) for each in ((_ELSEWHERE, policy.elsewhere), *policy.groups.items())):
            if len(body) + len(entry) > _ENTRIES_MAX:
                self._ask(
                    Message.SET_GROUPS, bytes(protocol.SetGroups(until_ns, flags | GroupsFlag.MORE)) + body, misuse
                )
                body = b""
            body += entry
        self._ask(Message.SET_GROUPS, bytes(protocol.SetGroups(until_ns, flags)) + body, misuse)

    def extend_groups(self, watch: bool, until_ns: int) -> None:
        """What ``set_groups`` said last holds until then."""
        flags = GroupsFlag.SAME | (GroupsFlag.WATCH if watch else GroupsFlag(0))
        self._ask(Message.SET_GROUPS, protocol.SetGroups(until_ns, flags))

    def set_static(self, mac: Mac, owner: PeerId | None, vlan: int | None) -> None:
        """``owner`` None: the local port; ``vlan`` None: all."""
        self._ask(Message.SET_STATIC, _pin(mac, owner, vlan))

    def remove_static(self, mac: Mac, vlan: int | None) -> None:
        self._ask(Message.REMOVE_STATIC, _pin(mac, None, vlan))

    def remember(self, receive_id: int, note: bytes) -> None:
        """At most NOTE_SIZE bytes. LocalMisuse when the session is not there."""
        body = protocol.Remember(receive_id, len(note))
        body.note[: len(note)] = note
        self._ask(Message.REMEMBER, body, _NOT_THERE)

    def stats(self, receive_id: int) -> protocol.SessionStats:
        """LocalMisuse when it is not there."""
        answer = self._ask(Message.STATS, protocol.SessionId(receive_id), _NOT_THERE)
        return self._parsed(protocol.SessionStats, answer)

    def sessions(self) -> list[SessionRow]:
        return [
            SessionRow(
                row.peer,
                row.send_id,
                row.receive_id,
                row.expires,
                bool(row.flags & protocol.SessionFlag.SENDING),
                bool(row.flags & protocol.SessionFlag.CONFIRMED),
                protocol.unpack_place(row.path) if row.path.port else None,
                bytes(row.note[: row.note_length]),
            )
            for row in self._rows(Message.SESSIONS, protocol.SessionRow)
        ]

    def fdb(self) -> list[FdbRow]:
        return [
            FdbRow(
                bytes(row.mac),
                None if row.vlan == protocol.VLAN_ANY else row.vlan,
                None if row.owner == protocol.OWNER_LOCAL else row.owner,
                bool(row.is_static),
                row.seen,
            )
            for row in self._rows(Message.FDB, protocol.FdbRow)
        ]

    def counters(self) -> dict[int, int]:
        """Those that are not zero, by number: DropReason, or protocol.Way."""
        answer = self._ask(Message.COUNTERS)
        if len(answer) != 8 * protocol.NATIVE_COUNTERS:
            raise self._senseless()
        counted = struct.unpack(f"={protocol.NATIVE_COUNTERS}Q", answer)
        return {number: count for number, count in enumerate(counted) if count}

    def retain(self, receive_ids: Iterable[int], peers: Iterable[PeerId]) -> None:
        """All other sessions and peers go."""
        ids, kept = list(receive_ids), list(peers)
        self._ask(Message.RETAIN, struct.pack(f"=II{len(ids)}Q{len(kept)}I", len(ids), len(kept), *ids, *kept))

    def stop(self) -> None:
        """It has wiped its keys and is about to end when this returns. Closes the connection."""
        try:
            self._ask(Message.STOP)
        finally:
            self.close()

    # --- one way ------------------------------------------------------------------------------------------------

    def seal(self, peer: PeerId, frame: bytes) -> bool:
        """Seal it for the peer and send it, whatever its destination. False: the socket was full, and it is lost."""
        return self._tell(Message.SEAL, bytes(protocol.PeerId(peer)), frame)

    def port_frame(self, frame: bytes) -> bool:
        """As if the local port had sent it. Returns as ``seal``."""
        return self._tell(Message.PORT_FRAME, frame)

    def to_port(self, frame: bytes) -> bool:
        """To the local port, as if a peer had sent it. Returns as ``seal``."""
        return self._tell(Message.TO_PORT, frame)

    def datagram(self, payload: bytes, source: tuple[str, int]) -> bool:
        """A data packet that reached the Ganglion's own socket. Returns as ``seal``."""
        return self._tell(Message.DATAGRAM, bytes(protocol.pack_place(source)), payload)

    # --- inside -------------------------------------------------------------------------------------------------

    def _say_hello(self) -> EngineHello:
        wanted = protocol.Hello(protocol.PROTOCOL_VERSION)
        try:
            answer = self._parsed(protocol.HelloAnswer, self._ask(Message.HELLO, wanted, {errno.EPROTO: ""}))
        except LocalMisuse:
            raise _other_version() from None
        if answer.version != protocol.PROTOCOL_VERSION:
            raise _other_version()
        if answer.mode not in list(Mode) or not 1 <= answer.workers <= protocol.MAX_WORKERS:
            raise self._senseless()
        build = answer.build.decode("ascii", "replace")
        return EngineHello(answer.version, Mode(answer.mode), answer.workers, answer.pid, build)

    def _ask(
        self, kind: Message, body: bytes | ctypes.Structure = b"", misuse: Mapping[int, str] = _NO_MISUSE
    ) -> bytes:
        return self._exchange(kind, bytearray(_HEADER) + bytes(body), misuse)

    def _exchange(self, kind: Message, message: bytearray, misuse: Mapping[int, str]) -> bytes:
        """What follows the reply. ``message`` has room for the header in front; ``misuse``: errors that are the
        caller's fault -> what to say."""
        if self._gone is not None:
            raise self._gone
        if len(message) > protocol.MESSAGE_MAX:
            raise LocalMisuse(f"a message of {len(message)} bytes to the native engine")
        self._serial = self._serial % 0xFFFFFFFF + 1
        _write_header(message, kind, self._serial)
        deadline = time.monotonic() + self.timeout
        self._send(message, deadline)
        while True:
            received = self._receive()
            if received is None:
                self._wait(self._readable, deadline)
                continue
            header, body = received
            if not header.type & protocol.REPLY:
                self._events.append(self._event(header, body))
                continue
            if header.type != protocol.REPLY | kind or header.serial != self._serial or len(body) < _REPLY:
                raise self._senseless()
            code = protocol.Reply.from_buffer_copy(body).error
            if code in misuse:
                raise LocalMisuse(misuse[code])
            if code:
                raise SystemRefused("omni-native", f"{kind.name}: {os.strerror(code)}", "see dmesg")
            return body[_REPLY:]

    def _send(self, message: bytearray, deadline: float) -> None:
        while True:
            try:
                self._sock.send(message)
                return
            except BlockingIOError:
                writable = select.poll()
                writable.register(self._sock, select.POLLOUT)
                self._wait(writable, deadline)
            except OSError as error:
                raise self._broken(error) from None

    def _tell(self, kind: Message, *body: bytes) -> bool:
        if self._gone is not None:
            raise self._gone
        header = protocol.MessageHeader(protocol.PROTOCOL_VERSION, kind)
        try:
            self._sock.sendmsg((bytes(header), *body))
            return True
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ENOBUFS, errno.EMSGSIZE):
                self.not_taken += 1
                return False
            raise self._broken(error) from None

    def _wait(self, poll: select.poll, deadline: float) -> None:
        """A connection that has ended is ready too."""
        if not poll.poll(max(deadline - time.monotonic(), 0.0) * 1000):
            raise self._end(f"it has not answered for {self.timeout:g} s", silent=True)

    def _receive(self) -> tuple[protocol.MessageHeader, bytes] | None:
        """One message. None: nothing waits."""
        if self._gone is not None:
            raise self._gone
        try:
            length, _, flags, _ = self._sock.recvmsg_into((self._view,))
        except BlockingIOError:
            return None
        except OSError as error:
            raise self._broken(error) from None
        if length == 0:
            raise self._end("it has ended")
        if length < _HEADER or flags & socket.MSG_TRUNC:
            raise self._senseless()
        header = protocol.MessageHeader.from_buffer_copy(self._view)
        if header.version != protocol.PROTOCOL_VERSION:
            raise self._senseless()
        return header, bytes(self._view[_HEADER:length])

    def _event(self, header: protocol.MessageHeader, body: bytes) -> Event:
        try:
            return parse_event(header.type, body)
        except ValueError:
            raise self._senseless() from None

    def _rows(self, kind: Message, row: type[_Struct]) -> list[_Struct]:
        rows: list[_Struct] = []
        at, size = 0, ctypes.sizeof(row)
        while True:
            answer = self._ask(kind, protocol.Cursor(at))
            if len(answer) < _NEXT.size or (len(answer) - _NEXT.size) % size:
                raise self._senseless()
            rows += [row.from_buffer_copy(answer, offset) for offset in range(_NEXT.size, len(answer), size)]
            following: int = _NEXT.unpack_from(answer)[0]
            if following == 0:
                return rows
            if following <= at:
                raise self._senseless()
            at = following

    def _parsed(self, kind: type[_Struct], body: bytes) -> _Struct:
        try:
            return parse(kind, body)
        except ValueError:
            raise self._senseless() from None

    def _broken(self, error: OSError) -> EngineGone:
        ended = error.errno in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)
        return self._end("it has ended" if ended else f"its socket: {error.strerror}")

    def _senseless(self) -> EngineGone:
        return self._end("it said what makes no sense")

    def _end(self, problem: str, *, silent: bool = False) -> EngineGone:
        """The first reason stays."""
        if self._gone is None:
            self._gone = EngineGone(problem, silent=silent)
        return self._gone


def _group_entry(key: GroupKey, peers: Collection[PeerId]) -> bytes:
    return _ENTRY.pack(*key, len(peers)) + struct.pack(f"={len(peers)}I", *peers)


def _write_header(message: bytearray, kind: Message, serial: int) -> None:
    message[:_HEADER] = bytes(protocol.MessageHeader(protocol.PROTOCOL_VERSION, kind, serial))


def _other_version() -> SystemRefused:
    return SystemRefused("omni-native", "the engine that runs is of another version", "stop it")


def _pin(mac: Mac, owner: PeerId | None, vlan: int | None) -> protocol.FdbPin:
    body = protocol.FdbPin(
        vlan=protocol.VLAN_ANY if vlan is None else vlan, owner=protocol.OWNER_LOCAL if owner is None else owner
    )
    body.mac[:] = mac
    return body
