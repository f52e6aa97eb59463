"""Signaling messages: what travels inside the Noise session between an edge and the Nucleus. The bytes are in codec.py.

The whitepaper's six, the short form of a heartbeat that has nothing new, and the connect hint:

    edge -> Nucleus     Register     Heartbeat                                 Beat      QueryPeer
    Nucleus -> edge     RegisterAck  HeartbeatAck (also pushed, request 0)     BeatAck   PeerInfo    ConnectHint
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import NamedTuple, TypeAlias

from omni_core.constants import LOCAL_ENDPOINTS_MAX
from omni_core.signaling.endpoints import PackedEndpoint
from omni_core.signaling.leases import Lease
from omni_core.types import PublicKey
from omni_core.wire.control import SIGNALING_PAYLOAD

KEY_SIZE = 32
PROOF_SIZES = (0, 32)  # none for a cluster without a secret
ADDRESS_SIZES = (4, 6, 16, KEY_SIZE)  # VIP4, MAC, VIP6, public key: the length says which
CLUSTER_MAX = 63  # bytes of UTF-8
REASON_MAX = 320  # bytes of UTF-8
ENTRY_ENDPOINTS_MAX = LOCAL_ENDPOINTS_MAX + 1  # and the observed one
LEAVE_SIZE = 2 + KEY_SIZE  # bytes that a departure takes in a message
DELTA_ROOM = SIGNALING_PAYLOAD - 128  # bytes for joins and leaves beside the other fields of an answer


@unique
class Status(IntEnum):
    OK = 0
    UNKNOWN_CLUSTER = 1
    BAD_PROOF = 2  # the cluster secret is wrong or missing
    BAD_RECORD = 3  # forged, malformed, of another key or another cluster
    STALE_RECORD = 4  # a newer start of this key is registered
    ADDRESS_TAKEN = 5  # VIP4, VIP6 or MAC of another live edge
    NOT_REGISTERED = 6
    CLUSTER_FULL = 7
    NOT_FOUND = 8  # answer to a query
    NOT_ALLOWED = 9  # the key is not in the cluster's allow list, or has another name or VIP there
    DENIED = 10  # an administrator has shut this key out


class PeerEntry(NamedTuple):
    """One edge as the Nucleus tells of it: its signed record, and where it may be reached, observed endpoint first."""

    record: bytes
    endpoints: tuple[PackedEndpoint, ...]

    @property
    def size(self) -> int:
        """Bytes that it takes in a message, at most."""
        return 5 + len(self.record) + sum([1 + len(e) for e in self.endpoints])


@dataclass(frozen=True, slots=True)
class Delta:
    """The changes of a cluster with numbers ``since`` < n <= ``until``, each edge by its latest only."""

    since: int
    until: int
    size: int  # live edges of the cluster
    joins: tuple[PeerEntry, ...] = ()  # joined, or came back with a new record or endpoint
    leaves: tuple[PublicKey, ...] = ()
    more: bool = False  # changes after ``until`` did not fit: ask again at once
    lost: bool = False  # departures before ``until`` are missing: more than the log, or this message, holds
    omitted: bool = False  # joins are left out: the cluster is above the mesh limit


NO_DELTA = Delta(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Register:
    request: int
    cluster: str
    record: bytes
    proof: bytes  # crypto.kdf.admission_proof over this session's handshake hash
    local: tuple[PackedEndpoint, ...]
    epoch: int = 0  # of the Nucleus that told ``seen``; 0: none
    seen: int = 0  # last change number applied
    wants_vip4: bool = False  # lease one; a VIP4 in the record is the one that it had


@dataclass(frozen=True, slots=True)
class RegisterAck:
    """``status`` other than OK: ``reason`` is a sentence that a human can act on, the rest is empty."""

    request: int
    status: Status
    reason: str
    observed: PackedEndpoint | None  # where the Nucleus saw the edge
    epoch: int  # random number of this run of the Nucleus: change numbers count within it
    interval_ms: int  # how often heartbeats are expected
    delta: Delta
    lease: Lease | None = None  # to be put into a new record, unless it is there already
    draining: bool = False  # this Nucleus is about to stop: go to another one, if there is one


@dataclass(frozen=True, slots=True)
class Heartbeat:
    request: int
    epoch: int
    seen: int
    version: int  # of the record that this edge registered with
    local: tuple[PackedEndpoint, ...]
    leave: bool = False  # the edge goes, nothing is answered
    standby: bool = False  # the edge is registered elsewhere, and only wants to know whether this Nucleus is there


@dataclass(frozen=True, slots=True)
class HeartbeatAck:
    request: int  # 0: pushed, not asked for
    status: Status
    reason: str
    observed: PackedEndpoint | None
    epoch: int
    delta: Delta
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Beat:
    """A Heartbeat with nothing new in it since the last one, or the Register, that was answered in this session."""

    request: int
    seen: int


@dataclass(frozen=True, slots=True)
class BeatAck:
    """Nor is there anything new for the edge: no change, and all else is as this session was told last."""

    request: int


@dataclass(frozen=True, slots=True)
class QueryPeer:
    request: int
    address: bytes  # of one of ADDRESS_SIZES


@dataclass(frozen=True, slots=True)
class PeerInfo:
    request: int
    status: Status  # OK, NOT_FOUND, NOT_REGISTERED
    address: bytes
    peer: PeerEntry | None  # with OK


@dataclass(frozen=True, slots=True)
class ConnectHint:
    """``peer`` asked for us and is about to connect: send to it at the same time, so that both NATs open."""

    peer: PeerEntry


Message: TypeAlias = (
    Register | RegisterAck | Heartbeat | HeartbeatAck | Beat | BeatAck | QueryPeer | PeerInfo | ConnectHint
)
