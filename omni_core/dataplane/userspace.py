"""The python engine behind the data-plane port: the oracle that other engines are tested against, and the last resort.

What becomes of a frame from the local port
    too short, too long, to CONTROL_MAC, group source  -> dropped, counted
    source pinned to a peer                            -> dropped (SPLIT_HORIZON): it came over the overlay and looped
    to a group address                                 -> sealed for each peer of the flood set, or those that a
                                                          policy leaves of it (groups.py). Nothing is watched here:
                                                          the Ganglion has seen every frame before
    destination known at a peer                        -> sealed for that peer
    destination known at the local port                -> left alone, not counted: the bridge there has delivered it
    destination unknown                                -> Unresolved; the Ganglion floods it, queues it or asks
    peer without a session that may still seal         -> Unresolved; without a path, dropped (NO_PATH)

What becomes of a datagram from the underlay: the first check that fails, in this order, is its drop reason.
    TOO_SHORT, TOO_LONG, UNKNOWN_TYPE, BAD_NONCE, UNKNOWN_SESSION, SESSION_EXPIRED, REPLAYED, BAD_TAG
    Up to here nothing but a counter has changed. From here on the packet is the peer's, and is fresh:
    the window moves, the session is confirmed, the endpoint may have moved; then
    in-session control                                 -> ControlFrame
    CONTROL_MAC with another EtherType                 -> dropped (BAD_INNER_FRAME)
    source a group address, or pinned elsewhere        -> dropped (SOURCE_MAC_REFUSED)
    any other                                          -> learned; to the local port, wherever the destination lives
Nothing that comes from the underlay is ever sent to the underlay: neither an answer nor a forwarded frame.

This engine is the only one that seals, so it seals on stream 0 and path 0 (nonce = sequence). It opens streams 0 and 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from omni_core.constants import (
    CONTROL_MAC,
    DATA_OVERHEAD,
    ETHERNET_HEADER,
    FDB_AGEING,
    FDB_MAX_LOCAL,
    FDB_MAX_PER_PEER,
    FIRST_DATA_BYTE,
    HEADER_SIZE,
    LANE_SHIFT,
    MAX_FRAME,
    MIN_FRAME,
    REJECT_AFTER_MESSAGES,
    SEQUENCE_MASK,
    STREAM_SHIFT,
)
from omni_core.crypto.errors import AuthenticationFailed
from omni_core.dataplane.groups import GroupPolicy, targets
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
from omni_core.dataplane.state import STREAMS, PeerState, SessionState
from omni_core.drops import DropCounters, DropReason
from omni_core.errors import LocalMisuse
from omni_core.fdb import Fdb
from omni_core.session.replay import ReplayWindow
from omni_core.types import Endpoint, Mac, PeerId
from omni_core.wire.ethernet import TPIDS, is_control, vlan_id
from omni_core.wire.header import HEADER

_MIN_PACKET = DATA_OVERHEAD + MIN_FRAME
_MAX_PACKET = DATA_OVERHEAD + MAX_FRAME
_STREAM_OF_NONCE = LANE_SHIFT + STREAM_SHIFT
_NONCE_END = STREAMS << _STREAM_OF_NONCE


class UserspaceDataPlane(DataPlane):
    """See the module docstring, and ``DataPlane`` for the contract."""

    def __init__(
        self,
        local_mac: Mac | None = None,
        *,
        ageing: float = FDB_AGEING,
        max_per_peer: int = FDB_MAX_PER_PEER,
        max_local: int = FDB_MAX_LOCAL,
    ) -> None:
        """``local_mac``: this edge's own address, pinned to the local port. Raises LocalMisuse for a limit below 1."""
        self._fdb = Fdb(ageing, max_per_peer, max_local)
        if local_mac is not None:
            self._fdb.set_static(local_mac, None)
        self._peers: dict[PeerId, PeerState] = {}
        self._sessions: dict[int, SessionState] = {}  # by receive id
        self._flood: tuple[PeerId, ...] = ()
        self._groups: GroupPolicy | None = None
        self._groups_until = 0.0
        self._drops = DropCounters()
        self._datagrams: list[Datagram] = []
        self._frames: list[bytes] = []
        self._events: list[DataPlaneEvent] = []

    @property
    def name(self) -> str:
        return "python"

    # --- sessions and paths ---

    def add_session(self, keys: SessionKeys, now: float) -> None:
        """Raises LocalMisuse for a wiped key, one that is not 32 bytes, or a receive id that another session has."""
        known = self._sessions.get(keys.receive_id)
        if known is not None:
            # Ids are derived from the keys: same ids, same session. Starting it afresh would repeat nonces.
            if known.peer.id != keys.peer or known.send_id != keys.send_id:
                raise LocalMisuse("another session has this receive id")
            return
        if not any(keys.send_key) or not any(keys.receive_key):
            raise LocalMisuse("a session was added with a wiped key")
        peer = self._peer(keys.peer)
        session = SessionState(keys, peer, now)
        peer.sessions.append(session)
        self._sessions[keys.receive_id] = session

    def use_session(self, receive_id: int) -> None:
        session = self._session(receive_id)
        session.peer.sending = session

    def remove_session(self, receive_id: int) -> None:
        session = self._sessions.pop(receive_id, None)
        if session is None:
            return
        peer = session.peer
        peer.sessions.remove(session)
        if peer.sending is session:
            peer.sending = None
        session.wipe()

    def session_stats(self, receive_id: int) -> SessionStats:
        session = self._session(receive_id)
        expected = sum(window.highest + 1 for window in session.windows if window is not None)
        return replace(session.stats, rx_expected=expected)

    def remember(self, receive_id: int, note: bytes) -> None:
        if len(note) > NOTE_MAX:
            raise LocalMisuse(f"a note of {len(note)} bytes is longer than {NOTE_MAX}")
        self._session(receive_id).note = bytes(note)

    def adopted(self) -> list[AdoptedSession]:
        self._events.clear()
        for session in [each for each in self._sessions.values() if not each.note]:
            self.remove_session(session.receive_id)
        for peer in [each for each in self._peers.values() if not each.sessions]:
            self.remove_peer(peer.id)
        return [
            AdoptedSession(
                each.peer.id,
                each.send_id,
                each.receive_id,
                each is each.peer.sending,
                each.confirmed,
                each.expires,
                each.peer.endpoint,
                each.note,
            )
            for each in self._sessions.values()
        ]

    def set_path(self, peer: PeerId, endpoint: Endpoint) -> None:
        known = self._peer(peer)
        known.endpoint = endpoint
        known.moved = None

    def set_streams(self, peer: PeerId, bulk: bool) -> None:
        pass  # all is sealed on stream 0

    def remove_peer(self, peer: PeerId) -> None:
        known = self._peers.pop(peer, None)
        if known is None:
            return
        for session in list(known.sessions):
            self.remove_session(session.receive_id)
        self._flood = tuple(each for each in self._flood if each != peer)
        self._fdb.remove_owner(peer)

    # --- switching ---

    def set_flood(self, peers: Iterable[PeerId]) -> None:
        self._flood = tuple(self._peer(peer).id for peer in dict.fromkeys(peers))

    def set_groups(self, policy: GroupPolicy | None, until: float) -> None:
        self._groups, self._groups_until = policy, until

    def set_static(self, mac: Mac, peer: PeerId | None, vlan: int | None = None) -> None:
        if peer is not None:
            self._peer(peer)
        self._fdb.set_static(mac, peer, vlan)

    def remove_static(self, mac: Mac, vlan: int | None = None) -> None:
        self._fdb.remove_static(mac, vlan)

    def fdb(self, now: float) -> list[FdbEntry]:
        return [FdbEntry(row.mac, row.vlan, row.owner, row.static, row.age) for row in self._fdb.rows(now)]

    # --- traffic ---

    def frames_from_port(self, frames: Sequence[bytes], now: float) -> None:
        drop = self._drops.add
        run: list[bytes] = []  # frames for one peer that followed each other: sealed in one go
        run_peer: PeerState | None = None
        run_head = b""  # addresses and type of the latest of them: nothing is looked up for the next one alike
        for frame in frames:
            size = len(frame)
            if size < MIN_FRAME:
                drop(DropReason.FRAME_TOO_SHORT)
                continue
            if size > MAX_FRAME:
                drop(DropReason.FRAME_TOO_LONG)
                continue
            head = frame[:ETHERNET_HEADER]
            if head == run_head:
                run.append(frame)
                continue
            run_head = b""
            tagged = head[12:14] in TPIDS
            vlan = vlan_id(frame) if tagged else 0
            if not self._fdb.learn(head[6:12], vlan, None, now):
                drop(DropReason.SOURCE_MAC_REFUSED if head[6] & 1 else DropReason.SPLIT_HORIZON)
                continue
            if head[0] & 1:
                if head[0:6] == CONTROL_MAC:
                    drop(DropReason.RESERVED_DESTINATION)
                    continue
                self._send(run_peer, run, now)  # first what came first
                run = []
                policy = self._groups if now < self._groups_until else None
                for peer_id in targets(frame, self._flood, policy):
                    self._send(self._peers[peer_id], [frame], now)
                continue
            entry = self._fdb.find(head[0:6], vlan)
            if entry is None:
                self._events.append(Unresolved(frame, UnresolvedReason.UNKNOWN_DESTINATION, None))
            elif entry.owner is not None:
                peer = self._peers[entry.owner]
                if peer is not run_peer:
                    self._send(run_peer, run, now)
                    run, run_peer = [], peer
                run.append(frame)
                if not tagged:
                    run_head = head
        self._send(run_peer, run, now)

    def frames_to_peer(self, peer: PeerId, frames: Sequence[bytes], now: float) -> None:
        known = self._peers.get(peer)
        session = known.sending if known is not None else None
        for frame in frames:
            if len(frame) < MIN_FRAME:
                self._drops.add(DropReason.FRAME_TOO_SHORT)
            elif len(frame) > MAX_FRAME:
                self._drops.add(DropReason.FRAME_TOO_LONG)
            elif session is None:
                self._drops.add(DropReason.NO_SESSION)
            elif not self._seal(session, [frame], now, data=not is_control(frame)):
                expired = now >= session.expires
                self._drops.add(DropReason.SESSION_EXPIRED if expired else DropReason.SEQUENCE_EXHAUSTED)

    def frames_to_port(self, frames: Sequence[bytes], now: float) -> None:
        for frame in frames:
            if len(frame) < MIN_FRAME:
                self._drops.add(DropReason.FRAME_TOO_SHORT)
            elif len(frame) > MAX_FRAME:
                self._drops.add(DropReason.FRAME_TOO_LONG)
            else:
                self._frames.append(frame)

    def datagrams_from_underlay(self, datagrams: Sequence[Datagram], now: float) -> None:
        drop, sessions, learn, deliver = self._drops.add, self._sessions, self._fdb.learn, self._frames.append
        unpack = HEADER.unpack_from
        last_head = b""  # of the latest frame delivered, and its session: there is nothing new to learn from one alike
        last_session: SessionState | None = None
        for packet, source in datagrams:
            size = len(packet)
            if size < _MIN_PACKET:
                drop(DropReason.TOO_SHORT)
                continue
            if size > _MAX_PACKET:
                drop(DropReason.TOO_LONG)
                continue
            if packet[0] < FIRST_DATA_BYTE:
                drop(DropReason.UNKNOWN_TYPE)
                continue
            session_id, sequence, nonce = unpack(packet)
            if nonce & SEQUENCE_MASK != sequence or nonce >= _NONCE_END:
                drop(DropReason.BAD_NONCE)
                continue
            session = sessions.get(session_id)
            if session is None:
                drop(DropReason.UNKNOWN_SESSION)
                continue
            if now >= session.expires or sequence >= REJECT_AFTER_MESSAGES:
                drop(DropReason.SESSION_EXPIRED)
                continue
            stream = nonce >> _STREAM_OF_NONCE
            window = session.windows[stream]
            newest = window is None or sequence > window.highest
            if window is not None and not newest and not window.check(sequence):
                drop(DropReason.REPLAYED)
                continue
            try:
                frame = session.opener.open(nonce, packet[HEADER_SIZE:], packet[:HEADER_SIZE])
            except AuthenticationFailed:
                drop(DropReason.BAD_TAG)
                continue

            if window is None:
                window = session.windows[stream] = ReplayWindow()
            window.update(sequence)
            stats = session.stats
            stats.rx_frames += 1
            stats.rx_bytes += len(frame)
            stats.last_rx = now
            if not session.confirmed:
                session.confirmed = True
                self._events.append(Confirmed(session.receive_id))
            peer = session.peer
            if newest:
                if source == peer.endpoint:
                    peer.moved = None
                elif source != peer.moved:  # once, not for each packet until the Ganglion has decided
                    peer.moved = source
                    self._events.append(EndpointMoved(session.receive_id, Endpoint(*source)))
            head = frame[:ETHERNET_HEADER]
            if head == last_head and session is last_session:
                deliver(frame)
                continue
            last_head = b""
            if head[0:6] == CONTROL_MAC:
                if is_control(frame):
                    self._events.append(ControlFrame(session.receive_id, frame, Endpoint(*source)))
                else:
                    drop(DropReason.BAD_INNER_FRAME)
                continue
            stats.last_rx_data = now
            if not frame[0] & 1:
                stats.last_unicast = now
            tagged = head[12:14] in TPIDS
            if not learn(head[6:12], vlan_id(frame) if tagged else 0, peer.id, now):
                drop(DropReason.SOURCE_MAC_REFUSED)
                continue
            deliver(frame)
            if not tagged:
                last_head, last_session = head, session

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
        self._fdb.age(now)

    def drops(self) -> Mapping[DropReason, int]:
        return self._drops.as_dict()

    def close(self) -> None:
        for receive_id in list(self._sessions):
            self.remove_session(receive_id)

    # --- inside ---

    def _peer(self, peer_id: PeerId) -> PeerState:
        peer = self._peers.get(peer_id)
        if peer is None:
            peer = self._peers[peer_id] = PeerState(peer_id)
        return peer

    def _session(self, receive_id: int) -> SessionState:
        session = self._sessions.get(receive_id)
        if session is None:
            raise LocalMisuse("there is no session with this receive id")
        return session

    def _send(self, peer: PeerState | None, frames: list[bytes], now: float) -> None:
        """Frames from the port, for this peer. None only without frames."""
        if peer is None or not frames:
            return
        session = peer.sending
        sealed = self._seal(session, frames, now, data=True) if session is not None else 0
        for frame in frames[sealed:]:
            self._events.append(Unresolved(frame, UnresolvedReason.NO_SESSION, peer.id))

    def _seal(self, session: SessionState, frames: list[bytes], now: float, *, data: bool) -> int:
        """Seal those that the session still may seal, and say how many of the frames those were."""
        if now >= session.expires:
            return 0
        sequence = session.next_sequence
        frames = frames[: REJECT_AFTER_MESSAGES - sequence]
        endpoint = session.peer.endpoint
        if endpoint is None:
            self._drops.add(DropReason.NO_PATH, len(frames))
            return len(frames)
        session.next_sequence = sequence + len(frames)  # before the seal: whatever happens there, they are spent
        send_id, seal = session.send_id, session.sealer.seal
        pack, append = HEADER.pack, self._datagrams.append
        size = 0
        for frame in frames:
            header = pack(send_id, sequence, sequence)
            append((header + seal(sequence, frame, header), endpoint))
            size += len(frame)
            sequence += 1
        stats = session.stats
        stats.tx_frames += len(frames)
        stats.tx_bytes += size
        stats.last_tx = now
        if data:
            stats.last_tx_data = now
            if frames and not frames[0][0] & 1:  # a run has one destination
                stats.last_unicast = now
        return len(frames)
