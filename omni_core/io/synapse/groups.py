"""Who gets group frames, in the maps: the flood set, and the policy that leaves less of it (dataplane/groups.py).

A peer keeps its slot of map ``flood`` while it is in the set, and sets of peers are bits by slot. What is changed is in
such an order that a frame meanwhile gets the peers of before or those of afterwards, never fewer.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable, Mapping

from omni_core.dataplane.groups import GroupPolicy, targets
from omni_core.io.synapse import abi
from omni_core.io.synapse.abi import PeerSet
from omni_core.io.synapse.syscalls import BpfMap
from omni_core.types import PeerId

_U32 = struct.Struct("=I")
_KEY = struct.Struct("=6sH")  # struct group_key
_NS = 1_000_000_000


class KernelGroups:
    """``maps``: those of the module. ``config``: its entry, which ``write_config`` puts into its map. What the maps
    hold of an earlier process is taken over; its policy holds until its time is over, or the flood set changes."""

    def __init__(self, maps: Mapping[str, BpfMap], config: abi.Config, write_config: Callable[[], None]) -> None:
        self._flood, self._groups = maps["flood"], maps["groups"]
        self._config = config
        self._write_config = write_config
        self._policy: GroupPolicy | None = None
        self._until = 0.0
        self._written = dict(self._groups.items())
        self._slots: dict[PeerId, int] = {}
        if not config.flood_slow:
            self._slots = {self._peer_at(slot): slot for slot in config.everyone.slots}
        self.peers: tuple[PeerId, ...] = tuple(self._slots)

    def set_flood(self, peers: Iterable[PeerId]) -> None:
        """More than abi.FLOOD of them: the Ganglion floods."""
        self.peers = tuple(dict.fromkeys(peers))
        fits = len(self.peers) <= abi.FLOOD
        before = self._slots
        self._slots = {peer: before[peer] for peer in self.peers if peer in before} if fits else {}
        if fits:
            taken, left = set(self._slots.values()), set(before.values())
            free = sorted((slot for slot in range(abi.FLOOD) if slot not in taken), key=lambda slot: slot in left)
            for peer, slot in zip((peer for peer in self.peers if peer not in before), free, strict=False):
                self._flood.update(_U32.pack(slot), _U32.pack(peer))
                self._slots[peer] = slot
        self._config.flood_slow = not fits
        self._apply()
        for slot in set(before.values()) - set(self._slots.values()):
            self._flood.update(_U32.pack(slot), _U32.pack(0))

    def remove_peer(self, peer: PeerId) -> None:
        if peer in self.peers:
            self.set_flood([each for each in self.peers if each != peer])

    def set_policy(self, policy: GroupPolicy | None, until: float) -> None:
        """``until``: CLOCK_MONOTONIC."""
        same = policy is not None and policy == self._policy
        self._policy, self._until = policy, until
        if same:
            self._write(self._config.elsewhere)
        else:
            self._apply()

    def targets(self, frame: bytes, now: float) -> tuple[PeerId, ...]:
        """Of a group frame that goes through this process."""
        return targets(frame, self.peers, self._policy if now < self._until else None)

    def _apply(self) -> None:
        policy = self._policy
        if policy is None or self._config.flood_slow:
            self._write(self._everyone())
            self._delete(self._written)
            return
        wanted = {_KEY.pack(mac, socket.htons(port)): self._set(peers) for (mac, port), peers in policy.groups.items()}
        elsewhere = self._set(policy.elsewhere)
        if len(wanted) > abi.GROUPS:  # then all IP multicast is flooded
            wanted, elsewhere = {}, self._everyone()
        if len(wanted.keys() | self._written.keys()) > abi.GROUPS:
            self._write(self._everyone())
            self._delete(self._written)
        # With their port first: until it is there, a frame gets the set of (MAC, 0), which may have changed with it.
        for key in sorted(wanted, key=_has_no_port):
            value = bytes(wanted[key])
            if self._written.get(key) != value:
                self._groups.update(key, value)
                self._written[key] = value
        self._write(elsewhere)
        self._delete(self._written.keys() - wanted.keys())

    def _delete(self, keys: Iterable[bytes]) -> None:
        for key in sorted(keys, key=_has_no_port):
            self._groups.delete(key)
            del self._written[key]

    def _write(self, elsewhere: PeerSet) -> None:
        config, policy = self._config, self._policy
        config.everyone, config.elsewhere = self._everyone(), elsewhere
        config.groups_until = int(self._until * _NS) if policy is not None else 0
        config.groups_watch = policy is not None and policy.watch
        self._write_config()

    def _everyone(self) -> PeerSet:
        return PeerSet.of(self._slots.values())

    def _set(self, peers: Iterable[PeerId]) -> PeerSet:
        return PeerSet.of(self._slots[peer] for peer in peers if peer in self._slots)

    def _peer_at(self, slot: int) -> PeerId:
        value = self._flood.lookup(_U32.pack(slot))
        assert value is not None, "an array has all its entries"
        peer: PeerId = _U32.unpack(value)[0]
        return peer


def _has_no_port(key: bytes) -> bool:
    return key.endswith(b"\0\0")
