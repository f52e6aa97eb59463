"""100,000 data packets of each hostile kind: no exception, no change of state, nothing sent, all counted by reason.

The attacker sees all traffic, can cut, change, repeat, delay and invent packets and send them from anywhere.
He has no key.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

import pytest
from support.planes import AT_A, MAC_A, MAC_B, Pair, digest, frame

from omni_core.constants import (
    DATA_OVERHEAD,
    HEADER_SIZE,
    MAX_FRAME,
    REJECT_AFTER_MESSAGES,
    REPLAY_WINDOW,
    SEQUENCE_MASK,
    TAG_SIZE,
)
from omni_core.drops import DropReason
from omni_core.errors import RemoteViolation
from omni_core.types import Endpoint
from omni_core.wire.header import decode_header, encode_header

COUNT = 100_000
BATCH = 500
KNOWN = 1000  # authentic packets that B has had before
ATTACKER = Endpoint("203.0.113.66", 666)


class Target:
    """A pair whose B has had KNOWN packets; ``fresh`` are KNOWN more that it has not had."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.pair = Pair(draw)
        frames = [frame(MAC_B, MAC_A, size=draw.choice((14, 60, 64, 200))) for _ in range(2 * KNOWN)]
        packets = self.pair.sealed_by_a(frames)
        self.had, self.fresh, self.fresh_frames = packets[:KNOWN], packets[KNOWN:], frames[KNOWN:]
        assert len(self.pair.into_b(self.had)) == KNOWN
        self.pair.b.take_events()

    def expected(self, packet: bytes) -> DropReason:
        """Why a packet that is not authentic, or is not fresh, is dropped: written down once more, the slow way."""
        try:
            header = decode_header(packet)
        except RemoteViolation as violation:
            return violation.reason
        if header.stream > 1:
            return DropReason.BAD_NONCE
        if header.session_id != self.pair.keys_b.receive_id:
            return DropReason.UNKNOWN_SESSION
        if header.sequence >= REJECT_AFTER_MESSAGES:
            return DropReason.SESSION_EXPIRED
        if header.stream == 0 and header.sequence < KNOWN:
            return DropReason.REPLAYED
        return DropReason.BAD_TAG

    def attack(self, packets: Iterable[bytes]) -> Counter[DropReason]:
        """All of them are dropped for the expected reasons, and that is all that happens. Returns the counts."""
        plane, now = self.pair.b, self.pair.now
        plane.take_events()
        before, counted_before = digest(plane), Counter(plane.drops())
        expected: Counter[DropReason] = Counter()
        batch: list[tuple[bytes, tuple[str, int]]] = []
        for packet in packets:
            expected[self.expected(packet)] += 1
            batch.append((packet, ATTACKER if self.draw.random() < 0.5 else AT_A))
            if len(batch) == BATCH:
                plane.datagrams_from_underlay(batch, now)
                batch = []
        plane.datagrams_from_underlay(batch, now)
        assert plane.take_datagrams() == plane.take_frames() == plane.take_events() == []
        assert digest(plane) == before
        counted = Counter(plane.drops())
        counted.subtract(counted_before)
        assert +counted == +expected
        assert expected.total() == COUNT
        return expected

    def still_works(self) -> None:
        assert self.pair.into_b(self.fresh) == self.fresh_frames


@pytest.fixture
def target(seed: int) -> Target:
    return Target(random.Random(seed))


def test_truncated(target: Target) -> None:
    draw, fresh = target.draw, target.fresh
    counts = target.attack(p[: draw.randrange(len(p))] for p in (draw.choice(fresh) for _ in range(COUNT)))
    assert set(counts) == {DropReason.TOO_SHORT, DropReason.BAD_TAG}
    target.still_works()


def test_oversized(target: Target) -> None:
    draw, fresh = target.draw, target.fresh
    tail = draw.randbytes(DATA_OVERHEAD + 2 * MAX_FRAME)
    sizes = (1, 2, 16, 100, MAX_FRAME, 2 * MAX_FRAME)
    counts = target.attack(draw.choice(fresh) + tail[: draw.randint(1, draw.choice(sizes))] for _ in range(COUNT))
    assert set(counts) == {DropReason.TOO_LONG, DropReason.BAD_TAG}
    target.still_works()


