"""How often a Nucleus lets edges register. Who asks for more is not answered, and counted; nothing else changes.

Asked after the cluster's secret and the allow list, so that strangers use up nobody's share, and before the record's
signature is checked and the store is changed, which is what costs.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from omni_core.constants import (
    REGISTER_BURST,
    REGISTER_KEYS_MAX,
    REGISTER_SOURCES_MAX,
    REGISTERS_PER_SECOND,
    SOURCE_REGISTER_BURST,
    SOURCE_REGISTERS_PER_SECOND,
)
from omni_core.drops import DropReason
from omni_core.errors import RemoteViolation
from omni_core.session.limits import TokenBucket
from omni_core.types import PublicKey

_IPV6_SITE = 64  # bits: what one customer has at least (RFC 6177)

K = TypeVar("K", bound=Hashable)


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


class RegisterLimits:
    """Of one Nucleus. Each key by itself, and new keys by where they come from."""

    def __init__(
        self,
        key: Rate = Rate(REGISTERS_PER_SECOND, REGISTER_BURST, REGISTER_KEYS_MAX),
        source: Rate = Rate(SOURCE_REGISTERS_PER_SECOND, SOURCE_REGISTER_BURST, REGISTER_SOURCES_MAX),
    ) -> None:
        self._keys: Buckets[PublicKey] = Buckets(key)
        self._sources: Buckets[bytes] = Buckets(source)

    def check(self, key: PublicKey, host: str, *, new: bool, now: float) -> None:
        """A registration that changes something; ``new``: of a key that is not registered. Raises RemoteViolation."""
        if not self._keys.take(key, now):
            raise RemoteViolation(DropReason.REGISTERS_TOO_OFTEN)
        if new and not self._sources.take(site(host), now):
            raise RemoteViolation(DropReason.SOURCE_REGISTERS_TOO_OFTEN)


def site(host: str) -> bytes:
    """IPv4 address, or the first bits of an IPv6 address."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped.packed
        return address.packed[: _IPV6_SITE // 8]
    return address.packed
