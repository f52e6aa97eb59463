"""Network address translators in the terms of RFC 4787: how they map, whom they let in, when they forget.

kind              mapping (4.1)               filtering (5)
full cone         endpoint-independent        endpoint-independent
restricted cone   endpoint-independent        address-dependent
port-restricted   endpoint-independent        address and port-dependent
symmetric         address and port-dependent  address and port-dependent
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import TypeAlias

Address: TypeAlias = tuple[str, int]  # host and UDP port
_Key: TypeAlias = tuple[str, int] | str | None  # the part of a remote address that a behaviour looks at

FIRST_PORT = 1024
LAST_PORT = 65535
MAPPING_TIMEOUT = 120.0  # s; the least that RFC 4787, REQ-5 allows


class Behaviour(Enum):
    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address and port-dependent"

    def key(self, remote: Address) -> _Key:
        if self is Behaviour.ENDPOINT_INDEPENDENT:
            return None
        return remote[0] if self is Behaviour.ADDRESS_DEPENDENT else remote


@dataclass(frozen=True)
class NatKind:
    name: str
    mapping: Behaviour
    filtering: Behaviour
    preserves_ports: bool  # RFC 4787, 4.2.1; a random free port otherwise, and when the wanted one is taken


FULL_CONE = NatKind("full cone", Behaviour.ENDPOINT_INDEPENDENT, Behaviour.ENDPOINT_INDEPENDENT, True)
RESTRICTED_CONE = NatKind("restricted cone", Behaviour.ENDPOINT_INDEPENDENT, Behaviour.ADDRESS_DEPENDENT, True)
PORT_RESTRICTED = NatKind(
    "port-restricted cone", Behaviour.ENDPOINT_INDEPENDENT, Behaviour.ADDRESS_AND_PORT_DEPENDENT, True
)
SYMMETRIC = NatKind("symmetric", Behaviour.ADDRESS_AND_PORT_DEPENDENT, Behaviour.ADDRESS_AND_PORT_DEPENDENT, False)
NAT_KINDS = (FULL_CONE, RESTRICTED_CONE, PORT_RESTRICTED, SYMMETRIC)


class Refusal(Enum):
    """Why a packet from outside was not let in."""

    NO_MAPPING = "no NAT mapping"
    FILTERED = "NAT filter"


@dataclass
class _Mapping:
    inside: Address
    port: int
    key: tuple[Address, _Key]
    used: float  # last time that an inside packet (or, by flag, an outside one) used it
    permitted: dict[_Key, float] = field(default_factory=dict)  # who was written to, and when last


class NatTable:
    """The translation table. Expired entries are forgotten when they are met."""

    def __init__(
        self,
        kind: NatKind,
        rng: Random,
        *,
        timeout: float = MAPPING_TIMEOUT,
        inbound_refresh: bool = False,
    ) -> None:
        """``inbound_refresh``: packets from outside keep a mapping alive too (RFC 4787, REQ-6 leaves it open)."""
        self.kind = kind
        self.timeout = timeout
        self.inbound_refresh = inbound_refresh
        self._rng = rng
        self._by_key: dict[tuple[Address, _Key], _Mapping] = {}
        self._by_port: dict[int, _Mapping] = {}

    def outbound(self, inside: Address, remote: Address, now: float) -> int | None:
        """The outside port that ``inside`` gets for ``remote``; opens or refreshes the way back. None: none is left."""
        key = (inside, self.kind.mapping.key(remote))
        mapping = self._by_key.get(key)
        if mapping is not None and now - mapping.used > self.timeout:
            self._forget(mapping)
            mapping = None
        if mapping is None:
            port = self._free_port(inside[1], now)
            if port is None:
                return None
            mapping = self._by_key[key] = self._by_port[port] = _Mapping(inside, port, key, now)
        mapping.used = now
        mapping.permitted[self.kind.filtering.key(remote)] = now
        return mapping.port

    def inbound(self, port: int, remote: Address, now: float) -> Address | Refusal:
        """The inside address that a packet from ``remote`` to outside ``port`` goes to, or why to none."""
        mapping = self._by_port.get(port)
        if mapping is None or now - mapping.used > self.timeout:
            return Refusal.NO_MAPPING
        key = self.kind.filtering.key(remote)
        permitted = mapping.permitted.get(key)
        if permitted is None or now - permitted > self.timeout:
            return Refusal.FILTERED
        if self.inbound_refresh:
            mapping.used = mapping.permitted[key] = now
        return mapping.inside

    def reset(self) -> None:
        """Forget everything, as a router does that lost power."""
        self._by_key.clear()
        self._by_port.clear()

    def _forget(self, mapping: _Mapping) -> None:
        del self._by_key[mapping.key]
        del self._by_port[mapping.port]

    def _free_port(self, wanted: int, now: float) -> int | None:
        if len(self._by_port) > (LAST_PORT - FIRST_PORT) // 2:
            for mapping in [m for m in self._by_port.values() if now - m.used > self.timeout]:
                self._forget(mapping)
        port = wanted if self.kind.preserves_ports else self._rng.randint(FIRST_PORT, LAST_PORT)
        for _ in range(64):
            taken = self._by_port.get(port)
            if taken is None:
                return port
            if now - taken.used > self.timeout:
                self._forget(taken)
                return port
            port = self._rng.randint(FIRST_PORT, LAST_PORT)
        return None
