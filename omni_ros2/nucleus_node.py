"""The Nucleus as a lifecycle node: the rendezvous of a fleet. `ros2 run omni_ros2 nucleus`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from omni_core.config import nucleus
from omni_core.config.node_parameters import NUCLEUS_FIELDS, Limits
from omni_core.engines.nucleus_status import ClusterStatus
from omni_core.io.clock import monotonic
from omni_core.io.driver_thread import DriverThread
from omni_core.io.lifecycle import State
from omni_core.io.nucleus_driver import NucleusDriver
from omni_ros2.diagnostics import (
    DROPS,
    IDENTITY,
    STORE,
    DropRate,
    Rates,
    Verdict,
    cluster,
    nucleus_identity,
    stale,
    store,
)
from omni_ros2.managed import ManagedNode
from omni_ros2.messages import nucleus_message
from omni_ros2.msg import NucleusStatus
from omni_ros2.run import run


class NucleusNode(ManagedNode[NucleusDriver]):
    status_type = NucleusStatus

    def __init__(self, **kwargs: Any) -> None:
        self._clusters: list[str] = []
        self._drops = DropRate()
        self._refusals: dict[str, Rates] = {}
        super().__init__("nucleus", nucleus.FIELDS, NUCLEUS_FIELDS, **kwargs)

    def make_driver(self, values: dict[str, Any]) -> Callable[[], NucleusDriver]:
        config = replace(nucleus.validate(values), log_format="text")  # the format of lines is ROS's
        self._clusters = [f"cluster {name}" for name in config.clusters]
        self._drops.clear()
        self._refusals.clear()
        return lambda: NucleusDriver(config, self.wake)

    def make_status(self, thread: DriverThread[NucleusDriver]) -> NucleusStatus:
        snapshot = thread.call(thread.driver.status)
        return nucleus_message(snapshot, thread.state is State.ACTIVE, self.get_clock().now().to_msg())

    def introduction(self, thread: DriverThread[NucleusDriver]) -> str:
        status = thread.call(thread.driver.status)
        clusters = ", ".join(cluster.name for cluster in status.clusters)
        return f"clusters {clusters}, UDP port {thread.driver.port}, public key {status.public_key}"

    def make_verdicts(self, thread: DriverThread[NucleusDriver], lifecycle: str, limits: Limits) -> list[Verdict]:
        status = thread.call(thread.driver.status)
        drops = self._drops.judge(status.drops, monotonic(), limits)
        if lifecycle != "active":
            return [
                nucleus_identity(status, thread.driver.port),
                *stale([STORE, DROPS, *self._clusters], f"the node is {lifecycle}"),
            ]
        clusters = [cluster(entry, self._refusal_rate(entry, limits), limits) for entry in status.clusters]
        return [nucleus_identity(status, thread.driver.port), store(status.store), drops, *clusters]

    def _refusal_rate(self, entry: ClusterStatus, limits: Limits) -> float:
        rates = self._refusals.setdefault(entry.name, Rates())
        return sum(rates.update({"refusals": entry.refusals}, monotonic(), limits.window).values())

    def stale_tasks(self) -> Sequence[str]:
        return IDENTITY, STORE, DROPS, *self._clusters

    def hardware_id(self, thread: DriverThread[NucleusDriver]) -> str:
        return thread.call(thread.driver.status).public_key


def main(args: Sequence[str] | None = None) -> int:
    return run(NucleusNode, args)
