"""What crosses while nothing happens: with every group frame to all, only to whom it concerns, and with the SPDP cache.

The last of the modules here: it leaves the Ganglia with other settings.
"""

from __future__ import annotations

import time

import pytest

pytest.importorskip("rclpy")

from support.domains import SETTLED, apart

from omni_core.dds.tuning import ANNOUNCEMENT
from omni_core.engines.discovery.spdp_cache import CHECKS
from tools.dds_fleet.packets import crossing
from tools.netlab import wait_for

pytestmark = [pytest.mark.alone, pytest.mark.netns, pytest.mark.ros]

MODES: dict[str, dict[str, object]] = {
    "pruned, with cache": {},
    "pruned": {"spdp_cache": "off"},
    "all to all": {"multicast": "flood", "spdp_cache": "off"},
}
REPEATED = sum(CHECKS) + 1.0  # s
PERIODS = 4
WINDOW = PERIODS * ANNOUNCEMENT  # s


def test_pruning_and_cache_keep_the_overlay_quiet(fleet) -> None:
    """20 participants on 5 robots, those of robots 1 and 2 in one domain, the others in another; they only are there.

    The Ganglia are killed and others, with other settings, take over; the participants go on.
    """
    domains = {robot: 13 if robot.number <= 2 else 17 for robot in fleet.robots}
    made = [(robot, fleet.name("quiet")) for robot in fleet.robots for _ in range(4)]
    for robot, name in made:
        fleet.on(robot).quiet(name, domain=domains[robot])
    for robot, name in made:
        fleet.on(robot).wait_for_event("made", name)
    wait_for(Told(fleet), SETTLED, "no robot to tell anything new", poll=0.5)
    packets = {}
    pairs = [(a, b) for a in fleet.robots for b in fleet.robots if a is not b]
    for mode, settings in MODES.items():
        if settings:
            fleet.restart(**settings)
        if "multicast" not in settings:
            wait_for(
                lambda: all(apart(a, b, domains[a], domains[b]) for a, b in pairs), SETTLED, "all to know all domains"
            )
        crossed = crossing(fleet.robots, steady, f"quiet{len(packets)}")
        packets[mode] = sum(crossed.group.values())
        foreign = sum(crossed.group[a.name, b.name] for a, b in pairs if domains[a] != domains[b])
        print(
            f"{mode}: {packets[mode] / len(pairs):.1f} multicast packets to each peer in {WINDOW:g} s, "
            f"{foreign} in all between domains; {sum(crossed.unicast.values()) / len(pairs):.1f} unicast"
        )
    for robot, name in made:
        fleet.on(robot).end(name)
    # 4 participants of each of 5 robots to 4 others; one announcement of each may be just outside.
    assert packets["all to all"] >= 20 * 4 * (PERIODS - 1)
    assert packets["all to all"] >= 1.7 * packets["pruned"], "8 of the 20 pairs of robots are in one domain"
    assert packets["all to all"] >= 4 * packets["pruned, with cache"]


class Told:
    """True when no announcement was told to a peer for long enough: what follows changes is repeated for a while."""

    def __init__(self, fleet) -> None:
        self._fleet = fleet
        self._told, self._since = -1, 0.0

    def __call__(self) -> bool:
        told, now = sum(robot.status()["discovery"]["told"] for robot in self._fleet.robots), time.monotonic()
        if told != self._told:
            self._told, self._since = told, now
        return now >= self._since + REPEATED


def steady() -> None:
    end = time.monotonic() + WINDOW
    wait_for(lambda: time.monotonic() >= end, WINDOW + 5, "the end of the window", poll=0.2)
