"""Ganglion and Nucleus as launch actions that take their node to *active*.

    process starts ──> configure ──> activate ──> (Ganglion) environment for DDS ──> OverlayUp
         ▲                 │ failure of the first start: ``on_failure``; later ones: tried again
         └── respawn ──────┘

The node removes everything by itself when it is told to end (SIGINT, as launch does), so there is nothing to undo here.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import launch.logging
from launch import LaunchContext
from launch.event_handlers import OnProcessExit, OnProcessStart
from launch_ros.actions import LifecycleNode
from launch_ros.ros_adapters import get_ros_node
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters

from omni_core.config.ganglion import admin_socket
from omni_core.dds.profiles import DISCOVERY_RANGE
from omni_core.errors import OmniError
from omni_core.io import admin
from omni_core.io.dds_files import write_environment
from omni_ros2.launch.events import OverlayUp

POLL = 0.2  # s between two looks whether launch shuts down or the process has ended
ANSWER = 2.0  # s to wait for the answer of a service, before it is asked again
RESPAWN_DELAY = 2.0  # s
LOOK = 1.0  # s between two looks whether somebody else has activated the node
RETRY = 5.0  # s until a node that was active before is brought up again
TERM_TIMEOUT = "20"  # s that a node has to remove everything, before SIGTERM; as launch wants it

SHUTDOWN, KEEP = "shutdown", "keep"  # on_failure
STEPS = (
    (State.PRIMARY_STATE_UNCONFIGURED, Transition.TRANSITION_CONFIGURE, "configure"),
    (State.PRIMARY_STATE_INACTIVE, Transition.TRANSITION_ACTIVATE, "activate"),
)


class BringUpFailed(RuntimeError):
    """One sentence: node, transition, where the reason is. Launch prints it, shuts down and exits with 1."""


class _Gone(Exception):
    """Launch shuts down, or the process has ended: nothing is left to do."""


class ManagedNode(LifecycleNode):
    """A node of omni_ros2. Keywords beside these are those of launch_ros.actions.Node.

    ``autostart``   False: left unconfigured, for a lifecycle manager
    ``on_failure``  of a transition at the first start: "shutdown" (launch ends with exit code 1), or "keep" (one log
                    line; the node stays, and can be configured again)
    ``respawn``     a process that ends is started and brought up again; without it, its death ends the launch, as with
                    "shutdown" one does that comes before the node was active
    ``discovery``   "localhost": the node's own topics, parameters and transitions are for this machine alone;
                    "subnet": as the environment says
    ``on_active``   is called in a thread, with the launch context and this, each time that the node becomes active
    """

    def __init__(
        self,
        *,
        executable: str,
        name: str = "",
        namespace: Any = "",
        parameters: list[Any] | None = None,
        autostart: bool = True,
        on_failure: str = SHUTDOWN,
        respawn: bool = True,
        discovery: str = "localhost",
        on_active: Callable[[LaunchContext, ManagedNode], None] | None = None,
        **kwargs: Any,
    ) -> None:
        if on_failure not in (SHUTDOWN, KEEP):
            raise ValueError(f"on_failure: {on_failure!r} is neither {SHUTDOWN!r} nor {KEEP!r}")
        if discovery not in ("localhost", "subnet"):
            raise ValueError(f"discovery: {discovery!r} is neither 'localhost' nor 'subnet'")
        kwargs.setdefault("output", "screen")
        kwargs.setdefault("sigterm_timeout", TERM_TIMEOUT)
        super().__init__(
            package="omni_ros2",
            executable=executable,
            name=name or executable,
            namespace=namespace,
            # The node's own autostart would race with the one here.
            parameters=[*(parameters or []), {"autostart": False}],
            respawn=respawn,
            respawn_delay=RESPAWN_DELAY,
            **kwargs,
        )
        self._autostart, self._on_failure, self._respawning, self._on_active = autostart, on_failure, respawn, on_active
        self._is_local = discovery == "localhost"
        self._run = 0  # of the process: the thread of an earlier one gives up
        self._was_active = False
        self._logger = launch.logging.get_logger(executable)

    def execute(self, context: LaunchContext) -> list[Any] | None:
        # Before the process: an event that comes before its handler is lost.
        context.register_event_handler(OnProcessStart(target_action=self, on_start=self._on_start))
        context.register_event_handler(OnProcessExit(target_action=self, on_exit=self._on_end))
        actions = super().execute(context)
        details = self.process_details
        if details is not None and details["env"] is None:
            # Or, started again, it would have the environment that this launch has by then: DDS bound to omni0 alone.
            details["env"] = {**context.environment, **({DISCOVERY_RANGE: "LOCALHOST"} if self._is_local else {})}
        return actions  # type: ignore[no-any-return]

    def _on_start(self, event: Any, context: LaunchContext) -> None:
        self._run += 1
        if self._autostart or self._on_active is not None:
            work = self._bring_up if self._autostart else self._follow
            context.add_completion_future(context.asyncio_loop.run_in_executor(None, work, context, self._run))

    def _on_end(self, event: Any, context: LaunchContext) -> None:
        self._run += 1
        if context.is_shutdown or event.returncode == 0:
            return
        if not self._respawning or (not self._was_active and self._on_failure == SHUTDOWN):
            raise BringUpFailed(
                f"{self.node_name}: the process ended with exit code {event.returncode}; its log above says why"
            )

    # --- in a thread of launch's executor ----------------------------------------------------------------------------

    def _bring_up(self, context: LaunchContext, run: int) -> None:
        """Raises BringUpFailed where that is to end the launch."""
        try:
            while True:
                try:
                    self._transitions(context, run)
                    self._was_active = True
                    if self._on_active is not None:
                        self._on_active(context, self)
                    return
                except OmniError as error:
                    failure = BringUpFailed(f"{self.node_name}: {error}")
                except BringUpFailed as error:
                    failure = error
                if not self._was_active:
                    if self._on_failure == SHUTDOWN:
                        raise failure
                    self._logger.error(str(failure))
                    return
                self._logger.error(f"{failure}; once more in {RETRY:g} s")
                self._pause(context, run, RETRY)
        except _Gone:
            pass

    def _follow(self, context: LaunchContext, run: int) -> None:
        """Somebody else brings the node up. Its transition events may be missed, so it is asked."""
        try:
            while self._state(context, run).id != State.PRIMARY_STATE_ACTIVE:
                self._pause(context, run, LOOK)
            if self._on_active is not None:
                self._on_active(context, self)
        except OmniError as error:
            self._logger.error(f"{self.node_name}: {error}")
        except _Gone:
            pass

    def _pause(self, context: LaunchContext, run: int, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._check(context, run)
            time.sleep(POLL)

    def _transitions(self, context: LaunchContext, run: int) -> None:
        for start, transition, verb in STEPS:
            state = self._state(context, run)
            if state.id == State.PRIMARY_STATE_ACTIVE:
                return
            if state.id != start:
                raise BringUpFailed(f"{self.node_name}: cannot {verb}, the node is {state.label}")
            if not self._change(context, run, start, Transition(id=transition, label=verb)):
                raise BringUpFailed(
                    f"{self.node_name}: {verb} failed; the node's log above names the parameter and the fix"
                )

    def _change(self, context: LaunchContext, run: int, start: int, transition: Transition) -> bool:
        """The node was in ``start``. The answer may be lost with a request (see _call), so its state counts as well."""
        request = ChangeState.Request(transition=transition)
        while True:
            # While a transition runs the node answers nothing, so asking for the state waits for its end.
            answer = self._call(
                context, run, ChangeState, "change_state", request, in_silence=lambda: self._state(context, run)
            )
            if answer is not None:
                return bool(answer.success)
            if self._state(context, run).id != start:
                return True

    def _state(self, context: LaunchContext, run: int) -> State:
        while True:
            answer = self._call(context, run, GetState, "get_state", GetState.Request())
            if answer is not None:
                return answer.current_state

    def parameters_of(self, context: LaunchContext, names: list[str]) -> list[Any]:
        """Values of string parameters of the running node."""
        while True:
            request = GetParameters.Request(names=names)
            answer = self._call(context, self._run, GetParameters, "get_parameters", request)
            if answer is not None:
                return [value.string_value for value in answer.values]

    def _call(
        self,
        context: LaunchContext,
        run: int,
        kind: Any,
        name: str,
        request: Any,
        in_silence: Callable[[], object] | None = None,
    ) -> Any:
        """The answer of one of the node's services; None when there is none within ANSWER seconds, and none soon
        after ``in_silence`` has returned. Raises _Gone.

        DDS believes for some 20 s that a killed process is still there: a request may then go to nobody.
        """
        self._check(context, run)
        node = get_ros_node(context)
        client = node.create_client(kind, f"{self.node_name}/{name}")
        try:
            while not client.wait_for_service(timeout_sec=POLL):
                self._check(context, run)
            done = threading.Event()
            future = client.call_async(request)
            future.add_done_callback(lambda _: done.set())
            end = time.monotonic() + ANSWER
            while not done.wait(POLL):
                self._check(context, run)
                if time.monotonic() < end:
                    continue
                if in_silence is None:
                    return None
                in_silence()
                in_silence, end = None, time.monotonic() + ANSWER
            return future.result()
        finally:
            node.destroy_client(client)

    def _check(self, context: LaunchContext, run: int) -> None:
        if context.is_shutdown or self._run != run:
            raise _Gone


def ganglion(
    *,
    parameters: list[Any] | Mapping[str, Any] | None = None,
    dds: str = "fastdds",
    dds_directory: str = "",
    **kwargs: Any,
) -> ManagedNode:
    """A Ganglion. When it is active, DDS is bound to its interface for all that is launched then; then OverlayUp.

    ``dds``            "fastdds", "cyclonedds" or "none" (the environment stays as it is)
    ``dds_directory``  where the profile is written; empty: <run_dir>/dds
    ``kwargs``         as for ManagedNode
    """

    def on_active(context: LaunchContext, node: ManagedNode) -> None:
        interface, run_dir = node.parameters_of(context, ["interface", "run_dir"])
        variables: dict[str, str] = {}
        if dds != "none":
            status = admin.request(admin_socket(run_dir, interface), "status")
            variables = write_environment(status, dds, dds_directory or os.path.join(run_dir, "dds"))

        def announce() -> None:
            context.environment.update(variables)
            context.emit_event_sync(OverlayUp(interface, variables))

        context.asyncio_loop.call_soon_threadsafe(announce)

    return ManagedNode(executable="ganglion", parameters=_as_list(parameters), on_active=on_active, **kwargs)


def nucleus(*, parameters: list[Any] | Mapping[str, Any] | None = None, **kwargs: Any) -> ManagedNode:
    """A Nucleus. ``kwargs`` as for ManagedNode."""
    return ManagedNode(executable="nucleus", parameters=_as_list(parameters), **kwargs)


def _as_list(parameters: list[Any] | Mapping[str, Any] | None) -> list[Any]:
    if parameters is None:
        return []
    return list(parameters) if isinstance(parameters, list) else [dict(parameters)]
