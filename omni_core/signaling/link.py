"""One signaling session as seen by one end: seals and opens packets of type 0x04 (wire/control.py).

The keys of a session with the Nucleus carry signaling only, so that the packet counter alone is the nonce.
"""

from __future__ import annotations

from typing import NamedTuple

from omni_core.crypto.aead import RareAead
from omni_core.crypto.errors import AuthenticationFailed
from omni_core.drops import DropReason
from omni_core.errors import RemoteViolation
from omni_core.session.keypair import Keypair
from omni_core.session.replay import ReplayWindow
from omni_core.signaling.endpoints import PackedEndpoint
from omni_core.types import PublicKey
from omni_core.wire.control import SignalingPacket, signaling_header


class Said(NamedTuple):
    """What need not be said again in this session (messages.Beat): the last of it that was answered."""

    epoch: int
    version: int  # of the edge's record
    observed: PackedEndpoint
    size: int  # of the cluster


class SignalingLink:
    """Takes the keys of a keypair over. ``wipe`` it when the session is retired."""

    __slots__ = (
        "_counter", "_receive", "_send", "_window", "handshake_hash", "receive_id", "remote", "said", "send_id",
    )  # fmt: skip

    def __init__(self, keypair: Keypair) -> None:
        self.remote: PublicKey = keypair.remote
        self.send_id = keypair.send_id
        self.receive_id = keypair.receive_id
        self.handshake_hash = keypair.handshake_hash
        send_key, receive_key = keypair.take_keys()
        self._send, self._receive = RareAead(send_key), RareAead(receive_key)
        self.said: Said | None = None  # at the Nucleus
        self._counter = 0
        self._window = ReplayWindow()

    @property
    def newest(self) -> int:
        """Counter of the newest packet opened; -1: none."""
        return self._window.highest

    def seal(self, message: bytes) -> bytes:
        """-> the datagram."""
        header = signaling_header(self.send_id, self._counter)
        sealed = self._send.seal(self._counter, message, header)
        self._counter += 1
        return header + sealed

    def open(self, packet: SignalingPacket) -> bytes:
        """-> the message. Raises RemoteViolation (SIGNALING_REPLAYED, SIGNALING_FORGED); nothing has changed then."""
        if not self._window.check(packet.counter):
            raise RemoteViolation(DropReason.SIGNALING_REPLAYED)
        try:
            message = self._receive.open(packet.counter, packet.ciphertext, packet.header)
        except AuthenticationFailed:
            raise RemoteViolation(DropReason.SIGNALING_FORGED) from None
        self._window.update(packet.counter)
        return message

    def wipe(self) -> None:
        """Idempotent."""
        self._send.wipe()
        self._receive.wipe()
