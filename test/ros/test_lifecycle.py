"""Transitions of both nodes in every order, through the services that a lifecycle manager uses."""

from __future__ import annotations

import logging
import random
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from support.managed_node import managed, wait_until
from support.own_network import interfaces

from omni_ros2.ganglion_node import GanglionNode
from omni_ros2.msg import GanglionStatus, NucleusStatus
from omni_ros2.nucleus_node import NucleusNode

pytestmark = [pytest.mark.ros, pytest.mark.netns, pytest.mark.usefixtures("robot_network")]

Parameters = dict[str, object]

# The managed node's state machine (design.ros2.org/articles/node_lifecycle.html): state, transition -> next state.
NEXT = {
    ("unconfigured", "configure"): "inactive",
    ("unconfigured", "shutdown"): "finalized",
    ("inactive", "activate"): "active",
    ("inactive", "cleanup"): "unconfigured",
    ("inactive", "shutdown"): "finalized",
    ("active", "deactivate"): "inactive",
    ("active", "shutdown"): "finalized",
}
ALL = ("configure", "activate", "deactivate", "cleanup", "shutdown")


@pytest.fixture(params=[GanglionNode, NucleusNode])
def node_class(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return request.param


@pytest.fixture
def parameters(
    node_class: Callable[..., Any], ganglion_parameters: Parameters, nucleus_parameters: Parameters
) -> Parameters:
    return ganglion_parameters if node_class is GanglionNode else nucleus_parameters


def left_behind(run_dir: Path) -> set[str]:
    """Interfaces, sockets and journals. (A lock file stays: removing one is a race.)"""
    return interfaces() | {path.name for path in run_dir.iterdir() if path.suffix != ".lock"}


def test_full_circle_twice(node_class: Callable[..., Any], parameters: Parameters, run_dir: Path) -> None:
    with managed(node_class, parameters) as (_, remote):
        for _ in range(2):
            for transition in ("configure", "activate", "deactivate", "activate", "deactivate", "cleanup"):
                expected = NEXT[remote.state(), transition]
                assert remote.change(transition), transition
                assert remote.state() == expected
                assert bool(left_behind(run_dir)) == (expected != "unconfigured")
        assert left_behind(run_dir) == set()


def test_the_interface_is_there_from_configure_to_cleanup(ganglion_parameters: Parameters) -> None:
    with managed(GanglionNode, ganglion_parameters) as (_, remote):
        assert interfaces() == set()
        for transition in ("configure", "activate", "deactivate"):
            remote.change(transition)
            assert "omni0" in interfaces()
        remote.change("cleanup")
        assert interfaces() == set()


@pytest.mark.parametrize(
    "steps", [(), ("configure",), ("configure", "activate")], ids=["unconfigured", "inactive", "active"]
)
def test_shutdown_from_every_state(
    steps: tuple[str, ...], node_class: Callable[..., Any], parameters: Parameters, run_dir: Path
) -> None:
    with managed(node_class, parameters) as (_, remote):
        for step in steps:
            assert remote.change(step)
        assert remote.change("shutdown")
        assert remote.state() == "finalized"
        assert left_behind(run_dir) == set()
        for transition in ALL:
            assert not remote.change(transition), transition
        assert remote.state() == "finalized"


def test_any_order(node_class: Callable[..., Any], parameters: Parameters, run_dir: Path, seed: int) -> None:
    """Possible transitions succeed, all others are refused and change nothing; the node lives through all of it."""
    draw = random.Random(seed)
    with managed(node_class, parameters) as (_, remote):
        state = remote.state()
        for step in range(40):
            transition = draw.choice(ALL[:-1])
            expected = NEXT.get((state, transition))
            assert remote.change(transition) == (expected is not None), f"step {step}: {transition} in {state}"
            state = expected or state
            assert remote.state() == state
            assert ("omni0" in interfaces()) == (state != "unconfigured" and node_class is GanglionNode)
    assert left_behind(run_dir) == set()


@pytest.mark.parametrize("state", ["unconfigured", "inactive", "active"])
def test_a_node_that_is_stopped_leaves_nothing(
    state: str, node_class: Callable[..., Any], parameters: Parameters, run_dir: Path
) -> None:
    with managed(node_class, parameters) as (_, remote):
        while remote.state() != state:
            remote.change("configure" if remote.state() == "unconfigured" else "activate")
    assert left_behind(run_dir) == set()


def test_autostart(node_class: Callable[..., Any], parameters: Parameters) -> None:
    with managed(node_class, {**parameters, "autostart": True}) as (node, remote):
        assert node.autostart
        node.start()
        assert remote.state() == "active"


def test_an_interface_taken_away_ends_in_unconfigured(
    ganglion_parameters: Parameters, run_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with managed(GanglionNode, ganglion_parameters) as (_, remote):
        assert remote.change("configure")
        assert remote.change("activate")
        subprocess.run(["ip", "link", "delete", "omni0"], check=True)
        wait_until(lambda: remote.state() == "unconfigured", "the node to notice")
        assert left_behind(run_dir) == set()
        assert "removed by somebody else" in capfd.readouterr().err
        assert remote.change("configure")
        assert remote.change("activate")
        assert remote.state() == "active"


def test_a_late_subscriber_gets_the_latched_status(ganglion_parameters: Parameters) -> None:
    peer = ganglion_parameters["nucleus_key"]
    alone = {"nucleus": [""], "nucleus_key": "", "static_peers": [f"{peer}@127.0.0.1:9"], "status_period": 3600.0}
    with managed(GanglionNode, {**ganglion_parameters, **alone}) as (_, remote):
        assert remote.change("configure")
        assert remote.change("activate")
        with remote.listening(GanglionStatus) as early:
            wait_until(lambda: early and early[-1].state == GanglionStatus.STATE_ACTIVE, "the status")
        with remote.listening(GanglionStatus) as late:
            wait_until(lambda: late, "the latched status")
        status = late[0]
        assert status.header.stamp.sec > 0
        assert (status.interface, status.cluster, status.vip4) == ("omni0", "warehouse", "10.77.0.1/24")
        assert [other.public_key for other in status.peers] == [peer]


def test_status_follows_the_state(nucleus_parameters: Parameters) -> None:
    with managed(NucleusNode, {**nucleus_parameters, "status_period": 3600.0}) as (_, remote):
        with remote.listening(NucleusStatus) as received:
            remote.change("configure")
            wait_until(lambda: received and received[-1].state == NucleusStatus.STATE_INACTIVE, "inactive")
            remote.change("activate")
            wait_until(lambda: received[-1].state == NucleusStatus.STATE_ACTIVE, "active")
            assert [cluster.name for cluster in received[-1].clusters] == ["warehouse"]
            remote.change("deactivate")
            wait_until(lambda: received[-1].state == NucleusStatus.STATE_INACTIVE, "inactive again")


@pytest.mark.parametrize("sim_time", [False, True], ids=["wall time", "sim time that stands still"])
def test_status_comes_every_period(sim_time: bool, nucleus_parameters: Parameters) -> None:
    given = {**nucleus_parameters, "status_period": 3600.0, "use_sim_time": sim_time}
    with managed(NucleusNode, given) as (_, remote):
        remote.change("configure")
        with remote.listening(NucleusStatus) as received:
            wait_until(lambda: received, "the latched status")
            assert remote.set("status_period", 0.2).successful
            wait_until(lambda: len(received) >= 4, "three more")


def test_a_status_that_cannot_be_made_ends_nothing(
    nucleus_parameters: Parameters, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with managed(NucleusNode, nucleus_parameters) as (_, remote):
        monkeypatch.setattr(NucleusNode, "make_status", lambda self, thread: 1 / 0)
        assert remote.change("configure")
        assert remote.change("activate")
        assert remote.state() == "active"
        assert "status failed, which is a bug: ZeroDivisionError" in capfd.readouterr().err


def test_a_configure_that_fails_late_leaves_nothing(
    ganglion_parameters: Parameters, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with managed(GanglionNode, ganglion_parameters) as (_, remote):
        with monkeypatch.context() as patch:
            patch.setattr(GanglionNode, "introduction", lambda self, thread: 1 / 0)
            assert not remote.change("configure")
        assert remote.state() == "unconfigured"
        assert left_behind(run_dir) == set()
        assert remote.change("configure")


def test_omni_asks_a_node_to_stop(nucleus_parameters: Parameters, run_dir: Path) -> None:
    with managed(NucleusNode, nucleus_parameters) as (_, remote):
        remote.change("configure")
        remote.change("activate")
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(run_dir / "nucleus.sock"))
            admin.sendall(b'{"command": "stop"}\n')
            assert admin.recv(4096)
        wait_until(lambda: remote.state() == "unconfigured", "the node to stop")
        assert left_behind(run_dir) == set()
        assert remote.change("configure")


def test_the_parameter_engine_switches_at_any_time(ganglion_parameters: Parameters, run_dir: Path) -> None:
    with managed(GanglionNode, ganglion_parameters) as (_, remote):
        assert remote.set("engine", "auto").successful and remote.set("engine", "python").successful
        remote.change("configure")
        remote.change("activate")
        with remote.listening(GanglionStatus) as received:
            wait_until(lambda: received and received[-1].engine == "python", "the status")
            for engine in ("kernel", "python", "kernel"):
                assert remote.set("engine", engine).successful
                wait_until(lambda engine=engine: received[-1].engine == engine, f"the engine {engine}")
                assert received[-1].engine_reason == "" and remote.state() == "active"
                assert "omni0-syn" in interfaces()
            assert not remote.set("engine", "quantum").successful
        assert remote.change("shutdown")
        assert left_behind(run_dir) == set()


def test_a_node_that_is_stopped_may_leave_its_engine_running(
    ganglion_parameters: Parameters, run_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "omni_core")
    with managed(GanglionNode, {**ganglion_parameters, "engine": "kernel"}) as (_, remote):
        assert remote.change("configure")
        assert remote.change("activate")
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(run_dir / "omni0.sock"))
            admin.sendall(b'{"command": "stop", "keep": true}\n')
            assert admin.recv(4096)
        wait_until(lambda: remote.state() == "unconfigured", "the node to stop")
        assert interfaces() == {"omni0", "omni0-syn", "omni0-tap", "omni0-blk"}
        assert remote.change("configure")
        assert "taking over the engine that runs in the kernel" in caplog.text
        assert remote.change("cleanup")
        assert left_behind(run_dir) == set()
