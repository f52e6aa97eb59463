"""Peers tell each other where they are, while no Nucleus does. Part of the Ganglion engine.

    registered, or only just not any more   nothing, but to peers that have no Nucleus and spoke a moment ago
    without a Nucleus for ORPHANED_AFTER    rounds, GOSSIP_INTERVAL apart, as long as there is news or a question

A round goes to GOSSIP_FANOUT peers by chance and has two parts. *News*: who moved or came up somewhere else, and we
when we moved; each for GOSSIP_ROUNDS, less one for each time that a peer tells the same. *Questions*: peers that ought
to be up and are not. Who is asked, and has the peer, answers with its place, and tells the peer who asks, so that both
open their NATs towards each other, as a CONNECT_HINT does. And to a peer that has just come up goes our own record.

A robot tells only what it knows at first hand: itself, and peers that it has heard itself, at the place where it heard
them, with the local addresses that they told of themselves. So a lie goes no further than to the liar's own peers.
What is made of what others tell is in hearsay.py.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from omni_core.constants import (
    ETHERNET_HEADER,
    GOSSIP_AGE_MAX,
    GOSSIP_ANSWER_BURST,
    GOSSIP_ANSWERS_PER_SECOND,
    GOSSIP_ASK_FIRST,
    GOSSIP_ASK_LAST,
    GOSSIP_BODY_MAX,
    GOSSIP_FANOUT,
    GOSSIP_FRAMES,
    GOSSIP_HEARD_BURST,
    GOSSIP_HEARD_PER_SECOND,
    GOSSIP_HEARD_RECENTLY,
    GOSSIP_HOT_MAX,
    GOSSIP_HOT_TIME,
    GOSSIP_INTERVAL,
    GOSSIP_INTRODUCTIONS,
    GOSSIP_ROUNDS,
    GOSSIP_WANTED_MAX,
    ORPHANED_AFTER,
    RELEASE_AFTER,
)
from omni_core.drops import DropCounters, DropReason
from omni_core.engines.control_link import ControlLink
from omni_core.engines.ganglion_events import GanglionEvent, Warned
from omni_core.engines.hearsay import Hearsay
from omni_core.engines.known_peers import ENDPOINTS_MAX as KNOWN_ENDPOINTS
from omni_core.engines.known_peers import KnownPeer, KnownPeers
from omni_core.engines.peering import Peering
from omni_core.engines.peers import Peer, PeerBook
from omni_core.engines.settings import GanglionSettings
from omni_core.engines.status import GossipStatus
from omni_core.errors import RemoteViolation
from omni_core.session.limits import Buckets, Rate, TokenBucket
from omni_core.session.machine import State
from omni_core.session.sessions import Sessions
from omni_core.signaling.endpoints import pack_usable
from omni_core.types import Endpoint, PeerId, PublicKey, RandomBytes, random_fraction
from omni_core.wire.gossip import (
    ENDPOINTS_MAX,
    ENTRIES_MAX,
    HEAD_SIZE,
    WANTED_MAX,
    WANTED_SIZE,
    GossipEntry,
    GossipMessage,
    decode_gossip,
    encode_gossip,
    entry_size,
)
from omni_core.wire.hello import CAPABILITY_GOSSIP
from omni_core.wire.inband import CONTROL_OVERHEAD, ControlKind

_HEARD = Rate(GOSSIP_HEARD_PER_SECOND, GOSSIP_HEARD_BURST, 4096)
_JITTER = 0.5  # of the time between two rounds: three quarters to five quarters of it


@dataclass
class _News:
    until: float
    first: bool  # nobody may have heard of it before, so that others tell it is no reason to stop
    rounds: int = GOSSIP_ROUNDS  # in which it is still told
    knowing: set[PeerId] = field(default_factory=set)  # who told us, or was told


@dataclass
class _Question:
    since: float
    due: float
    pause: float = GOSSIP_ASK_FIRST


@dataclass
class _Counts:
    sent: int = 0
    taken: int = 0
    asked: int = 0
    recalled: int = 0
    heard: dict[PeerId, float] = field(default_factory=dict)  # when a peer without a Nucleus last spoke


class Gossip:
    """``own()``: our record; ``local()``: our underlay endpoints; ``unix_ns(now)``: ns since 1970."""

    def __init__(
        self,
        settings: GanglionSettings,
        book: PeerBook,
        sessions: Sessions,
        peering: Peering,
        link: ControlLink,
        drops: DropCounters,
        *,
        random: RandomBytes,
        unix_ns: Callable[[float], int],
        own: Callable[[], bytes],
        local: Callable[[], Sequence[Endpoint]],
        emit: Callable[[GanglionEvent], None],
    ) -> None:
        self._book = book
        self._sessions = sessions
        self._peering = peering
        self._link = link
        self._drops = drops
        self._random = random
        self._unix_ns = unix_ns
        self._own = own
        self._local = local
        self._emit = emit
        self._speaks = bool(settings.capabilities & CAPABILITY_GOSSIP)
        self._body_max = min(GOSSIP_BODY_MAX, settings.interface_mtu + ETHERNET_HEADER - CONTROL_OVERHEAD)
        self._hearsay = Hearsay(settings, book, sessions, peering, drops, own, self._has_judge)
        self._known = KnownPeers()
        self._state = ""
        self._orphaned_at: float | None = None
        self._release_at: float | None = None
        self._round_at: float | None = None
        self._news: OrderedDict[PublicKey | None, _News] = OrderedDict()  # None: ourselves
        self._questions: dict[PublicKey, _Question] = {}
        self._strange_to: dict[PeerId, None] = {}  # peers that we have not told of ourselves since they are up
        self._places: dict[PeerId, Endpoint] = {}  # where each was heard last
        self._rates: Buckets[PeerId] = Buckets(_HEARD)
        self._answers = TokenBucket(GOSSIP_ANSWERS_PER_SECOND, GOSSIP_ANSWER_BURST, 0.0)
        self._counts = _Counts()
        self.least_size = 0  # of the cluster, by what we have known; 0 while a Nucleus says it

    def _has_judge(self) -> bool:
        return self._state in ("registered", "refused")

    # --- whether there is a Nucleus -------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        return self._peering.orphaned

    def start(self, known: Iterable[KnownPeer], now: float) -> None:
        """``known``: peers of before, as ``known_peers`` gave them."""
        self._known.load(known, self._unix(now))
        for peer in self._book:
            each = self._known.get(peer.public_key)
            if each is not None:
                self._hearsay.complete(each)
            if peer.up_since is not None:
                self.peer_up(peer, now)
                self.noted(peer, now)

    def follow(self, state: str, now: float) -> None:
        """``state`` of the Nucleus that is used."""
        if state == self._state:
            return
        self._state = state
        if self._has_judge():
            self._orphaned_at = None
            self._peering.orphaned = False
            self._questions.clear()
            self.least_size = 0
            self._release_at = now + RELEASE_AFTER if state == "registered" else None
        elif not self.active and self._orphaned_at is None:
            self._orphaned_at, self._release_at = now + ORPHANED_AFTER, None

    def _begin(self, now: float) -> None:
        self._orphaned_at, self._peering.orphaned = None, True
        unix = self._unix(now)
        known = self._known.latest(unix)
        members = sum(peer.member for peer in self._book)
        fresh = [each for each in known if (peer := self._book.get(each.public_key)) is None or not peer.member]
        if not self._peering.cluster_size:
            self.least_size = 1 + members + len(fresh)
            self._peering.cluster_changed(self.least_size, now)
        for each in fresh:
            self._hearsay.recall(each, unix - each.seen, now)
        if fresh:
            self._counts.recalled += len(fresh)
            self._emit(Warned(f"no Nucleus answers: {len(fresh)} peers of before are tried where they were last"))
        self._plan(now)

    # --- what the engine sees -------------------------------------------------------------------------------------

    def peer_up(self, peer: Peer, now: float) -> None:
        self._strange_to[peer.id] = None
        self._plan(now)

    def peer_down(self, peer: Peer) -> None:
        self._strange_to.pop(peer.id, None)
        self._counts.heard.pop(peer.id, None)

    def peer_removed(self, peer: Peer) -> None:
        self.peer_down(peer)
        self._places.pop(peer.id, None)
        self._news.pop(peer.public_key, None)
        self._questions.pop(peer.public_key, None)

    def noted(self, peer: Peer, now: float) -> None:
        """The peer may be somewhere else than it was."""
        before, path = self._places.get(peer.id), peer.path
        if path is None or path == before or peer.up_since is None:
            return
        self._places[peer.id] = path
        if before is not None or path not in peer.endpoints:
            self._heat(peer.public_key, now, first=before is None)

    def we_moved(self, now: float) -> None:
        self._heat(None, now, first=False)

    def want(self, peer: Peer, now: float) -> None:
        """It ought to be up, or answer, and there is no Nucleus to ask."""
        key = peer.public_key
        if key in self._questions or self._peering.departed.holds(key, peer.record_version, now):
            return
        if len(self._questions) < GOSSIP_WANTED_MAX:
            self._questions[key] = _Question(now, now)
            self._plan(now)

    def known_peers(self, now: float) -> list[KnownPeer]:
        """To be kept for a start without a Nucleus; the one that was there last first."""
        for each in self._known.latest(self._unix(now)):
            if self._peering.departed.has(each.public_key, now):
                self._known.forget(each.public_key)
        current = [self._known_peer(peer, now) for peer in self._book]
        self._known.update(each for each in current if each is not None)
        return self._known.latest(self._unix(now))

    def _known_peer(self, peer: Peer, now: float) -> KnownPeer | None:
        if peer.record is None or peer.seen is None or not (peer.member or peer.up_since is not None) or peer.stranger:
            return None
        if self._peering.departed.has(peer.public_key, now):
            return None
        path = [peer.path] if peer.path else []
        places = list(dict.fromkeys((*path, *peer.endpoints, *peer.hints.by(peer.public_key))))
        seen = now if peer.up_since is not None else peer.seen
        return KnownPeer(peer.record.encode(), tuple(places[:KNOWN_ENDPOINTS]), self._unix(now) - int(now - seen))

    # --- hearing --------------------------------------------------------------------------------------------------

    def heard(self, peer: Peer, body: bytes, now: float) -> None:
        """A GOSSIP of a peer that is up."""
        if peer.up_since is None or not self._speaks:
            return
        if not self._rates.take(peer.id, now):
            self._drops.add(DropReason.GOSSIP_TOO_OFTEN)
            return
        try:
            message = decode_gossip(body)
        except RemoteViolation as violation:
            self._drops.add(violation.reason)
            return
        if not message.answer:
            self._counts.heard[peer.id] = now
        for entry in message.entries:
            record = self._hearsay.take(peer, entry, now)
            if record is not None:
                self._counts.taken += 1
                self._heard_news(peer, record.public_key, entry)
        if message.wanted:
            self._answer(peer, message.wanted, now)
        self._plan(now)

    def _heard_news(self, teller: Peer, key: PublicKey, entry: GossipEntry) -> None:
        """Others tell it already, so we need to tell it less."""
        news, peer = self._news.get(key), self._book.get(key)
        if news is None or peer is None or peer.path is None:
            return
        if pack_usable([peer.path]) != list(entry.endpoints[:1]):
            return
        news.knowing.add(teller.id)
        if not news.first:
            self._told(key)

    def _answer(self, asker: Peer, wanted: Sequence[PublicKey], now: float) -> None:
        found: list[tuple[Peer, GossipEntry]] = []
        for key in wanted:
            peer = self._book.get(key)
            entry = self._entry(peer, now) if peer is not None and peer is not asker else None
            if peer is not None and entry is not None:
                found.append((peer, entry))
        if not found or not self._answers.take(now):
            return
        self._send(asker, [entry for _, entry in found], (), now)
        entry = self._entry(asker, now)
        for peer, _ in found:
            if entry is not None and self._may_tell(peer, now) and self._answers.take(now):
                self._send(peer, [entry], (), now)

    # --- rounds ---------------------------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        times = (self._orphaned_at, self._release_at, self._round_at)
        return min((t for t in times if t is not None), default=None)

    def handle_timer(self, now: float) -> None:
        if self._orphaned_at is not None and self._orphaned_at <= now:
            self._begin(now)
        if self._release_at is not None and self._release_at <= now:
            self._release_at = None
            self._peering.release(now)
        if self._round_at is not None and self._round_at <= now:
            self._round_at = None
            self._round(now)
            self._plan(now)

    def _plan(self, now: float) -> None:
        """The next round, if there is anything to say and anybody to say it to."""
        for key in [key for key, news in self._news.items() if news.until <= now]:
            del self._news[key]
        if self._round_at is not None or not self._audience(now):
            return
        if self._news or any(self._may_tell(peer, now) for peer in self._strangers()):
            due = now
        elif self._questions and self.active:
            due = min(question.due for question in self._questions.values())
        else:
            return
        self._round_at = max(due, now) + GOSSIP_INTERVAL * (1 + _JITTER * (random_fraction(self._random) - 0.5))

    def _round(self, now: float) -> None:
        audience = self._audience(now)
        if not audience:
            return
        self._introduce(now)
        news = [(key, entry) for key in reversed(self._news) if (entry := self._entry_of(key, now)) is not None]
        asked = self._ask(now) if self.active else ()
        told: set[PublicKey | None] = set()
        if news:
            latest = self._news[news[0][0]]
            audience = [peer for peer in audience if peer.id not in latest.knowing] or audience
        for peer in self._pick(audience, GOSSIP_FANOUT):
            entries = [(key, entry) for key, entry in news if key != peer.public_key]
            count = self._send(
                peer, [entry for _, entry in entries], [key for key in asked if key != peer.public_key], now
            )
            for key, _ in entries[:count]:
                told.add(key)
                self._news[key].knowing.add(peer.id)
        for key in told:
            self._told(key)
        for key in [key for key, _ in news if key in self._news and key not in told]:
            self._news.move_to_end(key)  # the others first, next time

    def _introduce(self, now: float) -> None:
        """Our record and local addresses to peers that came up."""
        own = [self._own_entry()]
        audience = [peer for peer in self._strangers() if self._may_tell(peer, now)]
        for peer in audience[:GOSSIP_INTRODUCTIONS]:
            del self._strange_to[peer.id]
            self._send(peer, own, (), now)

    def _ask(self, now: float) -> list[PublicKey]:
        due: list[PublicKey] = []
        for key, question in list(self._questions.items()):
            peer = self._book.get(key)
            if peer is None or not self._is_wanted(peer, question, now):
                del self._questions[key]
            elif question.due <= now and len(due) < WANTED_MAX:
                due.append(key)
                question.due = now + question.pause
                question.pause = min(2 * question.pause, GOSSIP_ASK_LAST)
        self._counts.asked += len(due)
        return due

    def _is_wanted(self, peer: Peer, question: _Question, now: float) -> bool:
        if self._peering.departed.holds(peer.public_key, peer.record_version, now):
            return False
        if peer.up_since is not None:
            return (peer.seen or 0.0) < question.since
        return self._peering.keeps(peer) or self._sessions.state(peer.public_key) is not State.DOWN

    # --- parts ----------------------------------------------------------------------------------------------------

    def _told(self, key: PublicKey | None) -> None:
        self._news[key].rounds -= 1
        if self._news[key].rounds <= 0:
            del self._news[key]

    def _heat(self, key: PublicKey | None, now: float, *, first: bool) -> None:
        self._news[key] = _News(now + GOSSIP_HOT_TIME, first)
        self._news.move_to_end(key)
        if len(self._news) > GOSSIP_HOT_MAX:
            self._news.popitem(last=False)
        self._plan(now)

    def _may_tell(self, peer: Peer, now: float) -> bool:
        if peer.up_since is None or not self._speaks or not peer.capabilities & CAPABILITY_GOSSIP:
            return False
        spoke = self._counts.heard.get(peer.id)
        return self.active or (spoke is not None and now - spoke < GOSSIP_HEARD_RECENTLY)

    def _audience(self, now: float) -> list[Peer]:
        if not self.active and not self._counts.heard:
            return []  # as nearly always
        return [peer for peer in self._book if self._may_tell(peer, now)]

    def _strangers(self) -> list[Peer]:
        return [peer for peer_id in self._strange_to if (peer := self._book.by_id(peer_id)) is not None]

    def _entry_of(self, key: PublicKey | None, now: float) -> GossipEntry | None:
        if key is None:
            return self._own_entry()
        peer = self._book.get(key)
        return self._entry(peer, now) if peer is not None else None

    def _own_entry(self) -> GossipEntry:
        return GossipEntry(self._own(), tuple(pack_usable(self._local())[:ENDPOINTS_MAX]), 0)

    def _entry(self, peer: Peer, now: float) -> GossipEntry | None:
        """What we know of it at first hand."""
        if peer.up_since is None or peer.record is None or peer.path is None or peer.seen is None:
            return None
        age = max(0, int(now - peer.seen))
        places = pack_usable([peer.path])
        if age > GOSSIP_AGE_MAX or not places:
            return None
        places = list(dict.fromkeys((*places, *pack_usable(peer.hints.by(peer.public_key)))))
        return GossipEntry(peer.record.encode(), tuple(places[:ENDPOINTS_MAX]), age)

    def _send(self, peer: Peer, entries: Sequence[GossipEntry], wanted: Sequence[PublicKey], now: float) -> int:
        """In GOSSIP_FRAMES at most; how many of the entries were told."""
        told = 0
        for _ in range(GOSSIP_FRAMES):
            if told == len(entries) and not wanted:
                break
            size, part = HEAD_SIZE + WANTED_SIZE * len(wanted), []
            for entry in entries[told : told + ENTRIES_MAX]:
                size += entry_size(entry)
                if size > self._body_max:
                    break
                part.append(entry)
            if not part and not wanted:
                break
            message = GossipMessage(tuple(part), tuple(wanted), answer=not self.active)
            self._link.send(peer, ControlKind.GOSSIP, now, 0, encode_gossip(message))
            self._counts.sent += 1
            told, wanted = told + len(part), ()
        return told

    def _pick(self, peers: list[Peer], count: int) -> list[Peer]:
        for at in range(min(count, len(peers))):
            other = at + int.from_bytes(self._random(4), "little") % (len(peers) - at)
            peers[at], peers[other] = peers[other], peers[at]
        return peers[:count]

    def _unix(self, now: float) -> int:
        return self._unix_ns(now) // 10**9

    def status(self) -> GossipStatus:
        counts = self._counts
        return GossipStatus(
            active=self.active,
            sent=counts.sent,
            taken=counts.taken,
            refused=self._hearsay.refused,
            asked=counts.asked,
            recalled=counts.recalled,
            news=len(self._news) if self.active else 0,
        )
