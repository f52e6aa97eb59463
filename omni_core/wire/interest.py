"""What one side of the overlay listens to, as INTEREST tells it: a CBOR map, integer keys.

1 group MAC addresses, 6 bytes each, one byte string, ascending; absent: all
2 DDS domains, ascending; absent: all
3 true: please tell me yours, and all your announcements: I know nothing any more
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from omni_core.drops import DropReason
from omni_core.errors import RemoteViolation
from omni_core.types import Mac
from omni_core.wire import cbor

GROUPS_MAX: Final = 150  # more: all. With DOMAINS_MAX the message fits the smallest MTU, 1280
DOMAINS_MAX: Final = 64
DOMAIN_END: Final = 233  # DDSI-RTPS 2.3, 9.6.1.1: 7400 + 250 * 232 is the last port below 65536

_GROUPS, _DOMAINS, _ASK = 1, 2, 3
_MAC = 6


@dataclass(frozen=True)
class Interest:
    groups: frozenset[Mac] | None = None  # None: all
    domains: frozenset[int] | None = None
    ask: bool = False

    def hears(self, group: Mac, domain: int) -> bool:
        return (self.groups is None or group in self.groups) and (self.domains is None or domain in self.domains)


def encode_interest(interest: Interest) -> bytes:
    body: dict[int, cbor.Value] = {}
    if _is_told(interest.groups, GROUPS_MAX):
        body[_GROUPS] = b"".join(sorted(interest.groups or ()))
    if _is_told(interest.domains, DOMAINS_MAX):
        body[_DOMAINS] = sorted(interest.domains or ())
    if interest.ask:
        body[_ASK] = True
    return cbor.encode(body)


def decode_interest(body: bytes) -> Interest:
    """Unknown keys are ignored: later versions add some. Raises RemoteViolation(CONTROL_MALFORMED)."""
    fields = cbor.decode_map(body, DropReason.CONTROL_MALFORMED)
    macs, domains, ask = fields.get(_GROUPS), fields.get(_DOMAINS), fields.get(_ASK)
    groups: frozenset[Mac] | None = None
    if macs is not None:
        if not isinstance(macs, bytes) or len(macs) % _MAC or len(macs) > _MAC * GROUPS_MAX:
            raise RemoteViolation(DropReason.CONTROL_MALFORMED, "groups")
        groups = frozenset(macs[at : at + _MAC] for at in range(0, len(macs), _MAC))
        if not all(mac[0] & 1 for mac in groups):
            raise RemoteViolation(DropReason.CONTROL_MALFORMED, "a group that is a station")
    numbers: frozenset[int] | None = None
    if domains is not None:
        if not isinstance(domains, list) or len(domains) > DOMAINS_MAX:
            raise RemoteViolation(DropReason.CONTROL_MALFORMED, "domains")
        if not all(type(domain) is int and 0 <= domain < DOMAIN_END for domain in domains):
            raise RemoteViolation(DropReason.CONTROL_MALFORMED, "a domain that is none")
        numbers = frozenset(domains)
    if ask is not None and ask is not True and ask is not False:
        raise RemoteViolation(DropReason.CONTROL_MALFORMED, "ask")
    return Interest(groups, numbers, ask is True)


def _is_told(values: Collection[object] | None, most: int) -> bool:
    return values is not None and len(values) <= most
