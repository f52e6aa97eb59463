"""Clocks. ``monotonic`` drives the engines; ``UnixClock`` gives timestamps that never go back, even without an RTC.

A handshake initiation is refused by a peer that has seen a later one of the same key, so a robot that boots in 1970
would stay mute until NTP answers. The clock therefore keeps a mark next to the key: every value handed out is below
the mark on disk, and after a restart counting goes on from the mark or from the wall clock, whichever is later.
"""

from __future__ import annotations

import logging
import threading
import time

from omni_core.io.files import write_atomic

logger = logging.getLogger(__name__)

monotonic = time.monotonic

RESERVE_NS = 600 * 10**9  # one write in ten minutes spares the SD card; a crash skips at most this far ahead
MAX_UNIX_NS = 2**63 - 1  # fits a signed 64-bit field; a mark above it is no mark


def wall_ns(now: float) -> int:
    """An engine's ``wall_ns``: CLOCK_REALTIME as it is, also after somebody has set it."""
    return time.time_ns()


class UnixClock:
    """Callable as an engine's ``unix_ns``: takes the monotonic ``now`` (s), gives strictly increasing nanoseconds."""

    def __init__(self, mark_path: str, now: float) -> None:
        """Reads the mark. A missing or unreadable one is no error: then the wall clock has to do."""
        self._path = mark_path
        self._writable = True
        self._writing = threading.Lock()
        self._mark = self._read_mark()
        self._started = now
        self._base = max(self._mark, time.time_ns())
        self._last = self._base - 1

    def __call__(self, now: float) -> int:
        value = max(self._reading(now), self._last + 1)
        self._last = value
        if value >= self._mark:
            self._set_mark(value + RESERVE_NS)
        return value

    def extend(self, now: float) -> None:
        """Move the mark on before it is needed. May block on the disk: call it from a worker thread now and then."""
        value = max(self._reading(now), self._last)
        if value + RESERVE_NS // 2 >= self._mark:
            self._set_mark(value + RESERVE_NS)

    def close(self) -> None:
        """An orderly end leaves the exact value, so that restarts do not run ahead of the wall clock."""
        self._set_mark(self._last + 1)

    def _reading(self, now: float) -> int:
        return max(self._base + int((now - self._started) * 1e9), time.time_ns())

    def _read_mark(self) -> int:
        try:
            with open(self._path, encoding="ascii") as file:
                text = file.read(32).strip()
            mark = int(text)
            if not 0 <= mark <= MAX_UNIX_NS:
                raise ValueError(text)
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as error:
            logger.warning("the clock mark %s is ignored: %s", self._path, error)
            return 0
        return mark

    def _set_mark(self, mark: int) -> None:
        self._mark = mark
        with self._writing:  # the worker's write and one from the event loop must not land in the wrong order
            if not self._writable:
                return
            try:
                write_atomic(self._path, f"{self._mark}\n")
            except OSError as error:
                self._writable = False
                logger.warning(
                    "the clock mark %s cannot be written (%s): after a restart with a clock that is behind, "
                    "peers refuse this robot until its clock is right again",
                    self._path,
                    error.strerror,
                )
