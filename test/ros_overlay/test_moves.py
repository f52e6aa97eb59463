"""What DDS notices when a robot roams, loses its Wi-Fi, or its session dies. No node is restarted in any of it."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("rclpy")

from tools.dds_fleet import DdsRobot
from tools.dds_fleet.packets import captured, rtps_in_clear
from tools.netlab import wait_for

pytestmark = [pytest.mark.alone, pytest.mark.netns, pytest.mark.ros]

SOON = 20.0  # s
OUTAGE = 30.0  # s
LEASE_OVER = 20.0 + 10.0  # s; of the profile, and until DDS has looked
RETURN = 2.0  # s from the session's return to the first message


class Talk:
    """robot1 talks to another, and the other way."""

    def __init__(self, fleet, one: DdsRobot, other: DdsRobot) -> None:
        self.fleet, self.one, self.other = fleet, one, other
        topic = fleet.name("moves")
        self.ways = []
        for number, (here, there) in enumerate(((one, other), (other, one))):
            talker, listener = fleet.name("talker"), fleet.name("listener")
            fleet.on(here).talk(talker, f"{topic}_{number}")
            fleet.on(there).listen(listener, f"{topic}_{number}")
            self.ways.append((here, talker, there, listener))
        self.wait_heard()

    def wait_heard(self, since: float = 0.0, timeout: float = SOON) -> float:
        """When both had heard something that was sent since then."""
        return max(
            self.fleet.on(there).wait_heard(listener, talker, since=since, timeout=timeout)[0].at
            for _, talker, there, listener in self.ways
        )

    def wait_matched(self, count: int, timeout: float) -> None:
        for here, talker, there, listener in self.ways:
            self.fleet.on(here).wait_matched(talker, count, timeout)
            self.fleet.on(there).wait_matched(listener, count, timeout)

    def end(self) -> None:
        for here, talker, there, listener in self.ways:
            self.fleet.on(here).end(talker)
            self.fleet.on(there).end(listener)


def test_a_robot_that_roams_goes_on_talking(fleet) -> None:
    """Its address on the underlay changes; DDS knows only that of the overlay."""
    one, two, *_ = fleet.robots
    talk = Talk(fleet, one, two)
    capture = fleet.lab.capture()
    gateway = two.host.ip("route show default").split()[2]
    address = "198.18.77.2"
    two.host.ip("address flush dev eth0")
    two.host.ip(f"address add {address}/16 dev eth0")
    two.host.ip(f"route add default via {gateway}")
    two.host.ipv4, moved = address, time.monotonic()
    heard = talk.wait_heard(moved)
    print(f"heard again, both ways, {heard - moved:.2f} s after the move")
    wait_for(lambda: one.peer(two.name)["endpoint"].startswith(f"{address}:"), SOON, "the new address at robot1")
    assert rtps_in_clear(captured(capture)) == 0
    for here, talker, there, listener in talk.ways:
        assert fleet.on(here).events("matched", talker, since=moved) == [], "DDS has not noticed"
        assert fleet.on(there).events("matched", listener, since=moved) == []
    talk.end()


def test_an_outage_of_30_s_is_over_when_the_session_is_back(fleet) -> None:
    """robot3 loses its carrier; robot4 keeps it, and nothing arrives. Leases run out at both sides, as DDS says."""
    one, _, three, four, five = fleet.robots
    talks = {three: Talk(fleet, one, three), four: Talk(fleet, one, four)}
    stays = Talk(fleet, one, five)
    pids = [fleet.on(robot).process.pid for robot in fleet.robots]
    internet, port = fleet.lab.internet, fleet.lab.port_of(four.host)
    began = time.monotonic()
    three.host.cut()
    internet.ip(f"link set {port} nomaster")
    for talk in talks.values():
        talk.wait_matched(0, LEASE_OVER)
    print(f"leases were over {time.monotonic() - began:.1f} s after the outage began")
    wait_for(lambda: time.monotonic() >= began + OUTAGE, OUTAGE, "the end of the outage")
    stays.wait_heard(time.monotonic())
    ended = time.monotonic()
    three.host.mend()
    internet.ip(f"link set {port} master br0")
    back: dict[DdsRobot, float] = {}

    def all_back() -> bool:
        for robot in talks:
            if robot not in back and is_up(one, robot) and is_up(robot, one):
                back[robot] = time.monotonic()
        return len(back) == len(talks)

    wait_for(all_back, SOON, "the sessions")
    for robot, talk in talks.items():
        heard = talk.wait_heard(ended)
        print(
            f"{robot.name}: session {back[robot] - ended:.2f} s, messages both ways {heard - ended:.2f} s "
            "after the end of the outage"
        )
        assert heard - back[robot] <= RETURN
        talk.wait_matched(1, SOON)
    assert [fleet.on(robot).process.pid for robot in fleet.robots] == pids
    assert all(fleet.on(robot).process.running for robot in fleet.robots)
    for talk in (*talks.values(), stays):
        talk.end()


def is_up(robot: DdsRobot, other: DdsRobot) -> bool:
    """The peer has been heard of since it was away."""
    peer = robot.peer(other.name)
    return peer.get("state") == "up" and peer.get("last_rx_age_s") is not None and peer["last_rx_age_s"] < 2.0
