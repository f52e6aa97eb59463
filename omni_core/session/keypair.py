"""A session: one key pair with one peer, from handshake to rekey."""

from __future__ import annotations

from dataclasses import dataclass, field

from omni_core.constants import REJECT_AFTER_TIME
from omni_core.types import PublicKey


@dataclass(eq=False, slots=True)
class Keypair:
    """Keys are in bytearrays so that ``wipe`` can zero them. ``repr`` shows none."""

    remote: PublicKey
    initiator: bool
    send_id: int
    receive_id: int
    send_key: bytearray = field(repr=False)
    receive_key: bytearray = field(repr=False)
    handshake_hash: bytes = field(repr=False)
    created: float
    lifetime: float = REJECT_AFTER_TIME  # s
    adopted: bool = False  # from an earlier control plane: the data plane has the keys, this object has none

    @property
    def expires(self) -> float:
        return self.created + self.lifetime

    def take_keys(self) -> tuple[bytearray, bytearray]:
        """(send, receive): the caller's from now on, to wipe when the session is retired. This object has none then."""
        keys = self.send_key, self.receive_key
        self.send_key, self.receive_key = bytearray(), bytearray()
        return keys

    def wipe(self) -> None:
        for key in (self.send_key, self.receive_key):
            key[:] = bytes(len(key))
