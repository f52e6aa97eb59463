"""What crypto raises. No exception of noiseprotocol, PyNaCl or cryptography leaves this package."""

from __future__ import annotations

from omni_core.drops import DropReason
from omni_core.errors import OmniError, RemoteViolation


class AuthenticationFailed(OmniError):
    """A tag, a mac or a sealed cookie is wrong. The caller knows what it belongs to and counts it."""


class HandshakeFailed(RemoteViolation):
    """A Noise message could not be processed. Never fatal: the handshake goes on as if it had not come."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(DropReason.HANDSHAKE_FORGED, detail)
