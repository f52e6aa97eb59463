"""What userspace shares with the programs: the Python twin of bpf/abi.h.

test/bpf/test_abi.py compares every size, offset and number with the header; change both. Numbers are host order unless
marked be (network order).
"""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Iterable
from enum import IntEnum, unique
from ipaddress import IPv6Address
from typing import Final

from omni_core.dataplane.port import NOTE_MAX
from omni_core.types import Endpoint

ABI_VERSION: Final = 3
SESSIONS: Final = 2048
PEERS: Final = 4096
FDB: Final = 131072
FLOOD: Final = 128
GROUPS: Final = 16384
CPUS: Final = 256
FLOWS: Final = 4096
COUNTERS: Final = 256
STREAMS: Final = 2
BULK_STREAM: Final = 1
LANE_LEASE: Final = 300_000_000  # ns
KEY_SIZE: Final = 32
NOTE_SIZE: Final = NOTE_MAX
RING: Final = 128
VLAN_ANY: Final = 0xFFFF
OWNER_LOCAL: Final = 0xFFFFFFFF
NO_SLOT: Final = 0xFFFFFFFF
FDB_STATIC: Final = 1
FDB_SHADOWED: Final = 2
SLOW_ETHERTYPE: Final = 0x88B6
SLOW_MAC: Final = bytes.fromhex("026f6d6e6901")
FIRST_WAY: Final = 128  # counters below are DropReason

_u8, _u16, _u32, _u64 = ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64
_LOW = 0xFFFFFFFFFFFFFFFF
_Bytes6, _Bytes8, _Bytes16, _Bytes32 = _u8 * 6, _u8 * 8, _u8 * 16, _u8 * 32


class PeerSet(ctypes.Structure):
    """Bit i of the 128: slot i of map ``flood``."""

    _fields_ = (("low", _u64), ("high", _u64))

    @classmethod
    def of(cls, slots: Iterable[int]) -> PeerSet:
        bits = sum(1 << slot for slot in set(slots))
        return cls(bits & _LOW, bits >> 64)

    @property
    def slots(self) -> tuple[int, ...]:
        bits = self.high << 64 | self.low
        return tuple(slot for slot in range(FLOOD) if bits >> slot & 1)


class Config(ctypes.Structure):
    _fields_ = (
        ("abi", _u32),
        ("syn_ifindex", _u32),
        ("tap_ifindex", _u32),
        ("port", _u16),  # be
        ("forwarding", _u16),
        ("mark", _Bytes8),
        ("mac1_key", _Bytes32),
        ("fdb_max_per_peer", _u32),
        ("fdb_max_local", _u32),
        ("flood_slow", _u32),
        ("zero", _u32),
        ("cpus", _u32),
        ("bulk_ifindex", _u32),
        ("port_ifindex", _u32),
        ("groups_watch", _u32),
        ("groups_until", _u64),
        ("everyone", PeerSet),
        ("elsewhere", PeerSet),
    )


class GroupKey(ctypes.Structure):
    _fields_ = (("mac", _Bytes6), ("port", _u16))  # port: be


class Session(ctypes.Structure):
    """Times in ns of CLOCK_MONOTONIC; 0: never."""

    _fields_ = (
        ("lock", _u32),
        ("peer", _u32),
        ("receive_id", _u64),
        ("send_id", _u64),
        ("expires", _u64),
        ("tx_sequence", _u64),
        ("tx_bytes", _u64),
        ("last_tx", _u64),
        ("last_tx_data", _u64),
        ("rx_frames", _u64),
        ("rx_bytes", _u64),
        ("last_rx", _u64),
        ("last_rx_data", _u64),
        ("last_unicast", _u64),
        ("confirmed", _u32),
        ("reserved", _u32),
    )


class Stream(ctypes.Structure):
    """Also that of native/lane.h. Index slot * STREAMS + stream. Times as in Session."""

    _fields_ = (
        ("next", _u64),
        ("ring", _u64 * RING),
        ("tx_sequence", _u64),
        ("tx_bytes", _u64),
        ("last_tx", _u64),
        ("rx_frames", _u64),
        ("rx_bytes", _u64),
        ("last_rx", _u64),
        ("last_unicast", _u64),
    )


