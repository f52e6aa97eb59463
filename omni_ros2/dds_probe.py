"""The two ends of `omni dds --check`, each a process of its own: `python -m omni_ros2.dds_probe echo|check`.

Processes, because DDS looks at the machine's interfaces once: what ran before the overlay was there does not see it.
Needs rclpy and std_msgs only, not the messages of this package (but for --fleet).
"""

from __future__ import annotations

import argparse
import array
import fcntl
import ipaddress
import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import UInt8MultiArray

from omni_core.dds import probe
from omni_core.dds.diagnosis import PROBE_NODE

QOS = QoSProfile(depth=4, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)
SMALL = 256  # bytes
ROUNDS = 10  # small requests of a check
LOOK = 0.02  # s between two looks for a match
INTERFACE_TIMEOUT = 30.0  # s
SIOCGIFFLAGS = 0x8913
RUNNING = 0x41  # IFF_UP and IFF_RUNNING


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="dds_probe", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("role", choices=("echo", "check"))
    parser.add_argument("--vip6", required=True, type=ipaddress.IPv6Address, help="echo: our own; check: the peer's")
    parser.add_argument("--interface", default="", help="wait until it is up")
    parser.add_argument("--until-eof", action="store_true", help="echo: end with standard input")
    parser.add_argument("--fleet", action="store_true", help="echo, until-eof: publish what comes by standard input")
    parser.add_argument("--silent", action="store_true", help="echo: answer no checks")
    parser.add_argument("--timeout", type=float, default=10.0, help="check: s for each part")
    parser.add_argument("--size", type=int, default=4_000_000, help="check: bytes of the large messages")
    arguments = parser.parse_args(words)
    if arguments.interface and not wait_for_interface(arguments.interface, INTERFACE_TIMEOUT):
        print(f"{arguments.interface} is not up", file=sys.stderr)
        return 1
    if arguments.role == "check":
        print(json.dumps(check(arguments.vip6, arguments.timeout, arguments.size)), flush=True)
        return 0
    return echo(arguments.vip6, arguments.until_eof, fleet=arguments.fleet, answers=not arguments.silent)


