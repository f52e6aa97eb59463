"""launch/fleet.launch.py with the real launch and launch_ros, where they are installed (they come with /opt/ros)."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy")
pytest.importorskip("launch_ros", reason="launch_ros is not installed: no package index has it, it comes with /opt/ros")

from support.managed_node import ROOT, remote, wait_until
from support.own_network import interfaces

pytestmark = [pytest.mark.ros, pytest.mark.netns, pytest.mark.usefixtures("robot_network")]

TIMEOUT = 30.0  # s

LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
arguments = [argument.split(":=") for argument in sys.argv[2:]]
source = PythonLaunchDescriptionSource(sys.argv[1])
service = LaunchService(argv=[])
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=[tuple(a) for a in arguments])])
)
sys.exit(service.run())
"""


def write_parameters(path: Path, parameters: dict[str, object]) -> Path:
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    return path


@pytest.mark.parametrize("name", ["ganglion", "nucleus"])
def test_brings_a_node_up_to_active_and_takes_it_down(
    name: str, ganglion_parameters: dict[str, object], nucleus_parameters: dict[str, object], tmp_path: Path
) -> None:
    parameters = ganglion_parameters if name == "ganglion" else nucleus_parameters
    file = write_parameters(tmp_path / "params.yaml", parameters)
    chosen = [f"{node}:={str(node == name).lower()}" for node in ("ganglion", "nucleus")]
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            LAUNCH,
            ROOT / "launch/fleet.launch.py",
            *chosen,
            f"params_file:={file}",
            "namespace:=r1",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        with remote(f"r1/{name}") as node:
            wait_until(lambda: node.state() == "active", "the launch file to activate the node")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
        process.wait()
    assert "finished cleanly" in output, output
    assert "Traceback" not in output, output
    assert interfaces() == set()
