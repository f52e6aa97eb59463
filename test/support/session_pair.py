"""Two Sessions and the wire between them, on a clock that the test moves."""

from __future__ import annotations

import random
from collections.abc import Callable

from omni_core.crypto.identity import Identity
from omni_core.session.events import SessionCreated, SessionEvent, SessionLost, SessionRetired, SessionUsable
from omni_core.session.handshake import Profile
from omni_core.session.sessions import Sessions
from omni_core.types import Endpoint

EPOCH_NS = 1_700_000_000 * 10**9


class Side:
    """One owner of Sessions: keeps what the events told."""

    def __init__(self, identity: Identity, endpoint: Endpoint, profile: Profile | None, rng: random.Random) -> None:
        self.identity = identity
        self.endpoint = endpoint
        self.admitted = True
        self.sessions = Sessions(
            identity,
            profile,
            lambda key, body, source: b"answer" if self.admitted else None,
            random=rng.randbytes,
            unix_ns=lambda now: EPOCH_NS + int(now * 1e9),
        )
        self.key = identity.public_key
        self.events: list[SessionEvent] = []
        self.receiving: dict[int, tuple[bytes, bytes]] = {}  # receive id -> (send key, receive key), copies
        self.sending: int | None = None

    def drain(self) -> list[SessionEvent]:
        events = self.sessions.take_events()
        for event in events:
            if isinstance(event, SessionCreated):
                keypair = event.keypair
                self.receiving[keypair.receive_id] = (bytes(keypair.send_key), bytes(keypair.receive_key))
                if event.usable:
                    self.sending = keypair.receive_id
            elif isinstance(event, SessionUsable):
                self.sending = event.receive_id
            elif isinstance(event, SessionRetired):
                del self.receiving[event.receive_id]
                if self.sending == event.receive_id:
                    self.sending = None
            elif isinstance(event, SessionLost):
                assert self.sending is None
        self.events += events
        return events


class Pair:
    """``carry`` decides about each datagram: (sender, datagram) -> list of datagrams to deliver."""

    def __init__(self, seed: int, *, psk: bytes | None = None, psk_b: bytes | None = None) -> None:
        self.rng = random.Random(seed)
        first, second = (Identity.generate(self.rng.randbytes) for _ in range(2))
        if first.public_key > second.public_key:
            first, second = second, first  # b has the greater key: its initiation stands in a tie
        self.a = Side(first, Endpoint("10.0.0.1", 1001), Profile("peer", "c", psk), self.rng)
        self.b = Side(second, Endpoint("10.0.0.2", 1002), Profile("peer", "c", psk_b or psk), self.rng)
        self.now = 100.0
        self.sent: list[tuple[Side, bytes]] = []
        self.carry: Callable[[Side, bytes], list[bytes]] = lambda sender, datagram: [datagram]

    def other(self, side: Side) -> Side:
        return self.b if side is self.a else self.a

    def connect(self, side: Side, body: bytes = b"hello") -> None:
        remote = self.other(side)
        side.sessions.connect(remote.key, [remote.endpoint], self.now, body=body)

    def pump(self) -> None:
        """Deliver until nothing moves, confirming new sessions as a first data packet would."""
        moved = True
        while moved:
            moved = False
            for side in (self.a, self.b):
                for datagram, _ in side.sessions.take_datagrams():
                    moved = True
                    self.sent.append((side, datagram))
                    for piece in self.carry(side, datagram):
                        self.other(side).sessions.receive(piece, side.endpoint, self.now)
                for event in side.drain():
                    if isinstance(event, SessionCreated) and event.usable:
                        self.confirm(side)

    def confirm(self, sender: Side) -> None:
        """The sender's first packet reaches the other side: it is found by the id that the sender writes."""
        keypair = sender.sessions.sending(self.other(sender).key)
        if keypair is not None:
            self.other(sender).sessions.confirm(keypair.send_id, self.now)

    def advance(self, seconds: float, step: float = 0.5) -> None:
        """Run timers on both sides, pumping at each of their deadlines."""
        end = self.now + seconds
        while True:
            timers = [t for t in (self.a.sessions.next_timer(), self.b.sessions.next_timer()) if t is not None]
            due = min(timers, default=end)
            self.now = min(max(due, self.now), end)
            for side in (self.a, self.b):
                side.sessions.handle_timer(self.now)
            self.pump()
            if self.now >= end:
                return

    def assert_joined(self) -> None:
        """Both send with one session, and each can open what the other seals."""
        a, b = (s.sessions.sending(self.other(s).key) for s in (self.a, self.b))
        assert a is not None and b is not None
        assert a.send_id == b.receive_id and a.receive_id == b.send_id
        assert bytes(a.send_key) == bytes(b.receive_key) and bytes(a.receive_key) == bytes(b.send_key)
        assert any(a.send_key) and a.send_key != a.receive_key
        assert self.a.sending == a.receive_id and self.b.sending == b.receive_id
