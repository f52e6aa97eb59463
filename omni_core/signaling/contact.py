"""An edge's contact with one Nucleus: connecting, keeping it warm, trying again, and saying that it is lost. Sans-IO.

    idle --start or warm--> connecting --session--> REGISTER, or standby if it is only kept warm
                            ^   \\--answers missed, session lost: again after a pause

What is said once there is a session (client.py) is not decided here. One that is only kept warm may take its time, and
its loss is told by ``health`` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

from omni_core.constants import (
    NUCLEUS_LOST_AFTER,
    RECONNECT_JITTER,
    STANDBY_INTERVAL,
    STANDBY_RETRY,
    STANDBY_RETRY_MAX,
    STANDBY_TRY,
)
from omni_core.session.events import SessionEvent, SessionLost, SessionRetired
from omni_core.signaling.connection import Connection
from omni_core.signaling.health import Backoff, Health
from omni_core.types import Endpoint


class State(Enum):
    IDLE = "idle"
    CONNECTING = "connecting"
    STANDBY = "standby"
    REGISTERED = "registered"
    REFUSED = "refused"


class Contact:
    """The client sets ``state`` to what an answer has made of it, and ``retry_at``."""

    def __init__(
        self,
        connection: Connection,
        health: Health,
        *,
        fraction: Callable[[], float],
        register: Callable[[float], None],
        sync: Callable[[float], None],
        give_up: Callable[[], None],
        lost: Callable[[str], None],
    ) -> None:
        """``register(now)``, ``sync(now)``: there is a session, send REGISTER or a heartbeat in it. ``give_up``: the
        requests under way. ``lost``: nobody answers, with the likely causes."""
        self.state = State.IDLE
        self.wanted = False  # to be registered, not only warm
        self.retry_at: float | None = None  # connect, or register again
        self.standby_interval = STANDBY_INTERVAL
        self._connection = connection
        self._health = health
        self._fraction = fraction
        self._register = register
        self._sync = sync
        self._give_up = give_up
        self._lost = lost
        self._urgent = True  # try all the time, also to be warm
        self._backoff = Backoff(STANDBY_RETRY, STANDBY_RETRY_MAX, fraction)
        self._pause_at: float | None = None  # end an attempt to be warm
        self._lost_at: float | None = None  # tell the owner that nobody answers
        self._told_lost = False

    # --- what the owner wants -------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Be registered from now on. Idempotent."""
        if self.wanted:
            return
        self.wanted = True
        self._told_lost = False
        self._pause_at = None
        self.state = State.CONNECTING
        if self._connection.is_up:
            self._register(now)
        else:
            self.retry_at = None
            self._connect(now)

    def warm(self, now: float, interval: float = STANDBY_INTERVAL) -> None:
        """Have a session, and hear every ``interval`` s that the Nucleus is there; not registered (any more).
        Idempotent."""
        self.standby_interval = interval
        if self.state is not State.IDLE and not self.wanted:
            return
        self.wanted = False
        self._lost_at = None
        self._give_up()
        if self._connection.is_up:
            self._stand_by(now)
        elif self.state is State.IDLE:
            self.state = State.CONNECTING
            self._connect(now)
        elif self.retry_at is None:
            self._connect(now)

    def cool(self, now: float) -> None:
        """End what ``warm`` has begun, without a word: the registration elsewhere is to go on. Idempotent."""
        if self.state is State.IDLE:
            return
        self.end(now)
        self._backoff.reset()
        self._health.fault("")

    def end(self, now: float) -> None:
        """Forget the Nucleus."""
        self._disconnect(now)
        self.state, self.wanted = State.IDLE, False
        self.retry_at = self._lost_at = self._pause_at = None

    def hurry(self, now: float) -> None:
        """It is waited for now: try all the time. Idempotent."""
        if self._urgent:
            return
        self._urgent = True
        if self.state is State.CONNECTING and not self._connection.is_up and self.retry_at is not None:
            self.retry_at = min(self.retry_at, now + RECONNECT_JITTER * self._fraction())
        self._pause_at = None
        self._backoff.reset()

    def relax(self, now: float) -> None:
        """Nobody waits for it: what is tried may take its time. Idempotent."""
        if self._urgent and self.state is State.CONNECTING and not self._connection.is_up and self.retry_at is None:
            self._pause_at = now + STANDBY_TRY
        self._urgent = False

    def nudge(self, now: float) -> None:
        """The network seems to be back: try now, whenever the next try would be."""
        if self.state is State.CONNECTING and not self._connection.is_up:
            if self.retry_at is not None:
                self.retry_at = None
                self._connect(now)
            else:
                self._connection.resend(now)

    def set_endpoints(self, endpoints: Sequence[Endpoint], now: float) -> None:
        """The Nucleus's host name leads elsewhere now."""
        self._connection.endpoints = list(endpoints)
        if self.state is State.CONNECTING and self.retry_at is None:
            self._connection.connect(now)

    # --- what happens ---------------------------------------------------------------------------------------------

    def on_session_event(self, event: SessionEvent, now: float) -> None:
        if isinstance(event, SessionRetired):
            self._connection.retire(event)
        elif self.state is State.IDLE:
            return
        elif isinstance(event, SessionLost):
            self.interrupted(f"the session with the Nucleus was lost: {event.reason}", now)
        elif self._connection.begin(event):
            self._use(now)

    def answered(self) -> None:
        """It is there."""
        self._backoff.reset()

    def found(self) -> None:
        """It has answered a REGISTER: if it is lost again, that is news."""
        self._lost_at, self._told_lost = None, False

    def interrupted(self, reason: str, now: float) -> None:
        self._disconnect(now)
        self.state = State.CONNECTING
        self._pause_at = None
        self._health.fault(reason)
        waited_for = self.wanted or self._urgent
        self.retry_at = now + (RECONNECT_JITTER * self._fraction() if waited_for else self._backoff.next())
        if self.wanted:
            self._tell_lost(reason)

    def next_timer(self) -> float | None:
        times = (self.retry_at, self._lost_at, self._pause_at)
        return min((t for t in times if t is not None), default=None)

    def handle_timer(self, now: float) -> None:
        if self._pause_at is not None and self._pause_at <= now:
            self.interrupted(f"no answer from {self._connection.places}", now)
        if self.retry_at is not None and self.retry_at <= now:
            self.retry_at = None
            if self._connection.is_up:
                self._register(now)
            else:
                self._connect(now)
        if self._lost_at is not None and self._lost_at <= now:
            self._tell_lost(
                f"no answer from a Nucleus at {self._connection.places} for {NUCLEUS_LOST_AFTER:.0f} s: it is "
                "unreachable (address, firewall, not running), or nucleus-key is not its key"
            )

    # --- parts ----------------------------------------------------------------------------------------------------

    def _connect(self, now: float) -> None:
        if self.wanted and not self._told_lost and self._lost_at is None:
            self._lost_at = now + NUCLEUS_LOST_AFTER
        self._pause_at = None if self.wanted or self._urgent else now + STANDBY_TRY
        self._connection.connect(now)

    def _disconnect(self, now: float) -> None:
        self._connection.end(now)
        self._give_up()

    def _use(self, now: float) -> None:
        """Another session sends from now on. The Nucleus takes it for confirmed with the first packet, so send one."""
        if self.state is State.REGISTERED:
            self._sync(now)
        elif not self.wanted:
            self._stand_by(now)
        elif self.retry_at is None:
            self._register(now)

    def _stand_by(self, now: float) -> None:
        """Ask at once: it confirms the session, or says that we are not to be sought here."""
        self.state = State.STANDBY
        self.retry_at = self._pause_at = None
        self._sync(now)

    def _tell_lost(self, reason: str) -> None:
        self._lost_at = None
        if not self._told_lost:
            self._told_lost = True
            self._lost(reason)
