"""Someone with a genuine session at the Nucleus who says in it whatever a test wants."""

from __future__ import annotations

from support.nucleus_net import NUCLEUS_AT, Net

from omni_core.crypto.identity import Identity
from omni_core.crypto.kdf import admission_proof
from omni_core.crypto.record import signed
from omni_core.session.events import SessionCreated
from omni_core.session.handshake import Profile
from omni_core.session.sessions import Sessions
from omni_core.signaling.codec import decode_message, encode_message
from omni_core.signaling.link import SignalingLink
from omni_core.signaling.messages import Message, Register
from omni_core.types import Endpoint
from omni_core.wire.control import ControlType, decode_signaling


class Insider:
    def __init__(self, net: Net, at: str = "10.66.0.1", identity: Identity | None = None) -> None:
        net.now += 1e-3  # an initiation is newer than any before
        self.net = net
        self.at = Endpoint(at, 6666)
        self.identity = identity or Identity.generate(net.rng.randbytes)
        sessions = Sessions(self.identity, None, lambda *_: None, random=net.rng.randbytes, unix_ns=net.unix_ns)
        sessions.connect(net.identity.public_key, [NUCLEUS_AT], net.now, profile=Profile("nucleus"))
        for data, _ in sessions.take_datagrams():
            for answer in self.send(data):
                sessions.receive(answer, NUCLEUS_AT, net.now)
        (event,) = sessions.take_events()
        assert isinstance(event, SessionCreated)
        self.link = SignalingLink(event.keypair)

    def send(self, data: bytes, source: Endpoint | None = None) -> list[bytes]:
        """-> what the Nucleus sends to us at once."""
        self.net.nucleus.receive_datagram(data, source or self.at, self.net.now)
        sent = self.net.nucleus.take_datagrams()
        for datagram, destination in sent:
            if destination != (source or self.at):
                self.net.send(datagram, NUCLEUS_AT, destination)
        return [datagram for datagram, destination in sent if destination == (source or self.at)]

    def say(self, body: bytes) -> list[Message]:
        answers = self.send(self.link.seal(body))
        assert all(answer[0] == ControlType.SIGNALING for answer in answers)
        return [decode_message(self.link.open(decode_signaling(answer))) for answer in answers]

    def ask(self, message: Message) -> Message:
        (answer,) = self.say(encode_message(message))
        return answer

    def record(self, *, cluster: str = "fleet", version: int = 1, vip4: str | None = "10.77.66.1/16") -> bytes:
        return signed(self.identity, cluster, version=version, vip4=vip4)

    def register(self, *, cluster: str = "fleet", record: bytes | None = None, key: bytes | None = None) -> Register:
        proof = admission_proof(key, self.link.handshake_hash, self.identity.public_key, cluster) if key else b""
        return Register(1, cluster, record or self.record(cluster=cluster), proof, ())
