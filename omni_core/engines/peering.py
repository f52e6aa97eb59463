"""Who becomes a peer, who is kept connected, and what a session's life means for the data plane. Part of the
Ganglion engine.

A peer is *kept* (connected whether or not it has traffic) when it is configured, or when the Nucleus vouches for it
and the cluster is not larger than ``mesh_limit``. Others get a session on demand and lose it after ON_DEMAND_IDLE
without unicast frames (keepalives.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Interface

from omni_core.constants import NUDGE_AFTER, RECONNECT_MAX, RECONNECT_MIN
from omni_core.crypto.identity import Identity
from omni_core.crypto.record import PeerRecord
from omni_core.dataplane.port import DataPlane, SessionKeys
from omni_core.drops import DropCounters
from omni_core.engines.admission import Admission
from omni_core.engines.adoption import LeftPeer
from omni_core.engines.control_link import ControlLink
from omni_core.engines.departed import Departed
from omni_core.engines.ganglion_events import GanglionEvent, PeerDown, PeerUp, Warned
from omni_core.engines.keepalives import Keepalives
from omni_core.engines.notes import NoteKeeper
from omni_core.engines.peers import Peer, PeerBook
from omni_core.engines.settings import GanglionSettings
from omni_core.errors import RemoteViolation
from omni_core.session.events import SessionCreated, SessionEvent, SessionLost, SessionRetired, SessionUsable
from omni_core.session.machine import USABLE, State
from omni_core.session.sessions import Sessions
from omni_core.session.timers import Deadlines
from omni_core.types import Endpoint, PeerId, PublicKey
from omni_core.wire.hello import Hello, decode_hello, encode_hello


class Peering:
    """``on_usable(peer, now)`` is called each time a session of a peer starts to send: what waits can go out.
    ``ask(peer, now)`` asks the Nucleus where the peer is now. ``on_up(peer, now)``, ``on_down(peer)``: it has
    a usable session, or none any more. ``on_removed(peer)``: it is no peer any more.
    ``drain(now)`` hands out the events of Sessions, which come back here through ``handle_session_event``. ``owner``:
    of the sessions, for those who find them (notes.py)."""

    def __init__(
        self,
        settings: GanglionSettings,
        identity: Identity,
        plane: DataPlane,
        book: PeerBook,
        sessions: Sessions,
        drops: DropCounters,
        link: ControlLink,
        *,
        owner: bytes,
        emit: Callable[[GanglionEvent], None],
        on_usable: Callable[[Peer, float], None],
        ask: Callable[[Peer, float], object],
        on_up: Callable[[Peer, float], None],
        on_down: Callable[[Peer], None],
        on_removed: Callable[[Peer], None],
        drain: Callable[[float], None],
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._plane = plane
        self._book = book
        self._sessions = sessions
        self._drops = drops
        self._link = link
        self._emit = emit
        self._on_usable = on_usable
        self._ask = ask
        self._on_up = on_up
        self._on_down = on_down
        self._on_removed = on_removed
        self._drain = drain
        self._reconnects: Deadlines[PeerId] = Deadlines()
        self._nudges: Deadlines[PeerId] = Deadlines()
        self._keepalives = Keepalives(
            plane, book, sessions, link, keeps=self.keeps, connect=self.connect, ask=ask, forget=self.forget
        )
        self._admission = Admission(settings, book, is_up=self.is_up, emit=emit)
        self.owner = owner
        self._introduce(settings.vip4)
        self.flood: frozenset[PeerId] = frozenset()
        self.cluster_size = 0  # as the Nucleus says
        self.departed = Departed()
        self.orphaned = False  # no Nucleus answers: nobody else can say who is a peer still

    def _introduce(self, vip4: IPv4Interface | None) -> None:
        """What we tell each peer about ourselves."""
        self._hello = encode_hello(Hello(self._settings.name, vip4.ip if vip4 else None, self._settings.capabilities))
        self._notes = NoteKeeper(self._plane, self._sessions, self.owner, self._hello)
        self._admission.own_vip4 = vip4.ip if vip4 else None

    def set_vip4(self, vip4: IPv4Interface | None, now: float) -> None:
        """Ours is another one now. Peers with a session hear it by a new handshake."""
        before, self._hello = self._hello, b""
        self._introduce(vip4)
        if self._hello == before:
            return
        holder = self._book.by_address(vip4.ip) if vip4 else None
        if holder is not None:
            self._emit(Warned(f"VIP {vip4} moved from {holder.label} to us"))
            self._book.set_vip4(holder, None)
        for peer in self._book:
            if self._sessions.state(peer.public_key) is State.DOWN:
                continue
            places = ([peer.path] if peer.path else []) + list(peer.endpoints)
            self._sessions.connect(peer.public_key, places, now, body=self._hello)
            if self.is_up(peer):
                self._sessions.rekey(peer.public_key, now)
        self._drain(now)

    # --- policy ---------------------------------------------------------------------------------------------------

    @property
    def on_demand(self) -> bool:
        return self.cluster_size > self._settings.mesh_limit

    def keeps(self, peer: Peer) -> bool:
        return peer.static or (peer.member and not self.on_demand)

    def is_up(self, peer: Peer) -> bool:
        return self._sessions.state(peer.public_key) in USABLE

    def admit(self, public_key: PublicKey, body: bytes, source: Endpoint) -> bytes | None:
        """Sessions.admit: the answer's body, or None. The cluster secret, where there is one, has been proven
        already."""
        if public_key in self._settings.nucleus_keys:
            return None
        peer = self._book.get(public_key)
        if not self._admission.admits(public_key, member=peer is not None and peer.member):
            return None
        hello = decode_hello(body)
        return self._hello if self._admission.may_hold_vip4(public_key, hello) else None

    # --- who there is ---------------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        for static in self._settings.static_peers:
            peer = self._add(static.public_key)
            peer.static = True
            peer.endpoints = static.endpoints
            self.connect(peer, now)

    def adopt(self, left: Sequence[LeftPeer], now: float) -> None:
        """What an earlier Ganglion left in the data plane. Whom we have no use for is not in the book afterwards."""
        for each in left:
            self._adopt(each, now)
        self._drain(now)
        self._update_flood()  # once, for all of them: a smaller set in between would lose frames
        self.probe_all(now)

    def _adopt(self, left: LeftPeer, now: float) -> None:
        note, key = left.note, left.note.public_key
        member = note.member and bool(self._settings.nuclei)
        if key in {self._identity.public_key, *self._settings.nucleus_keys}:
            return
        if not self._admission.admits(key, member):
            return
        try:
            self._sessions.adopt(key, left.sessions, left.path, note.heard, now)
        except RemoteViolation as violation:  # a key that is no curve point
            self._drops.add(violation.reason)
        if self._sessions.state(key) is State.DOWN:
            return
        peer = self._add(key, left.id)
        peer.roles = left.roles
        peer.member = peer.inherited = member
        peer.name, peer.record_version = note.hello.name, note.record_version
        self._set_capabilities(peer, note.hello)
        if self._admission.may_hold_vip4(key, note.hello):
            self._book.set_vip4(peer, note.hello.vip4)
        if left.path is not None:
            self._set_path(peer, left.path)  # the same; if the peer moved, the data plane tells it again
        if not self.is_up(peer):
            return
        self._sessions.connect(key, [left.path] if left.path else [], now, body=self._hello)
        if note.told != self._notes.told:  # what we tell about ourselves has changed: not only at the next rekey
            self._sessions.rekey(key, now)
        self._up(peer, now, ", in a session that an earlier run made")
        peer.up_since = min(each.created for each in left.sessions)  # long enough not to pass for unused

    def learn(
        self, record: PeerRecord, endpoints: Sequence[Endpoint], now: float, *, hearsay: bool = False
    ) -> Peer | None:
        """The Nucleus vouches for a peer; with ``hearsay`` only peers do, or our cache, who are no judge of who may
        have a VIP4. None when the record is our own, not admitted, or older than what we know."""
        if record.public_key == self._identity.public_key or record.cluster != self._settings.cluster:
            return None
        allowed = self._settings.allowed_keys
        if allowed is not None and record.public_key not in allowed | self._admission.static_keys:
            return None
        peer = self._add(record.public_key)
        if record.version < peer.record_version:
            return None
        restarted = peer.record_version and record.version > peer.record_version
        peer.inherited = hearsay and (peer.inherited or not peer.member)
        peer.record = record
        peer.record_version, peer.member, peer.name = record.version, True, record.name
        vip4 = IPv4Interface(record.vip4).ip if record.vip4 else None
        if hearsay and not self._admission.may_hold_vip4(record.public_key, Hello(record.name, vip4), quiet=True):
            vip4 = None
        holder = self._book.by_address(vip4) if vip4 else None
        if holder is not None and holder is not peer:
            self._emit(Warned(f"VIP {vip4} moved from {holder.label} to {peer.label}"))
            self._book.set_vip4(holder, None)
        self._book.set_vip4(peer, vip4)
        moved = False
        if not hearsay:
            peer.stranger, peer.seen = False, now
            if endpoints:
                peer.hints.clear()
        if endpoints:
            moved = peer.endpoints not in ((), tuple(endpoints)) and peer.path not in endpoints
            peer.endpoints = tuple(endpoints)
        if (restarted or moved) and self.is_up(peer):
            # A new incarnation has lost its keys; one that moved while we did cannot reach us to say so.
            self.connect(peer, now)
            self._sessions.rekey(peer.public_key, now)
        self._notes.write(peer)
        self._update_flood()
        return peer

    def left(self, public_key: PublicKey, now: float) -> None:
        """The Nucleus says that the peer is gone. A session that still works is kept until it falls silent."""
        peer = self._book.get(public_key)
        if peer is None:
            return
        peer.member = peer.inherited = False
        peer.lost = False
        if not self.is_up(peer):
            self.departed.mark(public_key, peer.record_version, now)
        if not peer.static:
            self._reconnects.set(peer.id, None)
            if not self.is_up(peer):
                self._remove(peer, now)
        self._notes.write(peer)
        self._update_flood()

    def forget(self, peer: Peer, now: float, reason: str) -> None:
        """End the peer's sessions; a configured peer stays known."""
        was_up = peer.up_since is not None
        self._sessions.forget(peer.public_key, now)
        self._drain(now)
        peer.up_since = None
        if was_up:
            self._on_down(peer)
            self._emit(PeerDown(peer.public_key, peer.name, reason))
        if not peer.static and not peer.member:
            self._remove(peer, now)
        self._update_flood()

    def said_goodbye(self, peer: Peer, now: float) -> None:
        """It stopped. It will connect to us when it is back; in case it cannot, a kept peer is tried again, later."""
        peer.lost = True
        if not self.on_demand:  # else it had no use for the session
            peer.seen = None
            self.departed.mark(peer.public_key, peer.record_version, now)
        self.forget(peer, now, f"{peer.label} said goodbye")
        if self.keeps(peer):
            self._reconnects.set(peer.id, now + RECONNECT_MAX)

    def _add(self, public_key: PublicKey, peer_id: PeerId | None = None) -> Peer:
        peer = self._book.get(public_key)
        if peer is None:
            peer = self._book.add(public_key, peer_id)
            self._plane.set_static(peer.mac, peer.id)
            for entry in self._settings.static_macs:
                if entry.peer == public_key:
                    self._plane.set_static(entry.mac, peer.id, entry.vlan)
        return peer

    def _remove(self, peer: Peer, now: float) -> None:
        self._sessions.forget(peer.public_key, now)
        self._drain(now)
        self._reconnects.set(peer.id, None)
        self._nudges.set(peer.id, None)
        self._keepalives.end(peer)
        self._plane.remove_peer(peer.id)
        self._plane.remove_static(peer.mac)
        self._book.remove(peer)
        self._on_removed(peer)

    # --- connecting -----------------------------------------------------------------------------------------------

    def connect(self, peer: Peer, now: float) -> None:
        """Have a session with the peer, or be on the way to one. Cheap when that is so already."""
        peer.lost = False
        self._reconnects.set(peer.id, None)
        if self._sessions.state(peer.public_key) is State.DOWN:
            peer.nudge_delay = NUDGE_AFTER
            self._nudges.set(peer.id, now + peer.nudge_delay)
        try:
            self._sessions.connect(peer.public_key, peer.places(now), now, body=self._hello)
        except RemoteViolation as violation:  # a key that is no curve point
            self._drops.add(violation.reason)
            self._remove(peer, now)
        self._update_flood()

    def set_static_endpoints(self, public_key: PublicKey, endpoints: Sequence[Endpoint], now: float) -> None:
        peer = self._book.get(public_key)
        if peer is None or not peer.static or peer.endpoints == tuple(endpoints):
            return
        peer.endpoints = tuple(endpoints)
        if not self.is_up(peer):
            self.connect(peer, now)

    def reach(self, peer: Peer, now: float) -> None:
        """Traffic wants the peer. When that starts a handshake the Nucleus is asked too: the peer may have moved, and
        only a CONNECT_HINT makes it open its NAT towards us."""
        if self._sessions.state(peer.public_key) is State.DOWN:
            self._ask(peer, now)
        self.connect(peer, now)

    def try_hints(self, peer: Peer, now: float) -> None:
        """Others say that it is elsewhere. A path that works stays: it is asked first, and only silence counts."""
        state = self._sessions.state(peer.public_key)
        if state is State.UP or state is State.REANSWERED:
            peer.hints.untried = True
            self._link.ping(peer, now)
        elif state is not State.DOWN or self.keeps(peer):
            self.connect(peer, now)

    def release(self, now: float) -> None:
        """A Nucleus has told all it knows: members that it did not tell of are peers only as long as they answer."""
        for peer in self._book:
            if peer.inherited and not self.is_up(peer):
                peer.member = peer.inherited = peer.lost = False
                if not peer.static:
                    self._remove(peer, now)
        self._update_flood()

    def punch(self, peer: Peer, now: float) -> None:
        """The Nucleus told both sides to connect at once, so that both NATs open."""
        if not self.is_up(peer):
            self.connect(peer, now)
            self._sessions.resend(peer.public_key, now)

    def cluster_changed(self, size: int, now: float) -> None:
        self.cluster_size = size
        if not self.on_demand:
            for peer in self._book:
                if peer.member and not peer.lost and not self.is_up(peer):
                    self.connect(peer, now)
        self._update_flood()

    def _update_flood(self) -> None:
        """BUM frames go to peers that are up, and wait for kept ones that are being connected."""
        flood = frozenset(p.id for p in self._book if p.up_since is not None or (self.keeps(p) and not p.lost))
        if flood != self.flood:
            self.flood = flood
            self._plane.set_flood(flood)

    # --- sessions -------------------------------------------------------------------------------------------------

    def handle_session_event(self, event: SessionEvent, now: float) -> None:
        if isinstance(event, SessionCreated):
            self._created(event, now)
        elif isinstance(event, SessionUsable):
            peer = self._book.get(event.remote)
            if peer is not None:
                self._plane.use_session(event.receive_id)
                self._usable(peer, now)
        elif isinstance(event, SessionRetired):
            peer = self._book.get(event.remote)
            if peer is not None:
                stats, sum_ = self._plane.session_stats(event.receive_id), peer.retired
                sum_.tx_frames += stats.tx_frames
                sum_.tx_bytes += stats.tx_bytes
                sum_.rx_frames += stats.rx_frames
                sum_.rx_bytes += stats.rx_bytes
                sum_.rx_expected += stats.rx_expected
                self._plane.remove_session(event.receive_id)
                peer.roles.pop(event.receive_id, None)
        elif isinstance(event, SessionLost):
            self._lost(event, now)

    def _created(self, event: SessionCreated, now: float) -> None:
        peer = self._add(event.remote)
        keypair = event.keypair
        self._apply_hello(peer, event.body)
        keys = SessionKeys(peer.id, keypair.send_id, keypair.receive_id, keypair.send_key, keypair.receive_key)
        self._plane.add_session(keys, now)
        keypair.wipe()  # the data plane has its copy, and nobody else needs them
        peer.roles[keypair.receive_id] = keypair.initiator
        self._notes.write(peer)
        if event.usable or peer.up_since is None:
            # An initiation alone may be an old one sent again from elsewhere: it never moves a path that works.
            self._set_path(peer, event.endpoint)
        if event.usable:
            self._plane.use_session(keypair.receive_id)
            self._usable(peer, now)
            self._link.ping(peer, now)  # confirms the session to the responder

    def _apply_hello(self, peer: Peer, body: bytes) -> None:
        try:
            hello = decode_hello(body)
        except RemoteViolation as violation:
            self._drops.add(violation.reason)
            return
        self._set_capabilities(peer, hello)
        if self._admission.may_hold_vip4(peer.public_key, hello):
            peer.name = hello.name
            if not peer.member:  # else the signed record says which VIP4 it has
                holder = self._book.by_address(hello.vip4) if hello.vip4 else None
                if holder is not None and holder is not peer:
                    self._book.set_vip4(holder, None)
                self._book.set_vip4(peer, hello.vip4)

    def _set_capabilities(self, peer: Peer, hello: Hello) -> None:
        peer.capabilities = hello.capabilities
        self._plane.set_streams(peer.id, hello.opens_bulk)

    def _usable(self, peer: Peer, now: float) -> None:
        self._reconnects.set(peer.id, None)
        peer.lost, peer.reconnect_delay = False, 0.0
        peer.stranger, peer.seen = False, now
        peer.hints.untried = False
        self.departed.clear(peer.public_key)
        if peer.up_since is None:
            self._up(peer, now)
        self._update_flood()
        self._on_usable(peer, now)

    def _up(self, peer: Peer, now: float, how: str = "") -> None:
        peer.up_since = now
        self._keepalives.begin(peer, now)
        endpoint = peer.path or Endpoint("?", 0)
        self._emit(PeerUp(peer.public_key, peer.name, endpoint, f"{peer.label} is up at {endpoint}{how}"))
        self._on_up(peer, now)

    def _lost(self, event: SessionLost, now: float) -> None:
        peer = self._book.get(event.remote)
        if peer is None:
            return
        was_up, peer.up_since = peer.up_since is not None, None
        peer.lost = True
        if peer.inherited and (peer.stranger or not self.orphaned):
            # It may have left while we were away, and the Nucleus would not tell us.
            peer.member = peer.inherited = False
        elif was_up and not peer.member:
            self.departed.mark(peer.public_key, peer.record_version, now)
        self._keepalives.end(peer)
        if was_up:
            self._on_down(peer)
            self._emit(PeerDown(peer.public_key, peer.name, f"{peer.label} is down: {event.reason}"))
        if self.keeps(peer):
            peer.reconnect_delay = min(max(RECONNECT_MIN, 2 * peer.reconnect_delay), RECONNECT_MAX)
            self._reconnects.set(peer.id, now + peer.reconnect_delay)
        elif not peer.member:
            self._remove(peer, now)
        self._update_flood()

    # --- what the data plane saw ----------------------------------------------------------------------------------

    def moved(self, receive_id: int, source: Endpoint, now: float) -> Peer | None:
        """Roaming: the newest authentic packet came from elsewhere. The peer whose it is."""
        remote = self._sessions.remote_of(receive_id)
        peer = self._book.get(remote) if remote else None
        if peer is not None:
            self._set_path(peer, source)
            self._sessions.set_endpoint(peer.public_key, source)
            peer.seen = now
        return peer

    def _set_path(self, peer: Peer, endpoint: Endpoint) -> None:
        peer.path = endpoint
        self._plane.set_path(peer.id, endpoint)

    def probe_all(self, now: float) -> None:
        """Peers learn where we are now from the next authentic packet, so send one."""
        for peer in self._book:
            if peer.up_since is not None:
                self._link.ping(peer, now)

    # --- timers ---------------------------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        times = (self._reconnects.next(), self._nudges.next(), self._keepalives.next_timer())
        return min((t for t in times if t is not None), default=None)

    def handle_timer(self, now: float) -> None:
        for peer_id in self._reconnects.pop_due(now):
            peer = self._book.by_id(peer_id)
            if peer is not None and self.keeps(peer):
                self._ask(peer, now)  # its endpoints may have changed
                self.connect(peer, now)
        for peer_id in self._nudges.pop_due(now):
            peer = self._book.by_id(peer_id)
            if peer is not None and peer.member and self._sessions.state(peer.public_key) is State.INITIATING:
                self._ask(peer, now)  # what told the peer to open its NAT towards us may have been lost
                peer.nudge_delay *= 2
                self._nudges.set(peer_id, now + peer.nudge_delay)
        self._keepalives.handle_timer(now)
