"""The forwarding table: (MAC, VLAN) -> a peer or the local port, learned from source addresses (IEEE 802.1D, 7.8).

- An entry that was not refreshed for the ageing time goes at the next ``age``.
- A learned address moves to where it was seen last. A static one never moves, and wins over a learned one.
- Each owner (a peer, or the local port) has a bound of its own. An owner that floods source addresses pushes out its
  own oldest entries and nobody else's.
- A static entry holds on one VLAN or on all of them; the one on the frame's own VLAN wins. Static entries do not count
  against the bound.

``find`` and ``learn`` are O(1) with eviction: each owner's learned entries stand in the order they were last seen, so
the one to evict and the ones to age are always in front. ``age`` costs O(owners + expired entries).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from omni_core.constants import FDB_AGEING, FDB_MAX_LOCAL, FDB_MAX_PER_PEER
from omni_core.errors import LocalMisuse
from omni_core.types import Mac, PeerId, format_mac, is_group

_ALL_VLANS = range(4096)


class Entry:
    """Where one address lives. Read-only for everyone but the table."""

    __slots__ = ("home", "owner", "seen")

    def __init__(self, owner: PeerId | None, seen: float, home: OrderedDict[bytes, Entry] | None) -> None:
        self.owner = owner  # None: the local port
        self.seen = seen  # time of the last frame from it
        self.home = home  # the owner's learned entries, last seen last; None for a static entry


class FdbRow(NamedTuple):
    """``vlan`` None: static on every VLAN. ``age`` in seconds, 0.0 for static entries."""

    mac: Mac
    vlan: int | None
    owner: PeerId | None
    static: bool
    age: float


class Fdb:
    """See the module docstring for the rules. ``now`` never goes back."""

    def __init__(
        self, ageing: float = FDB_AGEING, max_per_peer: int = FDB_MAX_PER_PEER, max_local: int = FDB_MAX_LOCAL
    ) -> None:
        """``ageing`` in seconds. Raises LocalMisuse when a bound is below 1 or the ageing time is not positive."""
        if ageing <= 0 or max_per_peer < 1 or max_local < 1:
            raise LocalMisuse(f"FDB limits: ageing={ageing} max_per_peer={max_per_peer} max_local={max_local}")
        self._ageing = ageing
        self._max_per_peer = max_per_peer
        self._max_local = max_local
        self._entries: dict[bytes, Entry] = {}  # by _key: learned, and static on one VLAN
        self._pinned: dict[bytes, Entry] = {}  # the static ones among _entries, so that they are found without a scan
        self._everywhere: dict[Mac, Entry] = {}  # static on every VLAN. No learned entry of such a MAC is in _entries
        self._learned: dict[PeerId | None, OrderedDict[bytes, Entry]] = {}

    def __len__(self) -> int:
        return len(self._entries) + len(self._everywhere)

    def find(self, mac: Mac, vlan: int = 0) -> Entry | None:
        """The entry of a destination; None when nobody knows it (never anything for a group address)."""
        return self._entries.get(_key(mac, vlan) if vlan else mac) or self._everywhere.get(mac)

    def learn(self, mac: Mac, vlan: int, owner: PeerId | None, now: float) -> bool:
        """A frame with this source came from ``owner``.

        False when that cannot be: a group address, or one that is pinned to somebody else. Nothing changes then.
        """
        key = _key(mac, vlan) if vlan else mac
        entry = self._entries.get(key)
        if entry is None:
            pinned = self._everywhere.get(mac)
            if pinned is not None:
                return pinned.owner == owner
            if mac[0] & 1:
                return False
            self._insert(key, owner, now)
            return True
        home = entry.home
        if entry.owner == owner:
            if home is not None and entry.seen != now:  # within one batch, the first sighting gives the order
                entry.seen = now
                home.move_to_end(key)
            return True
        if home is None:
            return False
        del home[key]
        self._insert(key, owner, now)
        return True

    def set_static(self, mac: Mac, owner: PeerId | None, vlan: int | None = None) -> None:
        """Pin a MAC on one VLAN, or on all with None. Replaces what was learned there, and an earlier pin.

        Raises LocalMisuse for a group address: those are flooded, never looked up.
        """
        if len(mac) != 6 or is_group(mac):
            raise LocalMisuse(f"{format_mac(mac)} cannot be pinned: not the address of one station")
        pin = Entry(owner, 0.0, None)
        if vlan is not None:
            key = _key(mac, vlan)
            self._drop_learned(key)
            self._entries[key] = self._pinned[key] = pin
            return
        if mac not in self._everywhere:
            for key in self._learned_keys(mac):
                self._drop_learned(key)
        self._everywhere[mac] = pin

    def remove_static(self, mac: Mac, vlan: int | None = None) -> None:
        """Undo ``set_static`` with the same MAC and VLAN. Nothing happens when there is no such pin."""
        if vlan is None:
            self._everywhere.pop(mac, None)
        elif self._pinned.pop(_key(mac, vlan), None) is not None:
            del self._entries[_key(mac, vlan)]

    def remove_owner(self, owner: PeerId | None) -> None:
        """Forget everything that lives at ``owner``, static entries too."""
        for key in self._learned.pop(owner, ()):
            del self._entries[key]
        for key in [key for key, entry in self._pinned.items() if entry.owner == owner]:
            del self._pinned[key]
            del self._entries[key]
        for mac in [mac for mac, entry in self._everywhere.items() if entry.owner == owner]:
            del self._everywhere[mac]

    def age(self, now: float) -> None:
        """Drop the learned entries that were last seen ``ageing`` seconds ago or earlier."""
        oldest_kept = now - self._ageing
        for home in self._learned.values():
            while home:
                key = next(iter(home))
                if home[key].seen > oldest_kept:
                    break
                del home[key]
                del self._entries[key]

    def rows(self, now: float) -> Iterator[FdbRow]:
        for mac, entry in self._everywhere.items():
            yield FdbRow(mac, None, entry.owner, True, 0.0)
        for key, entry in self._entries.items():
            static = entry.home is None
            yield FdbRow(
                key[:6], int.from_bytes(key[6:], "big"), entry.owner, static, 0.0 if static else now - entry.seen
            )

    def _insert(self, key: bytes, owner: PeerId | None, now: float) -> None:
        home = self._learned.get(owner)
        if home is None:
            home = self._learned[owner] = OrderedDict()
        elif len(home) >= (self._max_local if owner is None else self._max_per_peer):
            oldest, _ = home.popitem(last=False)
            del self._entries[oldest]
        home[key] = self._entries[key] = Entry(owner, now, home)

    def _learned_keys(self, mac: Mac) -> list[bytes]:
        """Where ``mac`` may have been learned. A table rarely has as many entries as there are VLANs."""
        if len(self._entries) < len(_ALL_VLANS):
            return [key for key in self._entries if key.startswith(mac)]
        return [_key(mac, vlan) for vlan in _ALL_VLANS]

    def _drop_learned(self, key: bytes) -> None:
        entry = self._entries.get(key)
        if entry is not None and entry.home is not None:
            del entry.home[key]
            del self._entries[key]


def _key(mac: Mac, vlan: int) -> bytes:
    """Untagged, the MAC alone: slicing it out of the frame is all that the common case costs."""
    return mac + vlan.to_bytes(2, "big") if vlan else mac
