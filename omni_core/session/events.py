"""What ``Sessions`` tells its owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from omni_core.session.keypair import Keypair
from omni_core.types import Endpoint, PublicKey


@dataclass(frozen=True)
class SessionCreated:
    """Valid for receiving from now on. ``usable``: it also sends (we were initiator); else SessionUsable follows."""

    remote: PublicKey
    keypair: Keypair
    usable: bool
    body: bytes  # the peer's handshake body
    endpoint: Endpoint  # where the peer's message came from


@dataclass(frozen=True)
class SessionUsable:
    """The peer proved that it has the session: send with it."""

    remote: PublicKey
    receive_id: int


@dataclass(frozen=True)
class SessionRetired:
    """Valid for nothing any more; its keys are zeroed after this event was made, so copy nothing."""

    remote: PublicKey
    receive_id: int


@dataclass(frozen=True)
class SessionLost:
    """No usable session is left, and nobody is trying."""

    remote: PublicKey
    reason: str


SessionEvent: TypeAlias = SessionCreated | SessionUsable | SessionRetired | SessionLost
