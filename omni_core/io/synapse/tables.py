"""The FDB in the kernel, seen from userspace: static entries, ageing, bounds. The programs do the learning.

``bpf/fdb.h`` has the rules; an owner at its bound learns nothing more until ``evict`` has removed its oldest entries.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections import defaultdict
from collections.abc import Iterator

from omni_core.constants import CONTROL_MAC
from omni_core.dataplane.port import FdbEntry
from omni_core.errors import LocalMisuse
from omni_core.io.synapse import abi
from omni_core.io.synapse.syscalls import EXIST, NOEXIST, BpfMap
from omni_core.types import Mac, PeerId, format_mac, is_group

_KEY = struct.Struct("=6sH")
_VALUE = struct.Struct("=IIQ")
_COUNT = struct.Struct("=Q")
_OWNER = struct.Struct("=I")
assert _KEY.size == ctypes.sizeof(abi.FdbKey) and _VALUE.size == ctypes.sizeof(abi.FdbValue)

_EVICTED = 4  # a quarter of the bound at once: a flood does not bring us here for each address


class KernelFdb:
    """``now`` and ages in seconds of CLOCK_MONOTONIC, as the programs see it."""

    def __init__(self, entries: BpfMap, counts: BpfMap, ageing: float, max_per_peer: int, max_local: int) -> None:
        self._entries = entries
        self._counts = counts
        self._ageing = ageing
        self._max_per_peer = max_per_peer
        self._max_local = max_local
        self._static: dict[Mac, dict[int, int]] = defaultdict(dict)  # MAC -> VLAN or VLAN_ANY -> owner
        for mac, vlan, owner, flags, _ in self._rows():  # of an earlier control plane
            if flags & abi.FDB_STATIC:
                self._static[mac][vlan] = owner
        self.open_owner(None)

    def open_owner(self, peer: PeerId | None) -> None:
        """Let the owner learn. Idempotent."""
        key = _OWNER.pack(_owner(peer))
        if self._counts.lookup(key) is None:
            self._counts.update(key, bytes(_COUNT.size))

    def close_owner(self, peer: PeerId) -> None:
        """Forget everything that lives there, static entries too."""
        owner = _owner(peer)
        self._counts.delete(_OWNER.pack(owner))
        for mac, vlans in list(self._static.items()):
            for vlan in [vlan for vlan, holder in vlans.items() if holder == owner]:
                self._remove_static(mac, vlan)
        for mac, vlan, holder, _, _ in list(self._rows()):
            if holder == owner:
                self._entries.delete(_KEY.pack(mac, vlan))

    def find(self, mac: Mac, vlan: int) -> tuple[bool, PeerId | None]:
        """(known, owner) of a destination; owner None is the local port."""
        pins = self._static.get(mac, {})
        owner = pins.get(vlan, pins.get(abi.VLAN_ANY))
        if owner is None:
            value = self._entries.lookup(_KEY.pack(mac, vlan))
            if value is None:
                return False, None
            owner = _VALUE.unpack(value)[0]
        return True, None if owner == abi.OWNER_LOCAL else owner

    def learn(self, mac: Mac, vlan: int, peer: PeerId, now: float) -> None:
        """A frame with this source came from ``peer``, as the native engine saw. The rules of bpf/fdb.h."""
        bound = self._max_per_peer
        counted = self._counts.lookup(_OWNER.pack(peer))
        if counted is None or is_group(mac) or self._pinned(mac) or vlan in self._static.get(mac, ()):
            return
        key, entry = _KEY.pack(mac, vlan), _VALUE.pack(peer, 0, int(now * 1e9))
        old = self._entries.lookup(key)
        if old is not None and _VALUE.unpack(old)[0] == peer:
            self._entries.update(key, entry)
            return
        if old is None and _COUNT.unpack(counted)[0] >= bound:
            self.evict(peer)
        try:
            self._entries.update(key, entry, NOEXIST if old is None else EXIST)
        except OSError as error:  # a program was faster, or the table is full
            if error.errno not in (errno.EEXIST, errno.ENOENT, errno.E2BIG, errno.ENOMEM):
                raise
            return
        self._add_to_count(peer, 1)
        if old is not None:
            self._add_to_count(_VALUE.unpack(old)[0], -1)

    def set_static(self, mac: Mac, peer: PeerId | None, vlan: int | None) -> None:
        """Raises LocalMisuse for a group address."""
        if len(mac) != 6 or is_group(mac) or mac == CONTROL_MAC:
            raise LocalMisuse(f"{format_mac(mac)} cannot be pinned: not the address of one station")
        self._static[mac][abi.VLAN_ANY if vlan is None else vlan] = _owner(peer)
        self._write_static(mac)

    def remove_static(self, mac: Mac, vlan: int | None) -> None:
        self._remove_static(mac, abi.VLAN_ANY if vlan is None else vlan)

    def rows(self, now: float) -> list[FdbEntry]:
        """Without what was learned of an address before it was pinned on every VLAN: nobody looks there any more."""
        return [
            FdbEntry(
                mac,
                None if vlan == abi.VLAN_ANY else vlan,
                None if owner == abi.OWNER_LOCAL else owner,
                bool(flags & abi.FDB_STATIC),
                0.0 if flags & abi.FDB_STATIC else max(0.0, now - seen / 1e9),
            )
            for mac, vlan, owner, flags, seen in self._rows()
            if flags & abi.FDB_STATIC or not self._pinned(mac)
        ]

    def age(self, now: float) -> None:
        """Drop the learned entries last seen ``ageing`` seconds ago or earlier, and count the others anew."""
        oldest = int((now - self._ageing) * 1e9)
        counts: dict[int, int] = defaultdict(int)
        for mac, vlan, owner, flags, seen in list(self._rows()):
            if flags & abi.FDB_STATIC:
                continue
            if seen <= oldest:
                self._entries.delete(_KEY.pack(mac, vlan))
            else:
                counts[owner] += 1
        for key, _ in list(self._counts.items()):
            (owner,) = _OWNER.unpack(key)
            # Addresses that moved there may have brought it over its bound. At the bound, the next one to be learned
            # makes the programs say so, and ``evict`` follows.
            bound = self._max_local if owner == abi.OWNER_LOCAL else self._max_per_peer
            self._counts.update(key, _COUNT.pack(min(counts[owner], bound)))

    def evict(self, peer: PeerId | None) -> None:
        """The owner is at its bound: the oldest of its entries go."""
        owner = _owner(peer)
        bound = self._max_local if peer is None else self._max_per_peer
        learned = sorted(
            (seen, mac, vlan)
            for mac, vlan, holder, flags, seen in self._rows()
            if holder == owner and not flags & abi.FDB_STATIC
        )
        keep = bound - max(1, bound // _EVICTED)
        for _, mac, vlan in learned[: max(0, len(learned) - keep)]:
            self._entries.delete(_KEY.pack(mac, vlan))
        key = _OWNER.pack(owner)
        if self._counts.lookup(key) is not None:
            self._counts.update(key, _COUNT.pack(min(len(learned), keep)))

    def _add_to_count(self, owner: int, difference: int) -> None:
        """A program that counts at the same moment may get lost; ``age`` counts anew."""
        key = _OWNER.pack(owner)
        counted = self._counts.lookup(key)
        if counted is not None:
            self._counts.update(key, _COUNT.pack(max(0, _COUNT.unpack(counted)[0] + difference)))

    def _pinned(self, mac: Mac) -> bool:
        return abi.VLAN_ANY in self._static.get(mac, ())

    def _rows(self) -> Iterator[tuple[Mac, int, int, int, int]]:
        """(MAC, VLAN or VLAN_ANY, owner, flags, seen in ns)."""
        for key, value in self._entries.items():
            yield (*_KEY.unpack(key), *_VALUE.unpack(value))

    def _remove_static(self, mac: Mac, vlan: int) -> None:
        pins = self._static.get(mac)
        if pins is None or vlan not in pins:
            return
        if vlan == abi.VLAN_ANY:  # what was learned before it was pinned is out of date
            for other, at, _, flags, _ in list(self._rows()):
                if other == mac and not flags & abi.FDB_STATIC:
                    self._entries.delete(_KEY.pack(other, at))
        del pins[vlan]
        self._entries.delete(_KEY.pack(mac, vlan))
        self._write_static(mac)
        if not pins:
            del self._static[mac]

    def _write_static(self, mac: Mac) -> None:
        pins = self._static[mac]
        for vlan, owner in pins.items():
            shadowed = vlan == abi.VLAN_ANY and len(pins) > 1
            flags = abi.FDB_STATIC | (abi.FDB_SHADOWED if shadowed else 0)
            self._entries.update(_KEY.pack(mac, vlan), _VALUE.pack(owner, flags, 0))


def _owner(peer: PeerId | None) -> int:
    return abi.OWNER_LOCAL if peer is None else peer
