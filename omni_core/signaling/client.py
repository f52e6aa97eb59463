"""An edge's side of the Nucleus: registers, keeps the registration alive, hears of peers, asks for them. Sans-IO.

    connecting --REGISTER_ACK--> registered --Nucleus restarted--> REGISTER again
                 \\--refusal--> refused --REFUSED_RETRY--> REGISTER again

What comes before, and what happens when the contact breaks, is in contact.py. The owner runs the Sessions, hands over
the events of the Nucleus's key and the signaling packets, and drains both queues. A dead Nucleus disturbs nothing else:
the client reports it once and goes on trying, with jitter. One that is only kept warm is asked now and then whether it
is there, and reported by ``health`` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from omni_core.constants import (
    FAILOVER_ATTEMPTS,
    HEARTBEAT_INTERVAL,
    HEARTBEATS_MISSED,
    LOCAL_ENDPOINTS_MAX,
    NAT_KEEPALIVE,
    REFUSED_RETRY,
    REQUEST_ATTEMPTS,
    REQUEST_RETRY,
    STANDBY_ATTEMPTS,
)
from omni_core.crypto.identity import Identity
from omni_core.crypto.kdf import admission_proof
from omni_core.crypto.record import open_record
from omni_core.drops import DropCounters, DropReason
from omni_core.errors import RemoteViolation
from omni_core.session.events import SessionEvent
from omni_core.session.sessions import Sessions
from omni_core.signaling.book import PeerBook
from omni_core.signaling.client_events import (
    ClientEvent,
    NucleusLost,
    Refused,
    Registered,
    Vip4Leased,
    Vip4NotLeased,
)
from omni_core.signaling.connection import Connection
from omni_core.signaling.contact import Contact, State
from omni_core.signaling.endpoints import PackedEndpoint, pack_endpoint, unpack_endpoint
from omni_core.signaling.health import Health
from omni_core.signaling.messages import (
    Beat,
    BeatAck,
    ConnectHint,
    Delta,
    Heartbeat,
    HeartbeatAck,
    PeerInfo,
    Register,
    RegisterAck,
    Status,
)
from omni_core.signaling.news import ClusterNews
from omni_core.signaling.requests import Requests
from omni_core.signaling.roster import Roster
from omni_core.types import Endpoint, Mac, PublicKey, RandomBytes, Vip, random_fraction

_PAUSE_SPREAD = 0.2  # of the pause between heartbeats
_PAUSE_MIN = 1.0  # s, whatever a Nucleus asks for
_LEAVE_COPIES = 2  # nobody waits for an answer to it, and a lost one holds the VIP for HEARTBEATS_MISSED intervals


class _Subject(Enum):
    REGISTER = "register"
    HEARTBEAT = "heartbeat"
    STANDBY = "standby"


class NucleusClient:
    def __init__(
        self,
        identity: Identity,
        cluster: str,
        nucleus: PublicKey,
        endpoints: Sequence[Endpoint],
        record: bytes,
        admission_key: bytes | None,
        local_endpoints: Sequence[Endpoint],
        *,
        sessions: Sessions,
        random: RandomBytes,
        roster: Roster | None = None,
        book: PeerBook | None = None,
        wants_vip4: bool = False,
    ) -> None:
        """``record``: our signed peer record for ``cluster``. ``local_endpoints``: IP addresses; LOCAL_ENDPOINTS_MAX of
        them are told. ``sessions``: shared with the owner; this client connects and forgets ``nucleus`` in it.
        ``roster``: what this edge was told already, by other Nuclei; it stays the owner's. None: nothing.
        ``book``: of all records that this edge knows; None: one of its own.
        ``wants_vip4``: have one leased; that of ``record`` is the one that we had.
        """
        self.drops = DropCounters()
        self.health = Health()
        self.replaceable = False  # another Nucleus is ready: give this one up soon
        self.nucleus = nucleus
        self.observed: Endpoint | None = None  # where the Nucleus saw us last
        self._key = identity.public_key
        self._cluster = cluster
        self._record = record  # that of the book, but when another one is prepared
        self._wants_vip4 = wants_vip4
        self._awaits_record = False  # Vip4Leased, or that it is lost, was told
        self._admission_key = admission_key
        self._local = _packed(local_endpoints)
        self._connection = Connection(sessions, nucleus, endpoints)
        self._random = random
        self.contact = Contact(
            self._connection,
            self.health,
            fraction=self._fraction,
            register=self._register,
            sync=self._sync,
            give_up=self._give_up,
            lost=lambda reason: self._events.append(NucleusLost(reason)),
        )
        self._book = book or PeerBook(record, self.drops)
        self._vital: Requests[_Subject] = Requests(self._fraction)  # at most one is open
        self._own_roster = roster is None
        self._roster = roster or Roster()
        self._cursor = self._roster.cursor
        self._events: list[ClientEvent] = []
        self._news = ClusterNews(
            self._book, self._roster, self.drops, fraction=self._fraction, emit=lambda event: self._events.append(event)
        )
        self._interval = HEARTBEAT_INTERVAL
        self._heartbeat_at: float | None = None
        self._saying: tuple[bytes, tuple[PackedEndpoint, ...], int] | None = None  # see _all; not answered yet
        self._said: tuple[bytes, tuple[PackedEndpoint, ...], int] | None = None
        self._told_refusal = ""

    # --- what the owner wants -------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """``idle``, ``connecting``, ``standby``, ``registered`` or ``refused``."""
        return self.contact.state.value

    @property
    def record(self) -> bytes:
        """Ours, as it is told."""
        return self._record

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the Nucleus was last heard."""
        return self._connection.endpoint

    @property
    def doubtful(self) -> bool:
        """Two sendings of a request are without an answer."""
        return self.health.unanswered >= 2

    @property
    def ready(self) -> bool:
        """On standby, and as far as we know a REGISTER would be answered at once."""
        return self.contact.state is State.STANDBY and self.health.faultless_since is not None and not self.doubtful

    @property
    def cluster_size(self) -> int:
        return self._news.size

    def owns(self, session: int) -> bool:
        return self._connection.owns(session)

    def start(self, now: float) -> None:
        """Register, and stay registered. Idempotent."""
        if not self.contact.wanted:
            self._told_refusal = ""
            self._record, self._awaits_record = self._book.own_bytes, False
            self.contact.start(now)

    def ask(self, now: float) -> None:
        """Is it there? At once, unless a question is open."""
        if self.contact.state is State.STANDBY and not self._vital:
            self._sync(now)

    def take_queries(self) -> list[bytes]:
        """The addresses that were asked for and not answered, to ask another Nucleus; they are forgotten here."""
        return self._news.take_open()

    def ask_for(self, addresses: Sequence[bytes], now: float) -> None:
        """As ``query``, for what another client has taken."""
        for address in addresses:
            self._news.ask(address, now)
        self._send_questions()

    def stop(self, now: float) -> None:
        """Say goodbye and forget the Nucleus; send what ``take_datagrams`` has afterwards. Idempotent."""
        if self.contact.state is State.IDLE:
            return
        for _ in range(_LEAVE_COPIES):
            self._connection.send(
                Heartbeat(0, self._cursor.epoch, self._cursor.seen, self._book.own.version, (), leave=True)
            )
        self.contact.end(now)
        self._news.clear()
        if self._own_roster:
            self._roster.clear()

    def set_local_endpoints(self, endpoints: Sequence[Endpoint], now: float) -> None:
        """Our addresses changed. Call it with the same when only our path did: the Nucleus sees the new source."""
        self._local = _packed(endpoints)
        if self.contact.state is State.REGISTERED:
            self._give_up()
            self._sync(now)

    def set_record(self, record: bytes, now: float) -> None:
        """In place of the one before. Told to the Nucleus at once if this client has asked for it, else when it
        registers next. The owner sets it in ``book``, if that is the owner's."""
        if self._book.own.version < open_record(record).version:
            self._book.set_own(record)
        self.prepare_record(record, now)

    def prepare_record(self, record: bytes, now: float) -> None:
        """Told to this Nucleus alone, from now on; ours is the one before until we are registered with this one."""
        self._record = record
        if self._awaits_record and self.contact.wanted:
            self._awaits_record, self.contact.retry_at = False, None
            if self._connection.is_up:
                self._register(now)

    def query(self, address: Vip | Mac | PublicKey, now: float) -> None:
        """QueryAnswered follows, at once when "no such peer" is still fresh, else within about QUEUE_TIME."""
        self._news.ask(address if isinstance(address, bytes) else address.packed, now)
        self._send_questions()

    # --- pump -----------------------------------------------------------------------------------------------------

    def on_session_event(self, event: SessionEvent, now: float) -> None:
        """An event of the Sessions whose ``remote`` is ``nucleus``."""
        self.contact.on_session_event(event, now)

    def receive(self, packet: bytes, source: Endpoint, now: float) -> None:
        """A packet of type 0x04. Never raises on bytes from the network: counted in ``drops``."""
        try:
            self._receive(packet, source, now)
        except RemoteViolation as violation:
            self.drops.add(violation.reason)

    def next_timer(self) -> float | None:
        departures = self._roster.next_timer() if self.contact.state is State.REGISTERED else None
        contact, vital, news = self.contact.next_timer(), self._vital.next_timer(), self._news.next_timer()
        times = (contact, vital, news, self._heartbeat_at, departures)
        return min((t for t in times if t is not None), default=None)

    def handle_timer(self, now: float) -> None:
        for request, again in self._vital.due(now):
            if again:
                self._send_vital(request.subject, request.number, now, again=True)
            else:
                reason = f"the Nucleus at {self._connection.places} stopped answering; is it running?"
                self.contact.interrupted(reason, now)
        self._news.handle_timer(now)
        self._send_questions()
        if self.contact.state is State.REGISTERED:
            self._news.take_departures(now)
        if self._heartbeat_at is not None and self._heartbeat_at <= now:
            self._sync(now)
        self.contact.handle_timer(now)

    def take_datagrams(self) -> list[tuple[bytes, Endpoint]]:
        return self._connection.take_datagrams()

    @property
    def has_events(self) -> bool:
        return bool(self._events)

    def take_events(self) -> list[ClientEvent]:
        events, self._events = self._events, []
        return events

    # --- requests -------------------------------------------------------------------------------------------------

    def _give_up(self) -> None:
        self._vital.clear()
        self.health.given_up()
        self._heartbeat_at = None

    def _register(self, now: float) -> None:
        self._give_up()
        request = self._vital.open(_Subject.REGISTER, REQUEST_ATTEMPTS, now)
        self._send_vital(request.subject, request.number, now)

    def _sync(self, now: float) -> None:
        """A heartbeat now, unless one is open: its answer brings what is new as well."""
        self._heartbeat_at = None
        if self._vital:
            return
        if self.contact.state is State.STANDBY:
            request = self._vital.open(_Subject.STANDBY, STANDBY_ATTEMPTS, now, pause_max=REQUEST_RETRY)
        elif self.contact.state is State.REGISTERED:
            self._roster.ask(now, self._patience)
            if self.replaceable:
                request = self._vital.open(_Subject.HEARTBEAT, FAILOVER_ATTEMPTS, now, pause_max=REQUEST_RETRY)
            else:
                request = self._vital.open(_Subject.HEARTBEAT, REQUEST_ATTEMPTS, now)
        else:
            return
        self._send_vital(request.subject, request.number, now)

    def _send_vital(self, subject: _Subject, number: int, now: float, again: bool = False) -> None:
        """Made anew for each sending: what was seen may have grown, and the session may be another. ``again``: there
        was no answer, so what the Nucleus knows of us is in doubt."""
        self.health.sent(number, now)
        if not self._connection.is_up:
            return
        epoch, seen = self._cursor.epoch, self._cursor.seen
        if subject is _Subject.STANDBY:
            self._connection.send(Heartbeat(number, 0, 0, self._book.own.version, (), standby=True))
            return
        if subject is _Subject.HEARTBEAT and not again and self._said == self._all(epoch):
            self._connection.send(Beat(number, seen))
            return
        self._saying = self._all(epoch)
        if subject is _Subject.HEARTBEAT:
            self._connection.send(Heartbeat(number, epoch, seen, self._book.own.version, self._local))
            return
        proof = b""
        if self._admission_key is not None:
            proof = admission_proof(self._admission_key, self._connection.handshake_hash, self._key, self._cluster)
        register = Register(
            number, self._cluster, self._record, proof, self._local, epoch, seen, wants_vip4=self._wants_vip4
        )
        self._connection.send(register)

    # --- answers --------------------------------------------------------------------------------------------------

    def _receive(self, packet: bytes, source: Endpoint, now: float) -> None:
        message = self._connection.receive(packet, source)
        self.health.heard(now)
        if isinstance(message, RegisterAck):
            self._on_register_ack(message, now)
        elif isinstance(message, BeatAck):
            self._on_beat_ack(message, now)
        elif isinstance(message, HeartbeatAck):
            self._on_heartbeat_ack(message, now)
        elif isinstance(message, PeerInfo):
            self._on_peer_info(message, now)
        elif isinstance(message, ConnectHint):
            self._news.hinted(message)
        else:
            raise RemoteViolation(DropReason.SIGNALING_MALFORMED, "a request to an edge")

    def _on_register_ack(self, ack: RegisterAck, now: float) -> None:
        if self._vital.subject(ack.request) is not _Subject.REGISTER:
            return  # late: the answer to an earlier sending has done its work
        self._vital.close(ack.request)
        self.health.answered(ack.request, ack.draining, now)
        self.contact.answered()
        self.contact.found()
        if self._wants_vip4 and self._waits_for_record(ack, now):
            return
        if ack.status is not Status.OK:
            self._refused(ack.reason, now)
            return
        self.contact.state = State.REGISTERED
        self._told_refusal = self.health.reason = ""
        self._interval = max(_PAUSE_MIN, ack.interval_ms / 1000)
        self._roster.begin(ack.epoch, ack.delta, now, self._patience)
        self._note(ack, now)
        self._events.append(Registered(self.observed, ack.delta.size))
        if self._wants_vip4:
            self._tell_lease(ack)
        self._apply(ack.delta, now)
        self._news.ask_again()
        self._send_questions()

    def _waits_for_record(self, ack: RegisterAck, now: float) -> bool:
        """The Nucleus leases us another VIP4 than our record has, or has given that to somebody else."""
        ours = open_record(self._record).vip4
        if ack.status is Status.OK and ack.lease is not None and str(ack.lease) != ours:
            self._events.append(Vip4Leased(ack.lease))
        elif ack.status is Status.ADDRESS_TAKEN and ours is not None:
            self.health.reason = ack.reason
            self._events.append(Vip4NotLeased(ack.reason, lost=True))
        else:
            return False
        self.contact.state, self._awaits_record = State.CONNECTING, True
        self._give_up()
        self.contact.retry_at = now + REFUSED_RETRY  # in case no record comes
        return True

    def _tell_lease(self, ack: RegisterAck) -> None:
        """Registered; with a record that was prepared, it is ours only now."""
        told, ours = open_record(self._record).vip4, self._book.own.vip4
        if ack.lease is None:
            self._events.append(Vip4NotLeased(ack.reason, lost=told is None and ours is not None))
        elif told != ours:
            self._events.append(Vip4Leased(ack.lease))

    def _on_heartbeat_ack(self, ack: HeartbeatAck, now: float) -> None:
        subject = self._vital.subject(ack.request)
        asked = subject is _Subject.HEARTBEAT
        if asked or subject is _Subject.STANDBY:
            self._vital.close(ack.request)
            self.health.answered(ack.request, ack.draining, now)
            self.contact.answered()
        begins_to_drain = ack.draining and not self.health.draining
        self.health.draining = ack.draining
        if self.contact.state is State.STANDBY and subject is _Subject.STANDBY:
            self._heartbeat_at = now + self.contact.standby_interval * (1 - _PAUSE_SPREAD * self._fraction())
        if self.contact.state is not State.REGISTERED:
            return
        if ack.status is Status.STALE_RECORD:
            self._refused(ack.reason, now)
        elif ack.status is not Status.OK or ack.epoch != self._cursor.epoch:
            self._register_anew(now)
        else:
            if asked:
                self._note(ack, now)
            self._apply(ack.delta, now)
            if begins_to_drain and not self.replaceable:
                self._sync(now)  # we stay: the Nucleus need not wait for us

    def _on_beat_ack(self, ack: BeatAck, now: float) -> None:
        if self._vital.subject(ack.request) is not _Subject.HEARTBEAT:
            return
        self._vital.close(ack.request)
        self.health.answered(ack.request, False, now)
        self.contact.answered()
        if self.contact.state is State.REGISTERED:
            self._plan_heartbeat(now)

    def _all(self, epoch: int) -> tuple[bytes, tuple[PackedEndpoint, ...], int]:
        """What a Beat leaves out, and the session that it goes for."""
        return self._connection.handshake_hash, self._local, epoch

    def _note(self, ack: RegisterAck | HeartbeatAck, now: float) -> None:
        if self._saying is not None:
            self._said, self._saying = (*self._saying[:2], ack.epoch), None
        if ack.observed is not None:
            self.observed = unpack_endpoint(ack.observed)
        self._plan_heartbeat(now)

    def _plan_heartbeat(self, now: float) -> None:
        pause = min(self._interval, NAT_KEEPALIVE)  # the way back through our NAT stays open for what is pushed
        self._heartbeat_at = now + pause * (1 - _PAUSE_SPREAD * self._fraction())

    def _refused(self, reason: str, now: float) -> None:
        self.contact.state = State.REFUSED
        self.health.reason = reason
        self._give_up()
        self.contact.retry_at = now + REFUSED_RETRY * (1 + _PAUSE_SPREAD * self._fraction())
        if reason != self._told_refusal:
            self._told_refusal = reason
            self._events.append(Refused(reason))

    def _register_anew(self, now: float) -> None:
        self.contact.state = State.CONNECTING
        self._register(now)

    def _on_peer_info(self, info: PeerInfo, now: float) -> None:
        if info.status is Status.NOT_REGISTERED:
            if self.contact.state is State.REGISTERED:
                self._register_anew(now)
            return
        self._news.answered(info, now)
        self._send_questions()

    def _send_questions(self) -> None:
        for message in self._news.take_questions():
            if self.contact.state is State.REGISTERED:
                self._connection.send(message)

    def _apply(self, delta: Delta, now: float) -> None:
        self._news.apply(delta, self._patience, now)
        if self._cursor.behind:
            self._sync(now)

    # --- parts ----------------------------------------------------------------------------------------------------

    @property
    def _patience(self) -> float:
        """s after which a peer that nobody tells of again has departed: a life without heartbeats, and one more."""
        return (HEARTBEATS_MISSED + 1) * self._interval

    def _fraction(self) -> float:
        return random_fraction(self._random)


def _packed(endpoints: Sequence[Endpoint]) -> tuple[PackedEndpoint, ...]:
    return tuple(pack_endpoint(e) for e in endpoints[:LOCAL_ENDPOINTS_MAX])
