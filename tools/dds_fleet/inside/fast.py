"""ROS 2 nodes, each with a context (so a DDS participant) of its own. Commands: protocol.py."""

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import protocol
import rclpy
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

DEPTH = 100  # messages of all talkers together that a listener may not have taken yet


def quality(topic: str) -> QoSProfile:
    latched = topic.startswith("latched")
    durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
    return QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE, durability=durability)


class Participant:
    def __init__(self, name: str, domain: int, words: list[str]) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context, args=[], domain_id=domain)
        self._node = rclpy.create_node(name, context=self._context, enable_rosout=False, start_parameter_services=False)
        self._thread: threading.Thread | None = None
        role, *rest = words
        getattr(self, f"_{role}")(*rest)

    def end(self) -> None:
        self._context.try_shutdown()
        if self._thread is not None:
            self._thread.join()
        self._node.destroy_node()
        self._context.destroy()

    def _quiet(self) -> None:
        pass

    def _listen(self, topic: str) -> None:
        name = self._node.get_name()
        events = SubscriptionEventCallbacks(matched=lambda event: protocol.say("matched", name, event.current_count))
        self._node.create_subscription(
            String, topic, lambda message: protocol.heard(name, message.data), quality(topic), event_callbacks=events
        )
        self._spin()

    def _talk(self, topic: str, period: str, size: str) -> None:
        name, number = self._node.get_name(), 0
        events = PublisherEventCallbacks(matched=lambda event: protocol.say("matched", name, event.current_count))
        publisher = self._node.create_publisher(String, topic, quality(topic), event_callbacks=events)

        def publish() -> None:
            nonlocal number
            number += 1
            publisher.publish(String(data=protocol.text(name, number, int(size))))

        if float(period):
            self._node.create_timer(float(period), publish)
        else:
            publish()
        self._spin()

    def _spin(self) -> None:
        executor = SingleThreadedExecutor(context=self._context)
        executor.add_node(self._node)

        def spin() -> None:
            try:
                executor.spin()
            except ExternalShutdownException:
                pass

        self._thread = threading.Thread(target=spin, daemon=True)
        self._thread.start()


if __name__ == "__main__":
    print("ready", flush=True)
    protocol.serve(Participant)
