"""The Nucleus: who is in a cluster, and where. Sans-IO; it never carries data frames.

Edges reach it through Noise sessions (session/sessions.py) and speak the messages of signaling/messages.py in them.
What it knows is in a Store; what it holds besides is one Party per key with a session (nucleus_parties.py). Requests
are answered idempotently, for edges repeat them. Nothing is sent in answer to a packet that is not part of an authentic
session.

Changes are told twice: pushed to the edges of a mesh at once (PUSH_INTERVAL), and again in the answer to a heartbeat
that says it has not seen them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from omni_core.constants import (
    HEARTBEAT_INTERVAL,
    HEARTBEATS_MISSED,
    RECENT_PEERS,
)
from omni_core.crypto.identity import Identity, key_text
from omni_core.drops import DropReason
from omni_core.engines.nucleus_admin import Administration
from omni_core.engines.nucleus_edges import vip4_text
from omni_core.engines.nucleus_events import EdgeChanged, EdgeRefused, NucleusEvent, StoreChanged
from omni_core.engines.nucleus_gate import Admitted, Gate
from omni_core.engines.nucleus_limits import RegisterLimits
from omni_core.engines.nucleus_parties import Origin, Parties
from omni_core.engines.nucleus_push import PushSchedule
from omni_core.engines.nucleus_status import ClusterStatus, NucleusStatus
from omni_core.engines.nucleus_users import Users
from omni_core.errors import RemoteViolation
from omni_core.session.handshake import Profile
from omni_core.session.limits import NUCLEUS_LIMITS, SessionLimits
from omni_core.session.sessions import Sessions
from omni_core.signaling.admission import ClusterPolicy, Refused, address_taken, denied, superseded
from omni_core.signaling.codec import encode_message
from omni_core.signaling.edge import Edge
from omni_core.signaling.endpoints import PackedEndpoint, observed_endpoint, unpack_endpoint
from omni_core.signaling.link import Said
from omni_core.signaling.messages import (
    DELTA_ROOM,
    NO_DELTA,
    REASON_MAX,
    Beat,
    BeatAck,
    ConnectHint,
    Delta,
    Heartbeat,
    HeartbeatAck,
    Message,
    PeerInfo,
    QueryPeer,
    Register,
    RegisterAck,
    Status,
)
from omni_core.signaling.store import ChangeKind, Conflict, MemoryStore, Store, new_epoch
from omni_core.types import Endpoint, PublicKey, RandomBytes
from omni_core.wire.control import ControlType

_COUNTERS = {
    ChangeKind.JOINED: "joins", ChangeKind.MOVED: "moves", ChangeKind.LEFT: "leaves", ChangeKind.DEPARTED: "departures",
}  # fmt: skip
_KINDS: dict[type[Message], str] = {Register: "register", Heartbeat: "heartbeat", Beat: "heartbeat", QueryPeer: "query"}
_NO_REQUEST = 0  # in an answer that nobody asked for


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
        self._store = MemoryStore(new_epoch(random)) if store is None else store
        self._gate = Gate(clusters, self._store, limits or RegisterLimits())
        self._interval = heartbeat_interval
        self._lifetime = HEARTBEATS_MISSED * heartbeat_interval  # s from a heartbeat to an edge's departure
        self._sessions = Sessions(
            identity, Profile("nucleus"), self._admit, random=random, unix_ns=unix_ns, limits=handshakes
        )
        self.drops = self._sessions.drops  # one set of counters
        self.requests: Counter[str] = Counter()  # answered, by kind
        self._events: list[NucleusEvent] = []
        self._users = Users(tell=self._tell_to_leave, emit=lambda event: self._events.append(event))
        self._parties = Parties(
            self._sessions, is_registered=lambda key: self._store.get(key) is not None, gone=self._users.left_us
        )
        self.admin = Administration(
            self._store,
            self._gate,
            self._parties,
            lifetime=self._lifetime,
            unregistered=self._unregistered,
            follow_store=self._follow_store,
        )
        self._pushes = PushSchedule()
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
            self._parties.follow(now)

    def set_behind(self, behind: bool) -> None:
        """Whether more datagrams wait than are read at a time: new sessions are put off until that is worked off."""
        self._sessions.set_behind(behind)

    def next_timer(self) -> float | None:
        times = (
            self._sessions.next_timer(), self._store.next_timer(), self._pushes.next_timer(), self._users.next_timer(),
        )  # fmt: skip
        return min((t for t in times if t is not None), default=None)

    def handle_timer(self, now: float) -> None:
        self._sessions.handle_timer(now)
        self._parties.follow(now)
        self._store.handle_timer(now)
        self._follow_store(now)
        while (cluster := self._pushes.take(now)) is not None:
            self._pushes.pushed(self._push(cluster), now)
        self._users.handle_timer(now)

    def take_datagrams(self) -> list[tuple[bytes, Endpoint]]:
        return self._sessions.take_datagrams() + self._parties.take_datagrams()

    def take_events(self) -> list[NucleusEvent]:
        events, self._events = self._events, []
        return events

    def close(self, now: float) -> None:
        """Wipe all keys. Idempotent. Edges notice by missed answers."""
        self._sessions.close(now)
        self._parties.follow(now)

    def drain(self, now: float, time: float) -> None:
        """Tell the edges to go to another Nucleus, until ``drained``, at most ``time`` s. Everyone is still served.

        Not twice: a drain goes on, or has been.
        """
        self._users.drain(now, time)

    @property
    def draining(self) -> bool:
        return self._users.draining

    @property
    def drained(self) -> bool:
        """The drain is over: who has another Nucleus has left."""
        return self._users.drained

    @property
    def users(self) -> int:
        """Edges that are registered and use this Nucleus, not another one of their list."""
        return len(self._users.keys)

    @property
    def store(self) -> Store:
        """To be read. What changes it goes through the engine."""
        return self._store

    @property
    def state_revision(self) -> int:
        """Changes with what is to be remembered over a restart: leases, and who is shut out."""
        ends = sum(status.leaves + status.departures for status in self._status.values())
        return self._gate.leases_given + ends + self.admin.denials

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
            status.leases = self._store.lease_count(name)
        return NucleusStatus(
            key_text(self._identity.public_key),
            f"{self._store.epoch:016x}",
            self._parties.sessions,
            list(self._status.values()),
            {reason.name.lower(): n for reason, n in self.drops.as_dict().items()},
            users=self.users,
            handshakes=self._parties.handshakes,
            requests=dict(self.requests),
            draining=self.draining,
            drained=self.drained,
            denied=sum(1 for _ in self._store.denials(now)),
        )

    # --- sessions -------------------------------------------------------------------------------------------------

    def _admit(self, remote: PublicKey, body: bytes, source: Endpoint) -> bytes | None:
        """Anyone who knows our key gets a session; the cluster's secret is asked for in REGISTER."""
        return b""

    def _receive_signaling(self, data: bytes, source: Endpoint, now: float) -> None:
        message, origin = self._parties.receive(data, source, now)
        self.requests[_KINDS.get(type(message), "other")] += 1
        if isinstance(message, Beat):
            self._on_beat(message, origin, now)
        elif isinstance(message, Register):
            self._on_register(message, origin, now)
        elif isinstance(message, Heartbeat):
            self._on_heartbeat(message, origin, now)
        elif isinstance(message, QueryPeer):
            self._on_query(message, origin)
        else:
            raise RemoteViolation(DropReason.SIGNALING_MALFORMED, "an answer to a Nucleus")

    # --- messages -------------------------------------------------------------------------------------------------

    def _on_register(self, register: Register, origin: Origin, now: float) -> None:
        observed = observed_endpoint(origin.source)
        self._gate.ask(
            register, origin.link, observed, origin.source.host, now, partial(self._admitted, register, origin)
        )

    def _admitted(self, register: Register, origin: Origin, answer: Admitted | Refused, now: float) -> None:
        if isinstance(answer, Refused):
            self._refuse(register, answer, origin)
            return
        edge = answer.edge
        if answer.comes_again:
            ack = RegisterAck(
                register.request, Status.OK, "", edge.observed, 0, 0, NO_DELTA, answer.lease, self.draining
            )
            self._parties.answer(ack, origin)
            return
        known = self._store.get(edge.key)
        if known is not None and known.record == edge.record:
            self._alive(known, edge.observed, edge.local, origin, now)
            self._registered(register, answer, origin, now)
            return
        self._store.claim(edge, self._deadline(now), now, partial(self._claimed, register, answer, origin))

    def _claimed(
        self, register: Register, admitted: Admitted, origin: Origin, conflict: Conflict | None, now: float
    ) -> None:
        denial = self._store.denied(admitted.edge.key, now)
        if conflict is not None:
            self._refuse(register, address_taken(admitted.edge, conflict), origin)
        elif denial is not None:  # while the store was asked
            self._store.remove(denial.key, now)
            self._refuse(register, denied(denial), origin)
        else:
            self._registered(register, admitted, origin, now)

    def _registered(self, register: Register, admitted: Admitted, origin: Origin, now: float) -> None:
        store, edge = self._store, admitted.edge
        self._parties.registered(edge.key)
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
        origin.link.said = Said(store.epoch, edge.version, edge.observed, delta.size)
        self._parties.answer(ack, origin)
        self._uses_us(origin, now)

    def _refuse(self, register: Register, refused: Refused, origin: Origin) -> None:
        self.drops.add(refused.reason)
        if register.cluster in self._status:
            self._status[register.cluster].count_refusal(refused.status)
        reason = str(refused).encode()[:REASON_MAX].decode(errors="ignore")
        self._events.append(EdgeRefused(register.cluster, origin.link.remote, origin.source, refused.status, reason))
        self._parties.answer(RegisterAck(register.request, refused.status, reason, None, 0, 0, NO_DELTA), origin)

    def _on_beat(self, beat: Beat, origin: Origin, now: float) -> None:
        """As the Heartbeat that it stands for; its answer is short, too, when it would repeat what was said."""
        edge, said = self._store.get(origin.link.remote), origin.link.said
        local = edge.local if edge is not None else ()
        epoch, version = (said.epoch, said.version) if said is not None else (0, 0)
        self._on_heartbeat(Heartbeat(beat.request, epoch, beat.seen, version, local), origin, now, said)

    def _on_heartbeat(self, heartbeat: Heartbeat, origin: Origin, now: float, said: Said | None = None) -> None:
        """``said``: to answer with a BeatAck, where that says it all."""
        store, edge = self._store, self._store.get(origin.link.remote)
        if heartbeat.leave:
            self._leave(edge, heartbeat, origin, now)
            return
        observed = observed_endpoint(origin.source)
        if heartbeat.standby:
            origin.party.standby = True
            self._users.left_us(origin.link.remote, now)
            ack = HeartbeatAck(heartbeat.request, Status.OK, "", observed, store.epoch, NO_DELTA, self.draining)
            self._parties.answer(ack, origin)
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
            origin.link.said = Said(store.epoch, heartbeat.version, observed, delta.size)
            nothing_new = delta == Delta(heartbeat.seen, heartbeat.seen, delta.size)
            if origin.link.said == said and nothing_new and not self.draining:
                self._parties.answer(BeatAck(heartbeat.request), origin)
                return
        ack = HeartbeatAck(heartbeat.request, status, reason, observed, store.epoch, delta, self.draining)
        self._parties.answer(ack, origin)

    def _leave(self, edge: Edge | None, heartbeat: Heartbeat, origin: Origin, now: float) -> None:
        """The edge's sessions go with it: what the network still holds of its packets can not bring it back."""
        if edge is not None:
            if heartbeat.version < edge.version:
                raise RemoteViolation(DropReason.STALE_RECORD)
            self._store.remove(edge.key, now)
        self._parties.forget(origin.link.remote, now)

    def _on_query(self, query: QueryPeer, origin: Origin) -> None:
        asker = self._store.get(origin.link.remote)
        if asker is None:
            self.drops.add(DropReason.NOT_REGISTERED)
            self._parties.answer(PeerInfo(query.request, Status.NOT_REGISTERED, query.address, None), origin)
            return
        found = self._store.find(asker.cluster, query.address)
        if found is None:
            self._parties.answer(PeerInfo(query.request, Status.NOT_FOUND, query.address, None), origin)
            return
        self._parties.answer(PeerInfo(query.request, Status.OK, query.address, found.entry()), origin)
        if found is not asker:
            # Both: a session here may be one that only keeps us warm, on a NAT mapping that has closed since.
            self._hint(found.key, asker)
            self._store.hint(found.key, asker.key)

    def _hint(self, target: PublicKey, asker: Edge) -> None:
        party, edge = self._parties.reachable(target), self._store.get(target)
        if party is not None and edge is not None and edge.cluster == asker.cluster:
            self._parties.tell(party, encode_message(ConnectHint(asker.entry())))

    # --- changes --------------------------------------------------------------------------------------------------

    def _alive(
        self, edge: Edge, observed: PackedEndpoint, local: tuple[PackedEndpoint, ...], origin: Origin, now: float
    ) -> None:
        self._store.touch(edge, self._deadline(now))
        if origin.newest and (edge.observed != observed or edge.local != local):
            self._store.move(edge, observed, local, now)

    def _deadline(self, now: float) -> float:
        return now + self._lifetime

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
                self._users.left_us(edge.key, now)
                self._parties.unregistered(edge.key)
            if self._store.is_mesh(edge.cluster):
                self._pushes.changed(edge.cluster, now)
            at = unpack_endpoint(edge.observed)
            self._events.append(EdgeChanged(kind, edge.cluster, edge.key, edge.name, vip4_text(edge.vip4), at))

    def _push(self, cluster: str) -> int:
        """Tell every edge of a mesh what it was not told yet; returns to how many. Edges that were told alike get the
        same bytes."""
        store = self._store
        pushed = 0
        if not store.is_mesh(cluster):
            return pushed
        head = store.head(cluster)
        bodies: dict[int, tuple[int, bytes]] = {}  # told -> (told then, message)
        for edge in store.live(cluster):
            party = self._parties.reachable(edge.key)
            if party is None or party.told >= head:
                continue
            if party.standby:
                continue  # the Nucleus that it uses tells it
            if party.told not in bodies:
                delta = store.delta(cluster, party.told, DELTA_ROOM)
                ack = HeartbeatAck(_NO_REQUEST, Status.OK, "", None, store.epoch, delta, self.draining)
                bodies[party.told] = delta.until, encode_message(ack)
            party.told, body = bodies[party.told]
            self._parties.tell(party, body)
            pushed += 1
        return pushed

    def _tell_to_leave(self, key: PublicKey) -> None:
        party, edge = self._parties.reachable(key), self._store.get(key)
        if edge is None or party is None:
            return
        delta = self._store.delta(edge.cluster, party.told, DELTA_ROOM)
        party.told = delta.until
        ack = HeartbeatAck(_NO_REQUEST, Status.OK, "", None, self._store.epoch, delta, self.draining)
        self._parties.tell(party, encode_message(ack))

    def _unregistered(self) -> bytes:
        ack = HeartbeatAck(_NO_REQUEST, Status.NOT_REGISTERED, "", None, self._store.epoch, NO_DELTA, self.draining)
        return encode_message(ack)

    def _uses_us(self, origin: Origin, now: float) -> None:
        origin.party.standby = False
        if origin.link.remote in self._parties:  # else its session has ended while the store was asked
            self._users.uses_us(origin.link.remote, now)
