"""An edge without a life of its own, for measuring a Nucleus: it makes its messages ahead, and opens no answers."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from omni_core.crypto.identity import Identity
from omni_core.crypto.record import signed
from omni_core.engines.settings import NucleusSettings
from omni_core.session.events import SessionCreated
from omni_core.session.handshake import Profile
from omni_core.session.sessions import Sessions
from omni_core.signaling.codec import decode_message, encode_message
from omni_core.signaling.link import SignalingLink
from omni_core.signaling.messages import Heartbeat, Message, QueryPeer, Register, RegisterAck, Status
from omni_core.types import Endpoint
from omni_core.wire.control import ControlType, decode_signaling


class Talker:
    """``receive`` what comes until ``registered``; ``take`` what is to be sent."""

    def __init__(self, number: int, cluster: str, nucleus: NucleusSettings, at: Endpoint, rng: random.Random) -> None:
        self.number = number
        self.cluster = cluster
        self.at = at
        self.nucleus = nucleus
        self.identity = Identity.generate(rng.randbytes)
        self.key = self.identity.public_key
        self.registered: RegisterAck | None = None
        vip4 = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}/8"
        self._record = signed(self.identity, cluster, version=time.time_ns(), vip4=vip4, name=f"robot-{number}")
        self._sessions = Sessions(
            self.identity, None, lambda *_: None, random=rng.randbytes, unix_ns=lambda _: time.time_ns()
        )
        self._link: SignalingLink | None = None
        self._out: list[bytes] = []

    def start(self, now: float) -> None:
        self._sessions.connect(self.nucleus.public_key, self.nucleus.endpoints, now, profile=Profile("nucleus"))

    def receive(self, data: bytes, now: float) -> None:
        if data[0] != ControlType.SIGNALING:
            self._sessions.receive(data, self.nucleus.endpoints[0], now)
            for event in self._sessions.take_events():
                if isinstance(event, SessionCreated):
                    self._link = SignalingLink(event.keypair)
                    self._out.append(self.seal(Register(1, self.cluster, self._record, b"", self._local())))
        elif self._link is not None:
            message = decode_message(self._link.open(decode_signaling(data)))
            if isinstance(message, RegisterAck):
                if message.status is not Status.OK:
                    raise RuntimeError(message.reason)
                self.registered = message

    def again(self, now: float) -> None:
        """No answer came for a while."""
        if self._link is None:
            self._sessions.handle_timer(now)
        elif self.registered is None:
            self._out.append(self.seal(Register(1, self.cluster, self._record, b"", self._local())))

    def take(self) -> list[bytes]:
        out, self._out = self._out, []
        return [data for data, _ in self._sessions.take_datagrams()] + out

    def heartbeats(self, count: int) -> list[bytes]:
        """As they are in a quiet cluster: all that happened is seen."""
        ack = self.registered
        assert ack is not None
        version = time.time_ns()
        return [
            self.seal(Heartbeat(number, ack.epoch, (1 << 62), version, self._local())) for number in range(1, count + 1)
        ]

    def queries(self, peers: Sequence[bytes]) -> list[bytes]:
        return [self.seal(QueryPeer(number, peer)) for number, peer in enumerate(peers, 1)]

    def seal(self, message: Message) -> bytes:
        assert self._link is not None
        return self._link.seal(encode_message(message))

    def _local(self) -> tuple[bytes, ...]:
        from omni_core.signaling.endpoints import pack_endpoint

        return (pack_endpoint(self.at),)
