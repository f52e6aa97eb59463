"""A Nucleus that is emptied: who is told, how fast, and when it is over. On virtual time."""

from __future__ import annotations

import pytest
from support.nucleus_net import Edge, Net

from omni_core.constants import DRAIN_BATCH, DRAIN_BATCH_INTERVAL, DRAIN_IDLE, DRAIN_JITTER, DRAIN_REPEAT
from omni_core.engines.drain import Drain
from omni_core.engines.nucleus_events import DrainChanged

KEYS = [n.to_bytes(32, "big") for n in range(1, 1001)]


def run(drain: Drain, now: float, until: float) -> list[tuple[float, list[bytes]]]:
    """Timers until ``until`` or the end; whom they tell."""
    told = []
    while (due := drain.next_timer()) is not None and due <= until:
        assert due >= now
        now = due
        batch = drain.to_tell(now)
        if batch:
            told.append((now, batch))
    return told


def test_nobody_there() -> None:
    drain = Drain([], 5.0, 10.0)
    assert drain.done and drain.next_timer() is None and drain.to_tell(5.0) == []


def test_notices_are_paced_and_repeated_once() -> None:
    drain = Drain(KEYS, 0.0, 100.0)
    told = run(drain, 0.0, 100.0)
    assert all(len(batch) <= DRAIN_BATCH for _, batch in told)
    first = [key for when, batch in told for key in batch if when < len(KEYS) / DRAIN_BATCH * DRAIN_BATCH_INTERVAL]
    assert sorted(first) == KEYS
    assert sorted(key for _, batch in told for key in batch) == sorted(KEYS * 2)
    assert drain.done


def test_edges_that_leave_end_it_at_once() -> None:
    drain = Drain(KEYS[:3], 0.0, 10.0)
    drain.to_tell(0.0)
    for number, key in enumerate(KEYS[:3]):
        assert not drain.done
        drain.left(key, 0.5 + number)
    assert drain.done


def test_it_is_over_when_nobody_left_for_a_while() -> None:
    """The others have nowhere to go."""
    drain = Drain(KEYS[:3], 0.0, 60.0)
    run(drain, 0.0, 2.0)
    drain.left(KEYS[0], 2.0)
    run(drain, 2.0, 2.0 + DRAIN_IDLE - 0.01)
    assert not drain.done
    run(drain, 2.0 + DRAIN_IDLE, 2.0 + DRAIN_IDLE)
    assert drain.done
    assert DRAIN_IDLE > DRAIN_JITTER + DRAIN_REPEAT / 2  # who moves has moved by then


def test_it_takes_no_longer_than_its_time() -> None:
    drain = Drain(KEYS[:100], 0.0, 10.0)
    now = 0.0
    for key in KEYS[:20]:  # one leaves every second
        run(drain, now, now + 1)
        now += 1
        drain.left(key, now)
    assert drain.done and drain.until == 10.0


def test_heartbeats_of_those_that_stay_end_it() -> None:
    drain = Drain(KEYS[:2], 0.0, 10.0)
    drain.stays(KEYS[0], 0.0)  # it has not been told yet
    drain.to_tell(0.0)
    drain.stays(KEYS[0], 0.1)
    assert not drain.done
    drain.left(KEYS[1], 0.2)
    assert drain.done


# --- with the engine -------------------------------------------------------------------------------------------------


@pytest.fixture
def net(seed: int) -> Net:
    return Net(seed)


def formed(net: Net, n: int) -> list[Edge]:
    edges = [net.edge().start() for _ in range(n)]
    assert net.run(3, net.all_registered)
    net.run(1)
    net.nucleus.take_events()
    return edges


def drain_events(net: Net) -> list[DrainChanged]:
    return [event for event in net.nucleus.take_events() if isinstance(event, DrainChanged)]


def begin(net: Net, time: float) -> None:
    net.nucleus.drain(net.now, time)
    net.pump_nucleus()


def test_edges_are_told_and_leave(net: Net) -> None:
    first, second, third = formed(net, 3)
    for edge in (first, second, third):
        edge.client.replaceable = True  # another Nucleus is ready
    begin(net, 30.0)
    assert drain_events(net) == [DrainChanged(False, 3)]
    assert net.run(0.5, lambda: all(edge.client.health.draining for edge in (first, second, third)))
    for edge in (first, second):  # as one does that has another Nucleus
        edge.client.contact.warm(net.now)
        net.pump(edge)
    third.stop()
    assert net.run(1, lambda: net.nucleus.drained)
    assert drain_events(net) == [DrainChanged(True, 0)]
    assert net.nucleus.status(net.now).draining and net.nucleus.users == 0


def test_edges_without_another_nucleus_are_served_on(net: Net) -> None:
    edges = formed(net, 3)
    began = net.now
    begin(net, 30.0)
    late = net.edge().start()  # told by the answer to its registration
    assert net.run(30, lambda: net.nucleus.drained)
    assert net.now - began <= 0.5  # each says at once that it stays
    assert drain_events(net)[-1] == DrainChanged(True, 3)
    assert net.run(1, lambda: late.registered)
    assert late.registered and late.client.health.draining
    assert net.run(60) and net.all_registered() and len(edges[0].known) == 3


def test_a_notice_that_is_lost_is_repeated(net: Net) -> None:
    (edge,) = formed(net, 1)
    net.carry = lambda *_: []
    begin(net, 30.0)
    net.run(0.1)
    net.carry = lambda *_: [0.01]
    assert net.run(DRAIN_REPEAT + 0.1, lambda: edge.client.health.draining)


def test_a_second_drain_changes_nothing(net: Net) -> None:
    formed(net, 1)
    begin(net, 30.0)
    begin(net, 60.0)
    assert drain_events(net) == [DrainChanged(False, 1)]


def test_an_empty_nucleus_is_drained_at_once(net: Net) -> None:
    begin(net, 30.0)
    assert net.nucleus.drained and drain_events(net) == [DrainChanged(False, 0), DrainChanged(True, 0)]


def test_who_uses_a_nucleus_is_counted_as_edges_come_and_go(net: Net) -> None:
    first, second, third = formed(net, 3)
    assert net.nucleus.users == 3
    first.client.contact.warm(net.now)
    net.pump(first)
    second.stop()
    net.run(1)
    assert net.nucleus.users == 1
    first.client.start(net.now)
    net.pump(first)
    net.run(1)
    assert net.nucleus.users == 2
    net.nucleus.admin.kick(third.key, net.now)
    assert net.nucleus.users == 1
    first.kill()
    # The one that was kicked comes back, the other departs.
    assert net.run(200, lambda: net.nucleus._users.keys == {third.key})
