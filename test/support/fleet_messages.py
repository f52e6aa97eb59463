"""Messages as omni_ros2/msg/GanglionStatus, without ROS: fields by name."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace
from typing import Any

UP, LOST = 2, 3  # PeerStatus.STATE_*
REGISTERED = 3  # GanglionStatus.NUCLEUS_REGISTERED


def peer(number: int, **fields: Any) -> SimpleNamespace:
    values: dict[str, Any] = {
        "public_key": f"key{number:04d}", "name": f"robot-{number}", "vip4": f"10.77.0.{number}", "state": UP,
        "endpoint": f"203.0.113.{number}:51820", "rtt": 0.0042, "loss": 0.0, "clock_offset": 0.0003,
        "tx_bytes": 1_000_000 * number, "rx_bytes": 500_000,
    }  # fmt: skip
    return SimpleNamespace(**{**values, **fields})


def status(number: int, peers: list[SimpleNamespace], **fields: Any) -> SimpleNamespace:
    values: dict[str, Any] = {
        "public_key": f"key{number:04d}", "name": f"robot-{number}", "vip4": f"10.77.0.{number}/24", "engine": "kernel",
        "engine_reason": "", "nucleus_state": REGISTERED, "peers": peers, "drops": [],
    }  # fmt: skip
    return SimpleNamespace(**{**values, **fields})


def drop(reason: str, count: int) -> SimpleNamespace:
    return SimpleNamespace(reason=reason, count=count)


def fleet(count: int, seed: int) -> list[SimpleNamespace]:
    """Robots that all talk to all, some worse than others."""
    draw = random.Random(seed)
    messages = []
    for number in range(1, count + 1):
        peers = []
        for other in range(1, count + 1):
            if other == number:
                continue
            bad = draw.random()
            fields: dict[str, Any] = {"rtt": draw.uniform(0.001, 0.08), "clock_offset": draw.gauss(0, 0.002)}
            if bad < 0.02:
                fields = {"state": LOST, "rtt": math.nan, "loss": math.nan, "clock_offset": math.nan, "endpoint": ""}
            elif bad < 0.1:
                fields["loss"] = draw.uniform(0.005, 0.08)
            peers.append(peer(other, **fields))
        drops = [drop("bad_tag", draw.randrange(9)), drop("queue_full", draw.randrange(4000))]
        engine = draw.choice(["kernel", "kernel", "native"])
        messages.append(status(number, peers, engine=engine, drops=drops))
    return messages
