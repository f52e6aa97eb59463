"""The sessions that an edge has with one Nucleus, and the messages in them."""

from __future__ import annotations

from collections.abc import Sequence

from omni_core.drops import DropReason
from omni_core.errors import RemoteViolation
from omni_core.session.events import SessionCreated, SessionRetired, SessionUsable
from omni_core.session.handshake import Profile
from omni_core.session.sessions import Sessions
from omni_core.signaling.codec import decode_message, encode_message
from omni_core.signaling.link import SignalingLink
from omni_core.signaling.messages import Message
from omni_core.types import Endpoint, PublicKey
from omni_core.wire.control import decode_signaling

_PROFILE = Profile("nucleus")


class Connection:
    """Up while it has a session to send with."""

    def __init__(self, sessions: Sessions, nucleus: PublicKey, endpoints: Sequence[Endpoint]) -> None:
        """``sessions``: shared with the owner; this connects and forgets ``nucleus`` in it."""
        self.nucleus = nucleus
        self.endpoints = list(endpoints)
        self._sessions = sessions
        self._links: dict[int, SignalingLink] = {}
        self._sending: SignalingLink | None = None
        self._datagrams: list[tuple[bytes, Endpoint]] = []

    @property
    def is_up(self) -> bool:
        return self._sending is not None

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the Nucleus was last heard."""
        return self._sessions.endpoint(self.nucleus)

    @property
    def places(self) -> str:
        return ", ".join(str(e) for e in self.endpoints) or "no address"

    @property
    def handshake_hash(self) -> bytes:
        """Of the session that sends."""
        return self._sending.handshake_hash if self._sending is not None else b""

    def owns(self, session: int) -> bool:
        return session in self._links

    def connect(self, now: float) -> None:
        self._sessions.connect(self.nucleus, self.endpoints, now, profile=_PROFILE)

    def resend(self, now: float) -> None:
        """The initiation that is in flight, now."""
        self._sessions.resend(self.nucleus, now)

    def end(self, now: float) -> None:
        self._sessions.forget(self.nucleus, now)
        for link in self._links.values():
            link.wipe()
        self._links.clear()
        self._sending = None

    def begin(self, event: SessionCreated | SessionUsable) -> bool:
        """Whether another session sends from now on. The Nucleus takes it for confirmed with the first packet."""
        if isinstance(event, SessionCreated):
            link = self._links[event.keypair.receive_id] = SignalingLink(event.keypair)
            if not event.usable:
                return False
        else:
            link = self._links[event.receive_id]
        self._sending = link
        return True

    def retire(self, event: SessionRetired) -> None:
        link = self._links.pop(event.receive_id, None)
        if link is not None:
            link.wipe()
            self._sending = None if self._sending is link else self._sending

    def send(self, message: Message) -> None:
        """Nowhere while it is not up."""
        destination = self.endpoint
        if self._sending is not None and destination is not None:
            self._datagrams.append((self._sending.seal(encode_message(message)), destination))

    def receive(self, packet: bytes, source: Endpoint) -> Message:
        """A packet of type 0x04. Raises RemoteViolation; nothing has changed then, unless the message is malformed."""
        signaling = decode_signaling(packet)
        link = self._links.get(signaling.session_id)
        if link is None:
            raise RemoteViolation(DropReason.UNKNOWN_SESSION)
        message = decode_message(link.open(signaling))
        if link is self._sending and signaling.counter == link.newest:
            self._sessions.set_endpoint(self.nucleus, source)
        return message

    def take_datagrams(self) -> list[tuple[bytes, Endpoint]]:
        datagrams, self._datagrams = self._datagrams, []
        return datagrams
