"""The responder of DDS checks beside the Ganglion's node: one process, when there is a peer, and none left behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.parameter import Parameter
from rclpy.serialization import serialize_message
from support.command_line import REPO
from support.managed_node import wait_until

from omni_core.engines.ganglion_events import PeerUp
from omni_core.types import Endpoint
from omni_ros2.dds_responder import DdsResponder
from omni_ros2.fleet_topic import TOPIC
from omni_ros2.ganglion_node import GanglionNode
from omni_ros2.managed import LATCHED
from omni_ros2.msg import GanglionStatus, PeerStatus

pytestmark = [pytest.mark.ros, pytest.mark.netns, pytest.mark.usefixtures("robot_network")]

# The loopback interface stands for the overlay.
STATUS = {"interface": "lo", "interface_mtu": 1418, "vip4": "127.0.0.1", "vip6": "fd6f::1"}
OWNER = f"""
import os
from omni_ros2.dds_responder import DdsResponder
responder = DdsResponder()
responder.start({STATUS!r})
print(responder._process.pid, flush=True)
os._exit(0)
"""


def children() -> set[int]:
    """Of this process, whichever thread made them."""
    tasks = Path("/proc/self/task").iterdir()
    return {int(word) for task in tasks for word in (task / "children").read_text().split()}


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where profiles go; empty afterwards."""
    directory = tmp_path / "scratch"
    directory.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    yield directory
    assert not list(directory.iterdir())


def test_one_process_that_ends_with_its_owner(scratch: Path) -> None:
    before, responder = children(), DdsResponder()
    try:
        responder.start(STATUS)
        responder.start(STATUS)
        (pid,) = children() - before
        assert len(list(scratch.glob("*/lo.fastdds*.xml"))) == 1
    finally:
        responder.stop()
        responder.stop()
    assert children() == before and not Path(f"/proc/{pid}").exists()


def test_it_ends_when_its_owner_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody stops it: its standard input ends."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", ":".join([str(REPO), *sys.path]))
    done = subprocess.run([sys.executable, "-c", OWNER], capture_output=True, text=True, check=True)
    pid = int(done.stdout)
    wait_until(lambda: not _runs(pid), "the responder to end")


def test_the_status_goes_to_the_fleet(scratch: Path) -> None:
    """Also one that did not fit into the pipe, whole; and the latest to who comes late."""
    heard: list[GanglionStatus] = []
    responder = DdsResponder()
    rclpy.init()
    node = rclpy.create_node("operator")
    try:
        node.create_subscription(GanglionStatus, TOPIC, heard.append, LATCHED)
        responder.start(STATUS, answers=False)
        peers = [PeerStatus(name=f"robot-{number}") for number in range(2000)]  # some 400 kB; a pipe takes 64
        message = serialize_message(GanglionStatus(name="robot-1", peers=peers))

        def arrived() -> bool:
            responder.publish(message)
            rclpy.spin_once(node, timeout_sec=0.05)
            return bool(heard)

        wait_until(arrived, "the status on /omni/fleet")
        assert heard[0].name == "robot-1" and [peer.name for peer in heard[0].peers] == [peer.name for peer in peers]
        assert responder.publishes
    finally:
        responder.stop()
        node.destroy_node()
        rclpy.try_shutdown()
    assert not responder.publishes


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # whoever has inherited it


@pytest.mark.parametrize(("setting", "starts"), [("auto", 1), ("off", 0)])
def test_it_starts_with_the_first_peer(
    monkeypatch: pytest.MonkeyPatch, ganglion_parameters: dict[str, object], setting: str, starts: int
) -> None:
    started: list[Mapping[str, Any]] = []
    monkeypatch.setattr(DdsResponder, "start", lambda self, status, **what: started.append({**status, **what}))
    rclpy.init()
    settings = {**ganglion_parameters, "dds_probe": setting, "fleet_topic": setting}
    overrides = [Parameter(name, value=value) for name, value in settings.items()]
    node = GanglionNode(parameter_overrides=overrides)
    try:
        node.trigger_configure()
        thread = node._thread
        assert thread is not None
        node.follow_parameters(thread)
        assert started == []
        for _ in range(2):
            node._on_event(PeerUp(bytes(32), "robot-2", Endpoint("192.0.2.1", 51820), "up"))
            node.follow_parameters(thread)
        assert len(started) == starts
        assert all(status["interface"] == "omni0" and status["vip4"] for status in started)
    finally:
        node.stop()
        node.destroy_node()
        rclpy.try_shutdown()
