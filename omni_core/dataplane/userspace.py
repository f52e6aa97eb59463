"""The python engine behind the data-plane port: the oracle that other engines are tested against, and the last resort.

What becomes of a frame from the local port
    too short, too long, to CONTROL_MAC, group source  -> dropped, counted
    source pinned to a peer                            -> dropped (SPLIT_HORIZON): it came over the overlay and looped
    to a group address                                 -> sealed for each peer of the flood set
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
    FDB_AGEING,
    FDB_MAX_LOCAL,
    FDB_MAX_PER_PEER,
    FIRST_DATA_BYTE,
    HEADER_SIZE,
    LANE_SHIFT,
    MAX_FRAME,
    MIN_FRAME,
    REJECT_AFTER_MESSAGES,
    REJECT_AFTER_TIME,
    SEQUENCE_MASK,
    STREAM_SHIFT,
)
from omni_core.crypto.aead import Aead
from omni_core.crypto.errors import AuthenticationFailed
from omni_core.dataplane.port import (
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
from omni_core.fdb import Fdb
from omni_core.session.replay import ReplayWindow
from omni_core.types import Endpoint, Mac, PeerId
from omni_core.wire.ethernet import TPIDS, is_control, vlan_id
from omni_core.wire.header import HEADER

_MIN_PACKET = DATA_OVERHEAD + MIN_FRAME
_MAX_PACKET = DATA_OVERHEAD + MAX_FRAME
_STREAM_OF_NONCE = LANE_SHIFT + STREAM_SHIFT
_STREAMS = 2  # 0: the kernel, or the only engine; 1: bulk
_NONCE_END = _STREAMS << _STREAM_OF_NONCE


class _Peer:
    """``sending``: the session that seals. ``moved``: an endpoint that EndpointMoved has been emitted for."""

    __slots__ = ("endpoint", "id", "moved", "sending", "sessions")

    def __init__(self, peer_id: PeerId) -> None:
        self.id = peer_id
        self.endpoint: Endpoint | None = None
        self.moved: tuple[str, int] | None = None
        self.sending: _Session | None = None
        self.sessions: list[_Session] = []


class _Session:
    __slots__ = (
        "confirmed",
        "expires",
        "next_sequence",
        "open",
        "peer",
        "receive_id",
        "seal",
        "send_id",
        "stats",
        "windows",
    )

    def __init__(self, keys: SessionKeys, peer: _Peer, now: float) -> None:
        self.peer = peer
        self.send_id = keys.send_id
        self.receive_id = keys.receive_id
        self.seal = Aead(keys.send_key)
        self.open = Aead(keys.receive_key)
        self.expires = now + REJECT_AFTER_TIME
        self.next_sequence = 0
        self.windows: list[ReplayWindow | None] = [None] * _STREAMS  # made by the first authentic packet of the stream
        self.confirmed = False
        self.stats = SessionStats()

    def refusal(self, now: float) -> DropReason | None:
        """Why this session must not seal any more."""
        if now >= self.expires:
            return DropReason.SESSION_EXPIRED
        if self.next_sequence >= REJECT_AFTER_MESSAGES:
            return DropReason.SEQUENCE_EXHAUSTED
        return None

    def wipe(self) -> None:
        self.seal.wipe()
        self.open.wipe()


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
        self._peers: dict[PeerId, _Peer] = {}
        self._sessions: dict[int, _Session] = {}  # by receive id
        self._flood: tuple[_Peer, ...] = ()
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
        session = _Session(keys, peer, now)
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
        return replace(self._session(receive_id).stats)

    def set_path(self, peer: PeerId, endpoint: Endpoint) -> None:
        known = self._peer(peer)
        known.endpoint = endpoint
        known.moved = None

    def remove_peer(self, peer: PeerId) -> None:
        known = self._peers.pop(peer, None)
        if known is None:
            return
        for session in list(known.sessions):
            self.remove_session(session.receive_id)
        self._flood = tuple(each for each in self._flood if each is not known)
        self._fdb.remove_owner(peer)

    # --- switching ---

    def set_flood(self, peers: Iterable[PeerId]) -> None:
        self._flood = tuple(self._peer(peer) for peer in dict.fromkeys(peers))

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
        for frame in frames:
            size = len(frame)
            if size < MIN_FRAME:
                drop(DropReason.FRAME_TOO_SHORT)
                continue
            if size > MAX_FRAME:
                drop(DropReason.FRAME_TOO_LONG)
                continue
            vlan = vlan_id(frame) if frame[12:14] in TPIDS else 0
            if not self._fdb.learn(frame[6:12], vlan, None, now):
                drop(DropReason.SOURCE_MAC_REFUSED if frame[6] & 1 else DropReason.SPLIT_HORIZON)
                continue
            if frame[0] & 1:
                if frame[0:6] == CONTROL_MAC:
                    drop(DropReason.RESERVED_DESTINATION)
                    continue
                for peer in self._flood:
                    self._send(peer, frame, now)
                continue
            entry = self._fdb.find(frame[0:6], vlan)
            if entry is None:
                self._events.append(Unresolved(frame, UnresolvedReason.UNKNOWN_DESTINATION, None))
            elif entry.owner is not None:
                self._send(self._peers[entry.owner], frame, now)

    def frames_to_peer(self, peer: PeerId, frames: Sequence[bytes], now: float) -> None:
        known = self._peer(peer)
        for frame in frames:
            if len(frame) < MIN_FRAME:
                self._drops.add(DropReason.FRAME_TOO_SHORT)
            elif len(frame) > MAX_FRAME:
                self._drops.add(DropReason.FRAME_TOO_LONG)
            elif (session := known.sending) is None:
                self._drops.add(DropReason.NO_SESSION)
            elif (refusal := session.refusal(now)) is not None:
                self._drops.add(refusal)
            else:
                self._seal(session, frame, now, data=not is_control(frame))

    def datagrams_from_underlay(self, datagrams: Sequence[Datagram], now: float) -> None:
        drop = self._drops.add
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
            session_id, sequence, nonce = HEADER.unpack_from(packet)
            if nonce & SEQUENCE_MASK != sequence or nonce >= _NONCE_END:
                drop(DropReason.BAD_NONCE)
                continue
            session = self._sessions.get(session_id)
            if session is None:
                drop(DropReason.UNKNOWN_SESSION)
                continue
            if now >= session.expires or sequence >= REJECT_AFTER_MESSAGES:
                drop(DropReason.SESSION_EXPIRED)
                continue
            stream = nonce >> _STREAM_OF_NONCE
            window = session.windows[stream]
            if window is not None and not window.check(sequence):
                drop(DropReason.REPLAYED)
                continue
            try:
                frame = session.open.open(nonce, packet[HEADER_SIZE:], packet[:HEADER_SIZE])
            except AuthenticationFailed:
                drop(DropReason.BAD_TAG)
                continue

            if window is None:
                window = session.windows[stream] = ReplayWindow()
            newest = sequence > window.highest
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
            if frame[0:6] == CONTROL_MAC:
                if is_control(frame):
                    self._events.append(ControlFrame(session.receive_id, frame, Endpoint(*source)))
                else:
                    drop(DropReason.BAD_INNER_FRAME)
                continue
            stats.last_rx_data = now
            vlan = vlan_id(frame) if frame[12:14] in TPIDS else 0
            if not self._fdb.learn(frame[6:12], vlan, peer.id, now):
                drop(DropReason.SOURCE_MAC_REFUSED)
                continue
            self._frames.append(frame)

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

    def _peer(self, peer_id: PeerId) -> _Peer:
        peer = self._peers.get(peer_id)
        if peer is None:
            peer = self._peers[peer_id] = _Peer(peer_id)
        return peer

    def _session(self, receive_id: int) -> _Session:
        session = self._sessions.get(receive_id)
        if session is None:
            raise LocalMisuse("there is no session with this receive id")
        return session

    def _send(self, peer: _Peer, frame: bytes, now: float) -> None:
        """A frame from the port, for this peer."""
        session = peer.sending
        if session is None or session.refusal(now) is not None:
            self._events.append(Unresolved(frame, UnresolvedReason.NO_SESSION, peer.id))
        else:
            self._seal(session, frame, now, data=True)

    def _seal(self, session: _Session, frame: bytes, now: float, *, data: bool) -> None:
        endpoint = session.peer.endpoint
        if endpoint is None:
            self._drops.add(DropReason.NO_PATH)
            return
        sequence = session.next_sequence
        session.next_sequence = sequence + 1  # before the seal: whatever happens there, this nonce is spent
        header = HEADER.pack(session.send_id, sequence, sequence)
        self._datagrams.append((header + session.seal.seal(sequence, frame, header), endpoint))
        stats = session.stats
        stats.tx_frames += 1
        stats.tx_bytes += len(frame)
        stats.last_tx = now
        if data:
            stats.last_tx_data = now
