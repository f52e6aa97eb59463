"""Gathers what the table shows: status of the Ganglia, interface counters, round trips, what the listeners heard."""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from tools.demo_parts.applications import Applications
from tools.demo_parts.display import Row, rate_text, time_text
from tools.demo_parts.fleet import INTERFACE, Fleet, Robot
from tools.netlab import LabError, LabProcess

PROBE = Path(__file__).parent / "inside" / "probe.py"
PROBE_PERIOD = 0.5  # s
RECENT = 5  # round trips that the shown one is the median of


class Watch:
    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._last: dict[str, tuple[float, dict[str, int]]] = {}
        self._probe: LabProcess | None = None
        self.applications: Applications | None = None
        self.statuses: dict[str, dict[str, Any]] = {}  # by robot, the newest

    def start_probe(self) -> None:
        """Round trips from robot 1 to every other, over the overlay (VIP4) and the underlay (IPv6)."""
        first, *others = self._fleet.robots
        targets = [f"overlay-{robot.name}={robot.vip4}" for robot in others]
        targets += [f"underlay-{robot.name}={robot.host.ipv6}" for robot in others if robot.host.ipv6]
        self._probe = first.host.start([sys.executable, PROBE, str(PROBE_PERIOD), *targets], name="probe")

    def stop_probe(self) -> None:
        if self._probe is not None:
            self._probe.stop()

    def round_trips(self) -> dict[str, list[float]]:
        """Microseconds by "overlay-robot2", "underlay-robot2" ..."""
        found: dict[str, list[float]] = {}
        if self._probe is not None:
            complete = self._probe.log_text().rpartition("\n")[0]
            for line in complete.splitlines():
                if line.startswith("{"):
                    answer = json.loads(line)
                    found.setdefault(answer["name"], []).append(answer["us"])
        return found

    def rows(self) -> list[Row]:
        trips = self.round_trips()
        return [self._row(robot, trips) for robot in self._fleet.robots]

    def all_up(self) -> bool:
        """Every robot has a session with every other."""
        self._fleet.check_nodes()
        count = len(self._fleet.robots) - 1
        return all(peers_up(self.statuses.get(robot.name)) >= count for robot in self._fleet.robots)

    def _row(self, robot: Robot, trips: dict[str, list[float]]) -> Row:
        row = Row(robot.name, robot.vip4)
        status = self._fleet.status(robot)
        if status is not None:
            self.statuses[robot.name] = status
            row.peers = f"{peers_up(status)}/{len(self._fleet.robots) - 1}"
            row.session = session_text(status)
            row.kernel, row.bulk = lane_texts(status)
            row.dds = dds_text(status)
            self._rates(robot, row)
        for path in ("overlay", "underlay"):
            if recent := trips.get(f"{path}-{robot.name}", [])[-RECENT:]:
                setattr(row, path, time_text(statistics.median(recent)))
        if self.applications is not None:
            if robot.name in self.applications.listeners:
                row.chatter = f"heard {len(self.applications.heard(robot.name))}"
            else:
                row.chatter = f"said {len(self.applications.said())}"
        return row

    def _rates(self, robot: Robot, row: Row) -> None:
        try:
            now, counters = time.monotonic(), robot.host.counters(INTERFACE)
        except LabError:
            return  # just removed
        before = self._last.get(robot.name)
        self._last[robot.name] = now, counters
        if before is not None and now > before[0]:
            seconds = now - before[0]
            row.sending = rate_text((counters["tx_bytes"] - before[1]["tx_bytes"]) * 8 / seconds)
            row.receiving = rate_text((counters["rx_bytes"] - before[1]["rx_bytes"]) * 8 / seconds)


def peers_up(status: dict[str, Any] | None) -> int:
    return 0 if status is None else sum(peer["state"] == "up" for peer in status["peers"])


def session_text(status: dict[str, Any]) -> str:
    """State of the worst session, and the age of the oldest."""
    peers = status["peers"]
    if not peers:
        return f"Nucleus: {status['nucleus_state']}"
    waiting = [peer["state"] for peer in peers if peer["state"] != "up"]
    ages = [peer["session_age_s"] for peer in peers if peer["session_age_s"] is not None]
    return waiting[0] if waiting else f"up {max(ages, default=0.0):.0f} s"


def lane_texts(status: dict[str, Any]) -> tuple[str, str]:
    """What went through the programs in the kernel, and through the native engine; "-" for what there is not."""
    ways = status["ways"]
    kernel = f"sealed {ways.get('tx_sealed', 0)}, opened {opened(ways)}" if status["engine"] == "kernel" else "-"
    native = any(way.startswith("native_") for way in ways)
    return (
        kernel,
        f"sealed {ways.get('native_tx_sealed', 0)}, opened {ways.get('native_rx_opened', 0)}" if native else "-",
    )


def dds_text(status: dict[str, Any]) -> str:
    domains = ", ".join(map(str, status["domains"])) or "none"
    return f"domain {domains}, learned {peers_learned(status)}/{len(status['peers'])}"


def peers_learned(status: dict[str, Any]) -> int:
    """Of so many it is known which groups they listen to; multicast goes to the others whatever it is."""
    return sum(peer["multicast"] == "learned" for peer in status["peers"])


def opened(ways: dict[str, int]) -> int:
    return ways.get("rx_delivered", 0) + ways.get("rx_control", 0)


def engine_text(status: dict[str, Any]) -> str:
    where = ", ".join(f"{each['xdp_mode']}-mode XDP on {each['interface']}" for each in status["underlay"])
    reason = status["engine_reason"] and f": {status['engine_reason']}"
    return f"engine {status['engine']}{reason or (where and f': Synapse, {where}')}"


def frames(status: dict[str, Any], peer_name: str, direction: str) -> int:
    """Frames sealed for (``tx``) or opened from (``rx``) a peer so far."""
    return sum(peer[f"{direction}_frames"] for peer in status["peers"] if peer["name"] == peer_name)