class LaneState(ctypes.Structure):
    _fields_ = (("alive", _u64),)


class Note(ctypes.Structure):
    _fields_ = (("length", _u32), ("bytes", _u8 * NOTE_SIZE))


class Peer(ctypes.Structure):
    _fields_ = (
        ("slot", _u32),
        ("ifindex", _u32),
        ("remote", _Bytes16),
        ("local", _Bytes16),
        ("remote_port", _u16),  # be
        ("mtu", _u16),
        ("ip_header", _u8),
        ("bulk", _u8),
        ("reserved", _u8 * 2),
        ("moved", _Bytes16),
        ("moved_port", _u16),  # be
        ("reserved2", _u16 * 3),
    )


class FdbKey(ctypes.Structure):
    _fields_ = (("mac", _Bytes6), ("vlan", _u16))


class FdbValue(ctypes.Structure):
    _fields_ = (("owner", _u32), ("flags", _u32), ("seen", _u64))


class SlowPrefix(ctypes.Structure):
    """In front of every packet on the TAP."""

    _fields_ = (
        ("destination", _Bytes6),
        ("source", _Bytes6),
        ("ethertype", _u16),  # be
        ("kind", _u8),
        ("reserved", _u8),
        ("peer", _u32),
        ("port", _u16),  # be
        ("reserved2", _u16),
        ("receive_id", _u64),
        ("address", _Bytes16),
    )


class Event(ctypes.Structure):
    _fields_ = (
        ("kind", _u32),
        ("peer", _u32),
        ("receive_id", _u64),
        ("address", _Bytes16),
        ("port", _u16),  # be
        ("reserved", _u16 * 3),
    )


@unique
class SlowKind(IntEnum):
    GROUP = 1
    UNKNOWN = 2
    NO_SESSION = 3
    CONTROL = 4
    SEND = 5
    SEAL = 16
    OPEN = 17
    LOCAL = 18


@unique
class EventKind(IntEnum):
    CONFIRMED = 1
    MOVED = 2
    FDB_FULL = 3
    SMALL_FRAMES = 4


@unique
class Program(IntEnum):
    """Slots of the program array."""

    RX = 0
    MAC1 = 1
    DELIVER = 2
    SEAL = 3
    WRAP = 4
    OPEN = 5
    STEER = 6
    RX_GENERIC = 7


@unique
class Way(IntEnum):
    """Ways out that are no drop. Numbers are never reused."""

    RX_DELIVERED = 128
    RX_CONTROL = 129
    RX_HANDSHAKE = 130
    RX_SIGNALING = 131
    RX_FOREIGN = 132
    RX_STEERED = 133
    RX_MERGED = 134
    RX_BULK = 135
    RX_BULK_DELIVERED = 136
    RX_LOCAL = 137
    TX_SEALED = 140
    TX_SEND = 141
    TX_GROUP = 142
    TX_UNKNOWN = 143
    TX_NO_SESSION = 144
    TX_LOCAL = 145
    TX_FLOODED = 146
    TX_NOBODY = 147
    TX_WATCHED = 148
    OUT_SENT = 150
    OUT_CLONED = 151
    TX_BULK = 152


PREFIX_SIZE: Final = ctypes.sizeof(SlowPrefix)
_MAPPED: Final = bytes(10) + b"\xff\xff"


def pack_address(host: str) -> bytes:
    """16 bytes, IPv4 as ::ffff:a.b.c.d; a zone is left out. Raises OSError for what is no IP address."""
    if ":" in host:
        return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return _MAPPED + socket.inet_pton(socket.AF_INET, host)


def unpack_address(packed: bytes) -> str:
    if packed.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return str(IPv6Address(packed))


def unpack_endpoint(packed: bytes, port: int) -> Endpoint:
    """``port`` as the structs have it: network order."""
    return Endpoint(unpack_address(packed), socket.ntohs(port))
