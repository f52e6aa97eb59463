"""What the Nucleus tells about the cluster, carried out. Part of the Ganglion engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from omni_core.crypto.record import PeerRecord
from omni_core.engines.ganglion_events import GanglionEvent, NucleusChanged
from omni_core.engines.peering import Peering
from omni_core.engines.resolver import Resolver
from omni_core.session.machine import State
from omni_core.session.sessions import Sessions
from omni_core.signaling.client_events import (
    ClientEvent,
    NucleusLost,
    PeerJoined,
    PeerLeft,
    Punch,
    QueryAnswered,
    Refused,
    Registered,
)
from omni_core.types import Endpoint


class NucleusNews:
    """``reason``: why we are not registered; "" when all is well."""

    def __init__(
        self, sessions: Sessions, peering: Peering, resolver: Resolver, emit: Callable[[GanglionEvent], None]
    ) -> None:
        self._sessions = sessions
        self._peering = peering
        self._resolver = resolver
        self._emit = emit
        self.reason = ""

    def handle(self, event: ClientEvent, now: float) -> None:
        if isinstance(event, Registered):
            where = f"the Nucleus at {event.nucleus}" if event.nucleus else "the Nucleus"
            why = f": {event.why}" if event.why else ""
            self._changed("registered", "", f"registered with {where}, seen as {event.observed}{why}")
        elif isinstance(event, Refused):
            self._changed("refused", event.reason, event.reason)
        elif isinstance(event, NucleusLost):
            self._changed("connecting", event.reason, event.reason)
        elif isinstance(event, PeerJoined):
            self._learn(event.record, event.endpoints, now)
        elif isinstance(event, PeerLeft):
            self._peering.left(event.public_key, now)
        elif isinstance(event, Punch):
            peer = self._peering.learn(event.record, event.endpoints, now)
            if peer is not None:
                self._peering.punch(peer, now)
        elif isinstance(event, QueryAnswered):
            peer = self._peering.learn(event.record, event.endpoints, now) if event.record else None
            if peer is not None and self._sessions.state(peer.public_key) is State.INITIATING:
                self._peering.punch(peer, now)  # the peer has been told just now: its NAT is about to open
            self._resolver.answered(event.address, peer, now)

    def _changed(self, state: str, reason: str, text: str) -> None:
        self.reason = reason
        self._emit(NucleusChanged(state, text))

    def _learn(self, record: PeerRecord, endpoints: Sequence[Endpoint], now: float) -> None:
        peer = self._peering.learn(record, endpoints, now)
        if peer is not None and self._peering.keeps(peer) and not self._peering.is_up(peer):
            self._peering.connect(peer, now)
