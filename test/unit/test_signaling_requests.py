"""Requests of a Nucleus client: how they are repeated and given up; questions for addresses."""

from __future__ import annotations

import ipaddress
import random

import pytest

from omni_core.constants import NEGATIVE_TTL, QUEUE_DESTINATIONS, REQUEST_RETRY, REQUEST_RETRY_MAX
from omni_core.crypto.identity import Identity
from omni_core.crypto.record import signed
from omni_core.drops import DropCounters, DropReason
from omni_core.errors import RemoteViolation
from omni_core.signaling.book import PeerBook
from omni_core.signaling.client_events import QueryAnswered
from omni_core.signaling.cursor import ChangeCursor
from omni_core.signaling.messages import Delta, PeerEntry, PeerInfo, QueryPeer, Status
from omni_core.signaling.queries import Queries
from omni_core.signaling.requests import Requests

OWN = Identity.from_seed(b"o" * 32)
PEER = Identity.from_seed(b"p" * 32)
AT = (bytes([10, 0, 0, 1, 0, 1]),)
A = bytes([10, 77, 0, 1])
B = bytes([10, 77, 0, 2])


def entry_of(
    identity: Identity = PEER, *, cluster: str = "fleet", version: int = 1, vip4: str = "10.77.0.1/24"
) -> PeerEntry:
    return PeerEntry(signed(identity, cluster, version=version, vip4=vip4), AT)


def test_pauses_double_up_to_the_largest_then_it_is_given_up() -> None:
    requests: Requests[str] = Requests(lambda: 0.0)
    request = requests.open("x", 6, 100.0)
    due: list[tuple[float, bool]] = []
    while (when := requests.next_timer()) is not None:
        due += [(when - 100.0, again) for _, again in requests.due(when)]
    assert due == [(1, True), (3, True), (7, True), (15, True), (23, True), (31, False)]
    assert REQUEST_RETRY == 1 and REQUEST_RETRY_MAX == 8
    assert requests.subject(request.number) is None and not requests


def test_jitter_lengthens_a_pause() -> None:
    requests: Requests[str] = Requests(lambda: 0.999)
    requests.open("x", 2, 100.0)
    assert 101.19 < (requests.next_timer() or 0) < 101.2


def test_closed_requests_are_not_repeated() -> None:
    requests: Requests[str] = Requests(lambda: 0.0)
    one, two = requests.open("one", 3, 0.0), requests.open("two", 3, 0.0)
    assert (one.number, two.number) == (1, 2)
    requests.close(one.number)
    requests.close(77)
    assert [(r.subject, again) for r, again in requests.due(1.0)] == [("two", True)]
    requests.clear()
    assert requests.next_timer() is None and len(requests) == 0


class TestQueries:
    @pytest.fixture(autouse=True)
    def _queries(self) -> None:
        self.drops = DropCounters()
        book = PeerBook(signed(OWN, "fleet", version=1), self.drops)
        self.queries = Queries(book, self.drops, lambda: 0.0)

    def answer(
        self, request: int, entry: PeerEntry | None, now: float = 0.0, address: bytes = A
    ) -> list[QueryAnswered]:
        status = Status.OK if entry else Status.NOT_FOUND
        self.queries.on_answer(PeerInfo(request, status, address, entry), now)
        return self.queries.take_answers()

    def test_asked_once_and_answered(self) -> None:
        self.queries.ask(A, 0.0)
        self.queries.ask(A, 0.1)
        assert self.queries.take_messages() == [QueryPeer(1, A)]
        (answer,) = self.answer(1, entry_of())
        assert answer.address == ipaddress.ip_address("10.77.0.1")
        assert answer.record is not None and answer.record.public_key == PEER.public_key
        assert answer.endpoints == (("10.0.0.1", 256),)
        assert self.answer(1, entry_of()) == [] and self.queries.next_timer() is None

    def test_no_such_peer_is_believed_for_a_while(self) -> None:
        self.queries.ask(A, 0.0)
        self.queries.take_messages()
        assert [a.record for a in self.answer(1, None, now=0.0)] == [None]
        self.queries.ask(A, NEGATIVE_TTL - 0.1)
        assert self.queries.take_messages() == []
        assert [a.record for a in self.queries.take_answers()] == [None]
        self.queries.ask(A, NEGATIVE_TTL)
        assert self.queries.take_messages() == [QueryPeer(2, A)]

    def test_repeated_then_given_up_without_belief(self) -> None:
        self.queries.ask(A, 0.0)
        self.queries.take_messages()
        sent = []
        while (when := self.queries.next_timer()) is not None:
            self.queries.handle_timer(when)
            sent += [(when, m) for m in self.queries.take_messages()]
        assert sent == [(1.0, QueryPeer(1, A)), (3.0, QueryPeer(1, A))]
        assert self.queries.take_answers() == [QueryAnswered(ipaddress.ip_address("10.77.0.1"), None)]
        self.queries.ask(A, 7.5)
        assert self.queries.take_messages() == [QueryPeer(2, A)]

    @pytest.mark.parametrize(("request_number", "address"), [(2, A), (0, A), (1, B)])
    def test_an_answer_that_was_not_asked_for(self, request_number: int, address: bytes) -> None:
        self.queries.ask(A, 0.0)
        assert self.answer(request_number, entry_of(), address=address) == []
        assert len(self.answer(1, entry_of())) == 1

    def test_an_answer_about_somebody_else(self) -> None:
        self.queries.ask(A, 0.0)
        (answer,) = self.answer(1, entry_of(vip4="10.77.0.9/24"))
        assert answer.record is None and self.drops[DropReason.BAD_RECORD] == 1

    def test_by_mac_and_key(self) -> None:
        for number, address in ((1, PEER.mac), (2, PEER.public_key), (3, PEER.vip6.packed)):
            self.queries.ask(address, 0.0)
            (answer,) = self.answer(number, entry_of(), address=address)
            assert answer.record is not None
            assert answer.address == (PEER.vip6 if number == 3 else address)

    def test_too_many_questions(self) -> None:
        for n in range(QUEUE_DESTINATIONS + 3):
            self.queries.ask(n.to_bytes(6, "big"), 0.0)
        assert [a.address for a in self.queries.take_answers()] == [n.to_bytes(6, "big") for n in range(3)]
        self.queries.take_messages()
        self.queries.handle_timer(1.0)
        assert len(self.queries.take_messages()) == QUEUE_DESTINATIONS

    def test_asked_again_when_the_way_is_open(self) -> None:
        self.queries.ask(A, 0.0)
        self.queries.ask(B, 0.0)
        self.queries.take_messages()
        self.queries.ask_again()
        assert self.queries.take_messages() == [QueryPeer(1, A), QueryPeer(2, B)]


