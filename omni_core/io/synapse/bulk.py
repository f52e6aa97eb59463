"""The bulk lane: a native engine beside the programs in the kernel, for super-frames and their flows.

It holds every session, in the same slot, and every peer's path, so that it can take over a flow at any moment. The
programs give it something while three things hold: ``switch`` is on, it renews its lease (bpf/lane.h), and the peer's
entry says that it can seal for that peer. So there is an order: first the engine knows, then the programs. An engine
that has ended, or does not answer, is lost: at once the programs go on alone, and the owner may give this another one.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol

from omni_core.constants import HEADER_SIZE, LANE_SHIFT, STREAM_SHIFT
from omni_core.dataplane.port import Confirmed, ControlFrame, Datagram, DataPlaneEvent, EndpointMoved, SessionKeys
from omni_core.errors import OmniError
from omni_core.io.native.client import EngineGone, NativeClient
from omni_core.io.native.events import ForeignDatagram, Learned
from omni_core.io.synapse import abi, syscalls
from omni_core.io.synapse.slots import SessionSlots
from omni_core.io.synapse.tables import KernelFdb
from omni_core.types import Endpoint, PeerId

logger = logging.getLogger(__name__)

_LANE_BYTE = HEADER_SIZE - 8 + LANE_SHIFT // 8  # of a data packet
_BULK_LANES = range(abi.BULK_STREAM << STREAM_SHIFT, abi.BULK_STREAM + 1 << STREAM_SHIFT)


class Process(Protocol):
    """Of a native engine, as native/process.py has it."""

    @property
    def client(self) -> NativeClient: ...
    def leave(self) -> None:
        """It goes on without us."""

    def stop(self) -> None:
        """It has ended when this returns, if need be by force."""


class Route(NamedTuple):
    """What the engine has to know to seal for a peer. ``sending``: receive id of the session."""

    endpoint: Endpoint | None
    mtu: int  # of the path; 0: not known
    sending: int | None


class News(NamedTuple):
    """``strays``: packets that reached the engine's sockets and are not for it to open."""

    events: list[DataPlaneEvent]
    strays: list[Datagram]


def is_bulk(payload: bytes) -> bool:
    """Whether a data packet is of stream 1."""
    return len(payload) >= HEADER_SIZE and payload[_LANE_BYTE] in _BULK_LANES


