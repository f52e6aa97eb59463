"""Transitions in any order while any step of the driver may fail: the node lives, says why, and leaves nothing behind.

The model is the state machine of test_lifecycle.py with failures: a step up that fails ends in the state before it, a
step down that fails ends in unconfigured (error processing). Whatever failed, the next attempt without a failure works.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import random
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from support.managed_node import Remote, managed, wait_until
from support.own_network import interfaces

from omni_core.engines.ganglion import GanglionEngine
from omni_core.engines.nucleus import NucleusEngine
from omni_core.errors import SystemRefused
from omni_core.io import ganglion_driver, nucleus_driver, underlay_follower
from omni_core.io.admin import AdminServer
from omni_core.io.clock import UnixClock
from omni_core.io.ganglion_driver import GanglionDriver
from omni_core.io.journal import InterfaceLock
from omni_core.io.local_port import PythonPort
from omni_core.io.nucleus_driver import NucleusDriver
from omni_core.io.pump import GanglionPump, NucleusPump
from omni_core.io.udp import UdpPort
from omni_ros2.ganglion_node import GanglionNode
from omni_ros2.nucleus_node import NucleusNode

pytestmark = [pytest.mark.ros, pytest.mark.netns, pytest.mark.usefixtures("robot_network")]

Parameters = dict[str, object]

UP = {"unconfigured": "configure", "inactive": "activate"}
AFTER = {"configure": "inactive", "activate": "active", "deactivate": "inactive", "cleanup": "unconfigured"}
POSSIBLE = {"unconfigured": ("configure",), "inactive": ("activate", "cleanup"), "active": ("deactivate",)}

# Transition -> where it may fail: the object and the name of what is called.
GANGLION_STEPS: dict[str, list[tuple[Any, str]]] = {
    "configure": [
        (ganglion_driver, "InterfaceLock"),
        (ganglion_driver, "load_membership"),
        (ganglion_driver, "UnixClock"),
        (UdpPort, "open"),
        (ganglion_driver, "open_port"),
        (underlay_follower, "look_around"),
        (ganglion_driver, "GanglionEngine"),
        (AdminServer, "open"),
        (GanglionNode, "introduction"),
        (GanglionNode, "make_publishers"),
        (GanglionNode, "hardware_id"),
    ],
    "activate": [
        (ganglion_driver, "ChangeWatch"),
        (PythonPort, "make_pump"),
        (GanglionEngine, "start"),
        (GanglionPump, "start"),
    ],
    "deactivate": [(GanglionEngine, "stop"), (GanglionPump, "flush"), (GanglionPump, "stop")],
    "cleanup": [
        (AdminServer, "close"),
        (PythonPort, "close"),
        (UdpPort, "close"),
        (ganglion_driver, "undo"),
        (UnixClock, "close"),
        (InterfaceLock, "close"),
    ],
}
NUCLEUS_STEPS: dict[str, list[tuple[Any, str]]] = {
    "configure": [
        (nucleus_driver, "load_or_create_identity"),
        (nucleus_driver, "UnixClock"),
        (UdpPort, "open"),
        (AdminServer, "open"),
        (nucleus_driver, "NucleusEngine"),
        (NucleusNode, "hardware_id"),
    ],
    "activate": [(NucleusPump, "start")],
    "deactivate": [(NucleusPump, "stop"), (NucleusEngine, "close")],
    "cleanup": [(AdminServer, "close"), (NucleusEngine, "close"), (UdpPort, "close"), (UnixClock, "close")],
}
CASES = [
    (node, transition, owner, name)
    for node, steps in ((GanglionNode, GANGLION_STEPS), (NucleusNode, NUCLEUS_STEPS))
    for transition, places in steps.items()
    for owner, name in places
]


@contextlib.contextmanager
def failing(owner: Any, name: str, error: Exception) -> Iterator[list[int]]:
    """The first call of it raises, further ones work. What closes something closes it first. Yields the calls."""
    original, calls = getattr(owner, name), []
    first_does = name in ("close", "stop", "flush")

    def fails(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            return original(*args, **kwargs)
        done = original(*args, **kwargs) if first_does else None
        if inspect.isawaitable(done):
            return raises_after(done)
        raise error

    async def raises_after(work: Awaitable[Any]) -> None:
        await work
        raise error

    is_bound = isinstance(owner, type) and isinstance(owner.__dict__.get(name), classmethod)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, staticmethod(fails) if is_bound else fails)
        yield calls


def refusal() -> SystemRefused:
    return SystemRefused("test", "this step was made to fail", "nothing")


def left_behind(run_dir: Path) -> set[str]:
    return interfaces() | {path.name for path in run_dir.iterdir() if path.suffix != ".lock"}


def drive(remote: Remote, target: str) -> None:
    """To a state, by transitions that have to succeed."""
    while (state := remote.state()) != target:
        down = "deactivate" if state == "active" else "cleanup"
        assert remote.change(down if target == "unconfigured" or state == "active" else UP[state])


def parameters_of(node_class: Any, ganglion: Parameters, nucleus: Parameters) -> Parameters:
    return ganglion if node_class is GanglionNode else nucleus


def test_every_step_may_fail(
    ganglion_parameters: Parameters, nucleus_parameters: Parameters, run_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every other one with an exception that nobody expects: then error processing follows."""
    for node_class in (GanglionNode, NucleusNode):
        parameters = parameters_of(node_class, ganglion_parameters, nucleus_parameters)
        with managed(node_class, parameters) as (_, remote):
            for number, (case_class, transition, owner, name) in enumerate(CASES):
                if case_class is not node_class:
                    continue
                error = RuntimeError("a bug") if number % 2 else refusal()
                where = f"{transition}: {getattr(owner, '__name__', owner)}.{name}"
                before = next(state for state, possible in POSSIBLE.items() if transition in possible)
                drive(remote, before)
                capfd.readouterr()
                with failing(owner, name, error) as calls:
                    assert not (remote.change(transition) and transition in ("configure", "activate")), where
                    assert calls, where
                    state = remote.state()
                expected = before if transition in UP.values() and not number % 2 else "unconfigured"
                assert state == expected, where
                if transition == "configure":
                    assert left_behind(run_dir) == set(), where
                said = [line for line in capfd.readouterr().err.splitlines() if "[ERROR]" in line]
                assert any(f"{transition} failed" in line for line in said), where
                assert not any("Traceback" in line for line in said), where
                # Whatever it was: it works again, and then nothing is left.
                drive(remote, "active")
                drive(remote, "unconfigured")
                assert left_behind(run_dir) == set(), where


