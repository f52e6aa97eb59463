"""The Nucleus: who is in a cluster, and where. Sans-IO; it never carries data frames.

Edges reach it through Noise sessions (session/sessions.py) and speak the messages of signaling/messages.py in them.
What it knows is in a Store; what it holds besides is one _Party per key with a session. Requests are answered
idempotently, for edges repeat them. Nothing is sent in answer to a packet that is not part of an authentic session.

Changes are told twice: pushed to the edges of a mesh at once (PUSH_INTERVAL), and again in the answer to a heartbeat
that says it has not seen them.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from typing import NamedTuple

from omni_core.constants import (
    EDGE_REQUEST_BURST,
    EDGE_REQUESTS_PER_SECOND,
    HEARTBEAT_INTERVAL,
    HEARTBEATS_MISSED,
    RECENT_PEERS,
    UNREGISTERED_MAX,
)
from omni_core.crypto.identity import Identity, key_text
from omni_core.drops import DropReason
from omni_core.engines.drain import Drain
from omni_core.engines.nucleus_edges import EdgeRow, edge_rows
from omni_core.engines.nucleus_events import DrainChanged, EdgeChanged, EdgeRefused, NucleusEvent, StoreChanged
from omni_core.engines.nucleus_gate import Admitted, Gate
from omni_core.engines.nucleus_limits import RegisterLimits
from omni_core.engines.nucleus_push import PushSchedule
from omni_core.engines.nucleus_status import ClusterStatus, NucleusStatus
from omni_core.errors import RemoteViolation
from omni_core.session.events import SessionCreated, SessionRetired, SessionUsable
from omni_core.session.handshake import Profile
from omni_core.session.limits import NUCLEUS_LIMITS, SessionLimits, TokenBucket
from omni_core.session.sessions import Sessions
from omni_core.signaling.admission import ClusterPolicy, Refused, address_taken, denied, superseded
from omni_core.signaling.allow_list import AllowList
from omni_core.signaling.codec import decode_message, encode_message
from omni_core.signaling.denials import Denial
from omni_core.signaling.edge import Edge
from omni_core.signaling.endpoints import PackedEndpoint, observed_endpoint, unpack_endpoint
from omni_core.signaling.link import SignalingLink
from omni_core.signaling.messages import (
    DELTA_ROOM,
    NO_DELTA,
    REASON_MAX,
    ConnectHint,
    Heartbeat,
    HeartbeatAck,
    Message,
    PeerInfo,
    QueryPeer,
    Register,
    RegisterAck,
    Status,
)
from omni_core.signaling.store import ChangeKind, Conflict, MemoryStore, Store
from omni_core.types import Endpoint, PublicKey, RandomBytes
from omni_core.wire.control import ControlType, decode_signaling

_COUNTERS = {
    ChangeKind.JOINED: "joins", ChangeKind.MOVED: "moves", ChangeKind.LEFT: "leaves", ChangeKind.DEPARTED: "departures",
}  # fmt: skip
_KINDS: dict[type[Message], str] = {Register: "register", Heartbeat: "heartbeat", QueryPeer: "query"}
_NO_REQUEST = 0  # in an answer that nobody asked for


class _Party:
    """A key with at least one session. Registered or not: that is in the store."""

    __slots__ = ("bucket", "endpoint", "links", "sending", "standby", "told")

    def __init__(self, now: float) -> None:
        self.links = 0
        self.sending: SignalingLink | None = None  # the newest that the edge has confirmed
        self.endpoint: Endpoint | None = None  # where its newest authentic packet came from
        self.told = 0  # last change number sent to it
        self.standby = False  # it uses another Nucleus, as its last heartbeat said
        self.bucket = TokenBucket(EDGE_REQUESTS_PER_SECOND, EDGE_REQUEST_BURST, now)


class _Origin(NamedTuple):
    """Where an authentic message came from."""

    party: _Party
    link: SignalingLink
    source: Endpoint
    newest: bool  # nothing newer came before it: its source is where the edge is


class NucleusEngine:
    def __init__(
        self,
        identity: Identity,
        clusters: Iterable[ClusterPolicy],
        *,
        random: RandomBytes,
        unix_ns: Callable[[float], int],
        store: Store | None = None,
        heartbeat_interval: float = HEARTBEAT_INTERVAL,
        handshakes: SessionLimits = NUCLEUS_LIMITS,
        limits: RegisterLimits | None = None,
    ) -> None:
        """``store`` None: in memory, for this process only."""
        self._identity = identity
        self._store = MemoryStore(int.from_bytes(random(8), "little") or 1) if store is None else store
        self._gate = Gate(clusters, self._store, limits or RegisterLimits())
        self._interval = heartbeat_interval
        self._sessions = Sessions(
            identity, Profile("nucleus"), self._admit, random=random, unix_ns=unix_ns, limits=handshakes
        )
        self.drops = self._sessions.drops  # one set of counters
        self.draining = False
        self._drain: Drain | None = None
        self._drain_told = False  # the owner knows that it is over
        self.handshakes = 0  # sessions made
        self.requests: Counter[str] = Counter()  # answered, by kind
        self._denials = 0  # and denials that were taken back
        self._links: dict[int, SignalingLink] = {}  # by the session id on what we receive
        self._parties: dict[PublicKey, _Party] = {}
        self._users: set[PublicKey] = set()  # registered, and not with another Nucleus as their last heartbeat said
        self._strangers: OrderedDict[PublicKey, None] = OrderedDict()  # parties that are not registered, oldest first
        self._pushes = PushSchedule()
        self._datagrams: list[tuple[bytes, Endpoint]] = []
        self._events: list[NucleusEvent] = []
        self._status = {p.name: ClusterStatus(p.name, p.open) for p in self._gate.policies.values()}

    # --- pump -----------------------------------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, remote: tuple[str, int], now: float) -> None:
        """One UDP payload. Never raises on bytes from the network: counted in ``drops``."""
        source = remote if isinstance(remote, Endpoint) else Endpoint(*remote)
        kind = data[0] if data else 0
        if kind == ControlType.SIGNALING:
            try:
                self._receive_signaling(data, source, now)
            except RemoteViolation as violation:
                self.drops.add(violation.reason)
            self._follow_store(now)
        else:
            self._sessions.receive(data, source, now)
            self._follow_sessions(now)

    def set_behind(self, behind: bool) -> None:
        """Whether more datagrams wait than are read at a time: new sessions are put off until that is worked off."""
        self._sessions.set_behind(behind)

    def next_timer(self) -> float | None:
        drain = self._drain.next_timer() if self._drain is not None else None
        times = (self._sessions.next_timer(), self._store.next_timer(), self._pushes.next_timer(), drain)
        return min((t for t in times if t is not None), default=None)

    def handle_timer(self, now: float) -> None:
        self._sessions.handle_timer(now)
        self._follow_sessions(now)
        self._store.handle_timer(now)
        self._follow_store(now)
        while (cluster := self._pushes.take(now)) is not None:
            before = len(self._datagrams)
            self._push(cluster)
            self._pushes.pushed(len(self._datagrams) - before, now)
        if self._drain is not None and not self._drain.done:
            for key in self._drain.to_tell(now):
                self._tell_to_leave(key)
            self._follow_drain()

    def take_datagrams(self) -> list[tuple[bytes, Endpoint]]:
        datagrams = self._sessions.take_datagrams() + self._datagrams
        self._datagrams = []
        return datagrams

    def take_events(self) -> list[NucleusEvent]:
        events, self._events = self._events, []
        return events

    def close(self, now: float) -> None:
        """Wipe all keys. Idempotent. Edges notice by missed answers."""
        self._sessions.close(now)
        self._follow_sessions(now)

    def drain(self, now: float, time: float) -> None:
        """Tell the edges to go to another Nucleus, until ``drained``, at most ``time`` s. Everyone is still served.

        Not twice: a drain goes on, or has been.
        """
        if self._drain is None:
            self.draining = True
            self._drain = Drain(self._users, now, time)
            self._events.append(DrainChanged(False, self.users))
            self._follow_drain()

    @property
    def drained(self) -> bool:
        """The drain is over: who has another Nucleus has left."""
        return self._drain is not None and self._drain.done

    @property
    def users(self) -> int:
        """Edges that are registered and use this Nucleus, not another one of their list."""
        return len(self._users)

    @property
    def registrations(self) -> int:
        """Grows with each edge that comes, moves, goes or is refused."""
        return sum(s.joins + s.moves + s.leaves + s.departures + s.refusals for s in self._status.values())

    def status(self, now: float) -> NucleusStatus:
        for name, status in self._status.items():
            status.edges, status.change = self._store.size(name), self._store.head(name)
            policy = self._gate.policies[name]
            status.open, status.admits_by = policy.open, policy.admits_by
            pool = policy.pool
            status.pool = pool.usable if pool is not None else 0
            status.leases = sum(1 for _ in self._store.leases(name))
        return NucleusStatus(
            key_text(self._identity.public_key),
            f"{self._store.epoch:016x}",
            len(self._links),
            list(self._status.values()),
            {reason.name.lower(): n for reason, n in self.drops.as_dict().items()},
            users=self.users,
            handshakes=self.handshakes,
            requests=dict(self.requests),
            draining=self.draining,
            drained=self.drained,
            denied=sum(1 for _ in self._store.denials(now)),
        )

    # --- sessions -------------------------------------------------------------------------------------------------

    def _admit(self, remote: PublicKey, body: bytes, source: Endpoint) -> bytes | None:
        """Anyone who knows our key gets a session; the cluster's secret is asked for in REGISTER."""
        return b""

    def _follow_sessions(self, now: float) -> None:
        while events := self._sessions.take_events():
            for event in events:
                if isinstance(event, SessionCreated):
                    self._add_link(event, now)
                elif isinstance(event, SessionUsable):
                    self._parties[event.remote].sending = self._links[event.receive_id]
                elif isinstance(event, SessionRetired):
                    self._drop_link(event, now)

    def _add_link(self, event: SessionCreated, now: float) -> None:
        self.handshakes += 1
        party = self._parties.get(event.remote)
        if party is None:
            party = self._parties[event.remote] = _Party(now)
            if self._store.get(event.remote) is None:
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
            self._left_us(event.remote, now)

    def _receive_signaling(self, data: bytes, source: Endpoint, now: float) -> None:
        packet = decode_signaling(data)
        link = self._links.get(packet.session_id)
        if link is None:
            raise RemoteViolation(DropReason.UNKNOWN_SESSION)
        body = link.open(packet)
        party = self._parties[link.remote]
        if party.sending is not link:
            self._sessions.confirm(link.receive_id, now)
            self._follow_sessions(now)
        if not party.bucket.take(now):
            raise RemoteViolation(DropReason.RATE_LIMITED)
        message = decode_message(body)
        self.requests[_KINDS.get(type(message), "other")] += 1
        origin = _Origin(party, link, source, party.sending is link and packet.counter == link.newest)
        if origin.newest:
            party.endpoint = source
        if isinstance(message, Register):
            self._on_register(message, origin, now)
        elif isinstance(message, Heartbeat):
            self._on_heartbeat(message, origin, now)
        elif isinstance(message, QueryPeer):
            self._on_query(message, origin)
        else:
            raise RemoteViolation(DropReason.SIGNALING_MALFORMED, "an answer to a Nucleus")

    def _answer(self, message: Message, origin: _Origin) -> None:
        """On the link that the request came on: the asker has that one, whatever became of others."""
        if origin.link.receive_id not in self._links:
            return  # the answer took its time, and the session has ended
        self._datagrams.append((origin.link.seal(encode_message(message)), origin.source))

    # --- messages -------------------------------------------------------------------------------------------------

    def _on_register(self, register: Register, origin: _Origin, now: float) -> None:
        observed = observed_endpoint(origin.source)
        self._gate.ask(
            register, origin.link, observed, origin.source.host, now, partial(self._admitted, register, origin)
        )

    def _admitted(self, register: Register, origin: _Origin, answer: Admitted | Refused, now: float) -> None:
        if isinstance(answer, Refused):
            self._refuse(register, answer, origin)
            return
        edge = answer.edge
        if answer.comes_again:
            ack = RegisterAck(
                register.request, Status.OK, "", edge.observed, 0, 0, NO_DELTA, answer.lease, self.draining
            )
            self._answer(ack, origin)
            return
        known = self._store.get(edge.key)
        if known is not None and known.record == edge.record:
            self._alive(known, edge.observed, edge.local, origin, now)
            self._registered(register, answer, origin, now)
            return
        self._store.claim(edge, self._deadline(now), now, partial(self._claimed, register, answer, origin))

    def _claimed(
        self, register: Register, admitted: Admitted, origin: _Origin, conflict: Conflict | None, now: float
    ) -> None:
        denial = self._store.denied(admitted.edge.key, now)
        if conflict is not None:
            self._refuse(register, address_taken(admitted.edge, conflict), origin)
        elif denial is not None:  # while the store was asked
            self._store.remove(denial.key, now)
            self._refuse(register, denied(denial), origin)
        else:
            self._registered(register, admitted, origin, now)

    def _registered(self, register: Register, admitted: Admitted, origin: _Origin, now: float) -> None:
        store, edge = self._store, admitted.edge
        self._strangers.pop(edge.key, None)
        since = store.since(edge.cluster, register.epoch, register.seen)
        delta = store.delta(
            edge.cluster, store.before(edge.cluster, now - RECENT_PEERS) if since is None else since, DELTA_ROOM
        )
        if since is None and register.epoch:
            delta = replace(delta, lost=True)  # what this edge missed is not in our log
        origin.party.told = delta.until
        interval_ms = round(self._interval * 1000)
        ack = RegisterAck(
            register.request,
            Status.OK,
            admitted.reason,
            edge.observed,
            store.epoch,
            interval_ms,
            delta,
            admitted.lease,
            self.draining,
        )
        self._answer(ack, origin)
        self._uses_us(origin, now)

    def _refuse(self, register: Register, refused: Refused, origin: _Origin) -> None:
        self.drops.add(refused.reason)
        if register.cluster in self._status:
            self._status[register.cluster].count_refusal(refused.status)
        reason = str(refused).encode()[:REASON_MAX].decode(errors="ignore")
        self._events.append(EdgeRefused(register.cluster, origin.link.remote, origin.source, refused.status, reason))
        self._answer(RegisterAck(register.request, refused.status, reason, None, 0, 0, NO_DELTA), origin)

    def _on_heartbeat(self, heartbeat: Heartbeat, origin: _Origin, now: float) -> None:
        store, edge = self._store, self._store.get(origin.link.remote)
        if heartbeat.leave:
            self._leave(edge, heartbeat, origin, now)
            return
        observed = observed_endpoint(origin.source)
        if heartbeat.standby:
            origin.party.standby = True
            self._left_us(origin.link.remote, now)
            ack = HeartbeatAck(heartbeat.request, Status.OK, "", observed, store.epoch, NO_DELTA, self.draining)
            self._answer(ack, origin)
            return
        status, reason, delta = Status.OK, "", NO_DELTA
        if edge is None or heartbeat.epoch != store.epoch:
            self.drops.add(DropReason.NOT_REGISTERED)
            status = Status.NOT_REGISTERED
        elif heartbeat.version < edge.version:
            refused = superseded(edge)
            self.drops.add(refused.reason)
            status, reason = refused.status, str(refused)
        else:
            self._alive(edge, observed, heartbeat.local, origin, now)
            self._uses_us(origin, now)
            delta = store.delta(edge.cluster, heartbeat.seen, DELTA_ROOM)
            origin.party.told = delta.until
        ack = HeartbeatAck(heartbeat.request, status, reason, observed, store.epoch, delta, self.draining)
        self._answer(ack, origin)

    def _leave(self, edge: Edge | None, heartbeat: Heartbeat, origin: _Origin, now: float) -> None:
        """The edge's sessions go with it: what the network still holds of its packets can not bring it back."""
        if edge is not None:
            if heartbeat.version < edge.version:
                raise RemoteViolation(DropReason.STALE_RECORD)
            self._store.remove(edge.key, now)
        self._sessions.forget(origin.link.remote, now)
        self._follow_sessions(now)

    def _on_query(self, query: QueryPeer, origin: _Origin) -> None:
        asker = self._store.get(origin.link.remote)
        if asker is None:
            self.drops.add(DropReason.NOT_REGISTERED)
            self._answer(PeerInfo(query.request, Status.NOT_REGISTERED, query.address, None), origin)
            return
        found = self._store.find(asker.cluster, query.address)
        if found is None:
            self._answer(PeerInfo(query.request, Status.NOT_FOUND, query.address, None), origin)
            return
        self._answer(PeerInfo(query.request, Status.OK, query.address, found.entry()), origin)
        if found is not asker and not self._hint(found.key, asker):
            self._store.hint(found.key, asker.key)

    def _hint(self, target: PublicKey, asker: Edge) -> bool:
        """False: there is no session to tell it by."""
        party, edge = self._parties.get(target), self._store.get(target)
        if party is None or party.sending is None or party.endpoint is None:
            return False
        if edge is None or edge.cluster != asker.cluster:
            return True  # there is nobody to tell
        self._datagrams.append((party.sending.seal(encode_message(ConnectHint(asker.entry()))), party.endpoint))
        return True

    # --- changes --------------------------------------------------------------------------------------------------

    def _alive(
        self, edge: Edge, observed: PackedEndpoint, local: tuple[PackedEndpoint, ...], origin: _Origin, now: float
    ) -> None:
        self._store.touch(edge, self._deadline(now))
        if origin.newest and (edge.observed != observed or edge.local != local):
            self._store.move(edge, observed, local, now)

    def _deadline(self, now: float) -> float:
        return now + HEARTBEATS_MISSED * self._interval

    def follow_store(self, now: float) -> None:
        """After its owner gave the store something: what other Nuclei did, or answers."""
        self._follow_store(now)
        for target, asker in self._store.take_hints():
            edge = self._store.get(asker)
            if edge is not None:
                self._hint(target, edge)

    def _follow_store(self, now: float) -> None:
        for notice in self._store.take_notices():
            self._events.append(StoreChanged(notice.available, notice.text))
        for kind, edge in self._store.take_changes():
            status = self._status[edge.cluster]
            setattr(status, _COUNTERS[kind], getattr(status, _COUNTERS[kind]) + 1)
            if self._store.get(edge.key) is None:
                self._left_us(edge.key, now)
                if edge.key in self._parties:
                    self._strangers[edge.key] = None
            if self._store.is_mesh(edge.cluster):
                self._pushes.changed(edge.cluster, now)
            vip4 = str(IPv4Address(edge.vip4)) if edge.vip4 else ""
            self._events.append(
                EdgeChanged(kind, edge.cluster, edge.key, edge.name, vip4, unpack_endpoint(edge.observed))
            )

    def _push(self, cluster: str) -> None:
        """Tell every edge of a mesh what it was not told yet. Edges that were told alike get the same bytes."""
        store = self._store
        if not store.is_mesh(cluster):
            return
        head = store.head(cluster)
        bodies: dict[int, tuple[int, bytes]] = {}  # told -> (told then, message)
        for edge in store.live(cluster):
            party = self._parties.get(edge.key)
            if party is None or party.sending is None or party.endpoint is None or party.told >= head:
                continue
            if party.standby:
                continue  # the Nucleus that it uses tells it
            if party.told not in bodies:
                delta = store.delta(cluster, party.told, DELTA_ROOM)
                ack = HeartbeatAck(_NO_REQUEST, Status.OK, "", None, store.epoch, delta, self.draining)
                bodies[party.told] = delta.until, encode_message(ack)
            party.told, body = bodies[party.told]
            self._datagrams.append((party.sending.seal(body), party.endpoint))

    # --- administration -------------------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """To be read. What changes it goes through the engine."""
        return self._store

    def edges(self, clusters: Sequence[str], now: float) -> list[EdgeRow]:
        return edge_rows(self._store, clusters, HEARTBEATS_MISSED * self._interval, now)

    def set_allow_list(self, cluster: str, allow_list: AllowList | None, now: float) -> list[Edge]:
        """Returns the edges that have been taken out of the cluster. They are told to register again, and then why."""
        removed = self._gate.set_allow_list(cluster, allow_list)
        for edge in removed:
            self._expel(edge.key, now)
        self._follow_store(now)
        return removed

    @property
    def state_revision(self) -> int:
        """Changes with what is to be remembered over a restart: leases, and who is shut out."""
        ends = sum(status.leaves + status.departures for status in self._status.values())
        return self._gate.leases_given + ends + self._denials

    def kick(self, key: PublicKey, now: float) -> None:
        """Unregister it and end its sessions. It may come back."""
        self._expel(key, now)
        self._sessions.forget(key, now)
        self._follow_sessions(now)
        self._follow_store(now)

    def deny(self, denial: Denial, now: float) -> None:
        self._denials += 1
        self._store.deny(denial, now)
        self._expel(denial.key, now)
        self._follow_store(now)

    def undeny(self, key: PublicKey, now: float) -> None:
        self._denials += 1
        self._store.undeny(key, now)

    def _expel(self, key: PublicKey, now: float) -> None:
        party = self._parties.get(key)
        self._store.remove(key, now)
        if party is not None and party.sending is not None and party.endpoint is not None:
            ack = HeartbeatAck(_NO_REQUEST, Status.NOT_REGISTERED, "", None, self._store.epoch, NO_DELTA, self.draining)
            self._datagrams.append((party.sending.seal(encode_message(ack)), party.endpoint))

    # --- draining -------------------------------------------------------------------------------------------------

    def _uses_us(self, origin: _Origin, now: float) -> None:
        origin.party.standby = False
        if origin.link.remote in self._parties:  # else its session has ended while the store was asked
            self._users.add(origin.link.remote)
        if self._drain is not None:
            self._drain.stays(origin.link.remote, now)
            self._follow_drain()

    def _left_us(self, key: PublicKey, now: float) -> None:
        self._users.discard(key)
        if self._drain is not None:
            self._drain.left(key, now)
            self._follow_drain()

    def _tell_to_leave(self, key: PublicKey) -> None:
        party, edge = self._parties.get(key), self._store.get(key)
        if edge is None or party is None or party.sending is None or party.endpoint is None:
            return
        delta = self._store.delta(edge.cluster, party.told, DELTA_ROOM)
        party.told = delta.until
        ack = HeartbeatAck(_NO_REQUEST, Status.OK, "", None, self._store.epoch, delta, self.draining)
        self._datagrams.append((party.sending.seal(encode_message(ack)), party.endpoint))

    def _follow_drain(self) -> None:
        if self.drained and not self._drain_told:
            self._drain_told = True
            self._events.append(DrainChanged(True, self.users))
