"""What our side of the overlay listens to. Unknown is all: too much may be heard, too little never."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from omni_core.types import Mac
from omni_core.wire.interest import DOMAINS_MAX, GROUPS_MAX, Interest

DOMAIN_LINGER: Final = 60.0  # s that a domain is told after the lease of its last participant: it may be back soon
SETTLE: Final = 30.0  # s; participants that were there before us have announced themselves once (DDSI-RTPS 2.3, 8.5.3)
SPDP_GROUPS_MAX: Final = 8
DEFAULT_SPDP_GROUP: Final[Mac] = bytes.fromhex("01005e7f0001")  # 239.255.0.1 (DDSI-RTPS 2.3, 9.6.1.4)


class Listening:
    """``narrows`` False: all is told to be wanted. ``bridged``: there is a LAN behind the local port."""

    def __init__(self, mac: Mac, *, narrows: bool, bridged: bool) -> None:
        self._mac = mac
        self._narrows = narrows
        self._lan = bridged  # stations of which the kernel's table knows nothing
        self._groups: frozenset[Mac] | None = None
        self._domains: dict[int, float] = {}  # until when
        self._spdp_groups: dict[Mac, float] = {}
        self._settled = 0.0

    def settle(self, now: float) -> None:
        """There may be participants that have not been seen yet."""
        self._settled = now + SETTLE

    def set_memberships(self, groups: Collection[Mac] | None) -> None:
        """What this machine's kernel has joined on the overlay interface; None: not known."""
        self._groups = frozenset(filter(_is_pruned, groups)) if groups is not None else None

    def heard_from(self, source: Mac, now: float) -> None:
        """A station at the local port said something that only a listener says."""
        if source != self._mac and not self._lan:
            self._lan = True  # for good: it need not say so again
            self.settle(now)

    def announced(self, domain: int, group: Mac, lease: float, now: float) -> None:
        """A participant at the local port, to that group: it listens there, too."""
        until = now + lease + DOMAIN_LINGER
        self._domains[domain] = max(until, self._domains.get(domain, 0.0))
        if group in self._spdp_groups or len(self._spdp_groups) < SPDP_GROUPS_MAX:
            self._spdp_groups[group] = until

    def expire(self, now: float) -> None:
        self._domains = {domain: until for domain, until in self._domains.items() if until > now}
        self._spdp_groups = {group: until for group, until in self._spdp_groups.items() if until > now}

    @property
    def domains(self) -> frozenset[int]:
        return frozenset(self._domains)

    @property
    def spdp_groups(self) -> frozenset[Mac]:
        """To which announcements go from here."""
        return frozenset((DEFAULT_SPDP_GROUP, *self._spdp_groups))

    def interest(self, now: float) -> Interest:
        if not self._narrows:
            return Interest()
        groups: frozenset[Mac] | None = None
        if not self._lan and self._groups is not None:
            groups = self._groups | frozenset(self._spdp_groups)
        domains = frozenset(self._domains) if self._domains and now >= self._settled else None
        return Interest(
            groups if groups is None or len(groups) <= GROUPS_MAX else None,
            domains if domains is None or len(domains) <= DOMAINS_MAX else None,
        )


def grows(old: Interest, new: Interest) -> bool:
    """Something is wanted that was not before."""
    return _adds(old.groups, new.groups) or _adds(old.domains, new.domains)


def _adds(old: frozenset[Mac] | frozenset[int] | None, new: frozenset[Mac] | frozenset[int] | None) -> bool:
    return old is not None and (new is None or not new <= old)


def _is_pruned(group: Mac) -> bool:
    """The others go to everyone anyway (dataplane/groups.py)."""
    if group[0:3] == b"\x01\x00\x5e":
        return group[3:5] != b"\0\0"
    return group[0:2] == b"\x33\x33" and group[2] != 0xFF and group[2:5] != b"\0\0\0"
