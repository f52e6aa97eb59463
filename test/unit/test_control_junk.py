"""100,000 hostile control messages of each kind, seeded: nothing escapes, nothing changes, all are counted, nobody is
answered who did not prove that he knows our public key.
"""

from __future__ import annotations

import random

import pytest
from support.session_pair import Pair

from omni_core.crypto.cookies import mac1
from omni_core.drops import DropReason
from omni_core.types import Endpoint
from omni_core.wire.control import COOKIE_REPLY_SIZE, INITIATION_SIZE, MAC_SIZE, RESPONSE_SIZE, ControlType

N = 100_000
SOURCE = Endpoint("192.0.2.1", 4242)
SIZES = (INITIATION_SIZE, RESPONSE_SIZE, COOKIE_REPLY_SIZE)


class Target:
    """An edge with a session, and with an initiation of its own in flight."""

    def __init__(self, seed: int) -> None:
        self.pair = pair = Pair(seed)
        self.rng = random.Random(seed)
        pair.connect(pair.a)
        pair.pump()
        self.messages = [datagram for _, datagram in pair.sent]
        pair.a.sessions.rekey(pair.b.key, pair.now)
        self.in_flight = pair.a.sessions.take_datagrams()[0][0]
        self.sides = (pair.a, pair.b)
        self.before = self.digest()

    def digest(self) -> list[object]:
        pair = self.pair
        return [
            (
                side.sessions.state(pair.other(side).key),
                [(k.receive_id, bytes(k.send_key)) for k in side.sessions.keypairs(pair.other(side).key)],
                side.sessions.endpoint(pair.other(side).key),
                side.sessions.next_timer(),
                len(side.sessions),
                side.sending,
            )
            for side in self.sides
        ]

    def feed(self, packet: bytes) -> None:
        for side in self.sides:
            side.sessions.receive(packet, SOURCE, self.pair.now)

    def check(self, fed: int, reasons: set[DropReason]) -> None:
        for side in self.sides:
            assert side.sessions.take_datagrams() == [], "an answer"
            assert side.sessions.take_events() == []
            counted = side.sessions.drops.as_dict()
            assert sum(counted.values()) == fed, counted
            assert set(counted) <= reasons, counted
        assert self.digest() == self.before
        # What was in flight still completes.
        self.pair.b.sessions.receive(self.in_flight, self.pair.a.endpoint, self.pair.now)
        self.pair.pump()
        self.pair.assert_joined()


@pytest.fixture
def target(seed: int) -> Target:
    return Target(seed)


LENGTH_OR_TYPE = {DropReason.TOO_SHORT, DropReason.TOO_LONG, DropReason.UNKNOWN_TYPE, DropReason.BAD_VERSION}
FORGED = {DropReason.BAD_MAC1, DropReason.UNKNOWN_INDEX, DropReason.BAD_COOKIE}


def test_truncated(target: Target) -> None:
    for _ in range(N):
        message = target.rng.choice(target.messages)
        target.feed(message[: target.rng.randrange(len(message))])
    target.check(N, LENGTH_OR_TYPE)


def test_oversized(target: Target) -> None:
    junk = target.rng.randbytes(2000)
    for _ in range(N):
        target.feed(target.rng.choice(target.messages) + junk[: target.rng.randrange(1, 2000)])
    target.check(N, LENGTH_OR_TYPE)


def test_random(target: Target) -> None:
    rng = target.rng
    for _ in range(N):
        size = rng.choice((*SIZES, rng.randrange(1500)))
        packet = bytearray(rng.randbytes(size))
        if packet and rng.random() < 0.8:
            packet[:4] = bytes([rng.randrange(5), 1, 0, 0])[: len(packet)]
        target.feed(bytes(packet))
    target.check(N, LENGTH_OR_TYPE | FORGED)


def test_bit_flipped(target: Target) -> None:
    for _ in range(N):
        packet = bytearray(target.rng.choice([*target.messages, target.in_flight]))
        bit = target.rng.randrange(8 * (len(packet) - MAC_SIZE))  # mac2 means nothing while there is no load
        packet[bit // 8] ^= 1 << bit % 8
        target.feed(bytes(packet))
    target.check(N, LENGTH_OR_TYPE | FORGED)


def test_replayed_responses(target: Target) -> None:
    for _ in range(N):
        target.feed(target.messages[1])
    target.check(N, FORGED)


def test_replayed_initiations_cost_little_once_they_are_many(target: Target) -> None:
    """An initiation that was sent before does prove knowledge of our key: under load it may be answered by a cookie
    reply, to its source, and by nothing else; no state changes."""
    b = target.pair.b
    for _ in range(N):
        b.sessions.receive(target.messages[0], SOURCE, target.pair.now)
    counted = b.sessions.drops.as_dict()
    assert set(counted) == {DropReason.HANDSHAKE_REPLAYED, DropReason.BAD_MAC2} and sum(counted.values()) == N
    assert counted[DropReason.HANDSHAKE_REPLAYED] <= 300, "the costly check is rate-limited"
    answers = b.sessions.take_datagrams()
    assert len(answers) == counted[DropReason.BAD_MAC2]
    assert {(d[0], len(d), e) for d, e in answers} == {(ControlType.COOKIE_REPLY, COOKIE_REPLY_SIZE, SOURCE)}
    assert b.sessions.take_events() == [] and target.digest() == target.before


def test_forgers_who_know_our_key_get_nothing(target: Target) -> None:
    """mac1 is right, what Noise protects is not. 2,000, as each costs a Diffie-Hellman operation; the clock moves, so
    no load."""
    pair, rng = target.pair, target.rng
    for n in range(2000):
        original = target.messages[0] if n % 2 else target.messages[1]
        side = pair.b if n % 2 else pair.a
        packet = bytearray(original[: -2 * MAC_SIZE])
        if n % 2 == 0:
            packet[8:12] = target.in_flight[4:8]  # aim at the initiation in flight
        bit = rng.randrange(8 * 12, 8 * len(packet))
        packet[bit // 8] ^= 1 << bit % 8
        packet += mac1(side.identity.exchange_public, bytes(packet)) + bytes(MAC_SIZE)
        pair.now += 0.01
        side.sessions.receive(bytes(packet), SOURCE, pair.now)
    for side in target.sides:
        assert side.sessions.take_datagrams() == [] and side.sessions.take_events() == []
        assert side.sessions.drops.as_dict() == {DropReason.HANDSHAKE_FORGED: 1000}
    assert target.digest() == target.before
