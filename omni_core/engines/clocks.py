"""The offset of a peer's wall clock, from pings. Part of the Ganglion engine.

As NTP does (RFC 5905, sections 8 and 10): of the recent samples the one with the shortest way counts, because queues
only ever make the way longer, and half the way is the most that its offset can be wrong. Two samples whose intervals do
not meet cannot both be right: somebody has set a clock in between, and the older ones are forgotten.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from omni_core.wire.inband import PingTimes

SAMPLES: Final = 8  # RFC 5905, NSTAGE
SAMPLE_AGE: Final = 300.0  # s
DRIFT: Final = 1e-4  # s/s between two clocks: crystals are off by up to 50 ppm each
_NS: Final = 1e9


class _Sample(NamedTuple):
    taken: float  # the engine's now, s
    offset: float
    error: float


class PeerClock:
    """``sent``: T1 of the latest ping; only its answer counts."""

    def __init__(self) -> None:
        self.sent = 0
        self._samples: deque[_Sample] = deque(maxlen=SAMPLES)

    def answered(self, times: PingTimes, t4: int, now: float) -> None:
        """A PONG came at ``t4``, ns since 1970. Times that make no sense, or are 0 (an older peer), are ignored."""
        t1, t2, t3 = times
        if not (t1 and t2 and t3) or t1 != self.sent or not 0 <= t3 - t2 <= t4 - t1:
            return
        self.sent = 0
        # In whole ns until the difference: as floats, times since 1970 are good for 200 ns only.
        sample = _Sample(now, ((t2 - t1) + (t3 - t4)) / 2 / _NS, ((t4 - t1) - (t3 - t2)) / 2 / _NS)
        if any(abs(old.offset - sample.offset) > _bound(old, now) + sample.error for old in self._samples):
            self._samples.clear()
        self._samples.append(sample)

    def offset(self, now: float) -> tuple[float, float] | None:
        """The peer's clock less ours, and how wrong that may be at most, both in s. None while not known."""
        recent = [sample for sample in self._samples if now - sample.taken <= SAMPLE_AGE]
        if not recent:
            return None
        best = min(recent, key=lambda sample: _bound(sample, now))
        return best.offset, best.error


def _bound(sample: _Sample, now: float) -> float:
    return sample.error + DRIFT * (now - sample.taken)
