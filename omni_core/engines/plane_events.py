"""What the data plane reports goes to the part that it concerns: frames without a way, sessions that the peer has used,
peers that have moved, and in-session control. Part of the Ganglion engine."""

from __future__ import annotations

from collections.abc import Callable

from omni_core.dataplane.port import Confirmed, ControlFrame, DataPlane, DataPlaneEvent, EndpointMoved, Unresolved
from omni_core.drops import DropCounters
from omni_core.engines.control_link import ControlLink
from omni_core.engines.discovery.discovery import Discovery
from omni_core.engines.gossip import Gossip
from omni_core.engines.peering import Peering
from omni_core.engines.peers import PeerBook
from omni_core.engines.pings import Pings
from omni_core.engines.slow_path import SlowPath
from omni_core.errors import RemoteViolation
from omni_core.session.sessions import Sessions
from omni_core.wire.inband import ControlKind, decode_control


class PlaneEvents:
    """``gossip()``: None until there is one. ``drain(now)`` hands out the events of Sessions."""

    def __init__(
        self,
        plane: DataPlane,
        book: PeerBook,
        sessions: Sessions,
        peering: Peering,
        slow_path: SlowPath,
        link: ControlLink,
        pings: Pings,
        discovery: Discovery | None,
        drops: DropCounters,
        *,
        gossip: Callable[[], Gossip | None],
        drain: Callable[[float], None],
    ) -> None:
        self._plane = plane
        self._book = book
        self._sessions = sessions
        self._peering = peering
        self._slow_path = slow_path
        self._link = link
        self._pings = pings
        self._discovery = discovery
        self._drops = drops
        self._gossip = gossip
        self._drain = drain

    def handle(self, now: float) -> None:
        """Until there is nothing to report: what is done about an event may lead to others."""
        while events := self._plane.take_events():
            for event in events:
                self._on_event(event, now)
            self._drain(now)

    def _on_event(self, event: DataPlaneEvent, now: float) -> None:
        if isinstance(event, Unresolved):
            self._slow_path.unresolved(event, now)
        elif isinstance(event, Confirmed):
            self._sessions.confirm(event.receive_id, now)
            self._drain(now)  # before the next event: its answer needs the session
        elif isinstance(event, EndpointMoved):
            peer, gossip = self._peering.moved(event.receive_id, event.source, now), self._gossip()
            if peer is not None and gossip is not None:
                gossip.noted(peer, now)
        elif isinstance(event, ControlFrame):
            self._on_control(event, now)

    def _on_control(self, event: ControlFrame, now: float) -> None:
        remote = self._sessions.remote_of(event.receive_id)
        peer = self._book.get(remote) if remote else None
        if peer is None:
            return
        try:
            message = decode_control(event.frame)
        except RemoteViolation as violation:
            self._drops.add(violation.reason)
            return
        gossip, discovery = self._gossip(), self._discovery
        if discovery is not None:
            discovery.heard(peer, now)
        if message.kind is ControlKind.PING:
            self._link.pong(peer, message, now)
        elif message.kind is ControlKind.PONG:
            self._link.got_pong(peer, message, now)
            self._pings.answered(message.token, now)
        elif message.kind is ControlKind.GOODBYE:
            self._peering.said_goodbye(peer, now)
        elif message.kind is ControlKind.GOSSIP:
            if gossip is not None:
                gossip.heard(peer, message.body, now)
        elif discovery is not None:
            discovery.control(peer, message, now)
