"""ROS 2 graphs across Ganglia: who finds whom, how soon, and what has to cross for it."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")

from support.domains import SETTLED, apart

from tools.dds_fleet import DdsRobot
from tools.dds_fleet.packets import (
    capture_incoming,
    captured,
    data_packets,
    fragments,
    fragments_made,
    multicast_domains,
    rtps_in_clear,
    while_capturing,
)
from tools.netlab import wait_for

pytestmark = [pytest.mark.alone, pytest.mark.netns, pytest.mark.ros]

SOON = 20.0  # s


def test_a_talker_is_heard_across_the_overlay_and_only_there(fleet) -> None:
    one, *others = fleet.robots[:3]
    talker = fleet.name("talker")
    before = {robot.name: one.sent_to(robot.name) for robot in others}
    capture = fleet.lab.capture()
    listeners = {robot: fleet.name("listener") for robot in others}
    fleet.on(one).talk(talker, "chatter")
    for robot, listener in listeners.items():
        fleet.on(robot).listen(listener, "chatter")
    for robot, listener in listeners.items():
        heard = fleet.on(robot).wait_heard(listener, talker, count=20, timeout=SOON)
        began = max(fleet.on(one).began(talker), fleet.on(robot).began(listener))
        print(f"{robot.name} heard {one.name} {heard[0].at - began:.2f} s after both were there")
        assert [each.number for each in heard] == list(range(heard[0].number, heard[0].number + len(heard)))
        assert one.sent_to(robot.name) - before[robot.name] >= len(heard), "its Ganglion carried them"
    path = captured(capture)
    assert rtps_in_clear(path) == 0
    crossed = data_packets(path, fleet.names())
    assert all(crossed[one.name, robot.name] >= 20 for robot in others), crossed
    fleet.on(one).end(talker)
    for robot, listener in listeners.items():
        fleet.on(robot).wait_matched(listener, 0, SOON)  # a good-bye crosses at once, a lease would take 20 s
        fleet.on(robot).end(listener)


def test_a_late_joiner_hears_everybody_at_once(fleet) -> None:
    """The first on its robot, of whose interest nobody knew; then another, whose Ganglion knows all that is there."""
    *early, last = fleet.robots
    talkers = {(robot, fleet.name("early")) for robot in early for _ in range(2)}
    for robot, talker in talkers:
        fleet.on(robot).talk(talker, "latched", period=0)
    for robot, talker in talkers:
        fleet.on(robot).wait_for_event("made", talker)
    late = [fleet.name("late"), fleet.name("late")]
    for listener in late:
        replayed = last.status()["discovery"]["replayed"]
        fleet.on(last).listen(listener, "latched")
        heard = fleet.on(last).wait_heard(listener, count=len(talkers), timeout=SOON)
        assert {each.talker for each in heard} == {talker for _, talker in talkers}
        took = heard[-1].at - fleet.on(last).began(listener)
        print(f"a late joiner heard all {len(talkers)} within {took:.2f} s of its own beginning")
    assert remote_participants(last) >= len(talkers)
    assert last.status()["discovery"]["replayed"] >= replayed + len(talkers)
    for robot, name in (*talkers, *((last, listener) for listener in late)):
        fleet.on(robot).end(name)


def test_a_robot_in_one_domain_gets_nothing_of_another(fleet) -> None:
    """Robots 1 and 2 in domain 7, robots 4 and 5 in domain 3."""
    sevens, threes = fleet.robots[:2], fleet.robots[3:]
    talkers = []
    for domain, (here, there) in ((7, sevens), (3, threes)):
        talker, listener = fleet.name("talker"), fleet.name("listener")
        fleet.on(here).talk(talker, "domains", domain=domain)
        fleet.on(there).listen(listener, "domains", domain=domain)
        fleet.on(there).wait_heard(listener, talker, timeout=SOON)
        talkers += [(here, talker), (there, listener)]

    own = {robot: 7 if robot in sevens else 3 for robot in (*sevens, *threes)}
    pairs = [(a, b) for a in sevens for b in threes] + [(b, a) for a in sevens for b in threes]
    wait_for(lambda: all(apart(a, b, own[a], own[b]) for a, b in pairs), SETTLED, "all to know each other's domains")
    captures = {robot: capture_incoming(robot.host, "omni0", "domains") for robot in own}
    frames = {(a, b): a.sent_to(b.name) for a, b in pairs}
    for (first, second), domain in ((sevens, 7), (threes, 3)):
        known, more = remote_participants(first), fleet.name("more")
        fleet.on(second).quiet(more, domain=domain)  # something that there is to tell
        wait_for(lambda r=first, n=known: remote_participants(r) > n, SOON, f"{more} to be known at {first.name}")
        talkers.append((second, more))
    for robot, capture in captures.items():
        domains = multicast_domains(captured(capture))
        assert set(domains) <= {own[robot]}, (robot.name, domains)
        assert domains[own[robot]] > 0 or robot in (sevens[1], threes[1]), robot.name
    for (a, b), before in frames.items():
        assert a.sent_to(b.name) - before <= 6, "in-session control alone"
    for robot, name in talkers:
        fleet.on(robot).end(name)


def test_fast_dds_and_cyclone_dds_hear_each_other(fleet) -> None:
    one, two, *_ = fleet.robots
    fast, cyclone = fleet.on(one), fleet.on(two, "cyclone")
    names = [fleet.name(word) for word in ("fast", "cyclone", "fast", "cyclone")]
    fast.talk(names[0], "there")
    cyclone.listen(names[1], "there")
    cyclone.talk(names[3], "back")
    fast.listen(names[2], "back")
    cyclone.wait_heard(names[1], names[0], count=10, timeout=SOON)
    fast.wait_heard(names[2], names[3], count=10, timeout=SOON)
    for participants, name in zip((fast, cyclone, fast, cyclone), names, strict=True):
        participants.end(name)


@pytest.mark.parametrize("vendor", ["fast", "cyclone"])
def test_large_messages_cross_without_an_ip_fragment(fleet, vendor: str) -> None:
    size, times = 4_000_000, 3
    one, two, *_ = fleet.robots
    hosts = (one.host, two.host)
    made = [fragments_made(host) for host in hosts]
    before = one.peer(two.name)["tx_bytes"]
    talker, listener = fleet.name("large"), fleet.name("listener")
    here, there = fleet.on(one, vendor), fleet.on(two, vendor)

    def transfer() -> None:
        there.listen(listener, "large")
        here.talk(talker, "large", period=0.5, size=size)
        heard = there.wait_heard(listener, talker, count=times, timeout=60)
        assert {each.size for each in heard} == {size}

    overlay = while_capturing(lambda: capture_incoming(two.host, "omni0", f"large-{vendor}"), transfer)
    here.end(talker)
    there.end(listener)
    assert fragments(overlay) == 0
    assert [fragments_made(host) for host in hosts] == made
    assert one.peer(two.name)["tx_bytes"] - before > times * size


def remote_participants(robot: DdsRobot) -> int:
    return int(robot.status()["discovery"]["remote_participants"])
