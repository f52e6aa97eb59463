"""What a Nucleus tells an edge of the others, as events: changes, hints, and answers to what was asked."""

from __future__ import annotations

from collections.abc import Callable

from omni_core.drops import DropCounters
from omni_core.signaling.book import PeerBook
from omni_core.signaling.client_events import ClientEvent, PeerJoined, PeerLeft, Punch
from omni_core.signaling.messages import ConnectHint, Delta, PeerInfo, QueryPeer
from omni_core.signaling.queries import Queries
from omni_core.signaling.roster import Roster


class ClusterNews:
    """``patience``: s after which a peer that nobody tells of again has departed."""

    def __init__(
        self,
        book: PeerBook,
        roster: Roster,
        drops: DropCounters,
        *,
        fraction: Callable[[], float],
        emit: Callable[[ClientEvent], None],
    ) -> None:
        self.size = 0  # of the cluster
        self._book = book
        self._roster = roster
        self._queries = Queries(book, drops, fraction)
        self._emit = emit

    # --- changes --------------------------------------------------------------------------------------------------

    def apply(self, delta: Delta, patience: float, now: float) -> None:
        self.size = delta.size
        if self._roster.take(delta):
            for peer in [self._book.peer(entry) for entry in delta.joins]:
                if peer is not None:
                    self._roster.joined(peer[0].public_key)
                    self._emit(PeerJoined(*peer))
            for key in delta.leaves:
                if key != self._book.own.public_key:
                    self._roster.left(key)
                    self._emit(PeerLeft(key))
        self._roster.settle(delta, now, patience)

    def take_departures(self, now: float) -> None:
        """While registered: without a Nucleus nobody could tell of them again."""
        for key in self._roster.departed(now):
            self._emit(PeerLeft(key))

    def hinted(self, hint: ConnectHint) -> None:
        peer = self._book.peer(hint.peer)
        if peer is not None:
            self._roster.found(peer[0].public_key)
            self._emit(Punch(*peer))

    # --- questions ------------------------------------------------------------------------------------------------

    def ask(self, address: bytes, now: float) -> None:
        self._queries.ask(address, now)

    def ask_again(self) -> None:
        self._queries.ask_again()

    def answered(self, info: PeerInfo, now: float) -> None:
        self._queries.on_answer(info, now)

    def take_questions(self) -> list[QueryPeer]:
        """To be sent now. Answers become events."""
        for answer in self._queries.take_answers():
            if answer.record is not None:
                self._roster.found(answer.record.public_key)
            self._emit(answer)
        return self._queries.take_messages()

    def take_open(self) -> list[bytes]:
        return self._queries.take_open()

    def clear(self) -> None:
        self._queries.clear()

    def next_timer(self) -> float | None:
        return self._queries.next_timer()

    def handle_timer(self, now: float) -> None:
        self._queries.handle_timer(now)
