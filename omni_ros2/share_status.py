"""The Ganglion's status, on the overlay: `ros2 run omni_ros2 share_status`, after the overlay is up.

A Ganglion's node starts before its interface exists, and its DDS does not use that interface later on: others need
not hear its topics. This node starts afterwards, in the environment that `omni dds` makes. It hears ganglion/status on
this machine and publishes it again as overlay/status, which an operator's rqt hears across the overlay.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence

import rclpy
from rclpy.executors import ExternalShutdownException, ShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from omni_ros2.managed import LATCHED
from omni_ros2.msg import GanglionStatus

HEARD, SHARED = "ganglion/status", "overlay/status"


class ShareStatus(Node):
    """Messages are passed on as bytes."""

    def __init__(self) -> None:
        super().__init__("share_status")
        shared = self.create_publisher(GanglionStatus, SHARED, LATCHED)
        self.create_subscription(GanglionStatus, HEARD, shared.publish, LATCHED, raw=True)


def main(args: Sequence[str] | None = None) -> int:
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    executor = SingleThreadedExecutor()
    node = ShareStatus()
    executor.add_node(node)

    def spin() -> None:
        try:
            executor.spin()
        except (ExternalShutdownException, ShutdownException):
            pass
        finally:
            stopping.set()

    spinner = threading.Thread(target=spin, name="executor")
    spinner.start()
    stopping.wait()
    executor.shutdown()
    spinner.join()
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
