"""What the fleet view shows, from GanglionStatus messages of one robot or of several. Without Qt, without ROS.

A message is anything with the fields of omni_ros2/msg/GanglionStatus.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from omni_core.types import KEY_SHOWN

STATES = ("idle", "handshaking", "up", "lost")  # PeerStatus.STATE_*
NUCLEUS_STATES = ("none", "idle", "connecting", "registered", "refused")  # GanglionStatus.NUCLEUS_*
SILENT_AFTER = 5.0  # s without a message; `status_period` is 1 s unless it was changed
HIGH_LOSS = 0.02
HIGH_OFFSET = 0.05  # s between two clocks: tf2 notices


@dataclass(frozen=True)
class Row:
    """One peer as one robot sees it."""

    robot: str
    peer: str
    state: str
    path: str
    rtt: float | None  # s
    loss: float | None  # 0..1
    engine: str  # of the robot
    offset: float | None  # s, the peer's clock less the robot's
    tx_bytes: int
    rx_bytes: int
    level: int  # 0 well, 1 look at it, 2 broken


@dataclass(frozen=True)
class Node:
    key: str
    label: str
    detail: str
    level: int  # 0 well, 1 look at it, 2 silent or refused; -1 known only from others


@dataclass(frozen=True)
class Edge:
    """Between two nodes, by key; what the two ends say is one edge, the worse of both."""

    a: str
    b: str
    state: str
    rtt: float | None
    loss: float | None
    traffic: int  # bytes a second, both ways


@dataclass
class _Robot:
    message: Any
    received: float
    rates: dict[str, float] = field(default_factory=dict)  # peer's key -> bytes/s


class FleetModel:
    """``now`` is any clock in s that does not go back."""

    def __init__(self) -> None:
        self._robots: dict[str, _Robot] = {}

    def update(self, message: Any, now: float) -> None:
        """A robot's latest message."""
        before = self._robots.get(message.public_key)
        robot = _Robot(message, now)
        if before is not None and now > before.received:
            old = {peer.public_key: peer.tx_bytes + peer.rx_bytes for peer in before.message.peers}
            for peer in message.peers:
                grown = peer.tx_bytes + peer.rx_bytes - old.get(peer.public_key, math.inf)
                robot.rates[peer.public_key] = max(0.0, grown) / (now - before.received)
        self._robots[message.public_key] = robot

    def forget(self, key: str) -> None:
        self._robots.pop(key, None)

    def clear(self) -> None:
        self._robots.clear()

    def rows(self, now: float) -> list[Row]:
        """By robot, then what is broken first, then by peer."""
        rows = [self._row(robot, peer, now) for robot in self._robots.values() for peer in robot.message.peers]
        return sorted(rows, key=lambda row: (natural(row.robot), -row.level, natural(row.peer)))

    def nodes(self, now: float) -> list[Node]:
        """Robots that speak, and those that these know of; by label."""
        nodes = {key: self._node(robot, now) for key, robot in self._robots.items()}
        for robot in self._robots.values():
            for peer in robot.message.peers:
                nodes.setdefault(peer.public_key, Node(peer.public_key, label(peer), peer.vip4, -1))
        return sorted(nodes.values(), key=lambda node: (natural(node.label), node.key))

    def edges(self, now: float) -> list[Edge]:
        edges: dict[tuple[str, str], Edge] = {}
        for key, robot in self._robots.items():
            silent = self._silent(robot, now)
            for peer in robot.message.peers:
                a, b = sorted((key, peer.public_key))
                edge = Edge(
                    a, b, "idle" if silent else _name(STATES, peer.state), known(peer.rtt), known(peer.loss),
                    int(robot.rates.get(peer.public_key, 0)),
                )  # fmt: skip
                edges[a, b] = _worse(edges[a, b], edge) if (a, b) in edges else edge
        return [edges[pair] for pair in sorted(edges)]

    def drops(self) -> list[tuple[str, str, int]]:
        """(robot, reason, packets), the most first."""
        rows = [
            (label(robot.message), drop.reason, int(drop.count))
            for robot in self._robots.values()
            for drop in robot.message.drops
        ]
        return sorted(rows, key=lambda row: (-row[2], row[0], row[1]))

    def summary(self, now: float) -> str:
        """One line."""
        if not self._robots:
            return "no robot heard yet: is a Ganglion active, and rqt in the same domain, started after the overlay?"
        edges = self.edges(now)
        up = sum(edge.state == "up" for edge in edges)
        silent = sum(self._silent(robot, now) for robot in self._robots.values())
        robots = "1 robot" if len(self._robots) == 1 else f"{len(self._robots)} robots"
        parts = [f"{robots} heard of {len(self.nodes(now))}", f"{up} of {len(edges)} links up"]
        parts += [f"{silent} silent"] if silent else []
        parts += [f"{lost} lost"] if (lost := sum(edge.state == "lost" for edge in edges)) else []
        return ", ".join(parts)

    def _row(self, robot: _Robot, peer: Any, now: float) -> Row:
        state = _name(STATES, peer.state)
        loss, offset = known(peer.loss), known(peer.clock_offset)
        level = 2 if state == "lost" else 1 if state == "handshaking" else 0
        if (loss or 0) > HIGH_LOSS or abs(offset or 0) > HIGH_OFFSET or self._silent(robot, now):
            level = max(level, 1)
        return Row(
            robot=label(robot.message), peer=label(peer), state=state, path=peer.endpoint, rtt=known(peer.rtt),
            loss=loss,
            engine=robot.message.engine, offset=offset, tx_bytes=peer.tx_bytes, rx_bytes=peer.rx_bytes, level=level,
        )  # fmt: skip

    def _node(self, robot: _Robot, now: float) -> Node:
        message = robot.message
        nucleus = _name(NUCLEUS_STATES, message.nucleus_state)
        silent = self._silent(robot, now)
        detail = "silent" if silent else f"{message.vip4.partition('/')[0]} {message.engine}".strip()
        level = 2 if silent or nucleus == "refused" else 1 if nucleus == "connecting" or message.engine_reason else 0
        return Node(message.public_key, label(message), detail, level)

    def _silent(self, robot: _Robot, now: float) -> bool:
        return now - robot.received > SILENT_AFTER


