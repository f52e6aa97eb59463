"""A lifecycle node around one driver of omni_core. Everything ROS decides here; everything else the driver does.

    configure   parameters checked, driver made and configured     failure: one log line, back to unconfigured
    activate    the driver's engine runs                           failure: one log line, back to inactive
    deactivate, cleanup, shutdown                                  always end with nothing left of what they undo
    error       after a fault: cleanup, back to unconfigured

Callbacks run in the executor's thread, one at a time; the driver runs in a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from rclpy.clock import Clock, ClockType
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.timer import Timer

from omni_core.config.schema import Field
from omni_core.errors import OmniError
from omni_core.io.clock import monotonic
from omni_core.io.driver_thread import DriverThread
from omni_core.io.lifecycle import Driver, State
from omni_ros2.parameters import NodeParameters

D = TypeVar("D", bound=Driver)

LOOK_PERIOD = 0.2  # s between two looks for changes and faults
LATCHED = QoSProfile(
    depth=1,
    history=HistoryPolicy.KEEP_LAST,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class ManagedNode(LifecycleNode, Generic[D]):
    """Base of the Ganglion's and the Nucleus's node, which say what their driver and their status message are."""

    status_type: Any  # message type of ~/status

    def __init__(self, name: str, fields: Sequence[Field], **kwargs: Any) -> None:
        """``kwargs`` as for rclpy's Node."""
        super().__init__(name, automatically_declare_parameters_from_overrides=True, **kwargs)
        self._thread: DriverThread[D] | None = None
        self._publisher: Publisher | None = None
        self._timer: Timer | None = None
        self._published = 0.0  # s, monotonic
        self._settings = NodeParameters(self, fields, lambda: self._thread is not None)
        self._guard_odd_orders()
        unknown = self._settings.unknown()
        if unknown:
            self.get_logger().warning(f"parameters that this node does not have: {', '.join(unknown)}")

    @property
    def autostart(self) -> bool:
        return self._settings.autostart

    # --- what a subclass says --------------------------------------------------------------------------------------

    def make_driver(self, values: dict[str, Any]) -> Callable[[], D]:
        """Checks the parameters' values and returns what builds the driver. Raises ConfigError."""
        raise NotImplementedError

    def make_status(self, thread: DriverThread[D]) -> Any:
        """The message for ~/status, from a driver that is configured."""
        raise NotImplementedError

    def introduction(self, thread: DriverThread[D]) -> str:
        """One log line for a driver that has just been configured."""
        raise NotImplementedError

    def follow_parameters(self, thread: DriverThread[D]) -> None:
        """Live parameters may have changed. Raises OmniError where a new value cannot be had."""

    def has_news(self, thread: DriverThread[D]) -> bool:
        """True, once, when something changed that should be published before ``status_period`` is over."""
        raise NotImplementedError

    # --- transitions -------------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._attempt("configure", self._configure, TransitionCallbackReturn.FAILURE)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._attempt("activate", self._activate, TransitionCallbackReturn.FAILURE)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._attempt("deactivate", self._deactivate, TransitionCallbackReturn.ERROR)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._attempt("cleanup", self._remove, TransitionCallbackReturn.ERROR)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._attempt("shutdown", self._remove, TransitionCallbackReturn.ERROR)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """To unconfigured, from where a user may try again; to finalized only when even removing failed."""
        return self._attempt("error processing", self._remove, TransitionCallbackReturn.FAILURE)

    def start(self) -> None:
        """Configure and activate, as far as that succeeds."""
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def stop(self) -> None:
        """Shut down from any state; everything is removed, also where the state machine has no such transition."""
        try:
            self.trigger_shutdown()
        except rclpy_implementation.RCLError:
            pass  # finalized already
        self._attempt("shutdown", self._remove, TransitionCallbackReturn.ERROR)

    def _configure(self) -> None:
        self._remove()
        thread = DriverThread(self.make_driver(self._settings.values()), name=self.get_name())
        try:
            thread.configure()
        except BaseException:
            thread.close()
            raise
        self._thread = thread
        try:
            self._publisher = self.create_publisher(self.status_type, "~/status", LATCHED)
            # Not the node's clock: with use_sim_time that one may stand still.
            self._timer = self.create_timer(LOOK_PERIOD, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
            self.get_logger().info(self.introduction(thread))
        except BaseException:
            self._remove()
            raise
        self._publish()

    def _activate(self) -> None:
        if self._thread is not None:
            self._thread.activate()
            self._publish()
            self.get_logger().info("active")

    def _deactivate(self) -> None:
        if self._thread is not None:
            fault = self._thread.driver.fault
            self._thread.deactivate()
            if fault is not None:
                raise fault
            self._publish()
            self.get_logger().info("inactive")

    def _remove(self) -> None:
        """Idempotent. What can be removed is, also when one step fails."""
        thread, self._thread = self._thread, None
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None
        if self._publisher is not None:
            self.destroy_publisher(self._publisher)
            self._publisher = None
        if thread is not None:
            thread.close()
            self.get_logger().info("left running" if thread.driver.left_running else "everything removed")

    def _attempt(
        self, verb: str, step: Callable[[], None], otherwise: TransitionCallbackReturn
    ) -> TransitionCallbackReturn:
        """One log line for what fails; rclpy would swallow the exception without a word."""
        try:
            step()
        except OmniError as error:
            self.get_logger().error(f"{verb} failed: {error}")
            return otherwise
        except Exception as error:
            self.get_logger().error(f"{verb} failed, which is a bug: {type(error).__name__}: {error}")
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    def _guard_odd_orders(self) -> None:
        """A request for a transition that the state does not have is refused.

        Up to Jazzy, rclpy lets the RCLError of such a request escape into the executor, which ends the process.
        """
        answer = self._service_change_state.callback

        def guarded(request: Any, response: Any) -> Any:
            try:
                return answer(request, response)
            except rclpy_implementation.RCLError:
                self.get_logger().error(
                    f"transition {request.transition.label or request.transition.id} is not possible in this state"
                )
                response.success = False
                return response

        self._service_change_state.callback = guarded

    # --- running -----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        thread = self._thread
        if thread is None:
            return
        if thread.driver.stopping:
            self._end(thread)
            return
        self._attempt("new parameter", lambda: self.follow_parameters(thread), TransitionCallbackReturn.FAILURE)
        self._attempt("status", self._report, TransitionCallbackReturn.FAILURE)

    def _report(self) -> None:
        period = self.get_parameter("status_period").value
        if self._thread is not None and (self.has_news(self._thread) or monotonic() - self._published >= period):
            self._publish()

    def _end(self, thread: DriverThread[D]) -> None:
        """The driver cannot go on, or `omni` asked it to stop."""
        if thread.driver.fault is None:
            self.get_logger().info("asked to stop through the admin socket")
        if thread.state is State.ACTIVE and self.trigger_deactivate() != TransitionCallbackReturn.SUCCESS:
            return  # error processing has removed everything
        self.trigger_cleanup()

    def _publish(self) -> None:
        """What goes wrong here is logged, and ends nothing."""
        self._published = monotonic()
        self._attempt("status", self._send_status, TransitionCallbackReturn.FAILURE)

    def _send_status(self) -> None:
        if self._thread is not None and self._publisher is not None:
            self._publisher.publish(self.make_status(self._thread))
