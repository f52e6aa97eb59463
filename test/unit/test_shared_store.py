"""SharedStore on the model of Redis: claims, outages, rejoining, another life of Redis, changes that were missed."""

from __future__ import annotations

import ipaddress

import pytest
from support.edges import make_edge
from support.shared_stores import CLUSTER, LIFETIME, Robot, Site, Stores

from omni_core.constants import STORE_OUTAGE, STORE_PATIENCE
from omni_core.signaling.denials import FOREVER, Denial
from omni_core.signaling.leases import Lease, Vip4Pool
from omni_core.signaling.store import ChangeKind

POOL = Vip4Pool(ipaddress.IPv4Address("10.9.0.1"), ipaddress.IPv4Address("10.9.0.6"), 24)


@pytest.fixture
def net(seed: int) -> Stores:
    net = Stores(seed)
    net.until(lambda: all(site.store.available for site in net.sites), "connected")
    return net


def connected(net: Stores) -> bool:
    return all(site.store.available for site in net.sites)


def lease(site: Site, number: int, wanted: bytes = b"") -> list[Lease | None]:
    answers: list[Lease | None] = []
    key = make_edge(number).key
    site.store.lease(CLUSTER, key, wanted, POOL, site.net.now(), lambda found, _: answers.append(found))
    site.pump()
    return answers


def test_a_claim_is_answered_when_the_replica_has_it(net: Stores) -> None:
    one, two = net.sites
    answers = one.claim(make_edge(1))
    assert not answers
    net.until(lambda: answers, "an answer", 1)
    assert answers == [None]
    assert one.store.get(make_edge(1).key)
    net.run(0.1)
    assert two.store.get(make_edge(1).key)
    assert [change.kind for change in two.store.take_changes()] == [ChangeKind.JOINED]


def test_a_claim_that_is_repeated_is_one_claim(net: Stores) -> None:
    one = net.sites[0]
    first, second = one.claim(make_edge(1)), one.claim(make_edge(1))
    net.run(0.1)
    assert (first, second) == ([], [None])  # the answer goes to the last one who asked
    assert one.store.head(CLUSTER) == 1


def test_of_two_claims_of_a_vip_at_once_one_wins(net: Stores) -> None:
    one, two = net.sites
    answers = one.claim(make_edge(1, vip4=b"\x0a\0\0\1")), two.claim(make_edge(2, vip4=b"\x0a\0\0\1"))
    net.run(0.1)
    conflict = answers[1][0]
    assert answers[0] == [None]
    assert conflict is not None
    assert (conflict.address, conflict.holder) == (b"\x0a\0\0\1", make_edge(1).key)


def test_leases_at_once_are_different_ones_and_stay(net: Stores) -> None:
    one, two = net.sites
    answers = [lease((one, two)[number % 2], number) for number in range(8)]
    net.run(0.1)
    given = [answer[0] for answer in answers]
    assert given.count(None) == 2
    assert len({each for each in given if each is not None}) == 6
    again = lease(two, 0)
    net.run(0.1)
    assert again == given[:1]
    assert {each.key for each in one.store.leases(CLUSTER)} == {each.key for each in two.store.leases(CLUSTER)}


def test_who_is_heard_elsewhere_is_moved_there(net: Stores) -> None:
    one, two = net.sites
    robot = Robot(net, 1, one)
    net.run(1)
    robot.go_to(two)
    net.run(1)
    known = one.store.get(robot.key)
    assert known is not None
    assert known.nucleus == "n1"
    net.run(3 * LIFETIME)
    assert robot.key in one.known() & two.known()
    robot.vanish()
    net.run(LIFETIME + 30)
    assert not one.known() | two.known()


@pytest.mark.parametrize("silently", [True, False])
def test_an_outage_with_claims_under_way(net: Stores, silently: bool) -> None:
    """They are decided from memory."""
    one = net.sites[0]
    epoch = one.store.epoch
    answers = one.claim(make_edge(1))
    if silently:
        net.redis.stalled = True
    else:
        net.redis.kill()
    took = net.until(lambda: answers, "an answer", STORE_PATIENCE + 0.1)
    assert (took > STORE_PATIENCE - 0.1) == silently
    assert answers == [None]
    assert not one.store.available
    assert one.store.epoch != epoch
    assert [notice.available for notice in one.notices] == [True, False]


@pytest.mark.parametrize("kept", ["all", "saved", "nothing"])
def test_redis_restarts(net: Stores, kept: str) -> None:
    """What it kept or not: those that live are there after it, those that left are not, and it is another epoch."""
    one, two = net.sites
    robots = [Robot(net, number, net.sites[number % 2]) for number in range(6)]
    net.run(1)
    net.redis.save()
    saved, epoch = one.store.head(CLUSTER), one.store.epoch
    robots[0].leave()  # after it was saved
    robots.append(Robot(net, 6, one))
    net.run(1)
    head = one.store.head(CLUSTER)
    net.redis.kill()
    robots[1].leave()  # while it is away
    net.run(10)
    assert not one.store.available
    branch = one.store.epoch
    assert one.store.since(CLUSTER, epoch, head) == head
    net.redis.start(kept=kept)
    net.until(lambda: connected(net), "it is back")
    net.run(2)
    alive = {robot.key for robot in robots[2:]}
    assert one.known() == two.known() == alive
    assert one.store.epoch == two.store.epoch not in (epoch, branch)
    agreed = {"all": head, "saved": saved, "nothing": None}[kept]
    for before in (epoch, branch):
        assert one.store.since(CLUSTER, before, saved) == (agreed and saved)
        assert one.store.since(CLUSTER, before, head) == (agreed if agreed == head else None)
    assert one.store.since(CLUSTER, branch, head + 1) is None  # what it saw has not happened
    net.run(3 * LIFETIME)
    assert one.known() == two.known() == alive


