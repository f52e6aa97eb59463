"""The live probe's messages: a request of some size, answered with a reply of the size that it asks for. Pure.

They travel in std_msgs/UInt8MultiArray on two topics for each robot, which any RMW can carry and which exist wherever
ROS does. Little-endian:

    magic 4 | kind 1 | 0 0 0 | nonce 8 | number 4 | size 4 | info length 2 | info (JSON, UTF-8) | filling

``nonce`` is the asker's, and tells its replies from others'. ``size``: in a request, bytes that the reply shall have;
in a reply, bytes that the request had.
"""

from __future__ import annotations

import ipaddress
import json
import struct
from dataclasses import dataclass, field

MAGIC = b"ODP1"
REQUEST, REPLY, REFUSED = 1, 2, 3
_HEADER = struct.Struct("<4sB3xQIIH")
MESSAGE_MAX = 8 << 20  # bytes; what anybody may ask for
INFO_MAX = 1024

# A robot answers at most so much, whoever asks: three rounds of a check at once, then one every two seconds.
REPLY_RATE = 4 << 20  # bytes a second
REPLY_BURST = 32 << 20
REPLY_COST_MIN = 4096  # bytes that a small one counts


@dataclass(frozen=True)
class Message:
    kind: int
    nonce: int
    number: int
    size: int
    info: dict[str, str] = field(default_factory=dict)


def topics(vip6: ipaddress.IPv6Address) -> tuple[str, str]:
    """(request, reply) of the robot with that VIP6. The leading underscore hides them from `ros2 topic list`."""
    base = f"/_omni_dds_probe/v{vip6.packed.hex()}"
    return f"{base}/request", f"{base}/reply"


def encode(message: Message, length: int = 0) -> bytes:
    """Filled with zeros up to ``length`` bytes."""
    info = json.dumps(message.info).encode() if message.info else b""
    if len(info) > INFO_MAX:
        raise ValueError(f"{len(info)} bytes of info, at most {INFO_MAX}")
    head = _HEADER.pack(MAGIC, message.kind, message.nonce, message.number, message.size, len(info)) + info
    return head + bytes(max(0, length - len(head)))


def decode(data: bytes | bytearray | memoryview) -> Message | None:
    """None for what is no message of the probe."""
    if len(data) < _HEADER.size or len(data) > MESSAGE_MAX:
        return None
    magic, kind, nonce, number, size, length = _HEADER.unpack_from(data)
    if magic != MAGIC or kind not in (REQUEST, REPLY, REFUSED) or length > INFO_MAX:
        return None
    try:
        info = json.loads(bytes(data[_HEADER.size : _HEADER.size + length])) if length else {}
    except (ValueError, RecursionError):
        return None
    if not isinstance(info, dict):
        return None
    return Message(kind, nonce, number, size, {str(key): str(value) for key, value in info.items()})


class Allowance:
    """A bucket of bytes that fills with time."""

    def __init__(self, rate: float = REPLY_RATE, burst: float = REPLY_BURST) -> None:
        self._rate, self._burst = rate, burst
        self._left = burst
        self._at = 0.0

    def take(self, cost: int, now: float) -> bool:
        """``now`` in s, never going back."""
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._rate)
        self._at = now
        if cost > self._left:
            return False
        self._left -= cost
        return True


def answer(
    data: bytes | bytearray | memoryview, allowance: Allowance, info: dict[str, str], now: float
) -> bytes | None:
    """The reply to a request; None when there is none: not a request, or too much was asked lately."""
    request = decode(data)
    if request is None or request.kind != REQUEST:
        return None
    fits = request.size <= MESSAGE_MAX
    if not allowance.take(max(REPLY_COST_MIN, request.size if fits else 0), now):
        return None
    reply = Message(REPLY if fits else REFUSED, request.nonce, request.number, len(data), info)
    return encode(reply, request.size if fits else 0)
