"""/omni/fleet: every robot's status, across the overlay, for whoever looks at the fleet.

A node sees no interface that came after it, and the Ganglion's own makes the overlay; so its ~/status stays on this
machine and the underlay. The process beside it (dds_responder.py) is bound to the overlay, and publishes there what
the node writes to its standard input: for each message its length in 32 bits, little-endian, and the message as rclpy
serializes it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from rclpy.node import Node
from rclpy.publisher import Publisher

from omni_ros2.managed import LATCHED
from omni_ros2.msg import GanglionStatus

TOPIC = "/omni/fleet"
MESSAGE_MAX = 4 << 20  # bytes; a status with 1,000 peers has 500,000
_LENGTH = struct.Struct("<I")


def fleet_publisher(node: Node) -> Publisher:
    return node.create_publisher(GanglionStatus, TOPIC, LATCHED)


def frame(message: bytes) -> bytes:
    return _LENGTH.pack(len(message)) + message


def read_frames(descriptor: int) -> Iterator[bytes]:
    """Until the other side closes, or says what cannot be."""
    while len(head := _read(descriptor, _LENGTH.size)) == _LENGTH.size:
        (length,) = _LENGTH.unpack(head)
        if length > MESSAGE_MAX or len(message := _read(descriptor, length)) < length:
            return
        yield message


def _read(descriptor: int, size: int) -> bytes:
    """Fewer than ``size`` bytes only at the end."""
    parts: list[bytes] = []
    while size and (part := os.read(descriptor, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
