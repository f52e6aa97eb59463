"""Counting what an event loop does, at a bounded cost: histograms with few buckets, and how late the loop is."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Sequence

BATCH_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)  # s
LAG_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # s
LAG_PERIOD = 0.5  # s between two looks

stopwatch = time.perf_counter


class Histogram:
    """How many values fell up to each bound, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)  # the last: above all bounds
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def copy(self) -> Histogram:
        other = Histogram(self.bounds)
        other.counts, other.total = list(self.counts), self.total
        return other


class Traffic:
    """Datagrams of one socket, and the time that the engine took for each batch of them."""

    __slots__ = ("batches", "received", "received_bytes", "sent", "sent_bytes")

    def __init__(self) -> None:
        self.batches = Histogram(BATCH_BOUNDS)
        self.received = self.received_bytes = self.sent = self.sent_bytes = 0

    def copy(self) -> Traffic:
        other = Traffic()
        other.batches = self.batches.copy()
        other.received, other.received_bytes = self.received, self.received_bytes
        other.sent, other.sent_bytes = self.sent, self.sent_bytes
        return other


class LoopLag:
    """How late the running event loop calls. ``start`` it on the loop; ``stop`` is idempotent."""

    def __init__(self) -> None:
        self.lags = Histogram(LAG_BOUNDS)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wait()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _wait(self) -> None:
        assert self._loop is not None
        self._handle = self._loop.call_at(self._loop.time() + LAG_PERIOD, self._look, self._loop.time() + LAG_PERIOD)

    def _look(self, due: float) -> None:
        assert self._loop is not None
        self.lags.observe(max(0.0, self._loop.time() - due))
        self._wait()
