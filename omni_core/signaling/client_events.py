"""What a NucleusClient tells its owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from omni_core.crypto.record import PeerRecord
from omni_core.signaling.leases import Lease
from omni_core.types import Endpoint, Mac, PublicKey, Vip


@dataclass(frozen=True)
class Registered:
    """Again after every interruption."""

    observed: Endpoint | None  # where the Nucleus sees us
    cluster_size: int
    nucleus: Endpoint | None = None  # where, when there are several
    why: str = ""  # not at the one before


@dataclass(frozen=True)
class Refused:
    """The Nucleus's sentence, for a human. The client goes on asking every REFUSED_RETRY; told once per reason."""

    reason: str


@dataclass(frozen=True)
class PeerJoined:
    """Joined, came back with a newer record, or is reached elsewhere now. May be repeated."""

    record: PeerRecord
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True)
class PeerLeft:
    """The Nucleus lost it. Not authenticated by the peer: no reason to end a session that works. May be repeated."""

    public_key: PublicKey


@dataclass(frozen=True)
class QueryAnswered:
    """``record`` None: no such edge now, or the Nucleus did not answer in time."""

    address: Vip | Mac
    record: PeerRecord | None
    endpoints: tuple[Endpoint, ...] = ()


@dataclass(frozen=True)
class Punch:
    """That peer is about to connect to us: send to it now."""

    record: PeerRecord
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True)
class NucleusLost:
    """No answer, with the likely causes. Once per interruption; the client goes on trying."""

    reason: str


@dataclass(frozen=True)
class Vip4Leased:
    """A VIP4 other than that of our record is ours, and the client waits for a record with it (``set_record``).

    ``ahead``: at a Nucleus that we are about to change to. It is ours when we have; until then ``prepare_record``.
    """

    lease: Lease
    ahead: bool = False


@dataclass(frozen=True)
class Vip4NotLeased:
    """We asked for a VIP4 and get none; ``reason`` is the Nucleus's sentence.

    ``lost``: that of our record is another's now, and the client waits for a record without it; else we are registered
    with what our record says. ``ahead``: as for Vip4Leased.
    """

    reason: str
    lost: bool
    ahead: bool = False


ClientEvent: TypeAlias = (
    Registered | Refused | PeerJoined | PeerLeft | QueryAnswered | Punch | NucleusLost | Vip4Leased | Vip4NotLeased
)
