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
from rclpy.exceptions import InvalidHandle
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.timer import Timer

from omni_core.config.node_parameters import Limits
from omni_core.config.schema import Field
from omni_core.errors import OmniError
from omni_core.io.clock import monotonic
from omni_core.io.driver_thread import DriverThread
from omni_core.io.lifecycle import Driver, State
from omni_ros2.diagnostics import Verdict, stale, state
from omni_ros2.diagnostics_topic import DiagnosticsTopic
from omni_ros2.parameters import NodeParameters

D = TypeVar("D", bound=Driver)

TRANSITIONS = ("configure", "activate", "deactivate", "cleanup", "shutdown", "error processing")
NEWS_PERIOD = 0.1  # s at least between two status messages that changes cause
LATCHED = QoSProfile(
    depth=1,
    history=HistoryPolicy.KEEP_LAST,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
STATISTICS = QoSProfile(
    depth=5,
    history=HistoryPolicy.KEEP_LAST,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)


class ManagedNode(LifecycleNode, Generic[D]):
    """Base of the Ganglion's and the Nucleus's node, which say what their driver and their status message are."""

    status_type: Any  # message type of ~/status

    def __init__(self, name: str, fields: Sequence[Field], node_fields: Sequence[Field], **kwargs: Any) -> None:
        """``node_fields``: parameters beside the configuration's. ``kwargs`` as for rclpy's Node."""
        super().__init__(name, automatically_declare_parameters_from_overrides=True, **kwargs)
        # Not the node's clock: with use_sim_time that one may stand still.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._thread: DriverThread[D] | None = None
        self._ending: DriverThread[D] | None = None  # the one that is being removed
        self._publishers_made: list[Publisher] = []
        self._status_publisher: Publisher | None = None
        self._status_timer: Timer | None = None
        self._news_timer: Timer | None = None
        self._published = 0.0  # s, monotonic
        self._trouble = ""  # why the last transition, or the run, failed
        self._hardware_id = ""  # of the last driver
        self._guard = self.create_guard_condition(self._on_wake)
        self._settings = NodeParameters(self, fields, node_fields, lambda: self._thread is not None, self.wake)
        self._diagnostics = DiagnosticsTopic(self)
        period = self.get_parameter("diagnostics_period").value
        self._diagnostics_timer = self.create_timer(period, self._diagnose, clock=self._steady)
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

    def make_verdicts(self, thread: DriverThread[D], lifecycle: str, limits: Limits) -> list[Verdict]:
        """For /diagnostics, from a driver that is configured; without the verdict on the node's state."""
        raise NotImplementedError

    def stale_tasks(self) -> Sequence[str]:
        """Names of the tasks that are STALE while nothing is configured."""
        raise NotImplementedError

    def hardware_id(self, thread: DriverThread[D]) -> str:
        """For /diagnostics, unless the parameter says another."""
        raise NotImplementedError

    def make_publishers(self) -> None:
        """Beside ~/status, with ``publisher``; they last until the node is cleaned up."""

    def publish_statistics(self, thread: DriverThread[D]) -> None:
        """Every ``status_period``."""

    # --- what a subclass, and its driver, may call -------------------------------------------------------------------

    def wake(self) -> None:
        """Something changed that may have to be published or followed. From any thread; many calls may be one."""
        try:
            self._guard.trigger()
        except InvalidHandle:
            pass  # the node is going away

    def publisher(self, message_type: Any, topic: str, qos: QoSProfile) -> Publisher:
        self._publishers_made.append(self.create_publisher(message_type, topic, qos))
        return self._publishers_made[-1]

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

    def hurry(self) -> None:
        """An end that is under way is not to wait for others. From any thread."""
        for thread in (self._thread, self._ending):
            if thread is not None:
                thread.hurry()

    def _configure(self) -> None:
        self._remove()
        thread = DriverThread(self.make_driver(self._settings.values()), name=self.get_name())
        try:
            thread.driver.on_stopping = self.wake
            thread.configure()
        except BaseException:
            thread.close()
            raise
        self._thread = thread
        try:
            self._status_publisher = self.publisher(self.status_type, "~/status", LATCHED)
            self.make_publishers()
            period = self.get_parameter("status_period").value
            self._status_timer = self.create_timer(period, self._on_status_period, clock=self._steady)
            self._news_timer = self.create_timer(NEWS_PERIOD, self._on_late_news, clock=self._steady)
            self._news_timer.cancel()
            self._hardware_id = self.hardware_id(thread)
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
        for timer in (self._status_timer, self._news_timer):
            if timer is not None:
                self.destroy_timer(timer)
        self._status_timer = self._news_timer = self._status_publisher = None
        while self._publishers_made:
            self.destroy_publisher(self._publishers_made.pop())
        if thread is not None:
            self._ending = thread
            try:
                thread.close()
            finally:
                self._ending = None
            self.get_logger().info("left running" if thread.driver.left_running else "everything removed")

    def _attempt(
        self, verb: str, step: Callable[[], None], otherwise: TransitionCallbackReturn
    ) -> TransitionCallbackReturn:
        """One log line for what fails; rclpy would swallow the exception without a word."""
        try:
            step()
        except OmniError as error:
            self._failed(verb, f"{verb} failed: {error}")
            return otherwise
        except Exception as error:
            self._failed(verb, f"{verb} failed, which is a bug: {type(error).__name__}: {error}")
            return TransitionCallbackReturn.ERROR
        if verb in ("configure", "activate"):
            self._trouble = ""
        return TransitionCallbackReturn.SUCCESS

    def _failed(self, verb: str, text: str) -> None:
        self.get_logger().error(text)
        if verb in TRANSITIONS:
            self._trouble = text

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

    def _on_wake(self) -> None:
        """In the executor's thread, some time after ``wake``."""
        self._follow_periods()
        thread = self._thread
        if thread is None:
            return
        if thread.driver.stopping:
            self._end(thread)
            return
        self._attempt("new parameter", lambda: self.follow_parameters(thread), TransitionCallbackReturn.FAILURE)
        if monotonic() - self._published >= NEWS_PERIOD:
            self._publish()
        elif self._news_timer is not None and self._news_timer.is_canceled():
            self._news_timer.reset()

    def _on_late_news(self) -> None:
        """What came too soon after the last status message."""
        if self._news_timer is not None:
            self._news_timer.cancel()
        self._publish()

    def _on_status_period(self) -> None:
        self._publish()
        if self._thread is not None:
            thread = self._thread
            self._attempt("statistics", lambda: self.publish_statistics(thread), TransitionCallbackReturn.FAILURE)

    def _follow_periods(self) -> None:
        for timer, name in ((self._status_timer, "status_period"), (self._diagnostics_timer, "diagnostics_period")):
            period = round(self.get_parameter(name).value * 1e9)
            if timer is not None and timer.timer_period_ns != period:
                timer.timer_period_ns = period
                timer.reset()

    def _end(self, thread: DriverThread[D]) -> None:
        """The driver cannot go on, or `omni` asked it to stop."""
        fault = thread.driver.fault
        if fault is None:
            self.get_logger().info("asked to stop through the admin socket")
        if thread.state is not State.ACTIVE or self.trigger_deactivate() == TransitionCallbackReturn.SUCCESS:
            self.trigger_cleanup()
        # Else error processing has removed everything.
        if fault is not None:
            self._trouble = str(fault)

    def _publish(self) -> None:
        """What goes wrong here is logged, and ends nothing."""
        self._published = monotonic()
        self._attempt("status", self._send_status, TransitionCallbackReturn.FAILURE)

    def _send_status(self) -> None:
        if self._thread is not None and self._status_publisher is not None:
            self._status_publisher.publish(self.make_status(self._thread))

    def _diagnose(self) -> None:
        self._attempt("diagnostics", self._send_diagnostics, TransitionCallbackReturn.FAILURE)

    def _send_diagnostics(self) -> None:
        thread = self._thread
        if thread is None:
            lifecycle = "unconfigured"
            verdicts = stale(self.stale_tasks(), "the node is not configured")
        else:
            lifecycle = thread.state.value
            verdicts = self.make_verdicts(thread, lifecycle, self._settings.limits())
        chosen = self.get_parameter("hardware_id").value
        self._diagnostics.publish([state(lifecycle, self._trouble), *verdicts], chosen or self._hardware_id)
