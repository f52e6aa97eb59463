"""The kernel engine as a DataPlane that a test can use like the python one: every frame and datagram goes through the
programs by BPF_PROG_TEST_RUN, and what they hand to the TAP is carried back and forth as the driver would.

Differences to the python engine, by design: a group frame for a peer of the flood set without a session is dropped and
counted (NO_SESSION) instead of told; an owner at its FDB bound learns nothing until a quarter of its entries has gone,
where python lets the oldest go for each new one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from support.outer import packet, take_apart
from support.synapse import HERE_4, HERE_6, PORT, XDP_DROP, XDP_PASS, XDP_REDIRECT, Rig

from omni_core.constants import REJECT_AFTER_TIME
from omni_core.dataplane.groups import GroupPolicy
from omni_core.dataplane.port import (
    AdoptedSession,
    Datagram,
    DataPlane,
    DataPlaneEvent,
    FdbEntry,
    SessionKeys,
    SessionStats,
)
from omni_core.drops import DropReason
from omni_core.io.synapse import abi
from omni_core.types import Endpoint, Mac, PeerId

_NS = 10**9
_PREFIX = abi.SLOW_MAC + bytes(6) + abi.SLOW_ETHERTYPE.to_bytes(2, "big")
_SET = abi.SlowPrefix.address.offset  # of the peers that synapse_out clones for
_SLACK = 0.05  # s; a test's clock stands still while ours goes on


class DrivenPlane(DataPlane):
    """``virtual``: the test's ``now`` is a number of its own instead of CLOCK_MONOTONIC. The past is then moved in the
    maps, so that everything looks as old as the test believes it to be."""

    def __init__(self, rig: Rig, *, virtual: bool = False) -> None:
        self.rig, self.kernel = rig, rig.plane
        self._virtual = virtual
        self._base: float | None = None  # virtual - real, as of the last call
        self._expires: dict[int, float] = {}  # receive id -> the test's time
        self._datagrams: list[Datagram] = []
        self._frames: list[bytes] = []
        self._events: list[DataPlaneEvent] = []
        self._flood: tuple[PeerId, ...] = ()
        self._until = 0.0  # of the policy of groups, the test's time

    @property
    def name(self) -> str:
        return self.kernel.name

    # --- sessions and paths, switching ---

    def add_session(self, keys: SessionKeys, now: float) -> None:
        self.kernel.add_session(keys, self._real(now))
        self._expires.setdefault(keys.receive_id, now + REJECT_AFTER_TIME)

    def use_session(self, receive_id: int) -> None:
        self.kernel.use_session(receive_id)

    def remove_session(self, receive_id: int) -> None:
        self.kernel.remove_session(receive_id)

    def session_stats(self, receive_id: int) -> SessionStats:
        stats = self.kernel.session_stats(receive_id)
        times = ("last_tx", "last_rx", "last_tx_data", "last_rx_data", "last_unicast")
        return replace(stats, **{name: self._shown(getattr(stats, name)) for name in times})

    def remember(self, receive_id: int, note: bytes) -> None:
        self.kernel.remember(receive_id, note)

    def adopted(self) -> list[AdoptedSession]:
        self._events.clear()
        return [replace(each, expires=self._shown(each.expires)) for each in self.kernel.adopted()]

    def set_path(self, peer: PeerId, endpoint: Endpoint) -> None:
        self.kernel.set_path(peer, endpoint)

    def set_streams(self, peer: PeerId, bulk: bool) -> None:
        self.kernel.set_streams(peer, bulk)

    def remove_peer(self, peer: PeerId) -> None:
        self._flood = tuple(each for each in self._flood if each != peer)
        self.kernel.remove_peer(peer)

    def set_flood(self, peers: Iterable[PeerId]) -> None:
        self._flood = tuple(dict.fromkeys(peers))
        self.kernel.set_flood(self._flood)

    def set_groups(self, policy: GroupPolicy | None, until: float) -> None:
        self._until = until
        self.kernel.set_groups(policy, until if self._base is None else until - self._base)

    def set_static(self, mac: Mac, peer: PeerId | None, vlan: int | None = None) -> None:
        self.kernel.set_static(mac, peer, vlan)

    def remove_static(self, mac: Mac, vlan: int | None = None) -> None:
        self.kernel.remove_static(mac, vlan)

    def fdb(self, now: float) -> list[FdbEntry]:
        rows = self.kernel.fdb(self._real(now))
        return [replace(row, age=round(row.age, 1)) for row in rows] if self._virtual else rows

    # --- traffic ---

    def frames_from_port(self, frames: Sequence[bytes], now: float) -> None:
        self._real(now)
        for frame in frames:
            if len(frame) < 14:  # no interface delivers it, and a test run refuses it
                self.kernel._drops.add(DropReason.FRAME_TOO_SHORT)
            else:
                self._follow(self.rig.run("tx", frame), now)

    def frames_to_peer(self, peer: PeerId, frames: Sequence[bytes], now: float) -> None:
        self._real(now)
        self.kernel.frames_to_peer(peer, frames, now)
        self._from_ganglion(now)

    def frames_to_port(self, frames: Sequence[bytes], now: float) -> None:
        self._real(now)
        self.kernel.frames_to_port(frames, now)
        self._from_ganglion(now)

    def datagrams_from_underlay(self, datagrams: Sequence[Datagram], now: float) -> None:
        self._real(now)
        for payload, source in datagrams:
            remote = Endpoint(*source)
            here = Endpoint(HERE_6 if remote.is_ipv6 else HERE_4, PORT)
            verdict = self.rig.run("rx", packet(payload, remote, here, checksum=False))
            self.kernel.read_events(now)
            if verdict.code == XDP_PASS:  # control: the socket's
                continue
            if verdict.code == XDP_REDIRECT and not verdict.data.startswith(_PREFIX):
                self._frames.append(verdict.data)
            elif verdict.code == XDP_REDIRECT:
                assert self.kernel.receive_from_tap([verdict.data], now) == []
            self._collect()

    def take_datagrams(self) -> list[Datagram]:
        taken, self._datagrams = self._datagrams, []
        return taken

    def take_frames(self) -> list[bytes]:
        taken, self._frames = self._frames, []
        return taken

    def take_events(self) -> list[DataPlaneEvent]:
        taken, self._events = self._events, []
        return taken

    # --- housekeeping ---

    def tick(self, now: float) -> None:
        self.kernel.tick(self._real(now) + (_SLACK if self._virtual else 0.0))

    def drops(self) -> Mapping[DropReason, int]:
        return self.kernel.drops()

    def close(self) -> None:
        self.kernel.close()

    # --- inside ---

    def _follow(self, verdict: Any, now: float) -> None:
        """What synapse_tx gave goes where the interface, synapse_out or the Ganglion would take it."""
        code, data = verdict
        if code == XDP_REDIRECT and not data.startswith(_PREFIX):
            self._frames.append(data)
        elif code == XDP_REDIRECT:
            group = self.kernel.receive_from_tap([data], now)
            if group:
                self.kernel.frames_from_port(group, self._real(now))
            self._from_ganglion(now)
        elif code == XDP_PASS and data[12:14] == _PREFIX[12:]:
            assert data[:6] == self.rig.mark(), "synapse_out would drop it"
            peers = {self.rig.flooded_peer(slot) for slot in abi.PeerSet.from_buffer_copy(data, _SET).slots}
            assert peers <= set(self._flood)
            for peer in (each for each in self._flood if each in peers):  # in the order that python has
                clone = data[:16] + peer.to_bytes(4, "little") + data[20:]
                self._follow(self.rig.run_from_tap(clone), now)
        elif code == XDP_PASS:
            opened = take_apart(data)
            assert opened.ethernet[:6] == self.rig.mark(), "synapse_out would drop it"
            self._datagrams.append((opened.payload, opened.destination))
        else:
            assert code == XDP_DROP
        self.kernel.read_events(now)
        self._collect()

    def _from_ganglion(self, now: float) -> None:
        while written := self.kernel.take_tap_packets():
            for each in written:
                self._follow(self.rig.run_from_tap(each), now)
        self._collect()

    def _collect(self) -> None:
        self._events += self.kernel.take_events()
        self._datagrams += self.kernel.take_datagrams()

    # --- the test's clock ---

    def _real(self, now: float) -> float:
        """CLOCK_MONOTONIC at the test's ``now``, which is this moment."""
        if not self._virtual:
            return now
        real = time.monotonic()
        if self._base is not None:
            self._age(now, now - real - self._base)
        self._base = now - real
        return real

    def _shown(self, real: float) -> float:
        if not self._virtual or not real:
            return real
        assert self._base is not None
        return round(real + self._base, 1)

    def _age(self, now: float, seconds: float) -> None:
        """Everything that has happened did so ``seconds`` longer ago."""
        shift = int(seconds * _NS)

        def earlier(nanoseconds: int) -> int:
            return max(1, nanoseconds - shift) if nanoseconds else 0

        groups = self.kernel._groups
        if groups._policy is not None:
            left = self._until - now
            groups._until = time.monotonic() + (max(left, _SLACK) if left > 0 else min(left, 0.0))
            with self.rig.config() as config:
                config.groups_until = max(0, int(groups._until * _NS))
        for receive_id in self.kernel._slots.ids():
            with self.rig.session(receive_id) as session:
                left = self._expires[receive_id] - now
                if left > 0:
                    left = max(left, _SLACK)  # or it would be over before the test's clock says so
                session.expires = max(1, time.monotonic_ns() + int(left * _NS))
                for name in ("last_tx", "last_tx_data", "last_rx", "last_rx_data", "last_unicast"):
                    setattr(session, name, earlier(getattr(session, name)))
        held = self.rig.maps["fdb"]
        for key, value in list(held.items()):
            entry = abi.FdbValue.from_buffer_copy(value)
            if entry.seen:
                entry.seen = earlier(entry.seen)
                held.update(key, bytes(entry))
