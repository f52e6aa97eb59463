"""Drives a lifecycle node as another process would: through its services, from a node of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import rclpy
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    ListParameters,
    SetParameters,
    SetParametersAtomically,
)
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, ShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter

from omni_ros2.managed import LATCHED, ManagedNode

T = TypeVar("T")

TIMEOUT = 30.0  # s; a loaded machine, not a measure
ROOT = Path(__file__).parents[2]

TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
}
SHUTDOWN_FROM = {
    State.PRIMARY_STATE_UNCONFIGURED: Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
    State.PRIMARY_STATE_INACTIVE: Transition.TRANSITION_INACTIVE_SHUTDOWN,
    State.PRIMARY_STATE_ACTIVE: Transition.TRANSITION_ACTIVE_SHUTDOWN,
    State.PRIMARY_STATE_FINALIZED: Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
}


def wait_until(condition: Callable[[], T], what: str, timeout: float = TIMEOUT) -> T:
    """The condition's first true value. Raises AssertionError, naming ``what``, when it stays false."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {timeout:g} s for {what}"
        time.sleep(0.02)
    return value


@contextlib.contextmanager
def spinning(node: Node, context: Context) -> Iterator[None]:
    """An executor for the node, in a thread. It must not die of what a test does."""
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    died: list[BaseException] = []

    def spin() -> None:
        try:
            executor.spin()
        except (ExternalShutdownException, ShutdownException):
            pass
        except BaseException as error:
            died.append(error)

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield
    finally:
        executor.shutdown()
        thread.join()
    assert not died, f"the executor of {node.get_name()} died: {died[0]!r}"


class Remote:
    """Client side: another node's lifecycle, parameters and status."""

    def __init__(self, name: str, context: Context) -> None:
        self.name = name
        self.node = Node("test_client", context=context, use_global_arguments=False)

    def change(self, transition: str) -> bool:
        """Request one of TRANSITIONS, or "shutdown"; True when it succeeded."""
        number = SHUTDOWN_FROM[self._state().id] if transition == "shutdown" else TRANSITIONS[transition]
        request = ChangeState.Request(transition=Transition(id=number))
        return bool(self._call(ChangeState, "change_state", request).success)

    def state(self) -> str:
        return str(self._state().label)

    def set(self, name: str, value: Any) -> SetParametersResult:
        parameter = Parameter(name, value=value).to_parameter_msg()
        return self._call(SetParameters, "set_parameters", SetParameters.Request(parameters=[parameter])).results[0]

    def set_atomically(self, values: Mapping[str, Any]) -> SetParametersResult:
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        request = SetParametersAtomically.Request(parameters=parameters)
        return self._call(SetParametersAtomically, "set_parameters_atomically", request).result

    def get(self, name: str) -> Any:
        values = self._call(GetParameters, "get_parameters", GetParameters.Request(names=[name])).values
        return rclpy.parameter.parameter_value_to_python(values[0])

    def describe(self) -> dict[str, ParameterDescriptor]:
        names = self._call(ListParameters, "list_parameters", ListParameters.Request()).result.names
        request = DescribeParameters.Request(names=names)
        return dict(zip(names, self._call(DescribeParameters, "describe_parameters", request).descriptors, strict=True))

    @contextlib.contextmanager
    def listening(self, message_type: Any) -> Iterator[list[Any]]:
        """Every message of ~/status from now on, with what was latched before."""
        received: list[Any] = []
        subscription = self.node.create_subscription(message_type, f"/{self.name}/status", received.append, LATCHED)
        try:
            yield received
        finally:
            self.node.destroy_subscription(subscription)

    def _state(self) -> State:
        return self._call(GetState, "get_state", GetState.Request()).current_state

    def _call(self, service: Any, name: str, request: Any) -> Any:
        client = self.node.create_client(service, f"/{self.name}/{name}")
        try:
            assert client.wait_for_service(TIMEOUT), f"/{self.name}/{name} is not there"
            done = threading.Event()
            future = client.call_async(request)
            future.add_done_callback(lambda _: done.set())
            assert done.wait(TIMEOUT), f"/{self.name}/{name} did not answer"
            return future.result()
        finally:
            self.node.destroy_client(client)


@contextlib.contextmanager
def remote(name: str) -> Iterator[Remote]:
    """A client for a node of another process in this network."""
    context = Context()
    rclpy.init(args=[], context=context)
    try:
        client = Remote(name, context)
        with spinning(client.node, context):
            yield client
        client.node.destroy_node()
    finally:
        context.try_shutdown()


@contextlib.contextmanager
def managed(
    node_class: Callable[..., ManagedNode[Any]], parameters: Mapping[str, Any], namespace: str = ""
) -> Iterator[tuple[ManagedNode[Any], Remote]]:
    """The node in this process, with parameters as a launch file would give them, and a client for it."""
    context = Context()
    rclpy.init(args=[], context=context)
    try:
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        node = node_class(
            context=context, use_global_arguments=False, parameter_overrides=overrides, namespace=namespace
        )
        client = Remote(node.get_fully_qualified_name().lstrip("/"), context)
        with spinning(client.node, context), spinning(node, context):
            yield node, client
        node.stop()
        node.destroy_node()
        client.node.destroy_node()
    finally:
        context.try_shutdown()


@contextlib.contextmanager
def executable(name: str, parameters: Mapping[str, str], prefix: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """A node as `ros2 run omni_ros2 <name>` starts it. Killed at the end if it is still there."""
    path = Path(os.environ["AMENT_PREFIX_PATH"].split(":")[0]) / "lib/omni_ros2" / name
    arguments = [word for key, value in parameters.items() for word in ("-p", f"{key}:={value}")]
    process = subprocess.Popen(
        [*prefix, str(path), *(["--ros-args", *arguments] if arguments else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",  # not the source tree: what runs is what was installed
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
