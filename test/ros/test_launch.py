"""launch/fleet.launch.py with the real launch and launch_ros, where they are installed (they come with /opt/ros)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy")
pytest.importorskip("launch_ros", reason="launch_ros is not installed: no package index has it, it comes with /opt/ros")

from support.managed_node import ROOT, remote, wait_until
from support.own_network import interfaces

pytestmark = [pytest.mark.ros, pytest.mark.netns, pytest.mark.usefixtures("robot_network")]

TIMEOUT = 30.0  # s

# As `ros2 launch FILE NAME:=VALUE ...`, for machines that have launch_ros and no ros2cli.
LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import AnyLaunchDescriptionSource
arguments = [tuple(argument.split(":=")) for argument in sys.argv[2:]]
service = LaunchService(argv=[])
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(AnyLaunchDescriptionSource(sys.argv[1]), launch_arguments=arguments)])
)
sys.exit(service.run())
"""
THEN = """
from launch import LaunchDescription
from launch.actions import ExecuteProcess
def generate_launch_description():
    return LaunchDescription([ExecuteProcess(cmd=["sh", "-c", "env > {0}.new; mv {0}.new {0}"], output="screen")])
"""

Parameters = dict[str, object]


def write_parameters(path: Path, parameters: Parameters) -> Path:
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    return path


@contextlib.contextmanager
def launched(file: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", LAUNCH, str(file), *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def end(process: subprocess.Popen[str]) -> str:
    """Ctrl-C; everything must end well. Returns what was printed."""
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, output
    assert "finished cleanly" in output, output
    assert "Traceback" not in output, output
    return output


def fails(file: Path, *arguments: str) -> str:
    """Launch ends by itself with exit code 1. Returns what was printed."""
    with launched(file, *arguments) as process:
        output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1, output
    assert "Traceback" not in output, output
    assert interfaces() == set()
    return output


@pytest.mark.parametrize("name", ["ganglion", "nucleus"])
def test_brings_a_node_up_to_active_and_takes_it_down(
    name: str, ganglion_parameters: Parameters, nucleus_parameters: Parameters, tmp_path: Path
) -> None:
    parameters = ganglion_parameters if name == "ganglion" else nucleus_parameters
    config = write_parameters(tmp_path / "params.yaml", parameters)
    with launched(ROOT / "launch/fleet.launch.py", f"role:={name}", f"config:={config}", "namespace:=r1") as process:
        with remote(f"r1/{name}") as node:
            wait_until(lambda: node.state() == "active", "the launch file to activate the node")
        end(process)
    assert interfaces() == set()


def test_what_is_launched_then_is_bound_to_the_overlay_and_a_killed_node_comes_back(
    ganglion_parameters: Parameters, run_dir: Path, tmp_path: Path
) -> None:
    said = tmp_path / "environment"
    (tmp_path / "then.launch.py").write_text(THEN.format(said))
    config = write_parameters(tmp_path / "params.yaml", {**ganglion_parameters, "interface": "omni7"})
    then = f"then:={tmp_path / 'then.launch.py'}"
    with launched(ROOT / "launch/fleet.launch.py", f"config:={config}", "dds:=cyclonedds", then) as process:
        wait_until(said.exists, "the included launch file")
        environment = dict(line.split("=", 1) for line in said.read_text().splitlines() if "=" in line)
        assert environment["RMW_IMPLEMENTATION"] == "rmw_cyclonedds_cpp"
        profile = Path(environment["CYCLONEDDS_URI"].removeprefix("file://"))
        assert profile.parent == run_dir / "dds"
        assert 'name="omni7"' in profile.read_text()

        (pid,) = [
            int(pid)
            for pid in subprocess.run(
                ["pgrep", "-P", str(process.pid), "-f", "omni_ros2/ganglion"],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.split()
        ]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the node")
        with remote("ganglion") as node:
            wait_until(lambda: node.state() == "active", "the node to come back")
        output = end(process)
    assert f"[pid {pid}, exit code -9" in output
    assert interfaces() == set()


def test_a_failed_transition_ends_the_launch_with_a_line(ganglion_parameters: Parameters, tmp_path: Path) -> None:
    config = write_parameters(tmp_path / "params.yaml", {**ganglion_parameters, "secret_file": str(tmp_path / "gone")})
    output = fails(ROOT / "launch/fleet.launch.py", f"config:={config}")
    assert "configure failed: secret_file: " in output  # the node
    assert "/ganglion: configure failed; the node's log above" in output


def test_or_keeps_the_node_where_that_is_wanted(ganglion_parameters: Parameters, tmp_path: Path) -> None:
    config = write_parameters(tmp_path / "params.yaml", {**ganglion_parameters, "secret_file": str(tmp_path / "gone")})
    with launched(ROOT / "launch/fleet.launch.py", f"config:={config}", "on_failure:=keep") as process:
        assert process.stdout is not None
        assert any("/ganglion: configure failed; the node's log above" in line for line in process.stdout)
        with remote("ganglion") as node:
            assert node.state() == "unconfigured"
            assert node.set("secret_file", "").successful
            assert node.change("configure")
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=TIMEOUT)
    assert interfaces() == set()


@pytest.mark.parametrize("respawn", ["true", "false"])
def test_a_process_that_cannot_start_ends_the_launch(respawn: str, tmp_path: Path, run_dir: Path) -> None:
    (tmp_path / "params.yaml").write_text("/**: {ros__parameters: {vip4: {address: 10.77.0.1/24}}}\n")
    output = fails(ROOT / "launch/fleet.launch.py", f"config:={tmp_path / 'params.yaml'}", f"respawn:={respawn}")
    assert "vip4" in output


def test_a_token_as_argument_is_refused_and_not_repeated() -> None:
    output = fails(ROOT / "launch/fleet.launch.py", "token:=omni://nucleus.example.org/warehouse?secret=geheim")
    assert "write it into a file" in output
    assert "geheim" not in output


def test_without_autostart_a_lifecycle_manager_brings_it_up(
    ganglion_parameters: Parameters, run_dir: Path, tmp_path: Path
) -> None:
    """The calls of nav2_lifecycle_manager: STARTUP, then SHUTDOWN."""
    said = tmp_path / "environment"
    (tmp_path / "then.launch.py").write_text(THEN.format(said))
    config = write_parameters(tmp_path / "params.yaml", {**ganglion_parameters, "autostart": True})
    arguments = [f"config:={config}", "autostart:=false", f"then:={tmp_path / 'then.launch.py'}"]
    with launched(ROOT / "launch/fleet.launch.py", *arguments) as process:
        with remote("ganglion") as node:
            assert node.state() == "unconfigured"
            assert node.change("configure") and node.state() == "inactive"
            assert node.change("activate") and node.state() == "active"
            wait_until(said.exists, "what is launched once the overlay is up")
            assert str(run_dir / "dds") in said.read_text()
            assert node.change("deactivate") and node.state() == "inactive"
            assert node.change("cleanup") and node.state() == "unconfigured"
            assert node.change("shutdown") and node.state() == "finalized"
        end(process)


def test_the_xml_front_end_includes_it(ganglion_parameters: Parameters, tmp_path: Path) -> None:
    config = write_parameters(tmp_path / "params.yaml", ganglion_parameters)
    file = tmp_path / "robot.launch.xml"
    file.write_text(
        f'<launch><include file="{ROOT}/launch/fleet.launch.py">'
        f'<arg name="config" value="{config}"/></include></launch>'
    )
    with launched(file) as process:
        with remote("ganglion") as node:
            wait_until(lambda: node.state() == "active", "the launch file to activate the node")
        end(process)
