"""Who holds which VIP4 of one cluster, and until when. In memory; times are the caller's clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from omni_core.signaling.leases import Lease, Vip4Pool
from omni_core.types import PublicKey


class HeldLease(NamedTuple):
    key: PublicKey
    address: bytes  # 4
    until: float  # s; it has expired then, unless its holder is there


class LeaseBook:
    """One address for a key, one key for an address."""

    __slots__ = ("_by_address", "_by_key")

    def __init__(self) -> None:
        self._by_key: OrderedDict[PublicKey, HeldLease] = OrderedDict()  # by ``until``, ascending
        self._by_address: dict[bytes, HeldLease] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def held(self) -> Iterator[HeldLease]:
        return iter(self._by_key.values())

    def holder(self, address: bytes, now: float) -> PublicKey | None:
        """Who has leased it; None when that has expired, or nobody did."""
        lease = self._by_address.get(address)
        return lease.key if lease is not None and now < lease.until else None

    def lease(
        self,
        key: PublicKey,
        wanted: bytes,
        pool: Vip4Pool,
        now: float,
        lease_time: float,
        taken: Callable[[bytes], bool],
    ) -> Lease | None:
        """See Store.lease. ``taken``: an edge other than ``key`` uses this address now."""
        known = self._by_key.get(key)
        first_choices = [known.address] if known is not None else []
        for address in (*first_choices, wanted):
            if address in pool and not taken(address) and self.holder(address, now) in (None, key):
                return self._give(key, address, pool, now + lease_time)
        expired: HeldLease | None = None
        for address in pool.candidates(key):
            if taken(address):
                continue
            other = self._by_address.get(address)
            if other is None:
                return self._give(key, address, pool, now + lease_time)
            if other.until <= now and (expired is None or other.until < expired.until):
                expired = other
        return self._give(key, expired.address, pool, now + lease_time) if expired is not None else None

    def touch(self, key: PublicKey, now: float, lease_time: float) -> None:
        """The holder was last there now."""
        known = self._by_key.get(key)
        if known is not None:
            self._put(known._replace(until=now + lease_time))

    def restore(self, leases: Iterable[HeldLease], now: float) -> int:
        """Those that have not expired, and neither whose key nor whose address is held."""
        fresh = [
            lease
            for lease in sorted(leases, key=lambda lease: lease.until)
            if lease.until > now and lease.key not in self._by_key and lease.address not in self._by_address
        ]
        kept = sorted([*self._by_key.values(), *fresh], key=lambda lease: lease.until)
        for lease in kept:
            self._put(lease)
        return len(fresh)

    def place(self, lease: HeldLease) -> None:
        """As somebody else decided, in place of what its key and its address had."""
        self._drop(self._by_key.get(lease.key))
        self._drop(self._by_address.get(lease.address))
        self._put(lease)

    def release(self, key: PublicKey) -> None:
        """Whoever asks next may have its address."""
        self._drop(self._by_key.get(key))

    def get(self, key: PublicKey) -> HeldLease | None:
        return self._by_key.get(key)

    def by_address(self, address: bytes) -> HeldLease | None:
        return self._by_address.get(address)

    def _give(self, key: PublicKey, address: bytes, pool: Vip4Pool, until: float) -> Lease:
        self._drop(self._by_key.get(key))
        self._drop(self._by_address.get(address))
        self._put(HeldLease(key, address, until))
        return pool.lease(address)

    def _put(self, lease: HeldLease) -> None:
        self._by_key[lease.key] = self._by_address[lease.address] = lease
        self._by_key.move_to_end(lease.key)

    def _drop(self, lease: HeldLease | None) -> None:
        if lease is not None:
            del self._by_key[lease.key]
            del self._by_address[lease.address]
