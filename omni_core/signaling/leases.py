"""VIP4 addresses that a Nucleus leases to edges without one of their own.

An edge gets the address that it had, else the first free one in an order that follows from its key. So two Nuclei that
cannot talk to each other tend to give one key the same address, and different keys different ones.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from omni_core.types import PublicKey

CANDIDATES_MAX = 4096  # looked at for one lease


class Lease(NamedTuple):
    """``address``: 4 bytes."""

    address: bytes
    prefix_length: int

    def __str__(self) -> str:
        return f"{ipaddress.IPv4Address(self.address)}/{self.prefix_length}"


@dataclass(frozen=True)
class Vip4Pool:
    """The addresses from ``first`` to ``last``, both included, of a network with this prefix length, but ``excluded``
    ones (4 bytes each).
    """

    first: ipaddress.IPv4Address
    last: ipaddress.IPv4Address
    prefix_length: int
    excluded: frozenset[bytes] = frozenset()

    @property
    def size(self) -> int:
        return int(self.last) - int(self.first) + 1

    @property
    def usable(self) -> int:
        """Addresses that may be leased."""
        low, high = int(self.first), int(self.last)
        return self.size - sum(low <= int.from_bytes(address, "big") <= high for address in self.excluded)

    def __contains__(self, address: bytes) -> bool:
        inside = len(address) == 4 and int(self.first) <= int.from_bytes(address, "big") <= int(self.last)
        return inside and address not in self.excluded

    def lease(self, address: bytes) -> Lease:
        return Lease(address, self.prefix_length)

    def candidates(self, key: PublicKey) -> Iterator[bytes]:
        """At most CANDIDATES_MAX different addresses, the same for each call: where the key's hash points, and on."""
        start = int.from_bytes(hashlib.blake2s(key, person=b"omnivip4").digest()[:8], "little")
        for step in range(min(self.size, CANDIDATES_MAX)):
            address = (int(self.first) + (start + step) % self.size).to_bytes(4, "big")
            if address not in self.excluded:
                yield address

    def __str__(self) -> str:
        return f"{self.first}-{self.last}/{self.prefix_length}"
