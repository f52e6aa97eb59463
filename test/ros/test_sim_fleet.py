"""A simulated fleet: robots in namespaces that see each other over the overlay, and nothing left of it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from support.managed_node import wait_until
from support.own_network import interfaces

from omni_ros2 import sim_fleet
from tools.netlab import unavailable

pytestmark = [
    pytest.mark.ros,
    pytest.mark.netns,
    pytest.mark.skipif(unavailable() is not None, reason=str(unavailable())),
    pytest.mark.usefixtures("robot_network"),
]
TIMEOUT = 60.0  # s
NAME = f"test-{os.getpid()}"

Fleet = tuple["subprocess.Popen[str]", list[str]]


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """Two robots that are up, and what they printed until then."""
    process = subprocess.Popen(
        ["sim_fleet", "--robots", "2", "--engine", "python", "--name", NAME],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    lines: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if "2 robots are up" in line:
                break
        else:
            pytest.fail("".join(lines))
        yield process, lines
    finally:
        process.kill()
        process.communicate()
        sim_fleet.record(NAME).unlink(missing_ok=True)


def inside(robot: str, *command: str) -> subprocess.CompletedProcess[str]:
    words = ["sim_fleet", "--name", NAME, "--enter", robot, *command]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=TIMEOUT)


def test_robots_reach_each_other_and_ctrl_c_leaves_nothing(fleet: Fleet) -> None:
    process, _ = fleet
    assert "0% packet loss" in inside("robot1", "ping", "-c", "1", "-W", "5", "10.77.0.2").stdout
    assert inside("robot2", "omni", "wait", "--peers", "1", "--timeout", "5").returncode == 0
    assert inside("robot2", "hostname").stdout == "robot2\n"
    assert "there is no robot robot9 (running: nucleus, robot1, robot2)" in inside("robot9").stderr
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, output
    assert output.count("everything removed") == 3 and "nothing is left of the fleet" in output, output
    assert interfaces() == set()
    assert not sim_fleet.record(NAME).exists()


def test_killed_it_leaves_no_process(fleet: Fleet) -> None:
    process, _ = fleet
    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    assert len(children) == 6  # a first process and a node each
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not any(map(_lives, children)), "the end of all processes")
    assert interfaces() == set()


@pytest.mark.parametrize("arguments", [["--robots", "0"], ["--robots", "51"], ["--engine", "warp"], ["--name", "a/b"]])
def test_senseless_settings_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        sim_fleet.main(arguments)
    assert refusal.value.code == 2
    assert "sim_fleet: error: " in capsys.readouterr().err


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
