"""Rate limits for handshakes: how loaded we are, and how much one source may ask while we are."""

from __future__ import annotations

from collections import OrderedDict

from omni_core.constants import (
    LOAD_HANDSHAKES_PER_SECOND,
    SOURCE_HANDSHAKE_BURST,
    SOURCE_HANDSHAKES_PER_SECOND,
)

_SOURCES_MAX = 8192  # buckets kept; the longest unused goes first


class TokenBucket:
    __slots__ = ("burst", "rate", "tokens", "updated")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate, self.burst = rate, burst
        self.tokens, self.updated = burst, now

    def take(self, now: float) -> bool:
        """True while the rate holds. Time that runs backwards gives no tokens."""
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self.updated) * self.rate)
        self.updated = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class HandshakeLimits:
    """``loaded`` says when to ask for cookies; ``allow`` bounds one source address once it proved it is there."""

    def __init__(self, per_second: float = LOAD_HANDSHAKES_PER_SECOND) -> None:
        self._all = TokenBucket(per_second, per_second, 0.0)
        self._sources: OrderedDict[str, TokenBucket] = OrderedDict()

    def loaded(self, now: float) -> bool:
        """Counts one initiation; True when there are more of them than we can afford."""
        return not self._all.take(now)

    def allow(self, host: str, now: float) -> bool:
        bucket = self._sources.get(host)
        if bucket is None:
            if len(self._sources) >= _SOURCES_MAX:
                self._sources.popitem(last=False)
            bucket = self._sources[host] = TokenBucket(SOURCE_HANDSHAKES_PER_SECOND, SOURCE_HANDSHAKE_BURST, now)
        else:
            self._sources.move_to_end(host)
        return bucket.take(now)
