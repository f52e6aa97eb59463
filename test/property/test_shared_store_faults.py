"""Several Nuclei on one Redis under random faults, against what is known of the robots: once all is well again, every
Nucleus knows those that live, no others, and the same of each, and a VIP has one holder.
"""

from __future__ import annotations

import random

import pytest
from support.shared_stores import CLUSTER, LIFETIME, Robot, Stores

from omni_core.signaling.messages import DELTA_ROOM

STEPS = 120
VIPS = 12


class Follower:
    """Somebody who goes to any Nucleus and applies what is new there, as an edge does."""

    def __init__(self) -> None:
        self.epoch = self.seen = 0
        self.known: set[bytes] = set()

    def visit(self, net: Stores, number: int) -> None:
        store = net.sites[number].store
        since = store.since(CLUSTER, self.epoch, self.seen)
        if since is None:
            since, self.known = 0, set()
        self.epoch, self.seen = store.epoch, since
        lost = True
        while lost:
            lost = False
            while True:
                delta = store.delta(CLUSTER, self.seen, DELTA_ROOM)
                lost |= delta.lost and self.seen != 0
                names = {entry.record for entry in delta.joins}
                self.known |= {edge.key for edge in store.live(CLUSTER) if edge.record in names}
                self.known -= set(delta.leaves)
                self.seen = delta.until
                if not delta.more:
                    break
            if lost:
                self.seen, self.known = 0, set()


def _fault(net: Stores, rng: random.Random) -> None:
    redis = net.redis
    what = rng.choice(["kill", "start", "stall", "cut", "heal", "save", "flush", "heal", "start"])
    if what == "kill" and redis.up:
        redis.kill()
    elif what == "start" and not redis.up:
        redis.start(kept=rng.choice(["all", "saved", "nothing"]))
    elif what == "stall":
        redis.stalled = not redis.stalled
    elif what in ("cut", "heal"):
        rng.choice(net.sites).wire.cut = what == "cut"
    elif what == "save" and redis.up:
        redis.save()
    elif what == "flush" and rng.random() < 0.2:
        redis.data = type(redis.data)()


@pytest.mark.parametrize("case", range(20))
def test_all_is_well_in_the_end(seed: int, case: int) -> None:
    net = Stores(seed + case, 3)
    rng = random.Random(seed + case + 1)
    robots: list[Robot] = []
    followers = [Follower() for _ in range(3)]
    for step in range(STEPS):
        alive = [robot for robot in robots if robot.alive]
        what = rng.random()
        if what < 0.3 or not alive:
            robots.append(Robot(net, step, rng.choice(net.sites), vip=rng.randrange(VIPS)))
        elif what < 0.4:
            rng.choice(alive).leave()
        elif what < 0.5:
            rng.choice(alive).vanish()
        elif what < 0.65:
            rng.choice(alive).go_to(rng.choice(net.sites))
        elif what < 0.75:
            rng.choice(alive).port += 1
        elif what < 0.8:
            rng.choice(alive).version += 1
        else:
            _fault(net, rng)
        net.run(rng.choice([0.0, 0.001, 0.02, 1.0, 5.0, 30.0]))
        for follower in followers:
            if rng.random() < 0.3:
                follower.visit(net, rng.randrange(3))

    if not net.redis.up:
        net.redis.start()
    net.redis.stalled = False
    for site in net.sites:
        site.wire.cut = False
    net.until(lambda: all(site.store.available for site in net.sites), "all are connected")
    net.run(3 * LIFETIME + 60)
    alive = [robot for robot in robots if robot.alive]
    known = net.sites[0].known()
    assert all(site.known() == known for site in net.sites)
    assert known <= {robot.key for robot in alive}
    holders = [robot.vip for robot in alive if robot.key in known]
    assert sorted(holders) == sorted({robot.vip for robot in alive})
    for robot in alive:
        if robot.key in known:
            entries = [site.store.get(robot.key) for site in net.sites]
            mine = robot.edge()
            for entry in entries:
                assert entry is not None
                assert (entry.record, entry.observed) == (mine.record, mine.observed)
                assert entry.nucleus == robot.site.store.nucleus
            assert len({entry.change for entry in entries if entry is not None}) == 1
    heads = {(site.store.epoch, site.store.head(CLUSTER)) for site in net.sites}
    assert len(heads) == 1
    for number, follower in enumerate(followers):
        follower.visit(net, number)
        assert follower.known == known
