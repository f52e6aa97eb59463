"""The native engine alone, behind the data-plane port: policy goes to its process, which moves the frames.

What the python engine does with a frame (``dataplane/userspace.py``) the process does, with the same drop reasons. What
it cannot decide comes here as events. All times are CLOCK_MONOTONIC, which ``now`` and its clock have in common.

When the process is gone, calls change nothing any more and never raise for it: whoever drives the Ganglion is told once
(``on_gone``), and makes a new one.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from omni_core.constants import DATA_OVERHEAD, FIRST_DATA_BYTE, MIN_FRAME, REJECT_AFTER_TIME
from omni_core.dataplane.groups import GroupPolicy
from omni_core.dataplane.port import (
    NOTE_MAX,
    AdoptedSession,
    Confirmed,
    Datagram,
    DataPlane,
    DataPlaneEvent,
    EndpointMoved,
    FdbEntry,
    SessionKeys,
    SessionStats,
)
from omni_core.drops import DropCounters, DropReason
from omni_core.errors import LocalMisuse, SystemRefused
from omni_core.io.native import protocol
from omni_core.io.native.client import EngineGone, NativeClient
from omni_core.io.native.events import Event, ForeignDatagram, GroupFrame, Learned
from omni_core.io.netlink import RouteInfo
from omni_core.types import Endpoint, Mac, PeerId

logger = logging.getLogger(__name__)

_NS = 1_000_000_000
_MIN_PACKET = DATA_OVERHEAD + MIN_FRAME


class NativeDataPlane(DataPlane):
    """See the module docstring, and ``DataPlane`` for the contract. Not thread-safe."""

    def __init__(
        self,
        client: NativeClient,
        *,
        local_mac: Mac | None,
        route: Callable[[Endpoint], RouteInfo | None],
        ageing: float,
        max_per_peer: int,
        max_local: int,
    ) -> None:
        """Over a connection that stays the caller's to close. What the engine holds of an earlier Ganglion stays for
        ``adopted``. Forwarding begins. Raises EngineGone, or LocalMisuse for a limit below 1."""
        if max_per_peer < 1 or max_local < 1:
            raise LocalMisuse("a forwarding table with a limit below 1")
        self._client = client
        self._route = route
        self._paths: dict[PeerId, tuple[Endpoint, int]] = {}  # and the MTU that the engine was told; 0: unknown
        self._sessions: dict[int, tuple[PeerId, int]] = {}  # receive id -> peer, send id
        self._events: list[DataPlaneEvent] = []
        self._counted: dict[int, int] = {}  # as last read
        self._drops = DropCounters()  # before the engine
        self._policy: GroupPolicy | None = None  # that the engine has
        self.gone: EngineGone | None = None
        self.on_gone: Callable[[EngineGone], None] = lambda gone: None
        self._guard = _Guard(self._tell_gone)
        client.configure(ageing, max_per_peer, max_local)
        if local_mac is not None:
            client.set_static(local_mac, None, None)
        for row in client.sessions():
            self._sessions[row.receive_id] = row.peer, row.send_id
            if row.path is not None:
                self._paths[row.peer] = row.path, 0
        client.forward(True)

    @property
    def name(self) -> str:
        return "native"

    # --- sessions and paths ---

    def add_session(self, keys: SessionKeys, now: float) -> None:
        if len(keys.send_key) != protocol.KEY_SIZE or len(keys.receive_key) != protocol.KEY_SIZE:
            raise LocalMisuse(f"a session key has {protocol.KEY_SIZE} bytes")
        known = self._sessions.get(keys.receive_id)
        if known is not None:
            if known != (keys.peer, keys.send_id):
                raise LocalMisuse("another session has this receive id")
            return
        if not any(keys.send_key) or not any(keys.receive_key):
            raise LocalMisuse("a session was added with a wiped key")
        expires = int((now + REJECT_AFTER_TIME) * _NS)
        with self._guard:
            self._client.add_session(
                keys.peer,
                protocol.NO_SLOT,
                keys.send_id,
                keys.receive_id,
                keys.send_key,
                keys.receive_key,
                expires,
            )
        self._sessions[keys.receive_id] = keys.peer, keys.send_id

    def use_session(self, receive_id: int) -> None:
        self._check(receive_id)
        with self._guard:
            self._client.use_session(receive_id)

    def remove_session(self, receive_id: int) -> None:
        if self._sessions.pop(receive_id, None) is not None:
            with self._guard:
                self._client.remove_session(receive_id)

    def session_stats(self, receive_id: int) -> SessionStats:
        self._check(receive_id)
        with self._guard:
            stats = self._client.stats(receive_id)
            return SessionStats(
                tx_frames=stats.tx_frames,
                tx_bytes=stats.tx_bytes,
                rx_frames=stats.rx_frames,
                rx_bytes=stats.rx_bytes,
                last_tx=stats.last_tx / _NS,
                last_rx=stats.last_rx / _NS,
                last_tx_data=stats.last_tx_data / _NS,
                last_rx_data=stats.last_rx_data / _NS,
                last_unicast=stats.last_unicast / _NS,
                rx_expected=stats.rx_expected,
            )
        return SessionStats()

    def remember(self, receive_id: int, note: bytes) -> None:
        if len(note) > NOTE_MAX:
            raise LocalMisuse(f"a note of {len(note)} bytes; {NOTE_MAX} at most")
        self._check(receive_id)
        with self._guard:
            self._client.remember(receive_id, note)

    def adopted(self) -> list[AdoptedSession]:
        with self._guard:
            return self._adopted()
        return []

    def _adopted(self) -> list[AdoptedSession]:
        while self._client.take_events():
            pass
        self._events.clear()
        offered = [
            AdoptedSession(
                peer=row.peer,
                send_id=row.send_id,
                receive_id=row.receive_id,
                sending=row.sending,
                confirmed=row.confirmed,
                expires=row.expires / _NS,
                path=row.path,
                note=row.note,
            )
            for row in self._client.sessions()
            if row.note
        ]
        peers = {each.peer for each in offered}
        self._client.retain((each.receive_id for each in offered), peers)
        self._sessions = {each.receive_id: (each.peer, each.send_id) for each in offered}
        self._paths = {each.peer: (each.path, 0) for each in offered if each.path is not None}
        return offered

    def set_path(self, peer: PeerId, endpoint: Endpoint) -> None:
        self._write_path(peer, endpoint, self._mtu(endpoint))

    def set_streams(self, peer: PeerId, bulk: bool) -> None:
        """It seals on stream 0 only."""

    def remove_peer(self, peer: PeerId) -> None:
        self._paths.pop(peer, None)
        self._sessions = {number: held for number, held in self._sessions.items() if held[0] != peer}
        with self._guard:
            self._client.remove_peer(peer)

    def refresh_routes(self) -> None:
        """Addresses, links or routes of this machine changed: how long a packet to a peer may be."""
        for peer, (endpoint, known) in list(self._paths.items()):
            mtu = self._mtu(endpoint)
            if mtu != known:
                self._write_path(peer, endpoint, mtu)

    # --- switching ---

    def set_flood(self, peers: Iterable[PeerId]) -> None:
        with self._guard:
            self._client.set_flood(list(dict.fromkeys(peers)))

    def set_groups(self, policy: GroupPolicy | None, until: float) -> None:
        same = policy is not None and policy == self._policy
        until_ns = max(int(until * _NS), 1)
        self._policy = policy
        with self._guard:
            if same and policy is not None:
                self._client.extend_groups(policy.watch, until_ns)
                return
            try:
                self._client.set_groups(policy, until_ns)
            except LocalMisuse as misuse:
                logger.warning("all group frames are flooded: %s", misuse)
                self._client.set_groups(None, 0)
                self._policy = None

    def set_static(self, mac: Mac, peer: PeerId | None, vlan: int | None = None) -> None:
        with self._guard:
            self._client.set_static(mac, peer, vlan)

    def remove_static(self, mac: Mac, vlan: int | None = None) -> None:
        with self._guard:
            self._client.remove_static(mac, vlan)

    def fdb(self, now: float) -> list[FdbEntry]:
        with self._guard:
            return [
                FdbEntry(
                    mac=row.mac,
                    vlan=row.vlan,
                    peer=row.owner,
                    static=row.static,
                    age=0.0 if row.static else max(0.0, now - row.seen / _NS),
                )
                for row in self._client.fdb()
            ]
        return []

    # --- traffic ---

    def frames_from_port(self, frames: Sequence[bytes], now: float) -> None:
        """Group frames that ``read_events`` gave, and whatever the Ganglion wants to be sent as if the port had."""
        with self._guard:
            for frame in frames:
                if not self._client.port_frame(frame):
                    self._drops.add(DropReason.SEND_FAILED)

    def frames_to_peer(self, peer: PeerId, frames: Sequence[bytes], now: float) -> None:
        with self._guard:
            for frame in frames:
                if len(frame) < MIN_FRAME:
                    self._drops.add(DropReason.FRAME_TOO_SHORT)
                elif not self._client.seal(peer, frame):
                    self._drops.add(DropReason.SEND_FAILED)

    def frames_to_port(self, frames: Sequence[bytes], now: float) -> None:
        with self._guard:
            for frame in frames:
                if not self._client.to_port(frame):
                    self._drops.add(DropReason.SEND_FAILED)

    def datagrams_from_underlay(self, datagrams: Sequence[Datagram], now: float) -> None:
        """Data that reached the Ganglion's own socket: merged with control, by a hash, or too short to be told."""
        with self._guard:
            for payload, source in datagrams:
                if len(payload) < _MIN_PACKET:
                    self._drops.add(DropReason.TOO_SHORT)
                elif not self._client.datagram(payload, source):
                    self._drops.add(DropReason.SEND_FAILED)

    def read_events(self) -> tuple[list[bytes], list[Datagram]]:
        """What the engine tells. Returns group frames of the local port, for ``GanglionEngine.receive_frames``, and
        control messages, for ``receive_datagrams``; the rest is in ``take_events``."""
        events: list[Event] = []
        with self._guard:
            events = self._client.take_events()
        group: list[bytes] = []
        control: list[Datagram] = []
        for event in events:
            if isinstance(event, GroupFrame):
                group.append(event.frame)
            elif isinstance(event, ForeignDatagram):
                # It has refused data already: back to it with that would be a circle.
                if event.payload and event.payload[0] < FIRST_DATA_BYTE:
                    control.append((event.payload, event.source))
            elif isinstance(event, Learned):
                pass  # beside the engine in the kernel only
            elif not isinstance(event, (Confirmed, EndpointMoved)) or event.receive_id in self._sessions:
                self._events.append(event)  # not of a session that is gone
        return group, control

    @property
    def pending(self) -> bool:
        """``read_events`` has something to do, though the connection may not be readable."""
        return self.gone is None and self._client.pending

    def fileno(self) -> int:
        """Readable when ``read_events`` has something to do."""
        return self._client.fileno()

    def take_datagrams(self) -> list[Datagram]:
        return []  # the engine sends

    def take_frames(self) -> list[bytes]:
        return []  # the engine delivers

    def take_events(self) -> list[DataPlaneEvent]:
        taken, self._events = self._events, []
        return taken

    # --- housekeeping ---

    def tick(self, now: float) -> None:
        """The engine looks after its table."""

    def ways(self) -> dict[int, int]:
        """Every counter of the engine that is not zero, by number: DropReason, or protocol.Way."""
        with self._guard:
            self._counted = self._client.counters()
        return self._counted

    def drops(self) -> Mapping[DropReason, int]:
        total = Counter(self._drops.as_dict())
        ways = self.ways()
        for reason in DropReason:
            total[reason] += ways.get(reason, 0)
        return {reason: count for reason, count in sorted(total.items()) if count}

    def close(self) -> None:
        """The engine forgets all sessions and peers, and forwards nothing any more."""
        with self._guard:
            self._client.forward(False)
            self._client.retain((), ())
        self._sessions.clear()
        self._paths.clear()

    # --- inside ---

    def _tell_gone(self, gone: EngineGone) -> None:
        if self.gone is None:
            self.gone = gone
            self.on_gone(gone)

    def _check(self, receive_id: int) -> None:
        if receive_id not in self._sessions:
            raise LocalMisuse("there is no session with this receive id")

    def _mtu(self, endpoint: Endpoint) -> int:
        """0: not known."""
        try:
            route = self._route(endpoint)
        except OSError:  # its zone is no interface any more
            return 0
        return route.mtu if route is not None else 0

    def _write_path(self, peer: PeerId, endpoint: Endpoint, mtu: int) -> None:
        with self._guard:
            try:
                self._client.set_peer(peer, endpoint, mtu)
                self._paths[peer] = endpoint, mtu
            except OSError as error:
                logger.debug("no path to %s: %s", endpoint, error)


class _Guard:
    """What is done ``with`` it ends where the engine has gone, which is told, or refuses something, which is logged."""

    def __init__(self, tell: Callable[[EngineGone], None]) -> None:
        self._tell = tell

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if isinstance(error, EngineGone):
            self._tell(error)
        elif isinstance(error, SystemRefused):
            logger.warning("%s", error)
        else:
            return False
        return True
