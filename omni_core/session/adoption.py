"""Sessions that outlived their control plane: which of them does what from now on.

While the control plane was away nothing was initiated or answered, but an answer that it had given may have been
confirmed. So, of the sessions with one remote that have not expired:
- the newest that may send is *current*: ours as initiator, in use already, or confirmed meanwhile;
- the one before it is *previous*: it goes on receiving what the remote may still send with it;
- an unconfirmed one that is newer than *current* is *pending*;
- all others have no use.
A rekey that was under way is lost, and starts over: timers run from the time each session was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omni_core.session.keypair import Keypair
from omni_core.session.machine import State
from omni_core.session.remote import Remote


@dataclass(frozen=True)
class LeftSession:
    """``created`` is in the engine's seconds; the clock goes on across a restart."""

    send_id: int
    receive_id: int
    initiator: bool
    sending: bool
    confirmed: bool
    created: float


def arrange(peer: Remote, left: Sequence[LeftSession], now: float) -> list[LeftSession]:
    """Give ``peer``, which has none, the sessions that are of use, and its state. Returns the others."""
    useless: list[LeftSession] = []
    for each in sorted(left, key=_newest_last, reverse=True):
        # The keys stay where they are: the data plane has them, and nobody else needs them.
        none = bytearray()
        ids = each.send_id, each.receive_id
        keypair = Keypair(peer.remote, each.initiator, *ids, none, none, b"", each.created, adopted=True)
        usable = _is_usable(each)
        if keypair.expires <= now or peer.previous is not None:
            useless.append(each)
        elif usable and peer.current is None:
            peer.current = keypair
        elif usable:
            peer.previous = keypair
        elif peer.current is None and peer.pending is None:
            peer.pending = keypair
        else:
            useless.append(each)
    if peer.current is not None:
        peer.state = State.UP if peer.pending is None else State.REANSWERED
    elif peer.pending is not None:
        peer.state = State.ANSWERED
    return useless


def _is_usable(session: LeftSession) -> bool:
    return session.initiator or session.sending or session.confirmed


def _newest_last(session: LeftSession) -> tuple[float, bool, bool]:
    """Of two made at one moment, the unconfirmed one came later: the other one sends."""
    return session.created, not _is_usable(session), session.sending
