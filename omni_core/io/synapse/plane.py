"""The kernel engine behind the data-plane port: policy goes into maps, bpf/ moves the frames.

What the python engine does with a frame (``dataplane/userspace.py``) the programs do here, with the same drop reasons.
What they cannot decide reaches this process over omni0-tap and the ring buffer; see bpf/abi.h. Elephants go to a
native engine where there is one (bulk.py). All times are CLOCK_MONOTONIC, as ``now`` and the programs' clock are.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from omni_core.constants import CONTROL_MAC, MAX_FRAME, MIN_FRAME, REJECT_AFTER_TIME
from omni_core.dataplane.groups import GroupPolicy
from omni_core.dataplane.port import (
    NOTE_MAX,
    AdoptedSession,
    Confirmed,
    ControlFrame,
    Datagram,
    DataPlane,
    DataPlaneEvent,
    EndpointMoved,
    FdbEntry,
    SessionKeys,
    SessionStats,
    Unresolved,
    UnresolvedReason,
)
from omni_core.drops import DropCounters, DropReason
from omni_core.errors import LocalMisuse
from omni_core.io.netlink import RouteInfo
from omni_core.io.synapse import abi, packets
from omni_core.io.synapse.bulk import BulkLane, Process, Route
from omni_core.io.synapse.groups import KernelGroups
from omni_core.io.synapse.loader import Loaded
from omni_core.io.synapse.programs import connect
from omni_core.io.synapse.ringbuf import RingBuffer
from omni_core.io.synapse.slots import SessionSlots
from omni_core.io.synapse.tables import KernelFdb
from omni_core.types import Endpoint, Mac, PeerId
from omni_core.wire.ethernet import vlan_id

logger = logging.getLogger(__name__)

_U32 = struct.Struct("=I")
_ZERO = _U32.pack(0)
_NS = 1_000_000_000


@dataclass
class _Peer:
    id: PeerId
    endpoint: Endpoint | None = None
    sending: int | None = None  # receive id of the session that seals
    bulk: bool = False  # opens stream 1


class KernelDataPlane(DataPlane):
    """See the module docstring, and ``DataPlane`` for the contract. One per loaded module; not thread-safe."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        local_mac: Mac | None,
        port: int,
        mac1_key: bytes,
        syn_ifindex: int,
        tap_ifindex: int,
        bulk_ifindex: int,
        port_ifindex: int,
        route: Callable[[Endpoint], RouteInfo | None],
        ageing: float,
        max_per_peer: int,
        max_local: int,
        adopt: bool = False,
    ) -> None:
        """``adopt``: the maps hold the sessions of an earlier process. ``mac1_key``: 32 bytes. Fills every map that the
        programs need, so attach them afterwards."""
        self._maps = loaded.maps
        self._route = route
        self.on_small_frames: Callable[[], None] = lambda: None  # more of them are sent than one CPU should seal
        self._events: list[DataPlaneEvent] = []
        self._datagrams: list[Datagram] = []
        self._tap_packets: list[bytes] = []
        self._write_tap: Callable[[Sequence[bytes]], object] | None = None
        self._drops = DropCounters()
        self._port = port
        self._local: dict[bool, str] = {}  # is IPv6 -> some address of ours
        self._peers: dict[PeerId, _Peer] = {}
        self._ring = RingBuffer(loaded.maps["events"])
        self._closed = False
        mark = bytearray(os.urandom(6))
        mark[0] &= 0xFE  # bpf_redirect_neigh refuses a group address
        old = loaded.maps["config"].lookup(_ZERO)
        assert old is not None
        self._config = abi.Config.from_buffer_copy(old) if adopt else abi.Config(abi=abi.ABI_VERSION)
        if not adopt:
            self._config.mark[:] = bytes(mark).ljust(8, b"\0")
            self._config.flood_slow = 1
            self._config.forwarding = 1
        self._config.syn_ifindex, self._config.tap_ifindex = syn_ifindex, tap_ifindex
        self._config.port_ifindex = port_ifindex
        self._bulk_ifindex = bulk_ifindex
        self._config.port = socket.htons(port)
        self._config.cpus = connect(loaded)
        self._config.mac1_key[:] = mac1_key
        self._config.fdb_max_per_peer, self._config.fdb_max_local = max_per_peer, max_local
        self._groups = KernelGroups(loaded.maps, self._config, self._write_config)
        self._slots = SessionSlots(loaded.maps)
        self._fdb = KernelFdb(loaded.maps["fdb"], loaded.maps["fdb_counts"], ageing, max_per_peer, max_local)
        self.bulk = BulkLane(self._slots, self._fdb, self._switch_bulk)
        if local_mac is not None:
            self._fdb.set_static(local_mac, None, None)
        if adopt:
            self._read_peers()
        self._write_config()

    @property
    def name(self) -> str:
        return "kernel"

    # --- sessions and paths ---

    def add_session(self, keys: SessionKeys, now: float) -> None:
        if len(keys.send_key) != abi.KEY_SIZE or len(keys.receive_key) != abi.KEY_SIZE:
            raise LocalMisuse(f"a session key has {abi.KEY_SIZE} bytes")
        if keys.receive_id in self._slots:
            known = self._slots.read(keys.receive_id)
            if known.peer != keys.peer or known.send_id != keys.send_id:
                raise LocalMisuse("another session has this receive id")
            return
        if not any(keys.send_key) or not any(keys.receive_key):
            raise LocalMisuse("a session was added with a wiped key")
        self._peer(keys.peer)
        both = keys.send_key + keys.receive_key
        expires = int((now + REJECT_AFTER_TIME) * _NS)
        self._slots.add(
            *(keys.peer, keys.send_id, keys.receive_id, both, expires),
            before=lambda slot: self.bulk.add(slot, keys, expires),
        )

    def use_session(self, receive_id: int) -> None:
        self._slots.slot(receive_id)
        peer = self._peer(self._slots.read(receive_id).peer)
        peer.sending = receive_id
        self._write_peer(peer)

    def remove_session(self, receive_id: int) -> None:
        if receive_id not in self._slots:
            return
        self._flush_tap()
        for peer in self._peers.values():
            if peer.sending == receive_id:
                peer.sending = None
                self._write_peer(peer)
        self.bulk.remove(receive_id)
        self._slots.remove(receive_id)

    def session_stats(self, receive_id: int) -> SessionStats:
        session, (own, bulk) = self._slots.read(receive_id), self._slots.read_streams(receive_id)
        return SessionStats(
            tx_frames=session.tx_sequence + bulk.tx_sequence,
            tx_bytes=session.tx_bytes + bulk.tx_bytes,
            rx_frames=session.rx_frames + bulk.rx_frames,
            rx_bytes=session.rx_bytes + bulk.rx_bytes,
            rx_expected=own.next + bulk.next,
            last_tx=max(session.last_tx, bulk.last_tx) / _NS,
            last_rx=max(session.last_rx, bulk.last_rx) / _NS,
            last_tx_data=max(session.last_tx_data, bulk.last_tx) / _NS,  # stream 1 carries no in-session control
            last_rx_data=max(session.last_rx_data, bulk.last_rx) / _NS,
            last_unicast=max(session.last_unicast, bulk.last_unicast) / _NS,
        )

    def remember(self, receive_id: int, note: bytes) -> None:
        if len(note) > NOTE_MAX:
            raise LocalMisuse(f"a note of {len(note)} bytes; {NOTE_MAX} at most")
        self._slots.remember(receive_id, note)

    def adopted(self) -> list[AdoptedSession]:
        self._ring.read()
        self._events.clear()
        offered = []
        for receive_id in self._slots.ids():
            note = self._slots.note(receive_id)
            if not note:
                self.remove_session(receive_id)
                continue
            session, streams = self._slots.read(receive_id), self._slots.read_streams(receive_id)
            peer = self._peer(session.peer)
            offered.append(
                AdoptedSession(
                    peer=peer.id,
                    send_id=session.send_id,
                    receive_id=receive_id,
                    sending=peer.sending == receive_id,
                    confirmed=bool(session.confirmed or streams[abi.BULK_STREAM].rx_frames),
                    expires=session.expires / _NS,
                    path=peer.endpoint,
                    note=note,
                )
            )
        wanted = {session.peer for session in offered}
        for peer_id in [peer_id for peer_id in self._peers if peer_id not in wanted]:
            self.remove_peer(peer_id)
        return offered

    def set_path(self, peer: PeerId, endpoint: Endpoint) -> None:
        known = self._peer(peer)
        known.endpoint = endpoint
        self._write_peer(known, forget_move=True)

    def set_streams(self, peer: PeerId, bulk: bool) -> None:
        known = self._peer(peer)
        if known.bulk != bulk:
            known.bulk = bulk
            self._write_peer(known)

    def remove_peer(self, peer: PeerId) -> None:
        if peer not in self._peers:
            return
        self._flush_tap()
        del self._peers[peer]
        self._maps["peers"].delete(_U32.pack(peer))
        self.bulk.remove_peer(peer)
        for receive_id in self._slots.ids():
            if self._slots.read(receive_id).peer == peer:
                self._slots.remove(receive_id)
        self._groups.remove_peer(peer)
        self._fdb.close_owner(peer)

    def refresh_routes(self) -> None:
        """Addresses, links or routes of this machine changed."""
        for peer in self._peers.values():
            self._write_peer(peer)

    def set_local_addresses(self, hosts: Iterable[str]) -> None:
        """IP addresses of this machine: data and control that come to others are not for us."""
        wanted = {abi.pack_address(host): host for host in hosts}
        held = self._maps["local_addresses"]
        for key, _ in list(held.items()):
            if key not in wanted:
                held.delete(key)
        for key in wanted:
            held.update(key, _U32.pack(1))
        self._local = {":" in host: host for host in wanted.values()}

    # --- switching ---

    def set_flood(self, peers: Iterable[PeerId]) -> None:
        wanted = tuple(peers)
        for peer in wanted:
            self._peer(peer)
        self._groups.set_flood(wanted)

    def set_groups(self, policy: GroupPolicy | None, until: float) -> None:
        self._groups.set_policy(policy, until)

    def set_static(self, mac: Mac, peer: PeerId | None, vlan: int | None = None) -> None:
        if peer is not None:
            self._peer(peer)
        self._fdb.set_static(mac, peer, vlan)

    def remove_static(self, mac: Mac, vlan: int | None = None) -> None:
        self._fdb.remove_static(mac, vlan)

    def fdb(self, now: float) -> list[FdbEntry]:
        return self._fdb.rows(now)

    # --- traffic ---

    def frames_from_port(self, frames: Sequence[bytes], now: float) -> None:
        """Group frames that ``receive_from_tap`` gave: sent from here. The programs have checked them."""
        for frame in frames:
            if not frame[0] & 1:
                known, owner = self._fdb.find(frame[0:6], vlan_id(frame))
                if not known:
                    self._events.append(Unresolved(frame, UnresolvedReason.UNKNOWN_DESTINATION, None))
                elif owner is not None:
                    self._seal_or_tell(owner, frame, now)
            elif frame[0:6] == CONTROL_MAC:
                self._drops.add(DropReason.RESERVED_DESTINATION)
            else:
                for peer in self._groups.targets(frame, now):
                    self._seal_or_tell(peer, frame, now)

    def frames_to_peer(self, peer: PeerId, frames: Sequence[bytes], now: float) -> None:
        known = self._peers.get(peer)
        for frame in frames:
            if not self._is_carried(frame):
                continue
            if known is None or known.sending is None:
                self._drops.add(DropReason.NO_SESSION)
            else:
                self._tap_packets.append(packets.seal_request(peer, frame))

    def frames_to_port(self, frames: Sequence[bytes], now: float) -> None:
        self._tap_packets += [packets.local_request(frame) for frame in frames if self._is_carried(frame)]

    def datagrams_from_underlay(self, datagrams: Sequence[Datagram], now: float) -> None:
        """Data that XDP has not seen: fragments, interfaces without XDP, loopback. Back to the programs with it."""
        for payload, source in datagrams:
            endpoint = Endpoint(*source)
            if self.bulk.open(payload, endpoint):
                continue
            local = self._local.get(endpoint.is_ipv6, "::" if endpoint.is_ipv6 else "0.0.0.0")
            self._tap_packets.append(packets.open_request(payload, endpoint, local, self._port))

    def receive_from_tap(self, raw: Sequence[bytes], now: float) -> list[bytes]:
        """What the programs wrote to the TAP. Returns group frames, for ``GanglionEngine.receive_frames``."""
        group = []
        for packet in raw:
            message = packets.parse(packet)
            if message is None:
                self._drops.add(DropReason.NOT_MARKED)
            elif message.kind == abi.SlowKind.GROUP:
                group.append(message.body)
            elif message.kind == abi.SlowKind.SEND:
                self._datagrams.append((message.body, message.endpoint))
            elif message.kind == abi.SlowKind.CONTROL:
                self._events.append(ControlFrame(message.receive_id, message.body, message.endpoint))
            elif message.kind == abi.SlowKind.UNKNOWN:
                self._events.append(Unresolved(message.body, UnresolvedReason.UNKNOWN_DESTINATION, None))
            elif message.kind == abi.SlowKind.NO_SESSION:
                self._events.append(Unresolved(message.body, UnresolvedReason.NO_SESSION, message.peer))
            else:
                self._drops.add(DropReason.NOT_MARKED)
        return group

    def take_tap_packets(self) -> list[bytes]:
        """To be written to the TAP."""
        taken, self._tap_packets = self._tap_packets, []
        return taken

    def set_tap_writer(self, write: Callable[[Sequence[bytes]], object] | None) -> None:
        """What is to be sealed is written before a session ends: a goodbye still needs it. ``write`` gets packets."""
        self._write_tap = write

    @property
    def events_fd(self) -> int:
        """Readable when ``read_events`` has something to do."""
        return self._ring.fileno()

    def read_events(self, now: float) -> None:
        for record in self._ring.read():
            event = abi.Event.from_buffer_copy(record)
            if event.kind == abi.EventKind.SMALL_FRAMES:
                self.on_small_frames()
            elif event.kind == abi.EventKind.FDB_FULL:
                self._fdb.evict(None if event.peer == abi.OWNER_LOCAL else event.peer)
            elif event.receive_id not in self._slots:
                continue  # of a session that is gone
            elif event.kind == abi.EventKind.CONFIRMED:
                self._events.append(Confirmed(event.receive_id))
            elif event.kind == abi.EventKind.MOVED:
                source = abi.unpack_endpoint(bytes(event.address), event.port)
                self._events.append(EndpointMoved(event.receive_id, source))

    def read_bulk(self, now: float) -> list[Datagram]:
        """News of the native engine. Returns packets of its sockets, for ``GanglionEngine.receive_datagrams``."""
        events, strays = self.bulk.read(now)
        self._events += events
        return strays

    def take_datagrams(self) -> list[Datagram]:
        taken, self._datagrams = self._datagrams, []
        return taken

    def take_frames(self) -> list[bytes]:
        return []  # the programs deliver

    def take_events(self) -> list[DataPlaneEvent]:
        taken, self._events = self._events, []
        return taken

    # --- housekeeping ---

    def tick(self, now: float) -> None:
        self._fdb.age(now)

    def ways(self) -> dict[int, int]:
        """Every counter of the programs and the native engine that is not zero, by number: DropReason, or a Way."""
        counted = self.bulk.counters()
        for key, value in self._maps["counters"].items():
            counted[_U32.unpack(key)[0]] += sum(struct.unpack(f"={len(value) // 8}Q", value))
        return {number: count for number, count in sorted(counted.items()) if count}

    def drops(self) -> Mapping[DropReason, int]:
        total = Counter(self._drops.as_dict())
        for way, count in self.ways().items():
            if way < abi.FIRST_WAY:
                total[DropReason(way)] += count
        return dict(sorted(total.items()))

    def detach(self) -> None:
        """Let go of the maps and leave everything running, for the next process. Idempotent."""
        if not self._closed:
            self._closed = True
            self.bulk.detach()
            self._slots.close()
            self._ring.close()

    def close(self) -> None:
        if not self._closed:
            self._config.forwarding = 0
            self._write_config()
            self.bulk.end()
            for receive_id in self._slots.ids():
                self._slots.remove(receive_id)
        self.detach()

    # --- the bulk lane ---

    def use_engine(self, process: Process) -> bool:
        """Elephants go to this native engine from now on, see ``BulkLane.take``. False: it was lost meanwhile."""
        if not self._config.bulk_ifindex:
            self.refresh_routes()  # entries of an engine before
        self.bulk.take(process, self._peers)
        self.refresh_routes()
        return self.bulk.engine is not None

    def _switch_bulk(self, on: bool) -> None:
        wanted = self._bulk_ifindex if on else 0
        if self._config.bulk_ifindex != wanted:
            self._config.bulk_ifindex = wanted
            self._write_config()

    # --- inside ---

    def _flush_tap(self) -> None:
        if self._write_tap is not None and self._tap_packets:
            self._write_tap(self.take_tap_packets())

    def _peer(self, peer_id: PeerId) -> _Peer:
        peer = self._peers.get(peer_id)
        if peer is None:
            peer = self._peers[peer_id] = _Peer(peer_id)
            self._fdb.open_owner(peer_id)
            self._write_peer(peer)
        return peer

    def _is_carried(self, frame: bytes) -> bool:
        """By its length; else it is dropped and counted."""
        if MIN_FRAME <= len(frame) <= MAX_FRAME:
            return True
        short = len(frame) < MIN_FRAME
        self._drops.add(DropReason.FRAME_TOO_SHORT if short else DropReason.FRAME_TOO_LONG)
        return False

    def _seal_or_tell(self, peer_id: PeerId, frame: bytes, now: float) -> None:
        peer = self._peers.get(peer_id)
        if peer is None or peer.sending is None:
            self._events.append(Unresolved(frame, UnresolvedReason.NO_SESSION, peer_id))
        else:
            self._tap_packets.append(packets.seal_request(peer_id, frame))

    def _write_peer(self, peer: _Peer, forget_move: bool = False) -> None:
        """``forget_move``: the programs may say EndpointMoved again for the place they last said it for."""
        key = _U32.pack(peer.id)
        value = abi.Peer(slot=abi.NO_SLOT)
        old = None if forget_move else self._maps["peers"].lookup(key)
        if old is not None:
            before = abi.Peer.from_buffer_copy(old)
            value.moved, value.moved_port = before.moved, before.moved_port
        if peer.sending is not None:
            value.slot = self._slots.slot(peer.sending)
        endpoint = peer.endpoint
        mtu = 0
        if endpoint is not None:
            value.remote[:] = abi.pack_address(endpoint.host)
            value.remote_port = socket.htons(endpoint.port)
            value.ip_header = 40 if endpoint.is_ipv6 else 20
            route = self._route(endpoint)
            if route is not None:
                mtu = min(route.mtu, 0xFFFF)
                value.ifindex, value.mtu = route.ifindex, mtu
                value.local[:] = abi.pack_address(route.source)
        carried = self.bulk.follow(peer.id, Route(endpoint, mtu, peer.sending), forget_move)
        value.bulk = carried and peer.bulk
        self._maps["peers"].update(key, bytes(value))

    def _read_peers(self) -> None:
        by_slot = {self._slots.slot(receive_id): receive_id for receive_id in self._slots.ids()}
        for key, raw in self._maps["peers"].items():
            value = abi.Peer.from_buffer_copy(raw)
            peer = _Peer(_U32.unpack(key)[0])
            if value.remote_port:
                peer.endpoint = abi.unpack_endpoint(bytes(value.remote), value.remote_port)
            peer.sending = by_slot.get(value.slot)
            peer.bulk = bool(value.bulk)
            self._peers[peer.id] = peer

    def _write_config(self) -> None:
        self._maps["config"].update(_ZERO, bytes(self._config))
