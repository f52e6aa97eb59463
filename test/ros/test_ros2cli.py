"""`ros2 omni` and `ros2 doctor`, through the entry points of the installed package, where ros2cli is installed."""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("ros2cli", reason="ros2cli is not installed: no package index has it, it comes with /opt/ros")

from omni_core.cli.main import COMMANDS
from omni_ros2.ros2cli.command import GROUP, VERBS

pytestmark = pytest.mark.ros

ROS2 = [sys.executable, "-c", "import sys; from ros2cli.cli import main; sys.exit(main())"]


def ros2(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*ROS2, *arguments], capture_output=True, text=True, check=False, timeout=60, cwd="/")


def test_each_verb_is_an_installed_entry_point_and_takes_the_options_of_its_command() -> None:
    installed = {point.name: point.load()() for point in entry_points(group=GROUP)}
    assert set(installed) == set(VERBS) <= set(COMMANDS)
    for name, verb in installed.items():
        verb.NAME = name
        parser = argparse.ArgumentParser()
        verb.add_arguments(parser, "ros2 omni")
        assert "--help" in parser.format_help()
        assert verb.__doc__


def test_the_verbs_are_listed() -> None:
    listed = ros2("omni", "--help")
    assert listed.returncode == 0
    assert all(f"\n  {verb}" in listed.stdout for verb in VERBS)


def test_exit_codes_and_the_one_line_are_those_of_omni() -> None:
    done = ros2("omni", "status", "--run-dir", f"/nonexistent-{os.getpid()}-{socket.gethostname()}")
    assert done.returncode == 3
    assert done.stderr.startswith("omni: admin socket: nobody answers at ") and len(done.stderr.splitlines()) == 1


def test_doctor_checks_and_reports() -> None:
    pytest.importorskip("ros2doctor", reason="ros2doctor is not installed: it comes with /opt/ros")
    (check,) = [point.load()() for point in entry_points(group="ros2doctor.checks") if point.name == "OmniCheck"]
    (report,) = [point.load()() for point in entry_points(group="ros2doctor.report") if point.name == "OmniReport"]
    assert check.category() == report.category() == "omni"
    items = dict(report.report().items)
    assert items["python"].startswith("ok: ")
    with pytest.warns(UserWarning, match="omni: ") if _finds_something(items) else _silence():
        result = check.check()
    assert result.error == sum(text.startswith("problem: ") for text in items.values())
    assert result.warning == sum(text.startswith("warning: ") for text in items.values())


def _finds_something(items: dict[str, str]) -> bool:
    return any(text.startswith(("problem: ", "warning: ")) for text in items.values())


def _silence() -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()
