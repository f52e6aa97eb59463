"""The handshake table: complete where it must be, and the engine never brings what it lacks."""

from __future__ import annotations

import random

import pytest
from support.session_pair import Pair

from omni_core.errors import LocalMisuse
from omni_core.session.machine import IN_FLIGHT, TABLE, USABLE, Action, Event, State, next_step

# What an owner, a peer or a clock can bring at any moment.
ALWAYS_POSSIBLE = {
    Event.FORGET: set(State),
    Event.WANT: set(State),
    Event.PEER_INITIATED: set(State),
    Event.PEER_LOST_TIE: IN_FLIGHT,
    Event.RESPONSE: IN_FLIGHT,
    Event.EXPIRED: USABLE,
}


@pytest.mark.parametrize("event", ALWAYS_POSSIBLE, ids=lambda e: e.name)
def test_events_that_may_come_any_time_have_a_transition(event: Event) -> None:
    for state in ALWAYS_POSSIBLE[event]:
        next_step(state, event)


@pytest.mark.parametrize("state", State, ids=lambda s: s.name)
@pytest.mark.parametrize("event", Event, ids=lambda e: e.name)
def test_every_state_and_event_is_a_transition_or_an_error(state: State, event: Event) -> None:
    if (state, event) in TABLE:
        action, after = next_step(state, event)
        assert isinstance(action, Action) and isinstance(after, State)
    else:
        with pytest.raises(LocalMisuse):
            next_step(state, event)


def test_every_state_is_reached_and_left() -> None:
    assert {after for _, after in TABLE.values()} == set(State)
    assert {state for state, _ in TABLE} == set(State)


def test_usable_states_are_entered_only_with_a_proven_session() -> None:
    for (before, event), (_, after) in TABLE.items():
        if after in USABLE and before not in USABLE:
            assert event in {Event.RESPONSE, Event.CONFIRMED}, (before, event)


def test_random_lives_never_leave_the_table(seed: int) -> None:
    """5,000 steps of owners, loss, duplication and time on real Sessions: LocalMisuse would escape."""
    pair = Pair(seed)
    rng = random.Random(seed)

    def lossy(sender: object, datagram: bytes) -> list[bytes]:
        return [datagram] * rng.choice((0, 0, 1, 1, 1, 2))

    pair.carry = lossy
    seen: set[State] = set()
    for _ in range(5000):
        side = rng.choice((pair.a, pair.b))
        remote = pair.other(side).key
        choice = rng.random()
        if choice < 0.25:
            pair.connect(side)
        elif choice < 0.35:
            side.sessions.rekey(remote, pair.now)
        elif choice < 0.38:
            side.sessions.forget(remote, pair.now)
        elif choice < 0.5:
            pair.confirm(side)
        else:
            pair.advance(rng.choice((0.1, 1.0, 5.0, 20.0, 60.0, 200.0)))
        pair.pump()
        seen |= {s.sessions.state(pair.other(s).key) for s in (pair.a, pair.b)}
        for s in (pair.a, pair.b):
            assert set(s.receiving) == {k.receive_id for k in s.sessions.keypairs(pair.other(s).key)}
    assert seen == set(State)
    pair.carry = lambda sender, datagram: [datagram]
    pair.advance(400.0)
    pair.connect(pair.a)
    pair.connect(pair.b)
    pair.advance(10.0)
    pair.assert_joined()
