"""What peers say of others, and what this robot has known before, carried out while no Nucleus says better. Part of the
Ganglion engine.

Records are the peers' own words, whoever brings them; all else is hearsay:

- a record counts when it is genuine, of this cluster and not older than the one we have;
- gossip brings nobody back who left, and somebody new only where the cluster's secret or our own allow list decides
  who belongs to it: else the Nucleus may have an allow list that we do not know;
- endpoints are tried by handshakes while the peer is silent, and never take the place of a path that works.
"""

from __future__ import annotations

from collections.abc import Callable

from omni_core.constants import GOSSIP_AGE_MAX, HINT_HOLD, HINT_SHARED, RECORDS_BURST, STRANGERS_MAX
from omni_core.crypto.record import PeerRecord, open_record
from omni_core.drops import DropCounters, DropReason
from omni_core.engines.known_peers import KnownPeer
from omni_core.engines.peering import Peering
from omni_core.engines.peers import Peer, PeerBook
from omni_core.engines.settings import GanglionSettings
from omni_core.errors import RemoteViolation
from omni_core.session.limits import Buckets, Rate
from omni_core.session.machine import State
from omni_core.session.sessions import Sessions
from omni_core.signaling.book import PeerBook as RecordBook
from omni_core.signaling.endpoints import unpack_endpoints
from omni_core.types import Endpoint, PublicKey
from omni_core.wire.gossip import GossipEntry

_RENEWALS = Rate(1 / HINT_HOLD, RECORDS_BURST, 4096)


class Hearsay:
    """``own()``: our record as it is now. ``judge()``: whether a Nucleus says who belongs to the cluster."""

    def __init__(
        self,
        settings: GanglionSettings,
        book: PeerBook,
        sessions: Sessions,
        peering: Peering,
        drops: DropCounters,
        own: Callable[[], bytes],
        judge: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._book = book
        self._sessions = sessions
        self._peering = peering
        self._drops = drops
        self._own = own
        self._judge = judge
        self._own_bytes = own()
        # Apart from that of what the Nucleus tells: who makes up identities does not push out what that knows.
        self._records = RecordBook(self._own_bytes, drops)
        self._renewals: Buckets[PublicKey] = Buckets(_RENEWALS)  # a new record makes us shake hands anew
        self.refused = 0

    def take(self, teller: Peer, entry: GossipEntry, now: float) -> PeerRecord | None:
        """The record, when the entry can be believed as far as hearsay goes. What cannot is counted."""
        try:
            return self._take(teller, entry, now)
        except RemoteViolation as violation:
            reason = violation.reason
            self._drops.add(DropReason.CONTROL_MALFORMED if reason is DropReason.SIGNALING_MALFORMED else reason)
            self.refused += 1
            return None

    def _take(self, teller: Peer, entry: GossipEntry, now: float) -> PeerRecord | None:
        endpoints = unpack_endpoints(entry.endpoints)
        if entry.age > GOSSIP_AGE_MAX:
            return None
        record = self._open(entry.record)
        if record is None:
            return None
        key = record.public_key
        if teller.public_key != key and self._peering.departed.holds(key, record.version, now):
            raise RemoteViolation(DropReason.GOSSIP_REFUSED, "it left")
        known = self._book.get(key)
        if known is not None and record.version < known.record_version:
            raise RemoteViolation(DropReason.STALE_RECORD)
        peer = known
        if peer is None or not peer.member:
            self._check_newcomer(key, peer)
        if peer is None or peer.record is None or not peer.member or record.version > peer.record_version:
            if not self._renewals.take(key, now):
                raise RemoteViolation(DropReason.GOSSIP_TOO_OFTEN)
            peer = self._peering.learn(record, (), now, hearsay=True)
            if peer is None:
                raise RemoteViolation(DropReason.GOSSIP_REFUSED, "not on the allow list")
            peer.stranger |= known is None
        if peer is teller:
            peer.hints.take(endpoints, key, now, now)
        else:
            self._hint(peer, endpoints, teller.public_key, now - entry.age, now)
        return record

    def recall(self, known: KnownPeer, age: float, now: float) -> None:
        """A peer of before is a member, by hearsay. ``age``: s since it was last there."""
        record = self._open_known(known)
        if record is None or self._peering.departed.holds(record.public_key, record.version, now):
            return
        peer = self._book.get(record.public_key)
        if peer is not None and peer.member:
            self._complete(peer, record)
            return
        peer = self._peering.learn(record, (), now, hearsay=True)
        if peer is None:
            return
        if peer.seen is None:
            peer.seen = now - age
        if not peer.endpoints:
            peer.endpoints = known.endpoints
        if self._peering.keeps(peer) and not self._peering.is_up(peer):
            self._peering.connect(peer, now)

    def complete(self, known: KnownPeer) -> None:
        """An earlier Ganglion left a session with the peer, and the cache has its record."""
        peer = self._book.get(known.public_key)
        record = self._open_known(known) if peer is not None else None
        if peer is not None and record is not None:
            self._complete(peer, record)

    def _complete(self, peer: Peer, record: PeerRecord) -> None:
        if peer.record is None and record.version == peer.record_version:
            peer.record = record

    def _open_known(self, known: KnownPeer) -> PeerRecord | None:
        """Not by the book: the peer's own word, which may have come already, is newer."""
        try:
            record = open_record(known.record)
        except RemoteViolation as violation:
            self._drops.add(violation.reason)
            return None
        return record if record.cluster == self._settings.cluster else None

    def _open(self, data: bytes) -> PeerRecord | None:
        own = self._own()
        if own != self._own_bytes:
            self._own_bytes = own
            self._records.set_own(own)
        return self._records.open(data)

    def _check_newcomer(self, key: PublicKey, peer: Peer | None) -> None:
        """Raises RemoteViolation where only a Nucleus may say that it belongs to us."""
        settings = self._settings
        allowed = settings.psk is not None or (settings.allowed_keys is not None and key in settings.allowed_keys)
        if self._judge() or not (allowed or (peer is not None and peer.static)):
            raise RemoteViolation(DropReason.GOSSIP_REFUSED, "unknown here")
        if peer is None and sum(each.stranger for each in self._book) >= STRANGERS_MAX:
            raise RemoteViolation(DropReason.GOSSIP_REFUSED, "one more of whom nobody has heard")

    def _hint(self, peer: Peer, endpoints: tuple[Endpoint, ...], teller: PublicKey, heard: float, now: float) -> None:
        peering = self._peering
        if peering.is_up(peer) and (peer.path in endpoints[:1] or (peer.seen or 0.0) >= heard):
            return  # we know better
        usable = [each for each in endpoints if each != peer.path and self._shared(each, peer) < HINT_SHARED]
        is_new = bool(usable) and peer.hints.take(usable, teller, heard, now)
        if is_new or self._sessions.state(peer.public_key) is State.DOWN:
            peering.try_hints(peer, now)

    def _shared(self, endpoint: Endpoint, peer: Peer) -> int:
        return sum(endpoint in other.hints for other in self._book if other is not peer and other.hints)