class TestBook:
    @pytest.fixture(autouse=True)
    def _book(self) -> None:
        self.drops = DropCounters()
        self.own = signed(OWN, "fleet", version=1)
        self.book = PeerBook(self.own, self.drops)

    def test_identical_bytes_are_verified_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        entry = entry_of()
        record = self.book.open(entry.record)
        monkeypatch.setattr("omni_core.signaling.book.open_record", lambda _: pytest.fail("verified again"))
        assert self.book.open(bytes(bytearray(entry.record))) is record

    def test_ourselves(self) -> None:
        assert self.book.peer(PeerEntry(self.own, AT)) is None
        assert self.book.peer(PeerEntry(signed(OWN, "fleet", version=9), AT)) is None
        assert self.drops.total == 0

    def test_no_way_back(self) -> None:
        """Also with the old record's signature in order: what a Nucleus could do that kept it."""
        assert self.book.peer(entry_of(version=5)) is not None
        assert self.book.peer(entry_of(version=4)) is None
        assert self.book.peer(entry_of(version=5, vip4="10.77.0.3/24")) is None
        assert self.drops[DropReason.STALE_RECORD] == 2
        assert self.book.peer(entry_of(version=5)) is not None and self.book.peer(entry_of(version=6)) is not None
        assert self.book.peer(entry_of(version=5)) is None, "not from the cache either"

    def test_not_genuine(self) -> None:
        forged = bytearray(entry_of().record)
        forged[-1] ^= 1
        for entry in (PeerEntry(bytes(forged), AT), entry_of(cluster="other"), PeerEntry(b"x", AT)):
            assert self.book.peer(entry) is None
        assert self.drops[DropReason.BAD_RECORD] == 3

    def test_bounded(self, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
        monkeypatch.setattr("omni_core.signaling.book._REMEMBERED", 3)
        rng = random.Random(seed)
        entries = [entry_of(Identity.generate(rng.randbytes)) for _ in range(5)]
        for entry in entries:
            self.book.open(entry.record)
        assert len(self.book._newest) == len(self.book._verified) == 3
        with pytest.raises(RemoteViolation):
            self.book.open(entries[4].record[:-1])


@pytest.mark.parametrize(
    ("delta", "applied", "behind", "seen"),
    [
        (Delta(5, 9, 1), True, False, 9),
        (Delta(5, 9, 1, more=True), True, True, 9),
        (Delta(3, 9, 1), True, False, 9),  # overlaps: told again, and something new
        (Delta(6, 9, 1), False, True, 5),  # a gap
        (Delta(3, 4, 1), False, False, 5),  # late
        (Delta(3, 4, 1, more=True), False, False, 5),  # late: what it promised has come by now
        (Delta(5, 5, 1), False, False, 5),  # nothing new
        (Delta(3, 5, 1, more=True), False, True, 5),  # a push overtook the answer, and there is more
    ],
)
def test_cursor(delta: Delta, applied: bool, behind: bool, seen: int) -> None:
    cursor = ChangeCursor()
    cursor.restart(7, 5)
    assert (cursor.take(delta), cursor.behind, cursor.seen) == (applied, behind, seen)


def test_cursor_stays_behind_until_what_was_missed_has_come() -> None:
    cursor = ChangeCursor()
    cursor.restart(7, 5)
    assert not cursor.take(Delta(6, 9, 1))
    assert not cursor.take(Delta(2, 4, 1)) and cursor.behind
    assert cursor.take(Delta(5, 7, 1, more=True)) and cursor.behind
    assert cursor.take(Delta(7, 9, 1)) and not cursor.behind


def test_cursor_goes_back_for_joins_that_were_left_out() -> None:
    cursor = ChangeCursor()
    cursor.restart(7, 5)
    assert cursor.take(Delta(5, 9, 200, omitted=True)) and not cursor.behind
    assert cursor.take(Delta(9, 12, 200, omitted=True)) and not cursor.behind
    assert cursor.take(Delta(12, 13, 100)) and cursor.behind
    assert cursor.seen == 5
    assert cursor.take(Delta(5, 13, 100)) and cursor.seen == 13 and not cursor.behind
