"""The messages between a Ganglion and the native engine: the Python twin of native/protocol.h, which says what
they mean.

test/native/test_protocol.py compares every size, offset and number with the header; change both. Numbers are host order
unless marked be (network order); times are ns of CLOCK_MONOTONIC, 0: never.
"""

from __future__ import annotations

import ctypes
import socket
from enum import IntEnum, IntFlag, unique
from typing import Final

from omni_core.dataplane.port import NOTE_MAX
from omni_core.io.synapse.abi import pack_address, unpack_address
from omni_core.types import Endpoint

PROTOCOL_VERSION: Final = 2
MESSAGE_MAX: Final = 65536
KEY_SIZE: Final = 32
NOTE_SIZE: Final = NOTE_MAX
MAX_SESSIONS: Final = 2048
MAX_PEERS: Final = 4096
MAX_WORKERS: Final = 16
NO_PEER: Final = 0xFFFFFFFF
OWNER_LOCAL: Final = 0xFFFFFFFF
VLAN_ANY: Final = 0xFFFF
REPLY: Final = 0x8000
NATIVE_COUNTERS: Final = 256
GROUPS_BYTES: Final = 8 << 20
NO_SLOT: Final = 0xFFFFFFFF  # of a session in mode alone
ANY_SOCKET: Final = 0xFFFFFFFF  # the first of the address's family
FIRST_WAY: Final = 128  # counters below are DropReason


@unique
class Mode(IntEnum):
    ALONE = 1
    BULK = 2


@unique
class Message(IntEnum):
    """Requests, and from SEAL on what is one way."""

    HELLO = 1
    CONFIGURE = 2
    FORWARD = 3
    ADD_SESSION = 4
    USE_SESSION = 5
    REMOVE_SESSION = 6
    SET_PEER = 7
    REMOVE_PEER = 8
    SET_FLOOD = 9
    SET_STATIC = 10
    REMOVE_STATIC = 11
    REMEMBER = 12
    STATS = 13
    SESSIONS = 14
    FDB = 15
    COUNTERS = 16
    RETAIN = 17
    STOP = 18
    SET_GROUPS = 19
    SEAL = 32
    PORT_FRAME = 33
    DATAGRAM = 34
    TO_PORT = 35


@unique
class EventType(IntEnum):
    UNRESOLVED = 64
    CONTROL = 65
    CONFIRMED = 66
    MOVED = 67
    GROUP = 68
    DATAGRAM = 69
    LEARN = 70


class SessionFlag(IntFlag):
    SENDING = 1
    CONFIRMED = 2


class GroupsFlag(IntFlag):
    WATCH = 1
    MORE = 2
    SAME = 4


@unique
class UnresolvedReason(IntEnum):
    DESTINATION = 1
    SESSION = 2


@unique
class Way(IntEnum):
    """Counters that are no drop. Numbers are never reused."""

    TX_SEALED = 160
    TX_SUPER = 161
    TX_CALLS = 162
    RX_OPENED = 163
    RX_SUPER = 164
    RX_CALLS = 165
    TX_GROUP = 166
    RX_CONTROL = 167
    EVENTS_LOST = 168
    RX_LOCAL = 169
    TX_NOBODY = 170
    TX_WATCHED = 171

    @property
    def label(self) -> str:
        """As status shows it, beside the ways of the programs in the kernel."""
        return f"native_{self.name.lower()}"


_u8, _u16, _u32, _u64 = ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64
_Bytes6, _Bytes16 = _u8 * 6, _u8 * 16
_Key, _Note = _u8 * KEY_SIZE, _u8 * NOTE_SIZE


class MessageHeader(ctypes.Structure):
    _fields_ = (("version", _u16), ("type", _u16), ("serial", _u32))


class Reply(ctypes.Structure):
    _fields_ = (("error", _u32), ("reserved", _u32))


class Hello(ctypes.Structure):
    _fields_ = (("version", _u32), ("reserved", _u32))


class HelloAnswer(ctypes.Structure):
    _fields_ = (("version", _u32), ("mode", _u32), ("workers", _u32), ("pid", _u32), ("build", ctypes.c_char * 64))


class Configuration(ctypes.Structure):
    _fields_ = (("fdb_ageing", _u64), ("fdb_max_per_peer", _u32), ("fdb_max_local", _u32))


class Forward(ctypes.Structure):
    _fields_ = (("on", _u32), ("reserved", _u32))


class AddSession(ctypes.Structure):
    _fields_ = (
        ("peer", _u32),
        ("slot", _u32),
        ("send_id", _u64),
        ("receive_id", _u64),
        ("expires", _u64),
        ("send_key", _Key),
        ("receive_key", _Key),
    )


class SessionId(ctypes.Structure):
    _fields_ = (("receive_id", _u64),)


class PeerId(ctypes.Structure):
    _fields_ = (("peer", _u32), ("reserved", _u32))


class Place(ctypes.Structure):
    _fields_ = (("address", _Bytes16), ("scope", _u32), ("port", _u16), ("reserved", _u16))  # port: be


class SetPeer(ctypes.Structure):
    _fields_ = (("peer", _u32), ("mtu", _u32), ("place", Place), ("socket", _u32), ("reserved", _u32))


class FdbPin(ctypes.Structure):
    _fields_ = (("mac", _Bytes6), ("vlan", _u16), ("owner", _u32), ("reserved", _u32))


class Remember(ctypes.Structure):
    _fields_ = (("receive_id", _u64), ("length", _u32), ("reserved", _u32), ("note", _Note))


class SessionStats(ctypes.Structure):
    _fields_ = (
        ("tx_frames", _u64),
        ("tx_bytes", _u64),
        ("rx_frames", _u64),
        ("rx_bytes", _u64),
        ("last_tx", _u64),
        ("last_rx", _u64),
        ("last_tx_data", _u64),
        ("last_rx_data", _u64),
        ("last_unicast", _u64),
        ("rx_expected", _u64),
    )


class SetGroups(ctypes.Structure):
    _fields_ = (("until", _u64), ("flags", _u32), ("reserved", _u32))


class GroupEntry(ctypes.Structure):
    _fields_ = (("mac", _Bytes6), ("port", _u16), ("peers", _u32))


class Cursor(ctypes.Structure):
    _fields_ = (("from", _u32), ("reserved", _u32))


class SessionRow(ctypes.Structure):
    _fields_ = (
        ("peer", _u32),
        ("flags", _u32),
        ("send_id", _u64),
        ("receive_id", _u64),
        ("expires", _u64),
        ("path", Place),
        ("note_length", _u32),
        ("reserved", _u32),
        ("note", _Note),
    )


class FdbRow(ctypes.Structure):
    _fields_ = (("mac", _Bytes6), ("vlan", _u16), ("owner", _u32), ("is_static", _u32), ("seen", _u64))


class Retain(ctypes.Structure):
    _fields_ = (("sessions", _u32), ("peers", _u32))


class Unresolved(ctypes.Structure):
    _fields_ = (("reason", _u32), ("peer", _u32))


class Control(ctypes.Structure):
    _fields_ = (("receive_id", _u64), ("source", Place))


def pack_place(endpoint: tuple[str, int]) -> Place:
    """Raises OSError for what is no IP address, or a zone that is not there."""
    host, port = endpoint
    zone = host.partition("%")[2]
    scope = 0 if not zone else int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
    return Place(_Bytes16(*pack_address(host)), scope, socket.htons(port))


def unpack_place(place: Place) -> Endpoint:
    host = unpack_address(bytes(place.address))
    return Endpoint(f"{host}%{place.scope}" if place.scope else host, socket.ntohs(place.port))