class BulkLane:
    """Without an engine every call is allowed and does nothing. No call raises because of the engine: one that is lost
    is said once, in the log and to ``on_lost``. Not thread-safe."""

    def __init__(self, slots: SessionSlots, fdb: KernelFdb, switch: Callable[[bool], None]) -> None:
        """``switch`` tells the programs, before it returns, whether stream 1 is an engine's."""
        self.on_lost: Callable[[], None] = lambda: None  # while the connection is still open
        self._slots = slots
        self._fdb = fdb
        self._switch = switch
        self._process: Process | None = None
        self._places: dict[PeerId, tuple[Endpoint, int]] = {}  # that the engine was told
        self._sending: dict[PeerId, int] = {}
        self._counted: Mapping[int, int] = {}  # by the engine, when it was last asked
        self._earlier: Counter[int] = Counter()  # by those before it

    @property
    def engine(self) -> NativeClient | None:
        return self._process.client if self._process is not None else None

    @property
    def pending(self) -> bool:
        """It has told something while an answer was awaited: ``read``, though nothing says so."""
        return self.engine is not None and self.engine.pending

    # --- which engine ---------------------------------------------------------------------------------------------

    def take(self, process: Process, peers: Collection[PeerId]) -> None:
        """An engine that is new, or that an earlier Ganglion had: it gets the sessions that it does not have, loses
        those that are not here, and begins to forward. Then it is to be told of each peer (``follow``). For a new one,
        no peer's entry may say yet that an engine can seal for it. Takes milliseconds."""
        self._process = process
        if self._do(self._bring_up_to_date, peers):
            self._switch(True)
            syscalls.grace()  # no program is opening stream 1 any more: its replay window has one writer
        if not self._do(lambda engine: engine.forward(True)):
            self.give_up("it does not begin")

    def _bring_up_to_date(self, engine: NativeClient, peers: Collection[PeerId]) -> None:
        known = {row.receive_id for row in engine.sessions()}
        engine.retain(self._slots.ids(), peers)
        for receive_id in set(self._slots.ids()) - known:
            session = self._slots.read(receive_id)
            keys = self._slots.read_keys(receive_id)
            slot = self._slots.slot(receive_id)
            try:
                engine.add_session(session.peer, slot, session.send_id, receive_id, *keys, session.expires)
            finally:
                for key in keys:
                    key[:] = bytes(len(key))

    def end(self) -> None:
        """The lane ends and the engine with it, its keys wiped. Blocks while it ends."""
        self._do(self._count)
        self._forget()
        self._switch(False)

    def detach(self) -> None:
        """Let go of the engine, which goes on."""
        if self._process is not None:
            self._process.leave()
            self._process = None

    def give_up(self, problem: str) -> None:
        """Of what use the engine is, another one has to be. Nothing where there is none."""
        if self._process is not None:
            self._lose(problem)

    def _lose(self, problem: str) -> None:
        logger.warning("the native engine is lost, the kernel goes on alone: %s", problem)
        self.on_lost()
        self._forget()
        self._switch(False)

    def _forget(self) -> None:
        """It has ended when this returns, by force if need be: it must not use a slot that is another session's, nor a
        window that is the programs'."""
        process, self._process = self._process, None
        if process is not None:
            process.stop()
        self._places.clear()
        self._sending.clear()
        self._earlier.update(self._counted)
        self._counted = {}

    def _do(self, request: Callable[..., object], *arguments: object) -> bool:
        """False: there is no engine, or it is lost, or it does not do it."""
        if self._process is None:
            return False
        try:
            request(self._process.client, *arguments)
        except EngineGone as gone:
            self._lose(gone.problem)
            return False
        except (OmniError, OSError) as error:
            logger.warning("the native engine does without: %s", error)
            return False
        return True

    # --- sessions and peers ---------------------------------------------------------------------------------------

    def add(self, slot: int, keys: SessionKeys, expires: int) -> None:
        """Before packets can find the session. ``expires`` in ns. ``keys`` stay as they are."""
        ends = keys.send_id, keys.receive_id, keys.send_key, keys.receive_key
        self._do(lambda engine: engine.add_session(keys.peer, slot, *ends, expires))

    def remove(self, receive_id: int) -> None:
        """After no peer's entry leads to the session, and before its slot is another one's."""
        self._sending = {peer: used for peer, used in self._sending.items() if used != receive_id}
        if not self._do(lambda engine: engine.remove_session(receive_id)):
            self.give_up("it keeps a session")

    def remove_peer(self, peer: PeerId) -> None:
        """With its sessions; when, as ``remove``."""
        self._sending.pop(peer, None)
        self._places.pop(peer, None)
        if not self._do(lambda engine: engine.remove_peer(peer)):
            self.give_up("it keeps a peer")

    def follow(self, peer: PeerId, route: Route, afresh: bool = False) -> bool:
        """Before the peer's entry is written. Whether the engine can seal for the peer. ``afresh``: it may say
        EndpointMoved again for the place it last said it for."""
        endpoint, mtu, sending = route
        if self._process is None or endpoint is None:
            return False
        if afresh or self._places.get(peer) != (endpoint, mtu):
            if not self._do(lambda engine: engine.set_peer(peer, endpoint, mtu)):
                return False
            self._places[peer] = endpoint, mtu
        if sending is None:
            return False
        if self._sending.get(peer) != sending:
            if not self._do(lambda engine: engine.use_session(sending)):
                return False
            self._sending[peer] = sending
        return True

    # --- traffic --------------------------------------------------------------------------------------------------

    def open(self, payload: bytes, source: Endpoint) -> bool:
        """A data packet of stream 1 that reached the Ganglion's socket. False: the programs have to open it."""
        return is_bulk(payload) and self._do(lambda engine: engine.datagram(payload, source))

    def read(self, now: float) -> News:
        """What the engine tells; what it has learned is in the FDB afterwards."""
        news = News([], [])
        self._do(self._read, news, now)
        return news

    def _read(self, engine: NativeClient, news: News, now: float) -> None:
        for event in engine.take_events():
            if isinstance(event, Learned):
                self._fdb.learn(event.mac, event.vlan, event.peer, now)
            elif isinstance(event, ForeignDatagram):
                news.strays.append((event.payload, event.source))
            elif isinstance(event, (Confirmed, EndpointMoved, ControlFrame)) and event.receive_id in self._slots:
                news.events.append(event)

    def counters(self) -> Counter[int]:
        """By number: DropReason, or protocol.Way. Of this lane since it began, whatever engines it had."""
        self._do(self._count)
        return self._earlier + Counter(self._counted)

    def _count(self, engine: NativeClient) -> None:
        self._counted = engine.counters()
