"""Rate limits for handshakes: how loaded we are, and how much one source may ask while we are.

    initiations a second          up to free_per_second   the rest
    cookie                        not asked for           asked for; it proves the source address
    with a valid cookie                                   at most loaded_per_second in all, and of one site at most
                                                          source + what the shared rate, which is for all, has left

So a flood costs what these rates cost, wherever it comes from; one site alone leaves the others their own rates, and
a site of thousands behind one NAT still gets in at the shared rate. What this machine can not do in time is not taken
on at all: while it is ``behind``, everyone is asked for a cookie, and few are admitted.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from omni_core.constants import (
    BEHIND_HANDSHAKES_PER_SECOND,
    HEARD_TIMESTAMPS,
    LOAD_HANDSHAKES_PER_SECOND,
    MAX_UNSOLICITED,
    NUCLEUS_HANDSHAKES_PER_SECOND,
    NUCLEUS_HEARD_TIMESTAMPS,
    NUCLEUS_SHARED_HANDSHAKES_PER_SECOND,
    NUCLEUS_UNSOLICITED,
    SOURCE_HANDSHAKE_BURST,
    SOURCE_HANDSHAKES_PER_SECOND,
    SOURCES_MAX,
)

_IPV6_SITE = 64  # bits: what one customer has at least (RFC 6177)
_BURST = 0.25  # s of a rate for all: more at once would only be a queue

K = TypeVar("K", bound=Hashable)


class TokenBucket:
    __slots__ = ("burst", "rate", "tokens", "updated")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate, self.burst = rate, burst
        self.tokens, self.updated = burst, now

    def take(self, now: float) -> bool:
        """True while the rate holds. Time that runs backwards gives no tokens."""
        if not self.has(now):
            return False
        self.tokens -= 1
        return True

    def has(self, now: float) -> bool:
        """What ``take`` would say."""
        tokens = self.tokens + max(0.0, now - self.updated) * self.rate
        self.tokens = tokens if tokens < self.burst else self.burst
        self.updated = now
        return self.tokens >= 1


@dataclass(frozen=True)
class Rate:
    per_second: float
    burst: float
    table: int  # buckets kept


class Buckets(Generic[K]):
    """A bucket for each name. One that is full again is forgotten; when the table is full, the longest unused goes."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._full_again = rate.burst / rate.per_second  # s, at most
        self._buckets: OrderedDict[K, TokenBucket] = OrderedDict()  # by last use, ascending

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, name: K, now: float) -> bool:
        bucket = self._buckets.get(name)
        if bucket is None:
            self._make_room(now)
            bucket = self._buckets[name] = TokenBucket(self._rate.per_second, self._rate.burst, now)
        else:
            self._buckets.move_to_end(name)
        return bucket.take(now)

    def _make_room(self, now: float) -> None:
        while self._buckets:
            oldest, bucket = next(iter(self._buckets.items()))
            if len(self._buckets) < self._rate.table and now - bucket.updated < self._full_again:
                return
            del self._buckets[oldest]


def site(host: str) -> bytes:
    """IPv4 address, or the first bits of an IPv6 address."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped.packed
        return address.packed[: _IPV6_SITE // 8]
    return address.packed


@dataclass(frozen=True)
class SessionLimits:
    """What strangers may cost one Sessions."""

    free_per_second: float = LOAD_HANDSHAKES_PER_SECOND  # initiations without a cookie
    loaded_per_second: float = math.inf  # with one, from everywhere
    behind_per_second: float = BEHIND_HANDSHAKES_PER_SECOND  # of those, while ``HandshakeLimits.behind``
    shared_per_second: float = 0.0  # of those, beyond ``source``, for whoever comes first
    source: Rate = Rate(SOURCE_HANDSHAKES_PER_SECOND, SOURCE_HANDSHAKE_BURST, SOURCES_MAX)  # immutable
    unsolicited: int = MAX_UNSOLICITED  # unconfirmed sessions that nobody here asked for; the oldest gives way
    heard: int = HEARD_TIMESTAMPS  # initiators whose latest timestamp is remembered, also after they are gone


EDGE_LIMITS = SessionLimits()
NUCLEUS_LIMITS = SessionLimits(
    loaded_per_second=NUCLEUS_HANDSHAKES_PER_SECOND,
    shared_per_second=NUCLEUS_SHARED_HANDSHAKES_PER_SECOND,
    unsolicited=NUCLEUS_UNSOLICITED,
    heard=NUCLEUS_HEARD_TIMESTAMPS,
)


class HandshakeLimits:
    """``loaded`` says when to ask for cookies; ``allow`` bounds what has shown one."""

    def __init__(self, limits: SessionLimits = EDGE_LIMITS) -> None:
        self._free = TokenBucket(limits.free_per_second, limits.free_per_second, 0.0)
        self._total = _bucket(limits.loaded_per_second)
        self._shared = _bucket(limits.shared_per_second)
        self._sites: Buckets[bytes] = Buckets(limits.source)
        self._meanwhile = TokenBucket(limits.behind_per_second, max(1.0, limits.behind_per_second * _BURST), 0.0)
        self.behind = False  # more waits than is read at a time: an answer would come when it is of no use any more

    def loaded(self, now: float) -> bool:
        """Counts one initiation; True when there are more of them than we can afford."""
        return not self._free.take(now) or self.behind

    def allow(self, host: str, now: float) -> bool:
        """``host``: an IP address that it proved to have."""
        if self.behind and not self._meanwhile.take(now):
            return False
        if self._total is not None and not self._total.has(now):
            return False
        if not self._sites.take(site(host), now) and not (self._shared is not None and self._shared.take(now)):
            return False
        return self._total is None or self._total.take(now)


def _bucket(rate: float) -> TokenBucket | None:
    return None if rate in (0.0, math.inf) else TokenBucket(rate, max(1.0, rate * _BURST), 0.0)
