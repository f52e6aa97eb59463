"""Ganglia that end, are killed and renew their sessions under load: the frames go on as if nothing had happened.

A numbered stream and a 1 kHz echo run meanwhile. What the same load loses without a disturbance is what it may lose.
Sessions are renewed every few seconds here, so each of the tests has rekeys in it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from support.fleet import Fleet, Robot
from support.kernel_fleet import end, start_all, udp, ways

from tools.netlab import Lab, unavailable, wait_for

pytestmark = [pytest.mark.netns, pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))]

QUICK_REKEY = Path(__file__).parents[1] / "support" / "quick_rekey.py"
REKEY_AFTER = 2  # s
STREAM = (3000, 1200)  # datagrams a second, bytes
ECHO = (1000, 64)


@pytest.fixture(scope="module")
def fleet():
    with Lab("restart") as lab:
        fleet = Fleet(lab)
        fleet.command = [sys.executable, str(QUICK_REKEY), str(REKEY_AFTER)]
        fleet.start_nucleus()
        start_all([fleet.robot(), fleet.robot()], {"engine": "kernel"}, {"engine": "kernel"})
        fleet.connected()
        for robot in fleet.robots:  # who has which MAC is known, as it is in any conversation that is under way
            other = next(each for each in fleet.robots if each is not robot)
            robot.ping(other.vip4)
        yield fleet


@pytest.fixture
def pair(fleet) -> tuple[Robot, Robot]:
    return fleet.robots[0], fleet.robots[1]


class Load:
    """A stream from one robot to the other, and an echo the other way."""

    def __init__(self, pair: tuple[Robot, Robot]) -> None:
        a, b = pair
        self._receiver = udp(b.host, "receive", "receive", b.vip4, 7000)
        self._echo = udp(a.host, "echo", "echo", a.vip4, 7001)
        self._stream = udp(a.host, "send", "send", b.vip4, 7000, *STREAM)
        self._ask = udp(b.host, "ask", "ask", a.vip4, 7001, *ECHO)

    def stop(self) -> tuple[int, dict]:
        """Datagrams lost, of both; and what the tools said."""
        sent, asked = end(self._stream), end(self._ask)
        received = end(self._receiver)
        end(self._echo)
        reports = {"sent": sent, "received": received, "asked": asked}
        assert received["duplicates"] == asked["duplicates"] == 0, reports
        assert sent["sent"] > 1000 and asked["sent"] > 300, reports
        return sent["sent"] - received["unique"] + asked["sent"] - asked["unique"], reports


def sessions(robot: Robot) -> set[str]:
    return {session["id"] for peer in robot.status()["peers"] for session in peer["sessions"]}


@pytest.fixture(scope="module")
def usual_loss(fleet) -> int:
    load = Load((fleet.robots[0], fleet.robots[1]))
    begin = time.monotonic()
    wait_for(lambda: time.monotonic() - begin > 2 * REKEY_AFTER, 30, "the time that a disturbance takes")
    return load.stop()[0]


def test_rekeys_lose_nothing(fleet, pair):
    """Every datagram is there, three pairs of keys later."""
    a, b = pair
    before = ways(a), ways(b)
    seen: set[str] = set()
    load = Load(pair)
    wait_for(lambda: seen.update(sessions(a)) or len(seen) > 3, 5 * REKEY_AFTER + 10, "three rekeys")
    lost, reports = load.stop()
    sent = reports["sent"]["sent"] + reports["asked"]["sent"]
    assert (ways(a) - before[0])["tx_sealed"] >= sent and (ways(b) - before[1])["rx_delivered"] >= sent, (
        "not the kernel"
    )
    assert lost == 0, reports


def replaced(robot: Robot, how: str) -> None:
    old = robot.process.pid
    if how == "kept":
        robot.omni("stop", "--keep")
        assert robot.process.wait(10) == 0
    else:
        robot.kill()
    assert robot.process.returncode is not None and "omni0" in robot.host.interfaces()
    robot.start(engine="kernel")
    assert robot.status()["pid"] != old


@pytest.mark.parametrize("how", ["kept", "killed"])
@pytest.mark.parametrize("number", [0, 1], ids=["sender", "receiver"])
def test_another_ganglion_takes_over_and_nothing_is_lost(pair, usual_loss, number, how):
    robot = pair[number]
    before = sessions(robot)
    load = Load(pair)
    replaced(robot, how)
    robot.wait(1)
    adopted = any(peer["adopted"] for peer in robot.status()["peers"])
    wait_for(lambda: sessions(robot) and not sessions(robot) & before, 5 * REKEY_AFTER + 10, "a session of its own")
    lost, reports = load.stop()
    assert lost <= usual_loss, reports
    print(f"adopted when looked at: {adopted}; usual loss {usual_loss}")


def test_both_at_once(pair, usual_loss):
    load = Load(pair)
    for robot in pair:
        robot.kill()
    for robot in pair:
        robot.launch(engine="kernel")
    for robot in pair:
        robot.process.wait_log("omni0 is up", 20)
        robot.wait(1)
    before = sessions(pair[0])
    wait_for(lambda: not sessions(pair[0]) & before, 5 * REKEY_AFTER + 10, "a rekey between the new ones")
    lost, reports = load.stop()
    assert lost <= usual_loss, reports
