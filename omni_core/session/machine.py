"""The handshake state machine of one peer, as a table.

Rules
- A session is *usable* when a handshake completed on our side as initiator, or when the peer's first authentic packet
  confirmed it (we were responder). Until then it can only receive.
- At most one initiation of ours is in flight. When both sides initiate at once, the initiation of the side with the
  greater public key stands: that side insists, the other one drops its own and answers.
- A new session never ends an older one that still works: both receive until the old one expires.
- ``EXPIRED`` is the end of the session that sends; the table decides what is left.
- A (state, event) that is not in the table is a bug of ours, never of the peer: ``next_step`` raises LocalMisuse.

    DOWN ----WANT----> INITIATING ---RESPONSE---> UP ---WANT---> REKEYING ---RESPONSE---> UP
      \\---PEER_INITIATED--> ANSWERED --CONFIRMED--> UP --PEER_INITIATED--> REANSWERED --CONFIRMED--> UP
"""

from __future__ import annotations

from enum import Enum

from omni_core.errors import LocalMisuse


class State(Enum):
    DOWN = "down"  # no session, nothing in flight
    INITIATING = "initiating"  # our initiation is out, no usable session
    ANSWERED = "answered"  # our response is out, its session is unconfirmed, no other usable session
    UP = "up"  # a usable session
    REKEYING = "rekeying"  # usable, and our initiation is out
    REANSWERED = "reanswered"  # usable, and our response to a new initiation is unconfirmed


class Event(Enum):
    WANT = "want"  # the owner wants a session, or the present one is due for rekey or silent
    RETRY = "retry"  # no answer in time
    GIVE_UP = "give up"  # no answer for REKEY_ATTEMPT_TIME
    PEER_INITIATED = "peer initiated"  # authentic, fresh, admitted; not outranked by our own in flight
    PEER_LOST_TIE = "peer lost tie"  # the same, while our own initiation in flight outranks it
    RESPONSE = "response"  # authentic answer to our initiation in flight
    CONFIRMED = "confirmed"  # first authentic packet of the unconfirmed session
    EXPIRED = "expired"  # the usable session has reached its end
    UNCONFIRMED = "unconfirmed"  # the unconfirmed session has reached its end
    FORGET = "forget"  # the owner has no more use for the peer


class Action(Enum):
    INITIATE = "send an initiation"
    INSIST = "send ours again soon, towards where theirs came from"
    ANSWER = "send a response, hold its session unconfirmed"
    COMPLETE = "the session of our initiation sends from now on"
    PROMOTE = "the unconfirmed session sends from now on"
    EXPIRE = "end the usable session"
    DISCARD = "end the unconfirmed session"
    ABANDON = "end our initiation"
    CLEAR = "end everything"
    NOTHING = "nothing"


S, E, A = State, Event, Action

TABLE: dict[tuple[State, Event], tuple[Action, State]] = {
    (S.DOWN, E.WANT): (A.INITIATE, S.INITIATING),
    (S.DOWN, E.PEER_INITIATED): (A.ANSWER, S.ANSWERED),
    (S.DOWN, E.FORGET): (A.CLEAR, S.DOWN),
    #
    (S.INITIATING, E.WANT): (A.NOTHING, S.INITIATING),
    (S.INITIATING, E.RETRY): (A.INITIATE, S.INITIATING),
    (S.INITIATING, E.GIVE_UP): (A.CLEAR, S.DOWN),
    (S.INITIATING, E.PEER_INITIATED): (A.ANSWER, S.ANSWERED),
    (S.INITIATING, E.PEER_LOST_TIE): (A.INSIST, S.INITIATING),
    (S.INITIATING, E.RESPONSE): (A.COMPLETE, S.UP),
    (S.INITIATING, E.CONFIRMED): (A.PROMOTE, S.UP),  # answered earlier, then tried ourselves
    (S.INITIATING, E.UNCONFIRMED): (A.DISCARD, S.INITIATING),
    (S.INITIATING, E.FORGET): (A.CLEAR, S.DOWN),
    #
    (S.ANSWERED, E.WANT): (A.NOTHING, S.ANSWERED),  # the peer's confirmation is on its way; else RETRY comes
    (S.ANSWERED, E.RETRY): (A.INITIATE, S.INITIATING),
    (S.ANSWERED, E.PEER_INITIATED): (A.ANSWER, S.ANSWERED),  # our response was lost
    (S.ANSWERED, E.CONFIRMED): (A.PROMOTE, S.UP),
    (S.ANSWERED, E.UNCONFIRMED): (A.CLEAR, S.DOWN),
    (S.ANSWERED, E.FORGET): (A.CLEAR, S.DOWN),
    #
    (S.UP, E.WANT): (A.INITIATE, S.REKEYING),
    (S.UP, E.PEER_INITIATED): (A.ANSWER, S.REANSWERED),
    (S.UP, E.EXPIRED): (A.EXPIRE, S.DOWN),
    (S.UP, E.FORGET): (A.CLEAR, S.DOWN),
    #
    (S.REKEYING, E.WANT): (A.NOTHING, S.REKEYING),
    (S.REKEYING, E.RETRY): (A.INITIATE, S.REKEYING),
    (S.REKEYING, E.GIVE_UP): (A.ABANDON, S.UP),  # what still works is used to its end
    (S.REKEYING, E.PEER_INITIATED): (A.ANSWER, S.REANSWERED),
    (S.REKEYING, E.PEER_LOST_TIE): (A.INSIST, S.REKEYING),
    (S.REKEYING, E.RESPONSE): (A.COMPLETE, S.UP),
    (S.REKEYING, E.CONFIRMED): (A.PROMOTE, S.UP),
    (S.REKEYING, E.EXPIRED): (A.EXPIRE, S.INITIATING),
    (S.REKEYING, E.UNCONFIRMED): (A.DISCARD, S.REKEYING),
    (S.REKEYING, E.FORGET): (A.CLEAR, S.DOWN),
    #
    (S.REANSWERED, E.WANT): (A.NOTHING, S.REANSWERED),
    (S.REANSWERED, E.RETRY): (A.INITIATE, S.REKEYING),
    (S.REANSWERED, E.PEER_INITIATED): (A.ANSWER, S.REANSWERED),
    (S.REANSWERED, E.CONFIRMED): (A.PROMOTE, S.UP),
    (S.REANSWERED, E.EXPIRED): (A.EXPIRE, S.ANSWERED),
    (S.REANSWERED, E.UNCONFIRMED): (A.DISCARD, S.UP),
    (S.REANSWERED, E.FORGET): (A.CLEAR, S.DOWN),
}

USABLE = frozenset({S.UP, S.REKEYING, S.REANSWERED})
IN_FLIGHT = frozenset({S.INITIATING, S.REKEYING})
AWAITING_CONFIRMATION = frozenset({S.ANSWERED, S.REANSWERED})


def next_step(state: State, event: Event) -> tuple[Action, State]:
    """Raises LocalMisuse when the engine brought an event that cannot happen in this state."""
    try:
        return TABLE[state, event]
    except KeyError:
        raise LocalMisuse(f"the handshake table has no {event.name} in {state.name}") from None
