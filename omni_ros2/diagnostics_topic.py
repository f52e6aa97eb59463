"""/diagnostics, by the conventions of diagnostic_updater (which no package index has): "node: task", hardware id."""

from __future__ import annotations

from collections.abc import Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from omni_ros2.diagnostics import Verdict

TOPIC = "/diagnostics"  # of the whole graph, in no namespace (REP 107)
DEPTH = 10
NO_ID = "none"  # as diagnostic_updater has it


class DiagnosticsTopic:
    """For the node's whole life, also while it is unconfigured: a monitor is to see why."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, TOPIC, DEPTH)
        # All robots share the topic, so the namespace tells their nodes apart.
        self._prefix = f"{node.get_fully_qualified_name().lstrip('/')}: "

    def publish(self, verdicts: Sequence[Verdict], hardware_id: str) -> None:
        message = DiagnosticArray(
            status=[
                DiagnosticStatus(
                    level=bytes((verdict.level,)),
                    name=self._prefix + verdict.name,
                    message=verdict.message,
                    hardware_id=hardware_id or NO_ID,
                    values=[KeyValue(key=key, value=value) for key, value in verdict.values],
                )
                for verdict in verdicts
            ]
        )
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)