def label(message: Any) -> str:
    """What people call a robot."""
    return str(message.name or message.vip4.partition("/")[0] or message.public_key[:KEY_SHOWN])


def natural(text: str) -> list[tuple[int, str]]:
    """A key to sort by: robot-9 comes before robot-10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", text)]


def known(value: float) -> float | None:
    """NaN stands for "not known" in the messages."""
    return None if math.isnan(value) else float(value)


def duration(seconds: float | None) -> str:
    """``0.85 ms``, ``-12.3 ms``, ``1.50 s``; a dash when unknown."""
    if seconds is None:
        return "–"
    if abs(seconds) >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.2f} ms" if abs(seconds) < 0.01 else f"{seconds * 1e3:.1f} ms"


def percent(share: float | None) -> str:
    return "–" if share is None else "0" if share == 0 else f"{share * 100:.2f} %"


def size(count: float) -> str:
    """Bytes with decimal units."""
    for limit, divisor, unit in ((1e3, 1.0, "B"), (1e6, 1e3, "kB"), (1e9, 1e6, "MB"), (1e12, 1e9, "GB")):
        if count < limit:
            return f"{count / divisor:.0f} B" if unit == "B" else f"{count / divisor:.1f} {unit}"
    return f"{count / 1e12:.1f} TB"


def _name(names: tuple[str, ...], number: int) -> str:
    return names[number] if 0 <= number < len(names) else "unknown"


_SEVERITY = {"lost": 4, "handshaking": 3, "up": 2, "unknown": 1, "idle": 0}


def _worse(one: Edge, other: Edge) -> Edge:
    state = max(one.state, other.state, key=lambda state: _SEVERITY.get(state, 0))
    return Edge(
        one.a, one.b, state,
        max((value for value in (one.rtt, other.rtt) if value is not None), default=None),
        max((value for value in (one.loss, other.loss) if value is not None), default=None),
        max(one.traffic, other.traffic),
    )  # fmt: skip
