"""Frames that the data plane could not send: they wait for a session, or go to all. Part of the Ganglion engine."""

from __future__ import annotations

from omni_core.dataplane.port import DataPlane, Unresolved, UnresolvedReason
from omni_core.drops import DropCounters, DropReason
from omni_core.engines.peering import Peering
from omni_core.engines.peers import Peer, PeerBook
from omni_core.engines.resolver import Resolver
from omni_core.session.sessions import Sessions


class SlowPath:
    def __init__(
        self,
        plane: DataPlane,
        book: PeerBook,
        sessions: Sessions,
        peering: Peering,
        resolver: Resolver,
        drops: DropCounters,
    ) -> None:
        self._plane = plane
        self._book = book
        self._sessions = sessions
        self._peering = peering
        self._resolver = resolver
        self._drops = drops

    def unresolved(self, event: Unresolved, now: float) -> None:
        peer = self._book.by_id(event.peer) if event.peer is not None else None
        if event.reason is UnresolvedReason.UNKNOWN_DESTINATION:
            self._flood_unknown(event.frame, now)
        elif peer is not None:
            self._send_or_wait(peer, event.frame, now)

    def usable(self, peer: Peer, now: float) -> None:
        """There is a session: what waited goes out."""
        frames = self._resolver.take(peer, now)
        if frames:
            self._plane.frames_to_peer(peer.id, frames, now)

    def _send_or_wait(self, peer: Peer, frame: bytes, now: float) -> None:
        """The session may have begun while the frame was on its way from the data plane to us."""
        sending = self._sessions.sending(peer.public_key)
        if peer.up_since is not None and sending is not None and now < sending.expires:
            self._plane.frames_to_peer(peer.id, [frame], now)
        else:
            self._resolver.no_session(peer, frame, now)

    def _flood_unknown(self, frame: bytes, now: float) -> None:
        """IEEE 802.1D, 7.7: an unknown unicast frame goes everywhere; what answers it teaches the FDB."""
        flood = self._peering.flood
        if not flood:
            self._drops.add(DropReason.UNKNOWN_DESTINATION)
        for peer_id in flood:
            peer = self._book.by_id(peer_id)
            if peer is None:
                continue
            if peer.up_since is not None:
                self._plane.frames_to_peer(peer_id, [frame], now)
            else:
                self._resolver.no_session(peer, frame, now)
        if self._peering.on_demand:
            self._resolver.look_for_destination(frame, now)
