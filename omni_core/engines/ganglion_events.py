"""What a Ganglion engine tells its driver: for log lines, status and scripts. The engine never waits for an answer."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import TypeAlias

from omni_core.types import Endpoint, PublicKey


@dataclass(frozen=True)
class PeerUp:
    public_key: PublicKey
    name: str
    endpoint: Endpoint
    text: str


@dataclass(frozen=True)
class PeerDown:
    public_key: PublicKey
    name: str
    text: str  # the reason, a sentence


@dataclass(frozen=True)
class NucleusChanged:
    """``state`` as in GanglionStatus.nucleus_state; ``text`` says why, with the fix where there is one."""

    state: str
    text: str


@dataclass(frozen=True)
class Warned:
    """Something a human should look at: a VIP whose key changed, two robots with one VIP."""

    text: str


@dataclass(frozen=True)
class VipChanged:
    """The VIP4 of this robot is another one now, leased by the Nucleus; None: it has none any more."""

    vip4: IPv4Interface | None
    text: str


@dataclass(frozen=True)
class PingResult:
    token: int
    rtt: float | None  # s; None: no answer within the time given
    text: str  # why there was none


@dataclass(frozen=True)
class ListeningChanged:
    """A program here may have joined or left a group: the kernel's table is worth a look (``set_memberships``)."""


GanglionEvent: TypeAlias = PeerUp | PeerDown | NucleusChanged | Warned | VipChanged | PingResult | ListeningChanged
