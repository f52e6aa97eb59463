"""Looks at the sessions of each peer that is up now and then, and keeps it alive, probes it or lets it go. What to do
when is in session/liveness.py. Part of the Ganglion engine."""

from __future__ import annotations

from collections.abc import Callable

from omni_core.constants import CLOCK_REFRESH, CLOCK_RETRY, HINT_DOUBT, LIVENESS_POLL, ON_DEMAND_IDLE, UNUSED_IDLE
from omni_core.dataplane.port import DataPlane
from omni_core.engines.control_link import ControlLink
from omni_core.engines.peers import Peer, PeerBook
from omni_core.session.liveness import Care, Liveness
from omni_core.session.sessions import Sessions
from omni_core.session.timers import Deadlines
from omni_core.types import PeerId
from omni_core.wire.inband import ControlKind


class Keepalives:
    """``keeps(peer)``: it stays connected without traffic, too. ``connect(peer, now)`` tries every place that is known
    of it, ``ask(peer, now)`` asks where it is now, ``forget(peer, now, reason)`` ends its sessions."""

    def __init__(
        self,
        plane: DataPlane,
        book: PeerBook,
        sessions: Sessions,
        link: ControlLink,
        *,
        keeps: Callable[[Peer], bool],
        connect: Callable[[Peer, float], None],
        ask: Callable[[Peer, float], object],
        forget: Callable[[Peer, float, str], None],
    ) -> None:
        self._plane = plane
        self._book = book
        self._sessions = sessions
        self._link = link
        self._keeps = keeps
        self._connect = connect
        self._ask = ask
        self._forget = forget
        self._polls: Deadlines[PeerId] = Deadlines()

    def begin(self, peer: Peer, now: float) -> None:
        """It is up."""
        peer.last_unicast = now
        peer.liveness = Liveness(last_ping=0.0)
        self._polls.set(peer.id, _next_poll(now))

    def end(self, peer: Peer) -> None:
        """Idempotent."""
        self._polls.set(peer.id, None)

    def next_timer(self) -> float | None:
        return self._polls.next()

    def handle_timer(self, now: float) -> None:
        for peer_id in self._polls.pop_due(now):
            peer = self._book.by_id(peer_id)
            if peer is not None and peer.up_since is not None:
                self._polls.set(peer_id, _next_poll(now))
                self._poll(peer, now)

    def _poll(self, peer: Peer, now: float) -> None:
        unconfirmed = self._read_counters(peer, now)
        idle = UNUSED_IDLE if peer.last_unicast == peer.up_since else ON_DEMAND_IDLE
        if not self._keeps(peer) and now - peer.last_unicast >= idle:
            self._link.send(peer, ControlKind.GOODBYE, now)
            self._forget(peer, now, f"{peer.label}: no traffic for {idle:.0f} s")
            return
        care = peer.liveness.poll(peer.traffic, now)
        peer.seen = max(peer.seen or 0.0, peer.traffic.rx)
        if peer.hints.untried and peer.liveness.silent(HINT_DOUBT, now):
            peer.hints.untried = False
            self._connect(peer, now)
            self._sessions.rekey(peer.public_key, now)
        elif care is Care.REHANDSHAKE:
            if peer.hints:
                self._connect(peer, now)  # with what is known of places by now
            self._ask(peer, now)
            self._sessions.rekey(peer.public_key, now)
        elif (
            care is Care.PING or unconfirmed or _wants_clock(peer, now)
        ):  # was our first packet lost? The peer cannot send before it
            self._link.ping(peer, now)
        elif care is Care.KEEPALIVE:
            self._link.send(peer, ControlKind.KEEPALIVE, now)

    def _read_counters(self, peer: Peer, now: float) -> bool:
        """Whether the peer has not yet used the session that we began and send with."""
        traffic = peer.traffic
        unconfirmed = False
        for keypair in self._sessions.keypairs(peer.public_key):
            stats = self._plane.session_stats(keypair.receive_id)
            traffic.tx, traffic.tx_data = max(traffic.tx, stats.last_tx), max(traffic.tx_data, stats.last_tx_data)
            traffic.rx, traffic.rx_data = max(traffic.rx, stats.last_rx), max(traffic.rx_data, stats.last_rx_data)
            peer.last_unicast = max(peer.last_unicast, stats.last_unicast)
            if keypair is self._sessions.sending(peer.public_key):
                self._sessions.count_sent(peer.public_key, stats.tx_frames, now)
                unconfirmed = keypair.initiator and not stats.rx_frames
        return unconfirmed


def _wants_clock(peer: Peer, now: float) -> bool:
    """A busy peer needs no keepalive, but clocks drift."""
    return now - peer.liveness.last_ping >= (CLOCK_REFRESH if peer.rtt is not None else CLOCK_RETRY)


def _next_poll(now: float) -> float:
    """The same moment for all peers, so that 127 of them wake a robot once per LIVENESS_POLL and not 127 times."""
    return (now // LIVENESS_POLL + 1) * LIVENESS_POLL