def test_random(target: Target) -> None:
    """A third noise; the rest random as far as each next check lets them come."""
    draw, session_id = target.draw, target.pair.keys_b.receive_id

    def packets() -> Iterable[bytes]:
        for _ in range(COUNT):
            if draw.random() < 0.33:
                yield draw.randbytes(draw.randrange(200))
                continue
            identity = session_id if draw.random() < 0.8 else draw.getrandbits(64)
            sequence = draw.getrandbits(draw.choice((4, 10, 14, 40, 64))) & SEQUENCE_MASK
            if draw.random() < 0.1:
                sequence = REJECT_AFTER_MESSAGES + draw.randrange(-2, 3)
            lane = draw.choice((0, 0, 1, 0x40, draw.randrange(256)))
            header = encode_header(identity, sequence, lane << 56 | sequence)
            yield header + draw.randbytes(draw.randrange(10, 80))

    counts = target.attack(packets())
    assert set(counts) == {
        DropReason.TOO_SHORT,
        DropReason.UNKNOWN_TYPE,
        DropReason.BAD_NONCE,
        DropReason.UNKNOWN_SESSION,
        DropReason.SESSION_EXPIRED,
        DropReason.REPLAYED,
        DropReason.BAD_TAG,
    }
    target.still_works()


def test_replayed(target: Target) -> None:
    counts = target.attack(target.draw.choice(target.had) for _ in range(COUNT))
    assert counts == {DropReason.REPLAYED: COUNT}
    target.still_works()


def test_bit_flipped(target: Target) -> None:
    """One bit anywhere: session id, sequence, nonce, ciphertext or tag."""
    draw, fresh = target.draw, target.fresh

    def packets() -> Iterable[bytes]:
        for _ in range(COUNT):
            packet = bytearray(draw.choice(fresh))
            where = draw.choice((HEADER_SIZE, len(packet), TAG_SIZE))  # the header, anywhere, the tag
            at = draw.randrange(where) if where != TAG_SIZE else len(packet) - 1 - draw.randrange(TAG_SIZE)
            packet[at] ^= 1 << draw.randrange(8)
            yield bytes(packet)

    counts = target.attack(packets())
    assert {DropReason.UNKNOWN_SESSION, DropReason.BAD_NONCE, DropReason.BAD_TAG} <= set(counts)
    target.still_works()


def test_spliced(target: Target) -> None:
    """The header of one authentic packet on the body of another."""
    draw, fresh = target.draw, target.fresh

    def packets() -> Iterable[bytes]:
        for _ in range(COUNT):
            head, body = draw.sample(fresh, 2)
            yield head[:HEADER_SIZE] + body[HEADER_SIZE:]

    assert target.attack(packets()) == {DropReason.BAD_TAG: COUNT}
    target.still_works()


def test_reordered(seed: int) -> None:
    """100,000 packets out of order: within the window each is delivered once; behind it, or a second time, none is."""
    draw = random.Random(seed)
    pair = Pair(draw)
    frames = [frame(MAC_B, MAC_A, size=60) + n.to_bytes(4, "big") for n in range(COUNT)]
    packets = pair.sealed_by_a(frames)
    held_back = set(draw.sample(range(COUNT - 3 * REPLAY_WINDOW), 2000))  # arrive when all the others have
    delay = REPLAY_WINDOW - 1
    order = sorted((n for n in range(COUNT) if n not in held_back), key=lambda n: n + draw.randrange(delay))
    delivered: list[bytes] = []
    for start in range(0, len(order), BATCH):
        delivered += pair.into_b([packets[n] for n in order[start : start + BATCH]])
    assert delivered == [frames[n] for n in order]
    assert pair.b.drops() == {}
    pair.b.take_events()
    before = digest(pair.b)
    assert pair.into_b([packets[n] for n in held_back], ATTACKER) == []
    draw.shuffle(packets)
    assert pair.into_b(packets, ATTACKER) == []
    assert pair.b.drops() == {DropReason.REPLAYED: 2000 + COUNT}
    assert pair.b.take_events() == []
    assert digest(pair.b) == before
