"""When a handshake is due, and when it is tried again: each delay with jitter, so that two peers leave lockstep."""

from __future__ import annotations

from omni_core.constants import (
    FIRST_RETRY,
    NUCLEUS_REKEY_SPREAD,
    NUCLEUS_RETRY_SPREAD,
    REKEY_AFTER_TIME,
    REKEY_RETRY,
    REKEY_RETRY_JITTER,
    RESPONDER_REKEY_GRACE,
    SIGNALING_REKEY_AFTER_TIME,
)
from omni_core.session.keypair import Keypair
from omni_core.types import RandomBytes, random_fraction


class Pace:
    def __init__(self, random: RandomBytes) -> None:
        self._random = random

    def rekey_time(self, keypair: Keypair, *, crowd: bool) -> float:
        """In the engine's seconds, from the session's age: it does not matter who has kept the time so far. ``crowd``:
        the peer is a Nucleus, with which many others have a session, perhaps from the same moment on."""
        grace = 0.0 if keypair.initiator else RESPONDER_REKEY_GRACE
        after, jitter = (
            (SIGNALING_REKEY_AFTER_TIME, -NUCLEUS_REKEY_SPREAD) if crowd else (REKEY_AFTER_TIME, REKEY_RETRY_JITTER)
        )
        return keypair.created + after + grace + self.fraction() * jitter

    def retry(self, tries: int | None = None, *, crowd: bool) -> float:
        """Seconds to wait for an answer; ``tries``: initiations of this attempt so far, the first ones wait less."""
        delay = REKEY_RETRY if tries is None else min(FIRST_RETRY * 2**tries, REKEY_RETRY)
        if crowd:
            return delay * (1 + NUCLEUS_RETRY_SPREAD * (2 * self.fraction() - 1))
        return delay + self.fraction() * REKEY_RETRY_JITTER

    def fraction(self) -> float:
        return random_fraction(self._random)
