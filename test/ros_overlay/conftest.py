"""Five robots with Ganglia, engine kernel, for all tests here: to start them takes longer than most tests.

 robot1 ... robot5    overlay 10.77.0.0/24, omni0; DDS with the profiles of `omni dds`
----+---------+---    underlay
     nucleus
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tools.dds_fleet import DdsFleet, DdsRobot, Participants
from tools.netlab import Lab, unavailable

ROBOTS = 5


class RosFleet(DdsFleet):
    """One process for participants of Fast DDS on each robot, and others where a test asks for them."""

    def __init__(self, lab: Lab, count: int, **settings: object) -> None:
        super().__init__(lab, count, **settings)
        self.lab = lab
        self._participants: dict[tuple[str, str], Participants] = {}
        self._names = 0

    def on(self, robot: DdsRobot, vendor: str = "fast") -> Participants:
        """Started when it is first asked for."""
        if (robot.name, vendor) not in self._participants:
            self._participants[robot.name, vendor] = self.participants(robot, vendor)
        return self._participants[robot.name, vendor].ready()

    def name(self, word: str) -> str:
        """No other test has used it."""
        self._names += 1
        return f"{word}{self._names}"

    def names(self) -> dict[str, str]:
        """Underlay address -> name."""
        hosts = [robot.host for robot in self.robots]
        return {address: host.name for host in hosts for address in (host.ipv4, host.ipv6) if address}


@pytest.fixture(scope="package")
def fleet() -> Iterator[RosFleet]:
    if (reason := unavailable()) is not None:
        pytest.skip(reason)
    with Lab("ros-overlay") as lab:
        fleet = RosFleet(lab, ROBOTS, engine="kernel")
        fleet.start()
        for robot in fleet.robots:  # all at once
            fleet._participants[robot.name, "fast"] = fleet.participants(robot)
        yield fleet
        fleet.stop()
