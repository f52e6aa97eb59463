"""The Ganglion as a lifecycle node: one edge of the overlay. `ros2 run omni_ros2 ganglion`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from omni_core.config import ganglion
from omni_core.engines.ganglion_events import GanglionEvent, PeerUp
from omni_core.io.driver_thread import DriverThread
from omni_core.io.ganglion_driver import GanglionDriver
from omni_core.io.source_address import SourceAddresses
from omni_ros2.dds_responder import DdsResponder
from omni_ros2.managed import ManagedNode
from omni_ros2.messages import ganglion_message
from omni_ros2.msg import GanglionStatus
from omni_ros2.run import run


class GanglionNode(ManagedNode[GanglionDriver]):
    status_type = GanglionStatus

    def __init__(self, **kwargs: Any) -> None:
        self._news = False
        self._engine = ""  # as the parameter said when it was last followed: `omni engine` may have switched since
        self._sources = SourceAddresses()
        self._responder = DdsResponder()
        self._answers_checks = False  # dds_probe
        self._has_peers = False
        super().__init__("ganglion", ganglion.FIELDS, **kwargs)

    def make_driver(self, values: dict[str, Any]) -> Callable[[], GanglionDriver]:
        config = ganglion.validate(values)
        self._engine = config.engine
        self._answers_checks, self._has_peers = config.dds_probe == "auto", False
        self._sources = SourceAddresses(config.listen_address)
        return lambda: GanglionDriver(config, self._on_event)

    def make_status(self, thread: DriverThread[GanglionDriver]) -> GanglionStatus:
        snapshot = thread.call(thread.driver.status)
        stamp = self.get_clock().now().to_msg()
        return ganglion_message(snapshot, thread.driver.interface, stamp, self._sources.of)

    def introduction(self, thread: DriverThread[GanglionDriver]) -> str:
        status = thread.call(thread.driver.status)
        vips = ", ".join(vip for vip in (status.vip4, status.vip6) if vip)
        return f"{thread.driver.interface}: {vips}, UDP port {thread.driver.port}, public key {status.public_key}"

    def follow_parameters(self, thread: DriverThread[GanglionDriver]) -> None:
        wanted = self.get_parameter("engine").value
        if wanted != self._engine:
            self._engine = wanted
            thread.run(thread.driver.switch_engine(wanted))
            self._news = True
        if self._answers_checks and self._has_peers:
            self._responder.start({**thread.call(thread.driver.status).as_dict(), "interface": thread.driver.interface})

    def has_news(self, thread: DriverThread[GanglionDriver]) -> bool:
        news, self._news = self._news, False
        return news

    def _on_event(self, event: GanglionEvent) -> None:
        """In the driver's thread."""
        self._news = True
        self._has_peers = self._has_peers or isinstance(event, PeerUp)

    def _remove(self) -> None:
        self._responder.stop()
        super()._remove()


def main(args: Sequence[str] | None = None) -> int:
    return run(GanglionNode, args)
