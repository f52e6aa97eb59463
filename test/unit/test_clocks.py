"""The offset of a peer's clock, from pings, by numbered rules."""

from __future__ import annotations

import random

from omni_core.engines.clocks import DRIFT, SAMPLE_AGE, SAMPLES, PeerClock
from omni_core.wire.inband import PingTimes

EPOCH = 1_700_000_000 * 10**9
MS = 1_000_000


def ping(clock: PeerClock, now: float, offset: int, there: int, back: int, ours: int = 0, echo: int = 0) -> None:
    """One exchange; all in ns. ``offset``: of the peer's clock; ``ours``: somebody has set ours by so much."""
    t1 = EPOCH + int(now * 1e9) + ours
    clock.sent = t1
    t2 = t1 + there + offset - ours
    t3 = t2 + MS
    t4 = t1 + there + MS + back
    clock.answered(PingTimes(t1 + echo, t2, t3), t4, now)


def test_1_symmetric_way() -> None:
    clock = PeerClock()
    assert clock.offset(0.0) is None
    ping(clock, 1.0, 40 * MS, 5 * MS, 5 * MS)
    assert clock.offset(1.0) == (0.040, 0.005)


def test_2_the_shortest_way_counts(seed: int) -> None:
    draw, clock = random.Random(seed), PeerClock()
    for n in range(SAMPLES):
        queue = 0 if n == 3 else draw.randrange(10 * MS, 50 * MS)
        ping(clock, float(n), -7 * MS, MS + queue, MS)
    assert clock.offset(SAMPLES) == (-0.007, 0.001)


def test_3_the_true_offset_is_within_the_error(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(300):
        clock, offset = PeerClock(), draw.randrange(-(10**10), 10**10)
        for n in range(10):
            ping(clock, float(n), offset, draw.randrange(100 * MS), draw.randrange(100 * MS))
        found = clock.offset(10.0)
        assert found is not None and abs(found[0] - offset / 1e9) <= found[1] + 1e-8


def test_4_old_samples_are_forgotten() -> None:
    clock = PeerClock()
    ping(clock, 0.0, 0, MS, MS)
    ping(clock, SAMPLE_AGE, 20 * MS, 40 * MS, 40 * MS)  # drift hides behind the longer way
    assert clock.offset(SAMPLE_AGE) == (0.0, 0.001)
    assert clock.offset(SAMPLE_AGE + 0.1) == (0.020, 0.040)
    assert clock.offset(2 * SAMPLE_AGE + 1) is None


def test_5_an_old_sample_loses_by_drift() -> None:
    clock = PeerClock()
    ping(clock, 0.0, 0, 10 * MS, 10 * MS)
    ping(clock, 200.0, 15 * MS, 12 * MS, 12 * MS)
    assert DRIFT * 200 > 0.002 and clock.offset(200.0) == (0.015, 0.012)


def test_6_a_clock_that_is_set_ends_what_was_known() -> None:
    for offset, ours in ((5 * 10**9, 0), (0, 5 * 10**9)):
        clock = PeerClock()
        ping(clock, 0.0, 0, MS, MS)
        ping(clock, 25.0, offset, 40 * MS, 40 * MS, ours)
        found = clock.offset(25.0)
        assert found == ((offset - ours) / 1e9, 0.040)


def test_7_answers_that_make_no_sense() -> None:
    clock = PeerClock()
    ping(clock, 0.0, 0, MS, MS, echo=1)  # of another ping
    clock.sent = EPOCH
    clock.answered(PingTimes(), EPOCH + MS, 0.0)  # an older peer
    clock.answered(PingTimes(EPOCH, EPOCH + 2, EPOCH + 1), EPOCH + MS, 0.0)  # it answered before it was asked
    clock.answered(PingTimes(EPOCH, EPOCH, EPOCH + 9 * MS), EPOCH + MS, 0.0)  # it took longer than all of it
    assert clock.offset(0.0) is None
    clock.answered(PingTimes(EPOCH, EPOCH, EPOCH), EPOCH + MS, 0.0)
    clock.answered(PingTimes(EPOCH, 2**63, 2**63), EPOCH + MS, 0.0)  # each ping is answered once
    assert clock.offset(0.0) is not None and abs(clock.offset(0.0)[0]) < 0.001  # type: ignore[index]
