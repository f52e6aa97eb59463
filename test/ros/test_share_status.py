"""The Ganglion's status is passed on, byte for byte, to those who come late too."""

from __future__ import annotations

import signal

import pytest

pytest.importorskip("rclpy")

from support.managed_node import executable, remote, wait_until

from omni_ros2.managed import LATCHED
from omni_ros2.msg import GanglionStatus, PeerStatus
from omni_ros2.share_status import HEARD, SHARED

pytestmark = [pytest.mark.ros, pytest.mark.netns, pytest.mark.usefixtures("robot_network")]


def test_what_is_heard_is_said_again() -> None:
    said = GanglionStatus(name="robot-1", peers=[PeerStatus(name="robot-2", rtt=0.5)])
    heard: list[GanglionStatus] = []
    with executable("share_status", {}) as process, remote("nobody") as other:
        publisher = other.node.create_publisher(GanglionStatus, HEARD, LATCHED)
        publisher.publish(said)
        other.node.create_subscription(GanglionStatus, SHARED, heard.append, LATCHED)
        wait_until(lambda: heard, "the message on the other topic")
        assert heard[0] == said
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert "Traceback" not in output, output
