"""The Ganglion as a lifecycle node: one edge of the overlay. `ros2 run omni_ros2 ganglion`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rclpy.publisher import Publisher
from rclpy.serialization import serialize_message

from omni_core.config import ganglion
from omni_core.config.node_parameters import GANGLION_FIELDS, Limits
from omni_core.engines.ganglion_events import GanglionEvent, PeerUp, Warned
from omni_core.engines.status import GanglionStatus as Status
from omni_core.io.clock import monotonic
from omni_core.io.driver_thread import DriverThread
from omni_core.io.ganglion_driver import GanglionDriver
from omni_core.io.source_address import SourceAddresses
from omni_ros2.dds_responder import DdsResponder
from omni_ros2.diagnostics import CLOCK, DDS, DROPS, IDENTITY, NUCLEUS, Verdict
from omni_ros2.ganglion_diagnosis import GanglionDiagnosis
from omni_ros2.managed import STATISTICS, ManagedNode
from omni_ros2.messages import data_plane_message, ganglion_message
from omni_ros2.msg import DataPlaneStatus, GanglionStatus
from omni_ros2.run import run

RECENT = 1.0  # s; diagnostics and statistics are content with a snapshot that old


class GanglionNode(ManagedNode[GanglionDriver]):
    status_type = GanglionStatus

    def __init__(self, **kwargs: Any) -> None:
        self._engine = ""  # as the parameter said when it was last followed: `omni engine` may have switched since
        self._sources = SourceAddresses()
        self._snapshot: tuple[float, Status] | None = None  # (s monotonic, the newest)
        self._diagnosis = GanglionDiagnosis("")
        self._data_plane: Publisher | None = None
        self._responder = DdsResponder()
        self._beside: dict[str, bool] = {}  # what the responder is for; empty: none is to be started (any more)
        self._has_peers = False
        super().__init__("ganglion", ganglion.FIELDS, GANGLION_FIELDS, **kwargs)

    def make_driver(self, values: dict[str, Any]) -> Callable[[], GanglionDriver]:
        config = ganglion.validate(values)
        self._engine = config.engine
        wanted = {"answers": config.dds_probe == "auto", "fleet": config.fleet_topic == "auto"}
        self._beside, self._has_peers = wanted if any(wanted.values()) else {}, False
        self._sources = SourceAddresses(config.listen_address)
        self._snapshot = None
        self._diagnosis = GanglionDiagnosis(config.interface, judges_settings=config.dds_sysctls == "auto")
        return lambda: GanglionDriver(config, self._on_event)

    def make_publishers(self) -> None:
        self._data_plane = self.publisher(DataPlaneStatus, "~/data_plane", STATISTICS)

    def make_status(self, thread: DriverThread[GanglionDriver]) -> GanglionStatus:
        stamp = self.get_clock().now().to_msg()
        message = ganglion_message(self._look(thread), thread.driver.interface, stamp, self._sources.of)
        if self._responder.publishes:
            self._responder.publish(serialize_message(message))
        return message

    def publish_statistics(self, thread: DriverThread[GanglionDriver]) -> None:
        if self._data_plane is not None and self._data_plane.get_subscription_count():
            stamp = self.get_clock().now().to_msg()
            self._data_plane.publish(data_plane_message(self._look(thread, RECENT), thread.driver.interface, stamp))

    def make_verdicts(self, thread: DriverThread[GanglionDriver], lifecycle: str, limits: Limits) -> list[Verdict]:
        return self._diagnosis.verdicts(self._look(thread, RECENT), lifecycle == "active", limits, monotonic())

    def stale_tasks(self) -> Sequence[str]:
        return IDENTITY, NUCLEUS, DROPS, DDS, CLOCK, *self._diagnosis.peers

    def hardware_id(self, thread: DriverThread[GanglionDriver]) -> str:
        return self._look(thread).public_key

    def introduction(self, thread: DriverThread[GanglionDriver]) -> str:
        status = self._look(thread, RECENT)
        vips = ", ".join(vip for vip in (status.vip4, status.vip6) if vip)
        return f"{thread.driver.interface}: {vips}, UDP port {thread.driver.port}, public key {status.public_key}"

    def follow_parameters(self, thread: DriverThread[GanglionDriver]) -> None:
        wanted = self.get_parameter("engine").value
        if wanted != self._engine:
            self._engine = wanted
            thread.run(thread.driver.switch_engine(wanted))
        if self._beside and self._has_peers:
            status = {**self._look(thread).as_dict(), "interface": thread.driver.interface}
            self._responder.start(status, **self._beside)
            self._beside = {}  # once

    def _look(self, thread: DriverThread[GanglionDriver], age: float = 0.0) -> Status:
        """What the driver says now, or said less than ``age`` s ago."""
        now = monotonic()
        if self._snapshot is None or now - self._snapshot[0] >= age:
            self._snapshot = now, thread.call(thread.driver.status)
        return self._snapshot[1]

    def _on_event(self, event: GanglionEvent) -> None:
        """In the driver's thread."""
        if isinstance(event, Warned):
            self._diagnosis.warn(event.text, monotonic())
        self._has_peers = self._has_peers or isinstance(event, PeerUp)
        self.wake()

    def _remove(self) -> None:
        self._responder.stop()
        super()._remove()


def main(args: Sequence[str] | None = None) -> int:
    return run(GanglionNode, args)
