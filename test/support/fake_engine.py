"""A native engine that does nothing but remember what it was told: NativeClient and its process, for the bulk lane."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from omni_core.errors import LocalMisuse
from omni_core.io.native.client import EngineGone
from omni_core.io.native.events import Event
from omni_core.types import Endpoint, PeerId


class Held(NamedTuple):
    peer: PeerId
    slot: int
    send_id: int
    keys: tuple[bytes, bytes]
    expires: int


class Row(NamedTuple):
    receive_id: int


class FakeClient:
    def __init__(self) -> None:
        self.held: dict[int, Held] = {}
        self.paths: dict[PeerId, tuple[Endpoint, int]] = {}
        self.used: dict[PeerId, int] = {}
        self.forwarding = False
        self.events: list[Event] = []
        self.datagrams: list[tuple[bytes, Endpoint]] = []
        self.counted: dict[int, int] = {}
        self.key_buffers: list[bytearray] = []
        self.log: list[str] = []  # names of the requests
        self.on_request: Callable[[str], None] = lambda name: None  # before it is carried out
        self.gone = False
        self.pending = False

    def fileno(self) -> int:
        return 4711

    def _asked(self, name: str) -> None:
        if self.gone:
            raise EngineGone("it has ended")
        self.log.append(name)
        self.on_request(name)

    def sessions(self) -> list[Row]:
        self._asked("sessions")
        return [Row(receive_id) for receive_id in self.held]

    def retain(self, receive_ids: Iterable[int], peers: Iterable[PeerId]) -> None:
        self._asked("retain")
        kept, known = set(receive_ids), set(peers)
        self.held = {receive_id: held for receive_id, held in self.held.items() if receive_id in kept}
        self.paths = {peer: path for peer, path in self.paths.items() if peer in known}

    def add_session(
        self, peer: int, slot: int, send_id: int, receive_id: int, send: bytearray, receive: bytearray, expires: int
    ) -> None:
        self._asked("add_session")
        self.key_buffers += [send, receive]
        self.held[receive_id] = Held(peer, slot, send_id, (bytes(send), bytes(receive)), expires)

    def use_session(self, receive_id: int) -> None:
        self._asked("use_session")
        if receive_id not in self.held:
            raise LocalMisuse("there is no session with this receive id")
        self.used[self.held[receive_id].peer] = receive_id

    def remove_session(self, receive_id: int) -> None:
        self._asked("remove_session")
        self.held.pop(receive_id, None)

    def set_peer(self, peer: PeerId, endpoint: Endpoint, mtu: int) -> None:
        self._asked("set_peer")
        self.paths[peer] = endpoint, mtu

    def remove_peer(self, peer: PeerId) -> None:
        self._asked("remove_peer")
        self.paths.pop(peer, None)
        self.held = {receive_id: held for receive_id, held in self.held.items() if held.peer != peer}

    def forward(self, on: bool) -> None:
        self._asked("forward")
        self.forwarding = on

    def take_events(self) -> list[Event]:
        self._asked("take_events")
        taken, self.events = self.events, []
        return taken

    def datagram(self, payload: bytes, source: Endpoint) -> bool:
        self._asked("datagram")
        self.datagrams.append((payload, source))
        return True

    def counters(self) -> dict[int, int]:
        self._asked("counters")
        return dict(self.counted)


class FakeProcess:
    def __init__(self) -> None:
        self.client: FakeClient = FakeClient()
        self.stopped = self.left = False

    def leave(self) -> None:
        self.left = True

    def stop(self) -> None:
        self.stopped = True
