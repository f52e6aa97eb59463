"""The client beside an engine that misbehaves: it ends, keeps silent, says nonsense. A real one is in test_alone.py."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from omni_core.dataplane.groups import GroupPolicy
from omni_core.dataplane.port import Confirmed, ControlFrame, EndpointMoved, Unresolved, UnresolvedReason
from omni_core.errors import LocalMisuse, SystemRefused
from omni_core.io.native import client as module
from omni_core.io.native import protocol
from omni_core.io.native.client import EngineGone, NativeClient
from omni_core.io.native.events import ForeignDatagram, GroupFrame, Learned, parse_event
from omni_core.io.native.protocol import EventType, Message
from omni_core.types import Endpoint

HEADER = ctypes.sizeof(protocol.MessageHeader)
PLACE = protocol.pack_place(("192.0.2.7", 7))
AT = Endpoint("192.0.2.7", 7)

Answer = Callable[[socket.socket, protocol.MessageHeader, bytes], None]


def message(kind: int, body: bytes = b"", serial: int = 0, version: int = protocol.PROTOCOL_VERSION) -> bytes:
    return bytes(protocol.MessageHeader(version, kind, serial)) + body


def reply(header: protocol.MessageHeader, body: bytes = b"", error: int = 0) -> bytes:
    return message(protocol.REPLY | header.type, bytes(protocol.Reply(error)) + body, header.serial)


def hello_answer(**changes: object) -> bytes:
    usual = {"version": protocol.PROTOCOL_VERSION, "mode": 1, "workers": 2, "pid": 4711, "build": b"b"}
    return bytes(protocol.HelloAnswer(**{**usual, **changes}))


class FakeEngine:
    """Answers HELLO, and what else ``answer`` says. ``heard``: all that came, with its header."""

    def __init__(self, path: Path, hello: Answer | None = None) -> None:
        self.path = str(path)
        self.answer: Answer = lambda sock, header, body: sock.send(reply(header)) and None
        self._hello = hello or (lambda sock, header, body: sock.send(reply(header, hello_answer())) and None)
        self.heard: list[tuple[protocol.MessageHeader, bytes]] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(self.path)
        self._listener.listen()
        self.connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            self.connection, _ = self._listener.accept()
            while data := self.connection.recv(protocol.MESSAGE_MAX):
                header = protocol.MessageHeader.from_buffer_copy(data)
                self.heard.append((header, data[HEADER:]))
                hello = header.type == Message.HELLO
                (self._hello if hello else self.answer)(self.connection, header, data[HEADER:])

    def send(self, *messages: bytes) -> None:
        assert self.connection is not None
        for each in messages:
            self.connection.send(each)

    def end(self) -> None:
        """As a killed process: both sockets go."""
        for sock in (self.connection, self._listener):
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        for sock in (self.connection, self._listener):
            if sock is not None:
                sock.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., FakeEngine]]:
    made: list[FakeEngine] = []

    def start(hello: Answer | None = None) -> FakeEngine:
        made.append(FakeEngine(tmp_path / "engine.sock", hello))
        return made[-1]

    yield start
    for each in made:
        each.end()


@pytest.fixture
def engine(make: Callable[..., FakeEngine]) -> FakeEngine:
    return make()


@pytest.fixture
def client(engine: FakeEngine) -> Iterator[NativeClient]:
    made = NativeClient.connect(engine.path, 5.0)
    yield made
    made.close()


# --- beginning --------------------------------------------------------------------------------------------------------


def test_hello(engine: FakeEngine, client: NativeClient) -> None:
    assert client.hello == module.EngineHello(protocol.PROTOCOL_VERSION, protocol.Mode.ALONE, 2, 4711, "b")
    ((header, body),) = engine.heard
    assert (header.type, header.serial, body) == (Message.HELLO, 1, bytes(protocol.Hello(protocol.PROTOCOL_VERSION)))


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(EngineGone, match="no engine answers"):
        NativeClient.connect(str(tmp_path / "nowhere"))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(tmp_path / "dead"))
    listener.close()
    with pytest.raises(EngineGone, match="refused"):
        NativeClient.connect(str(tmp_path / "dead"))


def test_one_that_never_accepts(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / "asleep"))
        listener.listen()
        with pytest.raises(EngineGone, match=r"has not answered for 0\.05 s"):
            NativeClient.connect(str(tmp_path / "asleep"), 0.05)


def send(data: bytes) -> Answer:
    return lambda sock, header, body: sock.send(data) and None


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (lambda sock, header, body: sock.send(reply(header, b"", errno.EPROTO)), "another version"),
        (
            lambda sock, header, body: sock.send(reply(header, hello_answer(version=protocol.PROTOCOL_VERSION + 1))),
            "another version",
        ),
        (lambda sock, header, body: sock.send(reply(header, hello_answer(mode=9))), "no sense"),
        (lambda sock, header, body: sock.send(reply(header, hello_answer(workers=0))), "no sense"),
        (lambda sock, header, body: sock.send(reply(header, hello_answer()[:-1])), "no sense"),
        (lambda sock, header, body: sock.shutdown(socket.SHUT_RDWR), "has ended"),
    ],
)
def test_a_hello_that_goes_wrong(make: Callable[..., FakeEngine], answer: Answer, problem: str) -> None:
    engine = make(answer)
    with pytest.raises(SystemRefused, match=problem):
        NativeClient.connect(engine.path, 5.0)


# --- requests ---------------------------------------------------------------------------------------------------------


def test_an_end_while_it_is_asked(engine: FakeEngine, client: NativeClient) -> None:
    engine.answer = lambda sock, header, body: sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(EngineGone, match="has ended"):
        client.counters()
    for call in (lambda: client.forward(True), lambda: client.seal(1, b""), client.take_events):
        with pytest.raises(EngineGone, match="has ended"):
            call()
    client.close()
    client.close()


def test_an_end_before_it_is_asked(engine: FakeEngine, client: NativeClient) -> None:
    engine.end()
    with pytest.raises(EngineGone, match="has ended"):
        client.forward(True)


def test_silence(engine: FakeEngine) -> None:
    client = NativeClient.connect(engine.path, 0.05)
    engine.answer = lambda sock, header, body: None
    began = time.monotonic()
    with pytest.raises(EngineGone, match=r"has not answered for 0\.05 s"):
        client.forward(True)
    with pytest.raises(EngineGone):
        client.forward(True)
    assert time.monotonic() - began < 1.0, "it is not asked again"
    client.close()


def test_a_full_socket(engine: FakeEngine) -> None:
    """One-way messages are lost and counted; a request waits for its time."""
    client = NativeClient.connect(engine.path, 0.05)
    held = threading.Event()
    engine.answer = lambda sock, header, body: held.wait() and None
    assert client.seal(1, bytes(9000))
    while client.seal(1, bytes(9000)):
        pass
    assert client.not_taken == 1 and not client.port_frame(bytes(9000)) and client.not_taken == 2
    with pytest.raises(EngineGone, match="has not answered"):
        client.forward(True)
    held.set()
    client.close()


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda header: reply(header)[:-1],
        lambda header: message(protocol.REPLY | header.type, bytes(8), header.serial + 1),
        lambda header: message(protocol.REPLY | Message.STOP, bytes(8), header.serial),
        lambda header: message(protocol.REPLY | header.type, bytes(8), header.serial, protocol.PROTOCOL_VERSION + 1),
        lambda header: b"\x01",
        lambda header: message(99),
        lambda header: message(EventType.CONFIRMED, bytes(7)),
        lambda header: message(EventType.UNRESOLVED, bytes(7)),
        lambda header: message(EventType.MOVED, bytes(33)),
    ],
)
def test_nonsense_instead_of_an_answer(engine: FakeEngine, client: NativeClient, nonsense: Callable) -> None:
    engine.answer = lambda sock, header, body: sock.send(nonsense(header)) and None
    with pytest.raises(EngineGone, match="no sense"):
        client.forward(True)


@pytest.mark.parametrize(
    ("ask", "answers"),
    [
        (lambda client: client.counters(), [bytes(8)]),
        (lambda client: client.stats(1), [bytes(71)]),
        (lambda client: client.fdb(), [b""]),
        (lambda client: client.fdb(), [bytes(8) + bytes(23)]),
        (lambda client: client.sessions(), [b"\x05" + bytes(7), b"\x05" + bytes(7)]),
    ],
)
def test_answers_of_a_wrong_size(engine: FakeEngine, client: NativeClient, ask: Callable, answers: list) -> None:
    engine.answer = lambda sock, header, body: sock.send(reply(header, answers.pop(0))) and None
    with pytest.raises(EngineGone, match="no sense"):
        ask(client)


def test_errors(engine: FakeEngine, client: NativeClient) -> None:
    codes = [errno.ENOENT] * 4 + [errno.EEXIST, errno.ENOSPC, errno.ENOSPC]
    engine.answer = lambda sock, header, body: sock.send(reply(header, b"", codes.pop(0))) and None
    for call in (client.use_session, client.stats, lambda id: client.remember(id, b"")):
        with pytest.raises(LocalMisuse, match="no session"):
            call(1)
    with pytest.raises(SystemRefused, match="FORWARD: No such file"):
        client.forward(True)
    for problem in ("another session", "2048 sessions"):
        with pytest.raises(LocalMisuse, match=problem):
            client.add_session(1, protocol.NO_SLOT, 2, 3, bytearray(32), bytearray(32), 0)
    with pytest.raises(LocalMisuse, match="longer than 8388608 bytes"):
        client.set_groups(GroupPolicy(), 1)


def test_a_session_and_no_trace_of_its_keys(
    engine: FakeEngine, client: NativeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytearray] = []
    send = client._send
    monkeypatch.setattr(client, "_send", lambda message, deadline: (sent.append(message), send(message, deadline))[1])
    keys = bytearray(b"s" * 32), bytearray(b"r" * 32)
    client.add_session(7, 9, 2**63, 2**64 - 1, *keys, 10**15)
    body = protocol.AddSession.from_buffer_copy(engine.heard[-1][1])
    assert (body.peer, body.slot, body.send_id, body.receive_id, body.expires) == (7, 9, 2**63, 2**64 - 1, 10**15)
    assert (bytes(body.send_key), bytes(body.receive_key)) == keys == (b"s" * 32, b"r" * 32)
    assert len(sent) == 1 and not any(sent[0])


def test_every_other_request_as_it_is_on_the_wire(engine: FakeEngine, client: NativeClient) -> None:
    client.configure(300.0, 4096, 16384)
    client.forward(True)
    client.use_session(5)
    client.remove_session(5)
    client.set_peer(7, AT)
    client.set_peer(7, ("2001:db8::1", 1), 1280, socket=1)
    client.remove_peer(7)
    client.set_flood([7, 8])
    client.set_static(b"\2" * 6, 7, 5)
    client.set_static(b"\2" * 6, None, None)
    client.remove_static(b"\2" * 6, None)
    client.remember(5, b"note")
    client.retain([5], [7, 8])
    client.set_groups(GroupPolicy({(b"\1\0\x5e\1\2\3", 258): frozenset({9})}, frozenset(), True), 6)
    client.extend_groups(True, 7)
    client.extend_groups(False, 8)
    client.set_groups(None, 9)
    u32, u64 = (lambda number: number.to_bytes(4, "little")), (lambda number: number.to_bytes(8, "little"))
    everyone = b"\xff" * 4
    mapped = bytes(10) + b"\xff\xff\xc0\x00\x02\x07" + bytes(4) + b"\x00\x07" + bytes(2)
    assert [(header.type, body) for header, body in engine.heard[1:]] == [
        (Message.CONFIGURE, u64(300 * 10**9) + u32(4096) + u32(16384)),
        (Message.FORWARD, u32(1) + u32(0)),
        (Message.USE_SESSION, u64(5)),
        (Message.REMOVE_SESSION, u64(5)),
        (Message.SET_PEER, u32(7) + u32(0) + mapped + everyone + u32(0)),
        (Message.SET_PEER, u32(7) + u32(1280) + bytes(protocol.pack_place(("2001:db8::1", 1))) + u32(1) + u32(0)),
        (Message.REMOVE_PEER, u32(7) + u32(0)),
        (Message.SET_FLOOD, u32(7) + u32(8)),
        (Message.SET_STATIC, b"\2" * 6 + b"\5\0" + u32(7) + u32(0)),
        (Message.SET_STATIC, b"\2" * 6 + b"\xff\xff" + everyone + u32(0)),
        (Message.REMOVE_STATIC, b"\2" * 6 + b"\xff\xff" + everyone + u32(0)),
        (Message.REMEMBER, u64(5) + u32(4) + u32(0) + b"note".ljust(512, b"\0")),
        (Message.RETAIN, u32(1) + u32(2) + u64(5) + u32(7) + u32(8)),
        (Message.SET_GROUPS, u64(6) + u32(1) + u32(0) + bytes(12) + b"\1\0\x5e\1\2\3\2\1" + u32(1) + u32(9)),
        (Message.SET_GROUPS, u64(7) + u32(5) + u32(0)),
        (Message.SET_GROUPS, u64(8) + u32(4) + u32(0)),
        (Message.SET_GROUPS, bytes(16)),
    ]
    serials = [header.serial for header, _ in engine.heard]
    assert serials == list(range(1, len(serials) + 1))


def test_a_long_policy_takes_several_messages(engine: FakeEngine, client: NativeClient) -> None:
    peers = frozenset(range(128))
    groups = {(b"\1\0\x5e" + number.to_bytes(3, "big"), 0): peers for number in range(1000)}
    client.set_groups(GroupPolicy(groups, peers), 6)
    heard = [body for header, body in engine.heard if header.type == Message.SET_GROUPS]
    assert [body[8] for body in heard] == [protocol.GroupsFlag.MORE] * (len(heard) - 1) + [0]
    assert sum(len(body) - 16 for body in heard) == 1001 * (12 + 4 * 128)
    assert len(heard) == 9


def test_one_way_messages_as_they_are_on_the_wire(engine: FakeEngine, client: NativeClient) -> None:
    engine.answer = lambda sock, header, body: (sock.send(reply(header)), None)[1] if header.serial else None
    assert client.seal(7, b"frame") and client.port_frame(b"question") and client.datagram(b"packet", AT)
    assert client.to_port(b"announcement")
    client.forward(False)
    assert [(header.type, header.serial, body) for header, body in engine.heard[1:-1]] == [
        (Message.SEAL, 0, b"\7\0\0\0\0\0\0\0frame"),
        (Message.PORT_FRAME, 0, b"question"),
        (Message.DATAGRAM, 0, bytes(PLACE) + b"packet"),
        (Message.TO_PORT, 0, b"announcement"),
    ]


def test_answers(engine: FakeEngine, client: NativeClient) -> None:
    pages = {
        (Message.SESSIONS, 0): (3, protocol.SessionRow(7, 1, 11, 12, 13, PLACE, 4, 0)),
        (Message.SESSIONS, 3): (0, protocol.SessionRow(8, 2, 21, 22, 23)),
        (Message.FDB, 0): (0, protocol.FdbRow(vlan=0xFFFF, owner=0xFFFFFFFF, is_static=1)),
    }

    def answer(sock: socket.socket, header: protocol.MessageHeader, body: bytes) -> None:
        if header.type == Message.STATS:
            sock.send(reply(header, bytes(protocol.SessionStats(1, 2, 3, 4, 5, 6, 7, 8, 9, 10))))
        elif header.type == Message.COUNTERS:
            sock.send(reply(header, bytes(8 * 7) + b"\x05" + bytes(8 * 248 + 7)))
        else:
            following, row = pages[header.type, int.from_bytes(body[:4], "little")]
            sock.send(reply(header, following.to_bytes(8, "little") + bytes(row)))

    engine.answer = answer
    assert (client.stats(1).last_unicast, client.stats(1).rx_expected) == (9, 10)
    assert client.counters() == {7: 5}
    assert client.sessions() == [
        module.SessionRow(7, 11, 12, 13, True, False, AT, bytes(4)),
        module.SessionRow(8, 21, 22, 23, False, True, None, b""),
    ]
    assert client.fdb() == [module.FdbRow(bytes(6), None, None, True, 0)]


def test_stop(engine: FakeEngine, client: NativeClient) -> None:
    client.stop()
    assert engine.heard[-1][0].type == Message.STOP
    with pytest.raises(EngineGone):
        client.forward(True)


# --- events -----------------------------------------------------------------------------------------------------------

EVENTS = {
    message(EventType.UNRESOLVED, b"\1\0\0\0\xff\xff\xff\xff" + b"frame"): Unresolved(
        b"frame", UnresolvedReason.UNKNOWN_DESTINATION, None
    ),
    message(EventType.UNRESOLVED, b"\2\0\0\0\7\0\0\0" + b"frame"): Unresolved(b"frame", UnresolvedReason.NO_SESSION, 7),
    message(EventType.CONTROL, bytes(protocol.Control(5, PLACE)) + b"frame"): ControlFrame(5, b"frame", AT),
    message(EventType.CONFIRMED, b"\5" + bytes(7)): Confirmed(5),
    message(EventType.MOVED, bytes(protocol.Control(5, PLACE))): EndpointMoved(5, AT),
    message(EventType.GROUP, b"frame"): GroupFrame(b"frame"),
    message(EventType.DATAGRAM, bytes(PLACE) + b"packet"): ForeignDatagram(b"packet", AT),
    message(EventType.LEARN, b"\2" * 6 + b"\5\0" + b"\7\0\0\0" + bytes(4)): Learned(b"\2" * 6, 5, 7),
}


def test_events(engine: FakeEngine, client: NativeClient) -> None:
    assert client.take_events() == [] and not client.pending
    engine.send(*EVENTS)
    assert client.take_events() == list(EVENTS.values())
    assert client.take_events() == []


def test_events_that_come_while_an_answer_is_awaited(engine: FakeEngine, client: NativeClient) -> None:
    def answer(sock: socket.socket, header: protocol.MessageHeader, body: bytes) -> None:
        engine.send(*EVENTS, reply(header))

    engine.answer = answer
    client.forward(True)
    assert client.pending
    engine.send(*EVENTS)
    assert client.take_events() == 2 * list(EVENTS.values())
    assert not client.pending


def test_what_came_before_the_end_is_not_lost(engine: FakeEngine, client: NativeClient) -> None:
    engine.send(*EVENTS)
    engine.end()
    assert client.take_events() == list(EVENTS.values())
    with pytest.raises(EngineGone, match="has ended"):
        client.take_events()


def test_a_flood_of_events_leaves_room_for_others(
    engine: FakeEngine, client: NativeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVENTS_AT_ONCE", 3)
    engine.send(*EVENTS)
    assert len(client.take_events()) == 3
    assert len(client.take_events()) == 3
    assert len(client.take_events()) == len(EVENTS) - 6


def test_any_bytes_are_an_event_or_make_no_sense(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(20_000):
        kind, body = (
            draw.choice([*EventType, 0, 71, 0xFFFF]),
            draw.randbytes(draw.choice((0, 7, 8, 16, 24, 32, 40, 60))),
        )
        try:
            parse_event(kind, body)
        except ValueError:
            pass
