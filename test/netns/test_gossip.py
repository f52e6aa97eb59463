"""Every Nucleus is dead, with real processes: sessions live, and a Ganglion that starts again meets those it knew.

robot1 ---+
robot2 ---+--- underlay --- nucleus (killed)
robot3 ---+
"""

from __future__ import annotations

import stat
import time

import pytest
from support.fleet import Fleet

from omni_core.engines.known_peers import decode_known
from omni_core.errors import RemoteViolation
from tools.netlab import Lab, unavailable, wait_for

pytestmark = [pytest.mark.netns, pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))]

ENGINES = ["kernel", "native", "python"]  # one each: gossip crosses between all of them


@pytest.fixture
def fleet():
    with Lab("gossip") as lab:
        fleet = Fleet(lab)
        fleet.start_nucleus(heartbeat_interval=2.0)
        yield fleet


def test_a_restart_without_a_nucleus(fleet):
    robots = [fleet.robot() for _ in ENGINES]
    for robot, engine in zip(robots, ENGINES, strict=True):
        robot.launch(engine=engine)
    for robot in robots:
        robot.process.wait_log("omni0 is up", 40)
    fleet.connected()
    first, _, third = robots
    cache = fleet.files / f"{third.number}.key.peers"

    def known() -> int:
        try:
            return len(decode_known(cache.read_bytes(), third.identity.public_key, "fleet"))
        except (OSError, RemoteViolation):
            return 0

    wait_for(lambda: known() == 2, 60, "the cache of robot3 to have both peers")
    assert stat.S_IMODE(cache.stat().st_mode) == 0o600

    fleet.nucleus.kill()
    third.kill()
    wait_for(lambda: "omni0" not in third.host.interfaces(), 5, "the kernel to remove the TAP")
    assert first.reaches(robots[1].vip4), "sessions live"
    began = time.monotonic()
    third.start(engine="python")
    third.wait(2, 30)
    print(f"meshed again {time.monotonic() - began:.1f} s after the start")
    for robot in robots[:2]:
        wait_for(lambda robot=robot: third.reaches(robot.vip4) and robot.reaches(third.vip4), 10, "VIPs to answer")
    status = third.status()
    assert status["nucleus_state"] == "connecting"
    assert status["gossip"]["active"] and status["gossip"]["recalled"] == 2

    def told() -> bool:
        return all(robot.status()["gossip"]["taken"] > 0 for robot in robots)

    wait_for(told, 60, "each robot to take what another one tells")
    assert all(robot.status()["gossip"]["refused"] == 0 for robot in robots)
    assert "no Nucleus answers, peers tell each other" in third.omni("status")