def test_the_same_life_goes_on_after_an_outage(net: Stores) -> None:
    one, two = net.sites
    robot = Robot(net, 1, one)
    net.run(1)
    epoch = one.store.epoch
    one.wire.cut = True
    net.run(5)
    assert not one.store.available
    assert two.store.available
    assert robot.key in one.known()
    one.wire.cut = False
    net.until(lambda: connected(net), "it is back")
    assert one.store.epoch == two.store.epoch == epoch
    assert not [change for change in one.store.take_changes() if change.kind is ChangeKind.DEPARTED]


def test_nobody_departs_for_a_life_after_all_were_away(net: Stores) -> None:
    one, two = net.sites
    robot = Robot(net, 1, one)
    net.run(1)
    robot.vanish()
    net.redis.kill()
    net.run(LIFETIME - 20 + STORE_OUTAGE)
    net.redis.start()
    robot2 = Robot(net, 2, two)
    net.until(lambda: connected(net), "it is back")
    net.run(5)
    assert robot2.key in one.known()
    net.run(LIFETIME + 40)
    assert one.known() == two.known() == {robot2.key}


def test_a_nucleus_that_is_away_does_not_bring_back_who_left_elsewhere(net: Stores) -> None:
    one, two = net.sites
    robot = Robot(net, 1, one)
    net.run(1)
    one.wire.cut = True
    net.run(3)
    robot.go_to(two)
    net.run(1)
    robot.leave()
    net.run(1)
    assert robot.key in one.known()
    assert robot.key not in two.known()
    one.wire.cut = False
    net.until(lambda: connected(net), "it is back")
    net.run(1)
    assert not one.known() | two.known()


def test_one_vip_given_twice_during_an_outage_has_one_holder_after_it(net: Stores) -> None:
    one, two = net.sites
    net.redis.kill()
    net.run(5)
    robots = [Robot(net, number, site, vip=7) for number, site in enumerate((one, two))]
    net.run(5)
    assert all(robot.refused == 0 for robot in robots)
    net.redis.start()
    net.until(lambda: connected(net), "it is back")
    net.run(60)
    assert one.known() == two.known()
    assert len(one.known()) == 1
    assert sorted(robot.refused > 0 for robot in robots) == [False, True]


def test_foreign_edges_are_found_during_an_outage_but_hold_no_address_for_ever(net: Stores) -> None:
    one, two = net.sites
    robot = Robot(net, 1, two, vip=7)
    net.run(1)
    one.wire.cut = True
    net.run(5)
    taken = one.claim(make_edge(2, vip4=robot.edge().vip4))
    assert [conflict and conflict.holder for conflict in taken] == [robot.key]
    net.run(LIFETIME + 5)
    assert robot.key in one.known()
    assert one.claim(make_edge(2, vip4=robot.edge().vip4)) == [None]
    assert robot.key not in one.known()


def test_changes_that_were_thrown_away_are_loaded(net: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omni_core.sim.redis.STREAM_MAX", 4)
    one, two = net.sites
    net.run(1)
    two.wire.latency = 1.0
    for number in range(20):
        one.claim(make_edge(number))
    one.remove(make_edge(3).key)
    net.run(10)
    assert two.known() == one.known()
    assert two.store.head(CLUSTER) == one.store.head(CLUSTER)
    assert [n.available for n in two.notices] == [True]


def test_contents_that_were_replaced(net: Stores) -> None:
    one, two = net.sites
    robots = [Robot(net, number, net.sites[number % 2]) for number in range(4)]
    net.run(1)
    net.redis.data = type(net.redis.data)()  # FLUSHALL
    net.run(5)
    assert connected(net)
    net.run(5)
    assert one.known() == two.known() == {robot.key for robot in robots}


def test_the_deny_list_is_for_all_and_survives_an_outage(net: Stores) -> None:
    one, two = net.sites
    key, other = bytes(32), b"o" * 32
    one.store.deny(Denial(key, net.now() + 50, "stolen"), net.now())
    one.store.deny(Denial(other, FOREVER, ""), net.now())
    one.pump()
    net.run(0.1)
    found = two.store.denied(key, net.now())
    assert found is not None
    assert (found.reason, round(found.until - net.now())) == ("stolen", 50)
    net.redis.kill()
    net.run(5)
    one.store.undeny(other, net.now())
    net.redis.start(kept="nothing")
    two.store.deny(Denial(b"t" * 32, FOREVER, "late"), net.now())
    net.until(lambda: connected(net), "it is back")
    net.run(1)
    assert [{d.key for d in site.store.denials(net.now())} for site in (one, two)] == [{b"t" * 32}] * 2


def test_what_is_not_ours_is_no_traceback(net: Stores) -> None:
    one = net.sites[0]
    net.redis.data.changes.append((one.store.position + 1, b"j", b"x" * 40))  # type: ignore[operator]
    one.wire.news()
    net.run(0.1)
    assert not one.store.available
    assert "not ours" in one.store.reason


def test_hints_reach_the_nucleus_of_the_edge(net: Stores) -> None:
    one, two = net.sites
    Robot(net, 1, one)
    net.run(1)
    two.store.hint(make_edge(1).key, make_edge(2).key)
    two.pump()
    net.run(0.1)
    assert one.store.take_hints() == [(make_edge(1).key, make_edge(2).key)]
    assert two.store.take_hints() == []
