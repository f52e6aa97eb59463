"""All handshakes and sessions of one edge or one Nucleus, Sans-IO.

The owner says whom it wants (``connect``), feeds control messages 0x01..0x03 (``receive``), reports the first
authentic packet of a session (``confirm``), and drains ``take_datagrams`` and ``take_events``. What happens when is in
machine.TABLE. Nothing is sent in answer to a packet that does not prove knowledge of our public key (mac1), and no
state changes before a message is authentic, fresh and admitted.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Callable, Sequence

from omni_core.constants import (
    REKEY_AFTER_MESSAGES,
    REKEY_ATTEMPT_TIME,
    TIE_RETRY,
    UNCONFIRMED_TIME,
)
from omni_core.crypto.cookies import mac1
from omni_core.crypto.errors import AuthenticationFailed
from omni_core.crypto.identity import Identity, exchange_key
from omni_core.drops import DropCounters, DropReason
from omni_core.errors import LocalMisuse, RemoteViolation
from omni_core.session.adoption import LeftSession, arrange
from omni_core.session.events import SessionCreated, SessionEvent, SessionLost, SessionRetired, SessionUsable
from omni_core.session.gate import Gate
from omni_core.session.handshake import (
    Profile,
    ReceivedInitiation,
    consume_initiation,
    consume_response,
    create_initiation,
    create_response,
)
from omni_core.session.heard import HeardTimestamps
from omni_core.session.keypair import Keypair
from omni_core.session.limits import EDGE_LIMITS, HandshakeLimits, SessionLimits
from omni_core.session.machine import (
    AWAITING_CONFIRMATION,
    IN_FLIGHT,
    USABLE,
    Action,
    Event,
    State,
    next_step,
)
from omni_core.session.pace import Pace
from omni_core.session.remote import Remote
from omni_core.session.timers import Deadlines
from omni_core.types import Endpoint, PublicKey, RandomBytes
from omni_core.wire.control import (
    ControlType,
    decode_cookie_reply,
    decode_initiation,
    decode_response,
)

Admit = Callable[[PublicKey, bytes, Endpoint], "bytes | None"]

_CANDIDATES_MAX = 6  # endpoints that one initiation is sent to


class Sessions:
    """See the module docstring.

    ``admit(public_key, body, source)`` decides about an authentic initiator: the body of the answer, or None to refuse
    in silence. ``unix_ns(now)`` gives the timestamp of an initiation. ``accept`` None: never answer initiations.
    """

    def __init__(
        self,
        identity: Identity,
        accept: Profile | None,
        admit: Admit,
        *,
        random: RandomBytes,
        unix_ns: Callable[[float], int],
        limits: SessionLimits = EDGE_LIMITS,
    ) -> None:
        self.drops = DropCounters()
        self._identity = identity
        self._accept = accept
        self._admit = admit
        self._random = random
        self._unix_ns = unix_ns
        self._pace = Pace(random)
        self._limits = HandshakeLimits(limits)
        self._gate = Gate(identity.exchange_public, self._limits, random)
        self._unsolicited_max = limits.unsolicited
        self._peers: dict[PublicKey, Remote] = {}
        self._unsolicited: OrderedDict[PublicKey, None] = OrderedDict()
        self._by_index: dict[int, Remote] = {}
        self._by_receive_id: dict[int, Remote] = {}
        self._heard = HeardTimestamps(limits.heard)
        self._last_timestamp = 0
        self._deadlines: Deadlines[PublicKey] = Deadlines()
        self._datagrams: list[tuple[bytes, Endpoint]] = []
        self._events: list[SessionEvent] = []

    # --- what the owner wants -------------------------------------------------------------------------------------

    def connect(
        self,
        remote: PublicKey,
        endpoints: Sequence[Endpoint],
        now: float,
        *,
        profile: Profile | None = None,
        body: bytes = b"",
    ) -> None:
        """Want a session with ``remote``; candidate endpoints replace earlier ones. No effect beyond that if one is up
        or under way. ``profile`` None: the one we accept. Raises RemoteViolation when the key is no valid curve point.
        """
        exchange_key(remote)
        profile = profile or self._accept or Profile("peer")
        peer = self._peers.get(remote)
        if peer is None:
            peer = self._peers[remote] = Remote(remote, profile)
        self._unsolicited.pop(remote, None)
        peer.profile, peer.body, peer.wanted = profile, body, True
        places = endpoints if peer.heard is None else [peer.heard, *endpoints]
        known, peer.candidates = peer.candidates, list(dict.fromkeys(places))[:_CANDIDATES_MAX]
        if peer.current and peer.rekey_at is None and peer.state is State.UP:
            peer.rekey_at = self._pace.rekey_time(peer.current, crowd=peer.crowd)
        if peer.state in IN_FLIGHT:
            self._send_in_flight(peer, [e for e in peer.candidates if e not in known], now)
        elif peer.state not in USABLE:
            self._step(peer, Event.WANT, now)
        if peer.state in AWAITING_CONFIRMATION and peer.retry_at is None:
            peer.retry_at = now + self._pace.retry(crowd=peer.crowd)
        self._arm(peer)

    def adopt(
        self, remote: PublicKey, left: Sequence[LeftSession], endpoint: Endpoint | None, heard: int | None, now: float
    ) -> None:
        """Take over what an earlier control plane left with a remote that is not known here yet (LocalMisuse).

        ``heard``: timestamp of the latest initiation accepted from it. SessionRetired follows for what is of no use,
        SessionUsable for a session that is to send and did not yet. We renew them once ``connect`` says that they are
        wanted. Raises RemoteViolation when the key is no valid curve point.
        """
        exchange_key(remote)
        if remote in self._peers:
            raise LocalMisuse("sessions are adopted before a remote is known")
        if heard is not None:
            self._heard.remember(remote, heard)
        peer = Remote(remote, self._accept or Profile("peer"))
        self._events += [SessionRetired(remote, each.receive_id) for each in arrange(peer, left, now)]
        if peer.state is State.DOWN:
            return
        self._peers[remote] = peer
        peer.endpoint = endpoint
        for keypair in self.keypairs(remote):
            self._by_receive_id[keypair.receive_id] = peer
        if peer.current is None:
            self._add_unsolicited(remote, now)
        elif not any(each.sending and each.receive_id == peer.current.receive_id for each in left):
            self._events.append(SessionUsable(remote, peer.current.receive_id))
        self._arm(peer)

    def rekey(self, remote: PublicKey, now: float) -> None:
        """Start a handshake although a session is up (silent peer, message limit). Unknown peers are ignored."""
        peer = self._peers.get(remote)
        if peer is not None:
            self._step(peer, Event.WANT, now)
            self._arm(peer)

    def count_sent(self, remote: PublicKey, frames: int, now: float) -> None:
        """``frames``: sent so far with the sending session. Rekeys in time (REKEY_AFTER_MESSAGES)."""
        if frames >= REKEY_AFTER_MESSAGES:
            self.rekey(remote, now)

    def resend(self, remote: PublicKey, now: float) -> None:
        """Send the initiation in flight again, unchanged: the peer's NAT may be open by now (hole punching)."""
        peer = self._peers.get(remote)
        if peer is not None:
            self._send_in_flight(peer, peer.candidates, now)

    def set_endpoint(self, remote: PublicKey, endpoint: Endpoint) -> None:
        """The data plane saw an authentic packet of the peer from there."""
        peer = self._peers.get(remote)
        if peer is not None:
            peer.endpoint = endpoint

    def forget(self, remote: PublicKey, now: float) -> None:
        """End every session with the peer and wipe its keys. No SessionLost: the owner asked for it."""
        peer = self._peers.get(remote)
        if peer is not None:
            self._step(peer, Event.FORGET, now)
            self._drop_peer(peer)

    def close(self, now: float) -> None:
        for remote in list(self._peers):
            self.forget(remote, now)

    def confirm(self, receive_id: int, now: float) -> None:
        """First authentic packet of a session. Anything but the unconfirmed one is ignored."""
        peer = self._by_receive_id.get(receive_id)
        if peer is not None and peer.pending and peer.pending.receive_id == receive_id:
            self._step(peer, Event.CONFIRMED, now)
            self._arm(peer)

    def set_behind(self, behind: bool) -> None:
        """Whether more datagrams wait for us than we get at a time. See HandshakeLimits."""
        self._limits.behind = behind

    # --- what the owner may ask -----------------------------------------------------------------------------------

    def state(self, remote: PublicKey) -> State:
        peer = self._peers.get(remote)
        return peer.state if peer else State.DOWN

    def endpoint(self, remote: PublicKey) -> Endpoint | None:
        peer = self._peers.get(remote)
        return peer.endpoint if peer else None

    def remote_of(self, receive_id: int) -> PublicKey | None:
        peer = self._by_receive_id.get(receive_id)
        return peer.remote if peer else None

    def heard(self, remote: PublicKey) -> int | None:
        """Timestamp of the latest initiation accepted from it, here or before an adoption."""
        return self._heard.latest(remote)

    def owns_index(self, index: int) -> bool:
        """Whether it is of an initiation of ours that is in flight."""
        return index in self._by_index

    def keypairs(self, remote: PublicKey) -> list[Keypair]:
        """The sending one first, then those that only receive."""
        peer = self._peers.get(remote)
        return [k for k in (peer.current, peer.pending, peer.previous) if k] if peer else []

    def sending(self, remote: PublicKey) -> Keypair | None:
        peer = self._peers.get(remote)
        return peer.current if peer else None

    def __len__(self) -> int:
        return len(self._peers)

    # --- pump -----------------------------------------------------------------------------------------------------

    def take_datagrams(self) -> list[tuple[bytes, Endpoint]]:
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def take_events(self) -> list[SessionEvent]:
        events, self._events = self._events, []
        return events

    def next_timer(self) -> float | None:
        return self._deadlines.next()

    def handle_timer(self, now: float) -> None:
        for remote in self._deadlines.pop_due(now):
            peer = self._peers.get(remote)
            if peer is not None:
                self._run_timers(peer, now)
                self._arm(peer)

    def receive(self, datagram: bytes, source: Endpoint, now: float) -> None:
        """A control message of type 0x01..0x03. Never raises on bytes from the network: counted in ``drops``."""
        try:
            kind = datagram[0] if datagram else 0
            if kind == ControlType.INITIATION:
                self._on_initiation(datagram, source, now)
            elif kind == ControlType.RESPONSE:
                self._on_response(datagram, source, now)
            elif kind == ControlType.COOKIE_REPLY:
                self._on_cookie_reply(datagram, now)
            else:
                raise RemoteViolation(DropReason.UNKNOWN_TYPE if datagram else DropReason.TOO_SHORT)
        except RemoteViolation as violation:
            self.drops.add(violation.reason)

    # --- messages -------------------------------------------------------------------------------------------------

    def _on_initiation(self, datagram: bytes, source: Endpoint, now: float) -> None:
        initiation = decode_initiation(datagram)
        if self._accept is None:
            raise RemoteViolation(DropReason.NOT_ADMITTED)
        self._gate.check(initiation, source, now, lambda reply: self._datagrams.append((reply, source)))
        received = consume_initiation(self._identity, self._accept, initiation, self._random)
        remote, timestamp = received.offer.public_key, received.offer.timestamp
        if remote == self._identity.public_key:
            raise RemoteViolation(DropReason.NOT_ADMITTED, "our own key")
        if not self._heard.is_fresh(remote, timestamp):
            raise RemoteViolation(DropReason.HANDSHAKE_REPLAYED)
        answer = self._admit(remote, received.offer.body, source)
        if answer is None:
            raise RemoteViolation(DropReason.NOT_ADMITTED)
        self._heard.remember(remote, timestamp)
        peer = self._peers.get(remote)
        if peer is None:
            peer = self._peers[remote] = Remote(remote, self._accept)
            self._add_unsolicited(remote, now)
        if peer.state in IN_FLIGHT and self._identity.public_key > remote:
            self.drops.add(DropReason.LOST_TIE)
            self._step(peer, Event.PEER_LOST_TIE, now, source=source)
        else:
            self._answer(peer, received, answer, source, now)
        self._arm(peer)

    def _answer(self, peer: Remote, received: ReceivedInitiation, answer: bytes, source: Endpoint, now: float) -> None:
        datagram, keypair = create_response(received, answer, now, self._random)
        # 60 random bits: never seen, yet two sessions must not share an id
        if keypair.receive_id in self._by_receive_id:
            keypair.wipe()
            return
        self._step(peer, Event.PEER_INITIATED, now, source=source)
        if peer.pending:
            self._retire(peer, peer.pending)
        peer.pending = keypair
        self._by_receive_id[keypair.receive_id] = peer
        if peer.endpoint is None or peer.state not in USABLE:
            peer.endpoint = source
        self._datagrams.append((datagram, source))
        self._events.append(SessionCreated(peer.remote, keypair, False, received.offer.body, source))

    def _on_response(self, datagram: bytes, source: Endpoint, now: float) -> None:
        response = decode_response(datagram)
        own_mac1 = mac1(self._identity.exchange_public, response.covered)
        if not hmac.compare_digest(own_mac1, response.mac1):
            raise RemoteViolation(DropReason.BAD_MAC1)
        peer = self._by_index.get(response.receiver_index)
        if peer is None or peer.in_flight is None or peer.state not in IN_FLIGHT:
            raise RemoteViolation(DropReason.UNKNOWN_INDEX)
        body, keypair = consume_response(peer.in_flight, peer.remote, response, now)
        if keypair.receive_id in self._by_receive_id:
            keypair.wipe()
            raise RemoteViolation(DropReason.UNEXPECTED_MESSAGE, "session id collision")
        self._step(peer, Event.RESPONSE, now)
        self._promote(peer, keypair)
        self._by_receive_id[keypair.receive_id] = peer
        peer.endpoint = source
        self._events.append(SessionCreated(peer.remote, keypair, True, body, source))
        self._arm(peer)

    def _on_cookie_reply(self, datagram: bytes, now: float) -> None:
        reply = decode_cookie_reply(datagram)
        peer = self._by_index.get(reply.receiver_index)
        if peer is None or peer.in_flight is None or peer.jar is None:
            raise RemoteViolation(DropReason.UNKNOWN_INDEX)
        try:
            peer.jar.consume_reply(reply, now)
        except AuthenticationFailed:
            raise RemoteViolation(DropReason.BAD_COOKIE) from None
        # The loaded side knows now that we are real; spread the second tries over a second.
        peer.retry_at = min(peer.retry_at or now, now + self._pace.fraction())
        self._arm(peer)

    # --- the table ------------------------------------------------------------------------------------------------

    def _step(self, peer: Remote, event: Event, now: float, *, source: Endpoint | None = None) -> None:
        action, state = next_step(peer.state, event)
        was_awaiting = peer.state in AWAITING_CONFIRMATION
        peer.state = state
        if action is Action.INITIATE:
            if event is Event.WANT or (event is Event.RETRY and was_awaiting):
                peer.attempt_ends = now + REKEY_ATTEMPT_TIME
                peer.tries = 0
            self._initiate(peer, now)
        elif action is Action.INSIST:
            if source is not None and source not in peer.candidates:
                peer.heard = source
                peer.candidates = [source, *peer.candidates][:_CANDIDATES_MAX]
                self._send_in_flight(peer, [source], now)
            peer.retry_at = min(peer.retry_at or now + TIE_RETRY, now + TIE_RETRY)
        elif action is Action.ANSWER:
            self._end_attempt(peer)
            peer.rekey_at = None
            peer.retry_at = now + self._pace.retry(crowd=peer.crowd) if peer.wanted else None
        elif action is Action.COMPLETE:
            self._end_attempt(peer)
        elif action is Action.PROMOTE:
            self._end_attempt(peer)
            self._unsolicited.pop(peer.remote, None)
            pending, peer.pending = peer.pending, None
            if pending is not None:
                self._promote(peer, pending)
                self._events.append(SessionUsable(peer.remote, pending.receive_id))
        elif action is Action.EXPIRE:
            if peer.current:
                self._retire(peer, peer.current)
            peer.current = peer.rekey_at = None
        elif action is Action.DISCARD:
            self._discard_pending(peer)
            if state is State.UP:
                peer.retry_at = None
                peer.rekey_at = now + self._pace.retry(crowd=peer.crowd) if peer.wanted else None
        elif action is Action.ABANDON:
            self._end_attempt(peer)
            peer.rekey_at = now + self._pace.retry(crowd=peer.crowd)
        elif action is Action.CLEAR:
            self._clear(peer)
        if state is State.DOWN and event is not Event.FORGET:
            self._events.append(SessionLost(peer.remote, _LOST[event]))

    def _run_timers(self, peer: Remote, now: float) -> None:
        if peer.previous and peer.previous.expires <= now:
            self._retire(peer, peer.previous)
            peer.previous = None
        if peer.current and peer.current.expires <= now:
            self._step(peer, Event.EXPIRED, now)
        if peer.pending and peer.pending.created + UNCONFIRMED_TIME <= now:
            self._step(peer, Event.UNCONFIRMED, now)
        if peer.rekey_at is not None and peer.rekey_at <= now:
            peer.rekey_at = None
            if peer.wanted:
                self._step(peer, Event.WANT, now)
        if peer.retry_at is not None and peer.retry_at <= now:
            peer.retry_at = None
            over = peer.state in IN_FLIGHT and peer.attempt_ends is not None and peer.attempt_ends <= now
            if peer.state in IN_FLIGHT or peer.state in AWAITING_CONFIRMATION:
                self._step(peer, Event.GIVE_UP if over else Event.RETRY, now)
        if peer.state is State.DOWN:
            self._discard_pending(peer)
            if not peer.wanted and peer.previous is None:
                self._drop_peer(peer)

    # --- parts ----------------------------------------------------------------------------------------------------

    def _initiate(self, peer: Remote, now: float) -> None:
        self._end_flight(peer)
        self._last_timestamp = max(self._last_timestamp + 1, self._unix_ns(now))
        sent = create_initiation(
            self._identity, peer.remote, peer.profile, self._last_timestamp, peer.body, self._random
        )
        peer.in_flight = sent
        self._by_index[sent.sender_index] = peer
        peer.rekey_at = None
        peer.retry_at = now + self._pace.retry(peer.tries, crowd=peer.crowd)
        peer.tries += 1
        places = [peer.endpoint, *peer.candidates] if peer.endpoint else peer.candidates
        self._send_in_flight(peer, list(dict.fromkeys(places)), now)

    def _send_in_flight(self, peer: Remote, places: Sequence[Endpoint], now: float) -> None:
        if peer.in_flight and places:
            datagram = peer.cookies().add_macs(peer.in_flight.covered, now)
            self._datagrams += [(datagram, place) for place in places]

    def _promote(self, peer: Remote, keypair: Keypair) -> None:
        if peer.previous:
            self._retire(peer, peer.previous)
        self._discard_pending(peer)
        peer.previous, peer.current = peer.current, keypair
        peer.rekey_at = self._pace.rekey_time(keypair, crowd=peer.crowd) if peer.wanted else None

    def _retire(self, peer: Remote, keypair: Keypair) -> None:
        self._by_receive_id.pop(keypair.receive_id, None)
        keypair.wipe()
        self._events.append(SessionRetired(peer.remote, keypair.receive_id))

    def _discard_pending(self, peer: Remote) -> None:
        if peer.pending:
            self._retire(peer, peer.pending)
            peer.pending = None

    def _end_flight(self, peer: Remote) -> None:
        if peer.in_flight:
            self._by_index.pop(peer.in_flight.sender_index, None)
            peer.in_flight.noise.wipe()
            peer.in_flight = None

    def _end_attempt(self, peer: Remote) -> None:
        self._end_flight(peer)
        peer.retry_at = peer.attempt_ends = peer.heard = None

    def _clear(self, peer: Remote) -> None:
        self._end_attempt(peer)
        self._discard_pending(peer)
        for keypair in (peer.current, peer.previous):
            if keypair:
                self._retire(peer, keypair)
        peer.current = peer.previous = peer.rekey_at = None
        peer.wanted = False

    def _drop_peer(self, peer: Remote) -> None:
        del self._peers[peer.remote]
        self._unsolicited.pop(peer.remote, None)
        self._deadlines.set(peer.remote, None)

    def _add_unsolicited(self, remote: PublicKey, now: float) -> None:
        self._unsolicited[remote] = None
        if len(self._unsolicited) > self._unsolicited_max:
            self.forget(next(iter(self._unsolicited)), now)

    def _arm(self, peer: Remote) -> None:
        if self._peers.get(peer.remote) is peer:
            self._deadlines.set(peer.remote, peer.next_deadline())


_LOST = {
    Event.GIVE_UP: f"no answer to handshakes for {REKEY_ATTEMPT_TIME:.0f} s",
    Event.EXPIRED: "the session expired and was not renewed",
    Event.UNCONFIRMED: "the peer did not confirm the session",
}
