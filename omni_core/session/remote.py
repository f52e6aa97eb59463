"""What Sessions knows of one remote."""

from __future__ import annotations

from collections.abc import Sequence

from omni_core.constants import UNCONFIRMED_TIME
from omni_core.crypto.cookies import CookieJar
from omni_core.crypto.identity import exchange_key
from omni_core.session.handshake import Profile, SentInitiation
from omni_core.session.keypair import Keypair
from omni_core.session.machine import State
from omni_core.types import Endpoint, PublicKey


class Remote:
    """Its place in the table (machine.py), its sessions, and what is in flight. No decisions."""

    __slots__ = (
        "attempt_ends",
        "body",
        "candidates",
        "current",
        "endpoint",
        "heard",
        "in_flight",
        "jar",
        "pending",
        "previous",
        "profile",
        "rekey_at",
        "remote",
        "retry_at",
        "state",
        "tries",
        "wanted",
    )

    def __init__(self, remote: PublicKey, profile: Profile) -> None:
        self.remote = remote
        self.profile = profile
        self.body = b""
        self.state = State.DOWN
        self.wanted = False
        self.candidates: Sequence[Endpoint] = ()
        self.endpoint: Endpoint | None = None  # where the peer was last heard
        self.heard: Endpoint | None = None  # where an initiation that lost the tie to ours came from
        self.jar: CookieJar | None = None
        self.in_flight: SentInitiation | None = None
        self.attempt_ends: float | None = None
        self.tries = 0  # initiations of this attempt
        self.retry_at: float | None = None
        self.rekey_at: float | None = None
        self.current: Keypair | None = None  # sends
        self.previous: Keypair | None = None  # still receives
        self.pending: Keypair | None = None  # receives, unconfirmed

    @property
    def crowd(self) -> bool:
        """Many others talk to it as we do."""
        return self.profile.role == "nucleus"

    def cookies(self) -> CookieJar:
        """Made when it is first needed."""
        if self.jar is None:
            self.jar = CookieJar(exchange_key(self.remote))
        return self.jar

    def next_deadline(self) -> float | None:
        times = [self.retry_at, self.rekey_at]
        times += [k.expires for k in (self.current, self.previous) if k]
        if self.pending:
            times.append(self.pending.created + UNCONFIRMED_TIME)
        return min((t for t in times if t is not None), default=None)
