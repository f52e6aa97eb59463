"""How patient to be with an engine whose process keeps ending."""

from __future__ import annotations

from collections import deque

_MANY = 3
_SOON = 60.0  # s
_DELAY_MAX = 30.0  # s


class Deaths:
    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_MANY)
        self._in_a_row = 0

    def add(self, now: float) -> float:
        """It has ended. Returns the seconds to wait before the next one is started: 0, then 1, 2, 4 ... 30, and 0 again
        when one has lasted for a minute."""
        if self._times and now - self._times[-1] > _SOON + _DELAY_MAX:
            self._in_a_row = 0
        self._times.append(now)
        self._in_a_row += 1
        return 0.0 if self._in_a_row == 1 else min(2.0 ** (self._in_a_row - 2), _DELAY_MAX)

    @property
    def many(self) -> bool:
        """Three within a minute."""
        return len(self._times) == _MANY and self._times[-1] - self._times[0] <= _SOON

    def forget(self) -> None:
        """Another engine, or the same one because somebody wanted so."""
        self._times.clear()
        self._in_a_row = 0
