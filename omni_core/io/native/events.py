"""What a native engine tells on its own, read from its messages."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from omni_core.dataplane.port import (
    Confirmed,
    ControlFrame,
    DataPlaneEvent,
    EndpointMoved,
    Unresolved,
    UnresolvedReason,
)
from omni_core.io.native import protocol
from omni_core.io.native.protocol import EventType
from omni_core.types import Endpoint, Mac, PeerId


@dataclass(frozen=True)
class GroupFrame:
    """Of the local port, to be looked at and sent back by ``port_frame``: a question (ARP, neighbour discovery), or
    what is watched (dataplane/groups.py)."""

    frame: bytes


@dataclass(frozen=True)
class ForeignDatagram:
    """A packet that reached one of the engine's sockets and is not for it to open."""

    payload: bytes
    source: Endpoint


@dataclass(frozen=True)
class Learned:
    """Mode bulk: source of an authentic frame of ``peer``, for the forwarding table."""

    mac: Mac
    vlan: int
    peer: PeerId


Event: TypeAlias = DataPlaneEvent | GroupFrame | ForeignDatagram | Learned

_Struct = TypeVar("_Struct", bound=ctypes.Structure)


def parse_event(kind: int, body: bytes) -> Event:
    """Raises ValueError when it makes no sense."""
    if kind == EventType.UNRESOLVED:
        unresolved, frame = split(protocol.Unresolved, body)
        if unresolved.reason == protocol.UnresolvedReason.DESTINATION:
            return Unresolved(frame, UnresolvedReason.UNKNOWN_DESTINATION, None)
        return Unresolved(frame, UnresolvedReason.NO_SESSION, unresolved.peer)
    if kind == EventType.CONTROL:
        control, frame = split(protocol.Control, body)
        return ControlFrame(control.receive_id, frame, protocol.unpack_place(control.source))
    if kind == EventType.CONFIRMED:
        return Confirmed(parse(protocol.SessionId, body).receive_id)
    if kind == EventType.MOVED:
        moved = parse(protocol.Control, body)
        return EndpointMoved(moved.receive_id, protocol.unpack_place(moved.source))
    if kind == EventType.GROUP:
        return GroupFrame(body)
    if kind == EventType.DATAGRAM:
        place, payload = split(protocol.Place, body)
        return ForeignDatagram(payload, protocol.unpack_place(place))
    if kind == EventType.LEARN:
        pin = parse(protocol.FdbPin, body)
        return Learned(bytes(pin.mac), pin.vlan, pin.owner)
    raise ValueError(f"event {kind}")


def split(kind: type[_Struct], body: bytes) -> tuple[_Struct, bytes]:
    """The struct, and what follows it. Raises ValueError when it is too short."""
    return kind.from_buffer_copy(body), body[ctypes.sizeof(kind) :]


def parse(kind: type[_Struct], body: bytes) -> _Struct:
    """Raises ValueError when the size is another one."""
    if len(body) != ctypes.sizeof(kind):
        raise ValueError(f"{kind.__name__} of {len(body)} bytes")
    return kind.from_buffer_copy(body)
