"""A talker or a listener for the tests of DDS profiles: `dds_node.py talk|listen SIZE`."""

from __future__ import annotations

import array
import sys
import time

import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import UInt8MultiArray

PERIOD = 0.5  # s
QOS = QoSProfile(depth=4, reliability=ReliabilityPolicy.RELIABLE)


def main(role: str, size: int) -> None:
    rclpy.init(args=[])
    node = rclpy.create_node(role)
    if role == "listen":
        node.create_subscription(UInt8MultiArray, "bytes", lambda m: print(f"got {len(m.data)}", flush=True), QOS)
        print("started", flush=True)
        rclpy.spin(node)
    publisher = node.create_publisher(UInt8MultiArray, "bytes", QOS)
    message, last = UInt8MultiArray(data=array.array("B", bytes(size))), 0.0
    print("started", flush=True)
    while True:
        if publisher.get_subscription_count() and time.monotonic() - last >= PERIOD:
            publisher.publish(message)
            last = time.monotonic()
        rclpy.spin_once(node, timeout_sec=0.05)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
