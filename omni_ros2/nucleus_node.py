"""The Nucleus as a lifecycle node: the rendezvous of a fleet. `ros2 run omni_ros2 nucleus`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from omni_core.config import nucleus
from omni_core.io.driver_thread import DriverThread
from omni_core.io.lifecycle import State
from omni_core.io.nucleus_driver import NucleusDriver
from omni_ros2.managed import ManagedNode
from omni_ros2.messages import nucleus_message
from omni_ros2.msg import NucleusStatus
from omni_ros2.run import run


class NucleusNode(ManagedNode[NucleusDriver]):
    status_type = NucleusStatus

    def __init__(self, **kwargs: Any) -> None:
        self._published_clusters: list[Any] = []
        super().__init__("nucleus", nucleus.FIELDS, **kwargs)

    def make_driver(self, values: dict[str, Any]) -> Callable[[], NucleusDriver]:
        config = nucleus.validate(values)
        return lambda: NucleusDriver(config)

    def make_status(self, thread: DriverThread[NucleusDriver]) -> NucleusStatus:
        snapshot = thread.call(thread.driver.status)
        self._published_clusters = snapshot.clusters
        return nucleus_message(snapshot, thread.state is State.ACTIVE, self.get_clock().now().to_msg())

    def introduction(self, thread: DriverThread[NucleusDriver]) -> str:
        status = thread.call(thread.driver.status)
        clusters = ", ".join(cluster.name for cluster in status.clusters)
        return f"clusters {clusters}, UDP port {thread.driver.port}, public key {status.public_key}"

    def has_news(self, thread: DriverThread[NucleusDriver]) -> bool:
        return bool(thread.call(thread.driver.status).clusters != self._published_clusters)


def main(args: Sequence[str] | None = None) -> int:
    return run(NucleusNode, args)
