"""Addresses that this edge asks the Nucleus for: one request for each, repeated; "no such peer" is believed a while."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

from omni_core.constants import NEGATIVE_TTL, QUEUE_DESTINATIONS
from omni_core.drops import DropCounters, DropReason
from omni_core.signaling.book import PeerBook, is_address_of
from omni_core.signaling.client_events import QueryAnswered
from omni_core.signaling.messages import PeerEntry, PeerInfo, QueryPeer, Status
from omni_core.signaling.requests import Requests

_ATTEMPTS = 3  # 1 + 2 + 4 s: about as long as a frame waits (QUEUE_TIME)


class Queries:
    """Drain ``take_messages`` and ``take_answers`` after every call."""

    def __init__(self, book: PeerBook, drops: DropCounters, fraction: Callable[[], float]) -> None:
        self._book = book
        self._drops = drops
        self._requests: Requests[bytes] = Requests(fraction)
        self._open: OrderedDict[bytes, int] = OrderedDict()  # address -> request number, oldest first
        self._absent: OrderedDict[bytes, float] = OrderedDict()  # address -> believed until, ascending
        self._messages: list[QueryPeer] = []
        self._answers: list[tuple[bytes, PeerEntry | None]] = []

    def ask(self, address: bytes, now: float) -> None:
        """No effect while the same question is open. Above QUEUE_DESTINATIONS the oldest question is given up."""
        if address in self._open:
            return
        believed_until = self._absent.get(address)
        if believed_until is not None and now < believed_until:
            self._answers.append((address, None))
            return
        if len(self._open) >= QUEUE_DESTINATIONS:
            oldest, number = self._open.popitem(last=False)
            self._requests.close(number)
            self._answers.append((oldest, None))
        request = self._requests.open(address, _ATTEMPTS, now)
        self._open[address] = request.number
        self._messages.append(QueryPeer(request.number, address))

    def ask_again(self) -> None:
        """Send every open question now: the way to the Nucleus is open again."""
        self._messages = [QueryPeer(number, address) for address, number in self._open.items()]

    def on_answer(self, info: PeerInfo, now: float) -> None:
        """PEER_INFO with OK or NOT_FOUND. Late and unasked ones are ignored."""
        if self._open.get(info.address) != info.request:
            return
        del self._open[info.address]
        self._requests.close(info.request)
        self._answers.append((info.address, info.peer))
        if info.status is Status.NOT_FOUND:
            self._absent[info.address] = now + NEGATIVE_TTL
            self._absent.move_to_end(info.address)
            if len(self._absent) > QUEUE_DESTINATIONS:
                self._absent.popitem(last=False)

    def handle_timer(self, now: float) -> None:
        for request, again in self._requests.due(now):
            if again:
                self._messages.append(QueryPeer(request.number, request.subject))
            else:
                del self._open[request.subject]
                self._answers.append((request.subject, None))

    def next_timer(self) -> float | None:
        return self._requests.next_timer()

    def take_open(self) -> list[bytes]:
        """The addresses that are asked for; forgets everything, without answers."""
        addresses = list(self._open)
        self.clear()
        return addresses

    def clear(self) -> None:
        """Forget everything, without answers."""
        self._requests.clear()
        self._open.clear()
        self._absent.clear()
        self._messages, self._answers = [], []

    def take_messages(self) -> list[QueryPeer]:
        messages, self._messages = self._messages, []
        return messages

    def take_answers(self) -> list[QueryAnswered]:
        answers, self._answers = self._answers, []
        return [self._event(address, entry) for address, entry in answers]

    def _event(self, address: bytes, entry: PeerEntry | None) -> QueryAnswered:
        asked = ipaddress.ip_address(address) if len(address) in (4, 16) else address
        peer = self._book.peer(entry) if entry else None
        if peer is None:
            return QueryAnswered(asked, None)
        if not is_address_of(address, peer[0]):
            self._drops.add(DropReason.BAD_RECORD)
            return QueryAnswered(asked, None)
        return QueryAnswered(asked, *peer)
