"""Who has sessions with a Nucleus, registered or not: one Party for each key. Part of the Nucleus engine.

What an edge sends comes in here and is a Message with its Origin then; what it is told goes out here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from omni_core.constants import EDGE_REQUEST_BURST, EDGE_REQUESTS_PER_SECOND, UNREGISTERED_MAX
from omni_core.drops import DropReason
from omni_core.errors import RemoteViolation
from omni_core.session.events import SessionCreated, SessionRetired, SessionUsable
from omni_core.session.limits import TokenBucket
from omni_core.session.sessions import Sessions
from omni_core.signaling.codec import decode_message, encode_message
from omni_core.signaling.link import SignalingLink
from omni_core.signaling.messages import Message
from omni_core.types import Endpoint, PublicKey
from omni_core.wire.control import decode_signaling


class Party:
    """A key with at least one session. Registered or not: that is in the store."""

    __slots__ = ("bucket", "endpoint", "links", "sending", "standby", "told")

    def __init__(self, now: float) -> None:
        self.links = 0
        self.sending: SignalingLink | None = None  # the newest that the edge has confirmed
        self.endpoint: Endpoint | None = None  # where its newest authentic packet came from
        self.told = 0  # last change number sent to it
        self.standby = False  # it uses another Nucleus, as its last heartbeat said
        self.bucket = TokenBucket(EDGE_REQUESTS_PER_SECOND, EDGE_REQUEST_BURST, now)

    @property
    def reachable(self) -> bool:
        return self.sending is not None and self.endpoint is not None


class Origin(NamedTuple):
    """Where an authentic message came from."""

    party: Party
    link: SignalingLink
    source: Endpoint
    newest: bool  # nothing newer came before it: its source is where the edge is


class Parties:
    def __init__(
        self,
        sessions: Sessions,
        *,
        is_registered: Callable[[PublicKey], bool],
        gone: Callable[[PublicKey, float], None],
    ) -> None:
        """``sessions``: this follows them. ``gone(key, now)``: the last session of a key has ended."""
        self.handshakes = 0  # sessions made
        self._sessions = sessions
        self._is_registered = is_registered
        self._gone = gone
        self._links: dict[int, SignalingLink] = {}  # by the session id on what we receive
        self._parties: dict[PublicKey, Party] = {}
        self._strangers: OrderedDict[PublicKey, None] = OrderedDict()  # parties that are not registered, oldest first
        self._datagrams: list[tuple[bytes, Endpoint]] = []

    def __len__(self) -> int:
        return len(self._parties)

    def __contains__(self, key: PublicKey) -> bool:
        return key in self._parties

    def __getitem__(self, key: PublicKey) -> Party:
        return self._parties[key]

    @property
    def sessions(self) -> int:
        return len(self._links)

    def reachable(self, key: PublicKey) -> Party | None:
        """None: there is no session to tell it by."""
        party = self._parties.get(key)
        return party if party is not None and party.reachable else None

    # --- sessions -------------------------------------------------------------------------------------------------

    def follow(self, now: float) -> None:
        """After each call of ``sessions``."""
        while events := self._sessions.take_events():
            for event in events:
                if isinstance(event, SessionCreated):
                    self._add_link(event, now)
                elif isinstance(event, SessionUsable):
                    self._parties[event.remote].sending = self._links[event.receive_id]
                elif isinstance(event, SessionRetired):
                    self._drop_link(event, now)

    def forget(self, key: PublicKey, now: float) -> None:
        """End its sessions."""
        self._sessions.forget(key, now)
        self.follow(now)

    def registered(self, key: PublicKey) -> None:
        self._strangers.pop(key, None)

    def unregistered(self, key: PublicKey) -> None:
        if key in self._parties:
            self._strangers[key] = None

    def _add_link(self, event: SessionCreated, now: float) -> None:
        self.handshakes += 1
        party = self._parties.get(event.remote)
        if party is None:
            party = self._parties[event.remote] = Party(now)
            if not self._is_registered(event.remote):
                self._strangers[event.remote] = None
        party.links += 1
        self._links[event.keypair.receive_id] = SignalingLink(event.keypair)
        if len(self._strangers) > UNREGISTERED_MAX:
            self._sessions.forget(next(iter(self._strangers)), now)

    def _drop_link(self, event: SessionRetired, now: float) -> None:
        link, party = self._links.pop(event.receive_id), self._parties[event.remote]
        link.wipe()
        party.links -= 1
        if party.sending is link:
            party.sending = None
        if not party.links:
            del self._parties[event.remote]
            self._strangers.pop(event.remote, None)
            self._gone(event.remote, now)

    # --- messages -------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, source: Endpoint, now: float) -> tuple[Message, Origin]:
        """A packet of type 0x04. Raises RemoteViolation."""
        packet = decode_signaling(data)
        link = self._links.get(packet.session_id)
        if link is None:
            raise RemoteViolation(DropReason.UNKNOWN_SESSION)
        body = link.open(packet)
        party = self._parties[link.remote]
        if party.sending is not link:
            self._sessions.confirm(link.receive_id, now)
            self.follow(now)
        if not party.bucket.take(now):
            raise RemoteViolation(DropReason.RATE_LIMITED)
        message = decode_message(body)
        origin = Origin(party, link, source, party.sending is link and packet.counter == link.newest)
        if origin.newest:
            party.endpoint = source
        return message, origin

    def answer(self, message: Message, origin: Origin) -> None:
        """On the link that the request came on: the asker has that one, whatever became of others."""
        if origin.link.receive_id not in self._links:
            return  # the answer took its time, and the session has ended
        self._datagrams.append((origin.link.seal(encode_message(message)), origin.source))

    def tell(self, party: Party, message: bytes) -> None:
        """``message``: encoded. What nobody asked for; to nobody if the party is not reachable."""
        if party.sending is not None and party.endpoint is not None:
            self._datagrams.append((party.sending.seal(message), party.endpoint))

    def take_datagrams(self) -> list[tuple[bytes, Endpoint]]:
        datagrams, self._datagrams = self._datagrams, []
        return datagrams
