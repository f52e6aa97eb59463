"""A machine on the simulated underlay: one UDP port, one sans-IO engine behind it, pumped only when it has work."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING

from omni_core.constants import DEFAULT_PORT

if TYPE_CHECKING:
    from omni_core.sim.network import Segment, SimNet

STUCK_AFTER = 1000  # timer calls in one instant of virtual time


class EngineStuck(AssertionError):
    """An engine asks for a timer that is already due, again and again: on a real clock it would spin."""


class SimHost:
    """Override the four ``engine_*`` methods. ``SimNet.add_host`` connects it; call ``pump`` after local actions."""

    def __init__(self, name: str, port: int = DEFAULT_PORT) -> None:
        self.name = name
        self.port = port
        self.running = True
        self.net: SimNet
        self.segment: Segment
        self.addresses: tuple[str, ...] = ()
        self._due: float | None = None  # the engine's timer
        self._wake_at = inf  # when we look at it; may be sooner, for a timer that has moved is not planned again
        self._wakes_in_this_instant = 0

    # --- the engine ---
    def engine_receive(self, data: bytes, source: tuple[str, int], now: float) -> None:
        raise NotImplementedError

    def engine_next_timer(self) -> float | None:
        return None

    def engine_handle_timer(self, now: float) -> None:
        raise NotImplementedError

    def engine_take_datagrams(self) -> Sequence[tuple[bytes, tuple[str, int]]]:
        """Also the place to collect what else the engine produced: it is called after everything the engine did."""
        raise NotImplementedError

    # --- driving it ---
    def receive(self, data: bytes, source: tuple[str, int]) -> None:
        self.engine_receive(data, source, self.net.now)
        self.pump()

    def pump(self) -> None:
        """Send what the engine wants sent and plan its timer."""
        for data, remote in self.engine_take_datagrams():
            self.net.transmit(self, data, remote)
        self._plan()

    def stop_running(self) -> None:
        """As kill -9: nothing more is received or sent, and no timer runs."""
        self.running = False
        self._wake_at = inf

    def address_for(self, remote: str) -> str | None:
        """Our first address of the remote's family."""
        ipv6 = ":" in remote
        return next((address for address in self.addresses if (":" in address) == ipv6), None)

    def _plan(self) -> None:
        self._due = self.engine_next_timer()
        self._look_at_due()

    def _look_at_due(self) -> None:
        if self._due is not None and self._due < self._wake_at:
            self._wake_at = max(self._due, self.net.now)
            self.net.loop.at(self._wake_at, self._wake, self._wake_at)

    def _wake(self, planned: float) -> None:
        if planned != self._wake_at or not self.running:
            return  # an earlier timer took over, or the host is down
        self._wake_at = inf
        now = self.net.now
        if self._due is not None and self._due <= now:
            self.engine_handle_timer(now)
            self._wakes_in_this_instant += 1
            if self._wakes_in_this_instant > STUCK_AFTER:
                raise EngineStuck(f"{self.name} at {now}: its next timer was {self._due}")
            self.pump()
            if self._wake_at > now:
                self._wakes_in_this_instant = 0
        else:
            self._look_at_due()
