"""When an established peer needs a keepalive, a probe or a new handshake. Works on polled counters, so any
engine will do.

Rules (WireGuard paper, section 6.5, with a NAT keepalive that is a PING and so asks for an answer):
- data came and nothing went back for PASSIVE_KEEPALIVE: send a KEEPALIVE;
- nothing came for PASSIVE_KEEPALIVE, while in-session control was sent that asks for no answer: send a PING;
- nothing was sent for NAT_KEEPALIVE: send a PING (keeps the NAT mapping, measures the round trip, proves the
peer alive);
- something that asks for an answer was sent and nothing authentic came for DEAD_AFTER: start a handshake.

Any authentic packet is a sign of life, not only a PONG: of a robot whose Ganglion is away while its data plane goes on,
only silence in both data and control is noticed. And a peer is never cut off for silence: the handshake is an attempt,
repeated for REKEY_ATTEMPT_TIME, and meanwhile, and after it failed, frames go out with the session there is until that
expires, REJECT_AFTER_TIME after it was made. So one-way traffic to such a robot goes on too (engines/adoption.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from omni_core.constants import DEAD_AFTER, NAT_KEEPALIVE, PASSIVE_KEEPALIVE

_AT_ONCE = 1.0  # s; what was sent so soon after something came was the answer


class Care(Enum):
    NOTHING = "nothing"
    KEEPALIVE = "keepalive"
    PING = "ping"
    REHANDSHAKE = "rehandshake"


@dataclass
class Traffic:
    """Latest times over all sessions of a peer, in the engine's seconds; 0.0 means never."""

    tx: float = 0.0
    tx_data: float = 0.0
    rx: float = 0.0
    rx_data: float = 0.0


@dataclass
class Liveness:
    last_ping: float = 0.0
    unanswered_since: float | None = None

    def poll(self, traffic: Traffic, now: float) -> Care:
        """What to do now. The caller sets ``last_ping`` through ``pinged`` when it sends one."""
        asked = max(traffic.tx_data, self.last_ping)
        if asked <= traffic.rx:
            self.unanswered_since = None
        elif self.unanswered_since is None or self.unanswered_since < traffic.rx:
            # The first ask after the last answer is not known exactly; the latest one cannot be too early.
            self.unanswered_since = asked
        if self.unanswered_since is not None and now - self.unanswered_since >= DEAD_AFTER:
            self.unanswered_since = None
            return Care.REHANDSHAKE
        if now - traffic.tx >= NAT_KEEPALIVE:
            return Care.PING
        if asked <= traffic.rx < traffic.tx - _AT_ONCE and now - traffic.rx >= PASSIVE_KEEPALIVE:
            return Care.PING
        if traffic.rx_data > traffic.tx and now - traffic.rx_data >= PASSIVE_KEEPALIVE:
            return Care.KEEPALIVE
        return Care.NOTHING

    def silent(self, patience: float, now: float) -> bool:
        """As of the latest poll: a question has been without an answer for so long."""
        return self.unanswered_since is not None and now - self.unanswered_since >= patience

    def pinged(self, now: float) -> None:
        self.last_ping = now
