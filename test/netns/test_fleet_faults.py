"""What happens to a cluster when a part of it dies, moves or loses its cable; and what a robot is refused."""

from __future__ import annotations

import itertools
import re
import sys
import time

import pytest
from support.fleet import ENVIRONMENT, OMNI, REPO, Fleet, Robot

from omni_core.crypto.identity import Identity
from tools.netlab import Lab, LabProcess, unavailable, wait_for

pytestmark = [pytest.mark.netns, pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))]


@pytest.fixture
def fleet():
    with Lab("faults") as lab:
        fleet = Fleet(lab)
        fleet.start_nucleus(heartbeat_interval=2.0)
        yield fleet


@pytest.fixture
def pair(fleet) -> tuple[Robot, Robot]:
    a, b = fleet.robot(), fleet.robot()
    a.start()
    b.start()
    fleet.connected()
    return a, b


class SteadyPing:
    """A ping every 50 ms from one robot to another, to see for how long it stood still."""

    def __init__(self, source: Robot, address: str) -> None:
        self._process: LabProcess = source.host.start(
            ["ping", "-D", "-O", "-i", "0.05", "-W", "1", address], name=f"ping{time.monotonic_ns()}"
        )
        self._process.wait_log("bytes from", 5)

    def stop(self) -> tuple[int, float]:
        """(answers, longest time without one in s)."""
        self._process.stop()
        times = [float(t) for t in re.findall(r"^\[([\d.]+)\] \d+ bytes from", self._process.log_text(), re.MULTILINE)]
        return len(times), max((b - a for a, b in itertools.pairwise(times)), default=float("inf"))


def test_a_killed_ganglion_comes_back(fleet):
    """Whose frames pass through its process. The kernel's go on: test_synapse_life.py."""
    a, b = fleet.robot(), fleet.robot()
    for robot in (a, b):
        robot.start(engine="python")
    fleet.connected()
    b.kill()
    wait_for(lambda: "omni0" not in b.host.interfaces(), 5, "the kernel to remove the TAP")
    started = time.monotonic()
    b.start(engine="python")
    wait_for(lambda: a.reaches(b.vip4), 10, "robot1 to reach robot2 again")
    assert b.reaches(a.vip6)
    print(f"reached again {time.monotonic() - started:.1f} s after the start")
    assert b.process.stop(grace=10) == 0
    assert set(b.host.interfaces()) == {"lo", "eth0"}
    assert b.host.run(["ls", "/run/omni"]).stdout.split() == []


def test_sessions_outlive_the_nucleus_and_the_cluster_forms_again(fleet, pair):
    a, b = pair
    ping = SteadyPing(a, b.vip4)
    fleet.nucleus.kill()
    assert b.reaches(a.vip4)
    c = fleet.robot()
    c.start()  # while nobody can tell it about the others
    fleet.start_nucleus(heartbeat_interval=2.0)
    for robot in (a, b, c):
        robot.wait(2, timeout=60)
    for address in (a.vip4, b.vip4):
        assert c.reaches(address)
    answers, gap = ping.stop()
    assert answers > 20 and gap < 2.0, f"{answers} answers, {gap:.2f} s without one"


def test_a_robot_that_moves_to_another_address_is_reached_there(fleet, pair):
    a, b = pair
    gateway = a.host.ip("route show default").split()[2]
    a.host.ip("address flush dev eth0")
    a.host.ip("address add 198.18.77.1/16 dev eth0")
    a.host.ip(f"route add default via {gateway}")
    moved = time.monotonic()
    wait_for(lambda: b.reaches(a.vip4), 10, "robot2 to reach robot1 at its new address")
    print(f"reached {time.monotonic() - moved:.1f} s after the move")

    def moved_at_b() -> bool:
        peer = next(peer for peer in b.status()["peers"] if peer["name"] == "robot1")
        return peer["endpoint"].startswith("198.18.77.1:")

    wait_for(moved_at_b, 10, "robot2 to know the new address")
    wait_for(
        lambda: a.status()["observed_endpoint"].startswith("198.18.77.1:"), 60, "the Nucleus to see the new address"
    )


def test_a_pulled_cable_is_survived(fleet, pair):
    a, b = pair
    a.host.cut()
    assert not a.reaches(b.vip4)
    a.host.mend()
    wait_for(lambda: a.reaches(b.vip4), 10, "the overlay after the cable is back")


# --- refusals, as a user sees them ------------------------------------------------------------------------------------


def refused(robot: Robot, code: int, **changes: object) -> str:
    """Start a robot that must end by itself; returns what it said."""
    values = {
        "key_file": str(robot.fleet.files / f"{robot.number}.key"),
        "token_file": robot.fleet.token_file,
        "vip4": f"{robot.vip4}/24",
        **changes,
    }
    options, prefix = values.pop("options", []), values.pop("prefix", [])
    before = robot.host.ip("-o link")
    config = robot.fleet.write_config("refused.toml", values)
    words = [*prefix, *OMNI, "up", "--config", config, *options]
    result = robot.host.run(words, cwd=REPO, env=ENVIRONMENT, check=False, timeout=30)
    assert result.returncode == code, f"{result.returncode}\n{result.stdout}{result.stderr}"
    assert "Traceback" not in result.stdout + result.stderr
    assert robot.host.ip("-o link") == before
    assert robot.host.run(["sh", "-c", "ls /run/omni 2>/dev/null || :"]).stdout.split() == []
    return result.stderr


def test_what_the_nucleus_refuses_has_its_reason(fleet):
    a, b = fleet.robot(), fleet.robot()
    a.start()
    assert f"{a.vip4}" in refused(b, 4, vip4=f"{a.vip4}/24")
    other = fleet.write_token("other", cluster="elsewhere", secret=b"open sesame")
    assert "elsewhere" in refused(b, 4, token_file=other)
    wrong_secret = fleet.write_token("wrong", secret=b"open barley")
    assert refused(b, 4, token_file=wrong_secret)
    stranger = Identity.from_seed(bytes(32)).public_key
    wrong_key = fleet.write_token("key", secret=b"open sesame", key=stranger)
    assert "nucleus" in refused(b, 5, token_file=wrong_key, options=["--register-timeout", "1"])
    assert a.status()["nucleus_state"] == "registered"


def test_what_the_machine_refuses_names_the_fix(fleet):
    robot = fleet.robot()
    busy = robot.host.start([sys.executable, "-c", HOLD_PORT], name="busy")
    busy.wait_log("bound", 5)
    assert "listen_port: UDP port 51820 is in use" in refused(robot, 2)
    busy.kill()
    robot.host.ip("link add omni0 type bridge")
    assert "interface: omni0 exists already" in refused(robot, 2)
    robot.host.ip("link del omni0")
    without = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    assert "CAP_NET_ADMIN" in refused(robot, 3, prefix=without)
    assert "Linux allows 15" in refused(robot, 2, interface="omni" * 5)
    robot.start()
    assert robot.host.ip("-br link show omni0")


HOLD_PORT = """
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 51820))
print("bound", flush=True)
time.sleep(60)
"""


def test_a_second_ganglion_on_the_same_interface_is_refused(fleet):
    robot = fleet.robot()
    robot.start()
    config = fleet.write_config(
        "second.toml", {"token_file": fleet.token_file, "listen_port": 0, "key_file": "/run/key"}
    )
    result = robot.host.run([*OMNI, "up", "--config", config], cwd=REPO, env=ENVIRONMENT, check=False)
    assert result.returncode == 2 and "interface: omni0 is in use by another Ganglion" in result.stderr
    assert robot.status()["state"] == "running"
