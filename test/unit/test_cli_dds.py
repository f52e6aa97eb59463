"""`omni dds` without ROS: where its facts come from, what it prints and writes, what it refuses."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from support.command_line import Caller, served

from omni_core.cli import dds, dds_check
from omni_core.dds.overlay import Overlay
from omni_core.dds.profiles import profile

STATUS: dict[str, Any] = {
    "interface": "omni5",
    "interface_mtu": 1400,
    "vip4": "10.77.0.1",
    "vip6": "fd6f::1",
    "peers": [
        {
            "name": "robot-2",
            "vip4": "10.77.0.2",
            "vip6": "fd6f::2",
            "state": "up",
            "domains": [],
            "public_key": "k" * 43,
        },
        {"name": "robot-3", "vip4": "", "vip6": "fd6f::3", "state": "lost", "domains": [], "public_key": "l" * 43},
    ],
}


@pytest.fixture
def omni(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Caller:
    """No configuration of this machine, no variables of this shell."""
    monkeypatch.setattr("omni_core.cli.options.CONFIG_DIRECTORY", str(tmp_path / "etc"))
    for name in ("RMW_IMPLEMENTATION", "ROS_DISTRO", "ROS_DOMAIN_ID"):
        monkeypatch.delenv(name, raising=False)
    return Caller(capsys)


@pytest.fixture
def ganglion(tmp_path: Path):
    async def status(request: object) -> dict[str, Any]:
        return STATUS

    with served(f"{tmp_path}/omni5.sock", {"status": status}):
        yield ["--interface", "omni5", "--run-dir", str(tmp_path)]


def test_from_a_running_ganglion(omni: Caller, ganglion: list[str]) -> None:
    outcome = omni("dds", "--print", "--rmw", "fastdds", *ganglion)
    assert outcome.code == 0 and outcome.err == ""
    assert outcome.out == profile(Overlay.of_status(STATUS), "fastdds")
    assert "<value>1372</value>" in outcome.out


def test_from_options_and_from_a_file(omni: Caller, tmp_path: Path) -> None:
    """Before the Ganglion runs."""
    bare = omni("dds", "--interface", "omni9", "--run-dir", tmp_path).out
    assert 'name="omni9"' in bare and "<value>1252</value>" in bare  # 1280 - 28, which fits everywhere
    config = tmp_path / "ganglion.toml"
    config.write_text(f'interface = "omni8"\nvip4 = "10.77.0.8/24"\nmtu = 1300\nrun_dir = "{tmp_path}"\n')
    from_file = omni("dds", "--rmw", "fastdds2", "--config", config).out
    assert "<address>10.77.0.8</address>" in from_file and "<value>1272</value>" in from_file
    changed = omni("dds", "--rmw", "fastdds2", "--config", config, "--vip4", "10.77.0.9", "--mtu", "1400").out
    assert "<address>10.77.0.9</address>" in changed and "<value>1372</value>" in changed


def test_written_with_the_lines_to_export(omni: Caller, ganglion: list[str], tmp_path: Path) -> None:
    directory = tmp_path / "a b"
    outcome = omni("dds", "--rmw", "cyclonedds", "--write", directory, *ganglion)
    assert outcome.code == 0
    assert outcome.out == (
        f"export RMW_IMPLEMENTATION=rmw_cyclonedds_cpp\nexport CYCLONEDDS_URI='file://{directory}/omni5.cyclonedds.xml'\n"
    )
    assert (directory / "omni5.cyclonedds.xml").read_text() == profile(Overlay.of_status(STATUS), "cyclonedds")
    assert omni("dds", "--rmw", "cyclonedds", "--write", directory, *ganglion) == outcome


def test_which_middleware() -> None:
    assert dds.chosen_rmw(None, {}) == "fastdds"
    assert dds.chosen_rmw(None, {"ROS_DISTRO": "jazzy"}) == "fastdds2"
    assert dds.chosen_rmw(None, {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}) == "cyclonedds"
    assert dds.chosen_rmw("fastdds2", {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}) == "fastdds2"


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["--rmw", "zenoh"], "rmw"),
        (["--mtu", "100"], "mtu"),
        (["--vip4", "x"], "vip4"),
        (["--rmw", "fastdds2"], "vip4"),
        (["--config", "/none.toml"], "config"),
        (["--print", "--check"], "command line"),
        (["--domain", "x"], "command line"),
    ],
)
def test_refusals(omni: Caller, tmp_path: Path, words: list[str], field: str) -> None:
    omni("dds", "--interface", "omni9", "--run-dir", tmp_path, *words).assert_refused(2, field)


def test_which_peer(omni: Caller, ganglion: list[str], tmp_path: Path) -> None:
    assert dds_check.choose_peer(STATUS, None)["name"] == "robot-2"
    for name in ("robot-3", "fd6f::3"):
        assert dds_check.choose_peer(STATUS, name)["name"] == "robot-3"
    assert dds_check.choose_peer(None, "fd6f::9")["state"] == "unknown"
    omni("dds", "--check", "--peer", "robot-9", *ganglion).assert_refused(2, "peer", "robot-2, robot-3")
    omni("dds", "--check", "--interface", "omni9", "--run-dir", tmp_path).assert_refused(3, "admin socket")
    omni("dds", "--check", "--domain", "300", *ganglion).assert_refused(2, "domain", "300")


def test_a_session_that_is_down_is_the_reason(omni: Caller, ganglion: list[str]) -> None:
    """Without starting anything."""
    outcome = omni("dds", "--check", "--json", "--peer", "robot-3", *ganglion)
    assert outcome.code == 1
    found = json.loads(outcome.out)
    assert found["ok"] is False and found["result"] == {}
    assert "there is no session with robot-3 (it is lost)" in found["reasons"][0]


def test_without_the_interface(omni: Caller, ganglion: list[str]) -> None:
    outcome = omni("dds", "--check", *ganglion)
    assert outcome.code == 1
    assert "problem: omni5 is not there, or has no address. Fix: start the Ganglion" in outcome.out


def test_without_ros(omni: Caller, ganglion: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "rclpy" else real(name, *rest))
    omni("dds", "--echo", *ganglion).assert_refused(3, "ROS 2", "rclpy is not importable", "setup.bash")
    monkeypatch.setattr(dds_check, "addresses", lambda interface: (["10.77.0.1"], ["10.77.0.1"]))
    omni("dds", "--check", *ganglion).assert_refused(3, "ROS 2", "rclpy is not importable")