def walk(remote: Remote, draw: random.Random, steps: dict[str, list[tuple[Any, str]]], is_ganglion: bool) -> None:
    state = remote.state()
    for step in range(60):
        transition = draw.choice(list(AFTER))
        fails = draw.random() < 0.4 and transition in POSSIBLE[state]
        place = draw.choice(steps[transition]) if fails else None
        with failing(*place, refusal()) if place else contextlib.nullcontext():
            succeeded = remote.change(transition)
            where = f"step {step}: {transition} in {state}, failing {place}"
            if transition not in POSSIBLE[state]:
                assert not succeeded, where
            elif place is None:
                assert succeeded, where
                state = AFTER[transition]
            else:
                state = state if transition in UP.values() else "unconfigured"
            assert remote.state() == state, where
        if place is None:
            assert ("omni0" in interfaces()) == (state != "unconfigured" and is_ganglion), where


@pytest.mark.parametrize("node_class", [GanglionNode, NucleusNode])
def test_any_order_with_failures(
    node_class: Callable[..., Any],
    ganglion_parameters: Parameters,
    nucleus_parameters: Parameters,
    run_dir: Path,
    seed: int,
) -> None:
    steps = GANGLION_STEPS if node_class is GanglionNode else NUCLEUS_STEPS
    parameters = parameters_of(node_class, ganglion_parameters, nucleus_parameters)
    with managed(node_class, parameters) as (_, remote):
        walk(remote, random.Random(seed), steps, node_class is GanglionNode)
        drive(remote, "active")
    assert left_behind(run_dir) == set()


@pytest.mark.parametrize(
    ("engine", "transition"),
    [("python", "deactivate"), ("python", "cleanup"), ("python", "shutdown"), ("kernel", "deactivate")],
)
def test_the_interface_is_removed_under_a_transition(
    engine: str, transition: str, ganglion_parameters: Parameters, run_dir: Path
) -> None:
    """Inactive nobody watches the interface; active the node may have noticed before the request comes."""
    with managed(GanglionNode, {**ganglion_parameters, "engine": engine}) as (_, remote):
        drive(remote, "active" if transition == "deactivate" else "inactive")
        subprocess.run(["ip", "link", "delete", "omni0"], check=True)
        remote.change(transition)
        if transition == "shutdown":
            assert remote.state() == "finalized"
        else:
            if transition == "deactivate" and remote.state() == "inactive":
                assert remote.change("cleanup")
            wait_until(lambda: remote.state() == "unconfigured", "the node to end")
            drive(remote, "active")
            drive(remote, "unconfigured")
    assert left_behind(run_dir) == set()


def test_a_fault_of_the_driver_while_active(ganglion_parameters: Parameters, run_dir: Path) -> None:
    with managed(GanglionNode, ganglion_parameters) as (node, remote):
        drive(remote, "active")
        thread = node._thread
        assert thread is not None
        driver: GanglionDriver = thread.driver
        thread.call(lambda: driver._on_fault(refusal()))
        wait_until(lambda: remote.state() == "unconfigured", "the node to notice")
        assert left_behind(run_dir) == set()
        drive(remote, "active")
    assert left_behind(run_dir) == set()


def test_the_same_of_a_nucleus(nucleus_parameters: Parameters, run_dir: Path) -> None:
    with managed(NucleusNode, nucleus_parameters) as (node, remote):
        drive(remote, "active")
        thread = node._thread
        assert thread is not None
        driver: NucleusDriver = thread.driver
        thread.call(lambda: driver._fail(refusal()))
        wait_until(lambda: remote.state() == "unconfigured", "the node to notice")
        assert left_behind(run_dir) == set()
        drive(remote, "active")


def test_two_nodes_of_one_process_do_not_meet(ganglion_parameters: Parameters, tmp_path: Path, run_dir: Path) -> None:
    """Several robots on one machine: names, interfaces, ports and journals are apart."""
    other = {
        **ganglion_parameters,
        "interface": "omni1",
        "key_file": str(tmp_path / "other.key"),
        "vip4": "10.77.1.1/24",
        "listen_port": 0,
    }
    with managed(GanglionNode, ganglion_parameters, namespace="/robot1") as (_, first):
        with managed(GanglionNode, other, namespace="/robot2") as (_, second):
            drive(first, "active")
            drive(second, "active")
            assert {"omni0", "omni1"} <= interfaces()
            assert (first.name, second.name) == ("robot1/ganglion", "robot2/ganglion")
            drive(first, "unconfigured")
            assert "omni0" not in interfaces() and second.state() == "active"
    assert left_behind(run_dir) == set()
    assert not [name for name in os.listdir(run_dir) if name.endswith(".json")]