def wait_for_interface(name: str, timeout: float) -> bool:
    """DDS overlooks interfaces that are not running yet, which the kernel may say a second after they were made."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if _is_running(name):
            return True
        time.sleep(0.05)
    return False


def _is_running(interface: str) -> bool:
    """netdevice(7). Not by /sys/class/net, which may be mounted for another network namespace."""
    request = struct.pack("16sH22x", interface.encode(), 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            answer = fcntl.ioctl(any_socket, SIOCGIFFLAGS, request)
        except OSError:
            return False
    flags: int = struct.unpack("16sH22x", answer)[1]
    return flags & RUNNING == RUNNING


def echo(vip6: ipaddress.IPv6Address, until_eof: bool, *, fleet: bool = False, answers: bool = True) -> int:
    """Until SIGINT or SIGTERM, or the end of standard input."""
    rclpy.init(args=[])
    node = Node("omni_dds_echo", start_parameter_services=False, enable_rosout=False)
    if answers:
        _answer(node, vip6)
    if until_eof:
        publish = _fleet_publish(node) if fleet else None
        threading.Thread(target=_end_with_stdin, args=(publish,), daemon=True).start()
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


def _answer(node: Node, vip6: ipaddress.IPv6Address) -> None:
    request_topic, reply_topic = probe.topics(vip6)
    publisher = node.create_publisher(UInt8MultiArray, reply_topic, QOS)
    allowance, info = probe.Allowance(), _info()

    def on_request(message: UInt8MultiArray) -> None:
        reply = probe.answer(memoryview(message.data), allowance, info, time.monotonic())
        if reply is not None:
            publisher.publish(UInt8MultiArray(data=array.array("B", reply)))

    node.create_subscription(UInt8MultiArray, request_topic, on_request, QOS)
    print(f"answering DDS probes for {vip6}: {', '.join(info.values())}", flush=True)


def _fleet_publish(node: Node) -> Callable[[bytes], None]:
    from omni_ros2.fleet_topic import fleet_publisher  # needs our messages, which the rest does not

    publisher = fleet_publisher(node)
    return lambda message: publisher.publish(message)


def check(vip6: ipaddress.IPv6Address, timeout: float, size: int) -> dict[str, Any]:
    """What worked, with times in s; None for what did not. See ``Probe.run``."""
    rclpy.init(args=[])
    node = Node(PROBE_NODE, start_parameter_services=False, enable_rosout=False)
    try:
        return Probe(node, vip6, timeout).run(size)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


class Probe:
    def __init__(self, node: Node, vip6: ipaddress.IPv6Address, timeout: float) -> None:
        self._node, self._timeout = node, timeout
        self._began = time.monotonic()
        self._nonce = int.from_bytes(os.urandom(8), "little")
        self._number = 0
        self._replies: dict[int, tuple[probe.Message, int]] = {}  # by number: message, its length
        request_topic, reply_topic = probe.topics(vip6)
        self._publisher = node.create_publisher(UInt8MultiArray, request_topic, QOS)
        self._topics = (request_topic, reply_topic)
        node.create_subscription(UInt8MultiArray, reply_topic, self._on_reply, QOS)

    def run(self, size: int) -> dict[str, Any]:
        found: dict[str, Any] = {
            "here": _info(),
            "peer": {},
            "discovery_s": None,
            "rounds": ROUNDS,
            "rtts_s": [],
            "large_bytes": size,
            "large_out_s": None,
            "large_in_s": None,
        }
        if self._wait(self._matched, self._timeout):
            found["discovery_s"] = time.monotonic() - self._began
            for _ in range(ROUNDS):
                reply, took = self._ask(SMALL, SMALL)
                if reply is None:
                    break
                found["rtts_s"].append(took)
                found["peer"] = reply.info
        if found["rtts_s"]:
            for key, out, back in (("large_out_s", size, SMALL), ("large_in_s", SMALL, size)):
                reply, took = self._ask(out, back)
                found[key] = took if reply is not None and reply.kind == probe.REPLY else None
        found["nodes"] = sorted(name for name, _ in self._node.get_node_names_and_namespaces())
        return found

    def _matched(self) -> bool:
        both = self._publisher.get_subscription_count(), self._node.count_publishers(self._topics[1])
        return all(count > 0 for count in both)

    def _ask(self, size: int, reply_size: int) -> tuple[probe.Message | None, float]:
        """(reply, s); None when it did not come in time, or not with all its bytes."""
        self._number += 1
        number, began = self._number, time.monotonic()
        data = probe.encode(probe.Message(probe.REQUEST, self._nonce, number, reply_size), size)
        self._publisher.publish(UInt8MultiArray(data=array.array("B", data)))
        self._wait(lambda: number in self._replies, self._timeout)
        reply, length = self._replies.get(number, (None, 0))
        whole = reply is not None and reply.size == size and length >= reply_size
        return (reply if whole else None), time.monotonic() - began

    def _on_reply(self, message: UInt8MultiArray) -> None:
        data = memoryview(message.data)
        reply = probe.decode(data)
        if reply is not None and reply.kind != probe.REQUEST and reply.nonce == self._nonce:
            self._replies[reply.number] = (reply, len(data))

    def _wait(self, condition: Callable[[], bool], timeout: float) -> bool:
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() >= end:
                return False
            rclpy.spin_once(self._node, timeout_sec=LOOK)
        return True


def _info() -> dict[str, str]:
    return {
        "rmw": rclpy.get_rmw_implementation_identifier(),
        "distro": os.environ.get("ROS_DISTRO", ""),
        "domain": os.environ.get("ROS_DOMAIN_ID", "") or "0",
    }


def _end_with_stdin(publish: Callable[[bytes], None] | None) -> None:
    if publish is None:
        while os.read(0, 4096):
            pass
    else:
        from omni_ros2.fleet_topic import read_frames

        for message in read_frames(0):
            publish(message)
    rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
