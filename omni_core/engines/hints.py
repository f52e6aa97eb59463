"""Where others say that a peer is, while no Nucleus says so: to be tried by handshakes, nothing more. Part of the
Ganglion engine. A table, no decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omni_core.constants import HINT_HOLD, HINT_LIFE, HINTS_MAX, HINTS_PER_TELLER
from omni_core.types import Endpoint, PublicKey


@dataclass(frozen=True)
class Hint:
    endpoint: Endpoint
    teller: PublicKey
    heard: float  # when the peer was there, as the teller says
    told: float


class Hints:
    """Of one peer. ``untried``: there are some that no handshake has gone to."""

    __slots__ = ("_hints", "untried")

    def __init__(self) -> None:
        self._hints: list[Hint] = []  # the latest first
        self.untried = False

    def take(self, endpoints: Sequence[Endpoint], teller: PublicKey, heard: float, now: float) -> bool:
        """Whether an endpoint is new. What the same teller said before is forgotten, yet not within HINT_HOLD."""
        known = {hint.endpoint for hint in self._hints}
        said = [hint for hint in self._hints if hint.teller == teller]
        if said and now - said[0].told < HINT_HOLD:
            return False
        told = [Hint(endpoint, teller, heard, now) for endpoint in endpoints[:HINTS_PER_TELLER]]
        again = {hint.endpoint for hint in told}
        rest = [hint for hint in self._hints if hint.teller != teller and hint.endpoint not in again]
        self._hints = (told + rest)[:HINTS_MAX]
        return any(hint.endpoint not in known for hint in told)

    def endpoints(self, now: float) -> list[Endpoint]:
        return [hint.endpoint for hint in self._hints if now - hint.told < HINT_LIFE]

    def by(self, teller: PublicKey) -> list[Endpoint]:
        return [hint.endpoint for hint in self._hints if hint.teller == teller]

    def clear(self) -> None:
        self._hints.clear()
        self.untried = False

    def __contains__(self, endpoint: Endpoint) -> bool:
        return any(hint.endpoint == endpoint for hint in self._hints)

    def __bool__(self) -> bool:
        return bool(self._hints)
