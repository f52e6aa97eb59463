"""A plain rclpy listener, as in any tutorial: std_msgs/String from /chatter. Knows nothing of the overlay."""

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from std_msgs.msg import String


class Listener(Node):
    def __init__(self) -> None:
        super().__init__("listener")
        self.create_subscription(String, "chatter", self._hear, 10)
        self.get_logger().info("Listening")

    def _hear(self, message: String) -> None:
        self.get_logger().info(f"I heard: [{message.data}]")


def main() -> None:
    rclpy.init()
    try:
        rclpy.spin(Listener())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass


if __name__ == "__main__":
    main()
