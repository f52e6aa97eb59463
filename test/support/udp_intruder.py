"""Someone with a UDP socket on loopback, who sends a Nucleus what he likes; and one with a genuine session besides."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterable

from omni_core.crypto.identity import Identity
from omni_core.crypto.record import signed
from omni_core.engines.settings import NucleusSettings
from omni_core.session.events import SessionCreated
from omni_core.session.handshake import Profile
from omni_core.session.sessions import Sessions
from omni_core.signaling.codec import decode_message, encode_message
from omni_core.signaling.link import SignalingLink
from omni_core.signaling.messages import Message, Register
from omni_core.types import RandomBytes
from omni_core.wire.control import ControlType, decode_signaling


class Intruder:
    """Close it."""

    def __init__(self, nucleus: NucleusSettings, host: str = "127.66.0.1") -> None:
        self.nucleus = nucleus
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.settimeout(0.2)
        self.sent = 0

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # too long, or no room
            self.socket.sendto(data, self.nucleus.endpoints[0])
            self.sent += 1

    def flood(self, datagrams: Iterable[bytes], pause_each: int = 500, pause: float = 0.005) -> None:
        """As fast as a thread can that lets others run now and then."""
        for number, data in enumerate(datagrams):
            self.send(data)
            if number % pause_each == pause_each - 1:
                time.sleep(pause)

    def heard(self) -> list[bytes]:
        """What came, until nothing more does."""
        data = []
        with contextlib.suppress(TimeoutError):
            while True:
                data.append(self.socket.recv(2048))
        return data


class Insider(Intruder):
    """With a session of its own, in which it says what it likes."""

    def __init__(
        self,
        nucleus: NucleusSettings,
        random: RandomBytes,
        host: str = "127.66.1.1",
        identity: Identity | None = None,
        attempts: int = 10,
    ) -> None:
        super().__init__(nucleus, host)
        self.identity = identity or Identity.generate(random)
        self.sessions = Sessions(
            self.identity, None, lambda *_: None, random=random, unix_ns=lambda now: time.time_ns()
        )
        self.sessions.connect(nucleus.public_key, nucleus.endpoints, time.monotonic(), profile=Profile("nucleus"))
        self.link = self._connect(attempts)

    def _connect(self, attempts: int) -> SignalingLink:
        for _ in range(attempts):
            for data, _ in self.sessions.take_datagrams():
                self.send(data)
            for data in self.heard():
                self.sessions.receive(data, self.nucleus.endpoints[0], time.monotonic())
            for event in self.sessions.take_events():
                if isinstance(event, SessionCreated):
                    return SignalingLink(event.keypair)
            self.sessions.handle_timer(time.monotonic() + 30)
        raise AssertionError("no session")

    def say(self, message: Message) -> None:
        self.send(self.link.seal(encode_message(message)))

    def answers(self) -> list[Message]:
        return [
            decode_message(self.link.open(decode_signaling(data)))
            for data in self.heard()
            if data[0] == ControlType.SIGNALING
        ]

    def ask(self, message: Message) -> Message:
        self.say(message)
        answers = self.answers()
        assert answers, "no answer"
        return answers[0]

    def record(
        self, *, cluster: str = "fleet", version: Callable[[], int] = time.time_ns, vip4: str = "10.66.6.6/8"
    ) -> bytes:
        return signed(self.identity, cluster, version=version(), vip4=vip4)

    def register(self, record: bytes | None = None, cluster: str = "fleet", proof: bytes = b"") -> Register:
        return Register(1, cluster, record or self.record(cluster=cluster), proof, ())


def registered(answer: Message) -> str:
    """The status of a RegisterAck, by name."""
    status = getattr(answer, "status", None)
    return status.name if status is not None else type(answer).__name__


def initiation(nucleus: NucleusSettings, random: RandomBytes) -> bytes:
    """The first message of a handshake, of a key that nobody knows."""
    sessions = Sessions(
        Identity.generate(random), None, lambda *_: None, random=random, unix_ns=lambda now: time.time_ns()
    )
    sessions.connect(nucleus.public_key, nucleus.endpoints, 0.0, profile=Profile("nucleus"))
    return sessions.take_datagrams()[0][0]
