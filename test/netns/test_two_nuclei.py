"""Real processes: robots that know two Nuclei, one of which is killed, comes back, and the other is stopped."""

from __future__ import annotations

import time

import pytest
from support.fleet import ENVIRONMENT, OMNI, REPO, SECRET, UP, Fleet, Robot

from omni_core.constants import FAILOVER_ATTEMPTS, REQUEST_RETRY
from omni_core.crypto.token import JoinToken
from omni_core.io.keyfile import create_identity
from omni_core.types import Endpoint
from tools.netlab import Host, Lab, LabProcess, unavailable, wait_for

pytestmark = [pytest.mark.netns, pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))]

HEARTBEAT = 2.0  # s
FAILOVER = HEARTBEAT + 1.2 * FAILOVER_ATTEMPTS * REQUEST_RETRY


def start_second(fleet: Fleet, host: Host, run: int = 1) -> LabProcess:
    values = {
        "key_file": str(fleet.files / "nucleus-b.key"),
        "clusters": ["fleet"],
        "secret_files": [f"fleet={fleet.secret_file}"],
        "heartbeat_interval": HEARTBEAT,
    }
    config = fleet.write_config("nucleus-b.toml", values)
    process = host.start([*OMNI, "nucleus", "--config", config], name=f"second{run}", cwd=REPO, env=ENVIRONMENT)
    process.wait_log("Nucleus on UDP port", UP)
    return process


def states(robot: Robot) -> list[tuple[str, str]]:
    return [(link["role"], link["state"]) for link in robot.status()["nuclei"]]


def test_the_used_one_is_killed_and_the_other_one_is_stopped() -> None:
    with Lab("twonuclei") as lab:
        fleet = Fleet(lab)
        host = lab.host("nucleus-b")
        key = create_identity(str(fleet.files / "nucleus-b.key")).public_key
        places = (Endpoint(fleet.address(fleet.nucleus_host), 51820), Endpoint(fleet.address(host), 51820))
        token = JoinToken(places, "fleet", (fleet.nucleus_key, key), SECRET.encode())
        fleet.token_file = fleet.write_private("token-2", token.format())
        fleet.start_nucleus(heartbeat_interval=HEARTBEAT)
        second = start_second(fleet, host)
        a, b = fleet.robot(), fleet.robot()
        for robot in (a, b):
            robot.start(engine="python")
        fleet.connected()
        warm = [("active", "registered"), ("standby", "standby")]
        wait_for(lambda: states(a) == states(b) == warm, 20, "the second Nucleus to be warm")

        assert fleet.nucleus is not None
        fleet.nucleus.kill()
        killed = time.monotonic()
        wait_for(lambda: states(a)[1] == states(b)[1] == warm[0], FAILOVER + 10, "the second Nucleus to be used")
        print(f"kill -9: both robots at the second Nucleus after {time.monotonic() - killed:.1f} s")
        assert a.reaches(b.vip4)
        c = fleet.robot()
        c.start(engine="python")
        fleet.connected()
        page = a.omni("status")
        assert f"{places[0]} standby" in page and f"{places[1]} active, registered" in page

        fleet.start_nucleus(heartbeat_interval=HEARTBEAT)
        robots = (a, b, c)
        wait_for(lambda: all(states(r)[0][1] == "standby" for r in robots), 60, "the first Nucleus to be warm again")
        asked = time.monotonic()
        assert second.stop(grace=15) == 0
        print(f"SIGTERM: the second Nucleus was done after {time.monotonic() - asked:.1f} s")
        wait_for(lambda: all(states(r)[0] == warm[0] for r in robots), 5, "the first Nucleus to be used again")
        for robot in robots:
            told = [line for line in robot.process.log_text().splitlines() if "registered with" in line]
            assert len(told) == (2 if robot is c else 3), told
        assert "is about to stop" in a.process.log_text()
        assert a.reaches(b.vip4) and c.reaches(a.vip4)
