"""The clock never goes back: not within a run, not over restarts, crashes and wall clocks that jump."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from omni_core.io import clock
from omni_core.io.clock import RESERVE_NS, UnixClock

SECOND = 10**9


@pytest.fixture
def wall(monkeypatch):
    """A wall clock that the test moves."""

    class Wall:
        ns = 1_700_000_000 * SECOND

    monkeypatch.setattr(clock.time, "time_ns", lambda: Wall.ns)
    return Wall


@pytest.fixture
def mark(tmp_path):
    return str(tmp_path / "key.clock")


def test_follows_the_wall_clock(wall, mark):
    unix = UnixClock(mark, 5.0)
    assert unix(5.0) == wall.ns
    wall.ns += 3 * SECOND
    assert unix(8.0) == wall.ns


def test_strictly_increases_while_time_stands_still(wall, mark):
    unix = UnixClock(mark, 5.0)
    values = [unix(5.0) for _ in range(100)]
    assert values == sorted(set(values))


def test_goes_on_when_the_wall_clock_is_set_back(wall, mark):
    unix = UnixClock(mark, 0.0)
    first = unix(0.0)
    wall.ns -= 3600 * SECOND
    assert unix(2.0) == first + 2 * SECOND


def test_a_crash_and_a_boot_in_1970_do_not_go_back(wall, mark):
    unix = UnixClock(mark, 0.0)
    last = max(unix(t) for t in (0.0, 10.0, 100.0))
    wall.ns = 60 * SECOND  # no close(): the process was killed
    restarted = UnixClock(mark, 0.0)
    assert last < restarted(0.0) <= last + RESERVE_NS + SECOND


def test_an_orderly_end_does_not_run_ahead(wall, mark):
    for _ in range(50):
        unix = UnixClock(mark, 0.0)
        unix(0.0)
        unix.close()
    assert UnixClock(mark, 0.0)(0.0) - wall.ns < 1000


def test_random_lives(wall, mark, seed):
    rng = random.Random(seed)
    last, now = 0, 0.0
    unix = UnixClock(mark, now)
    for _ in range(2000):
        what = rng.random()
        if what < 0.05:
            if rng.random() < 0.5:
                unix.close()
            now = rng.uniform(0, 100)  # another boot
            unix = UnixClock(mark, now)
        elif what < 0.1:
            wall.ns = max(0, wall.ns + rng.randint(-(10**6), 10**6) * SECOND)
        elif what < 0.15:
            unix.extend(now)
        else:
            step = rng.uniform(0, 300)
            now += step
            wall.ns += int(step * SECOND)
        value = unix(now)
        assert value > last
        last = value


def test_extend_moves_the_mark_before_it_is_needed(wall, mark):
    unix = UnixClock(mark, 0.0)
    unix(0.0)
    before = Path(mark).read_text()
    unix.extend(1.0)
    assert Path(mark).read_text() == before
    unix.extend(400.0)
    after = Path(mark).read_text()
    assert int(after) > int(before)
    unix(500.0)
    assert Path(mark).read_text() == after  # no write on the event loop


@pytest.mark.parametrize("content", ["", "soon\n", "-5\n", "9" * 30, "\xff\xff"])
def test_a_damaged_mark_is_reported_and_ignored(wall, mark, content, caplog):
    with open(mark, "w", encoding="latin-1") as file:
        file.write(content)
    assert UnixClock(mark, 0.0)(0.0) == wall.ns
    assert "is ignored" in caplog.text


def test_a_place_that_cannot_be_written_is_reported_once(wall, tmp_path, caplog):
    unix = UnixClock(str(tmp_path / "missing" / "key.clock"), 0.0)
    assert unix(0.0) < unix(1000.0) < unix(2000.0)
    unix.close()
    assert caplog.text.count("cannot be written") == 1


def test_with_the_real_clock(mark):
    assert abs(UnixClock(mark, clock.monotonic())(clock.monotonic()) - time.time_ns()) < SECOND
