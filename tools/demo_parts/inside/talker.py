"""A plain rclpy talker, as in any tutorial: std_msgs/String on /chatter at 10 Hz. Knows nothing of the overlay."""

import sys

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from std_msgs.msg import String


class Talker(Node):
    def __init__(self, greeting: str) -> None:
        super().__init__("talker")
        self._publisher = self.create_publisher(String, "chatter", 10)
        self._greeting = greeting
        self._count = 0
        self.create_timer(0.1, self._talk)

    def _talk(self) -> None:
        self._count += 1
        message = String(data=f"{self._greeting}: {self._count}")
        self._publisher.publish(message)
        self.get_logger().info(f"Publishing: [{message.data}]")


def main() -> None:
    rclpy.init()
    try:
        rclpy.spin(Talker(sys.argv[1] if len(sys.argv) > 1 else "Hello World"))
    except (KeyboardInterrupt, ExternalShutdownException):
        pass


if __name__ == "__main__":
    main()
