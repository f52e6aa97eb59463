"""The demo from the first namespace to the verdict."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from omni_core.constants import DEFAULT_PORT
from tools.demo_parts.applications import GREETING, Applications
from tools.demo_parts.display import Display, rate_text, time_text
from tools.demo_parts.fleet import Fleet, Robot
from tools.demo_parts.inside.bulk import PATTERN
from tools.demo_parts.proof import Flow, Proof, examine, forbidden_text
from tools.demo_parts.watch import Watch, engine_text, frames, opened, peers_learned
from tools.netlab import Lab, LabError, LabTimeout, read_pcap, wait_for

BULK = Path(__file__).parent / "inside" / "bulk.py"
BULK_PORT = 7008
BULK_BYTES = 20_000_000
REFRESH = 0.5  # s between two looks at everything
SESSION_TIMEOUT = 60.0  # s
DISCOVERY_TIMEOUT = 60.0  # s; Fast DDS takes one or two, more on a busy machine
BY_HAND = ("tx_group", "tx_unknown", "tx_no_session", "tx_send")  # ways of frames that the Ganglion itself handled
LEARNED = 10.0  # s; peers tell at once, and again when that is lost
LAST_WORDS = 5.0  # s for messages that are under way
HEARD_SHARE = 0.8  # of what was said, that each listener must have heard

T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    robots: int
    seconds: float
    engine: str
    around_overlay: bool  # for tests: applications use the underlay, and the proof must notice


class Check(NamedTuple):
    ok: bool
    text: str


@dataclass
class Heard:
    """What crossed in the phase that counts: numbers said in it, and by robot those heard."""

    said: set[int]
    heard: dict[str, set[int]]
    sealed: dict[str, int]  # frames that robot 1 sealed for the robot meanwhile
    opened: dict[str, int]  # frames of robot 1 that the robot opened


class Demo:
    """``run`` returns the checks; the demo has succeeded when all are ok. Raises LabError when it cannot go on."""

    def __init__(self, lab: Lab, options: Options, display: Display) -> None:
        self._lab = lab
        self._options = options
        self._display = display
        self._watch: Watch | None = None
        self._refreshed = 0.0

    def run(self) -> list[Check]:
        phase = self._display.phase
        with phase(f"{self._options.robots} robots and a Nucleus in namespaces"):
            fleet = Fleet(self._lab, self._options.robots, self._options.engine, self._wait)
            capture = self._lab.capture()
        with phase("keys, join token, parameters"):
            fleet.write_files()
        with phase("Nucleus: configure, activate"):
            fleet.start_nucleus()
        self._watch = watch = Watch(fleet)
        with phase("Ganglia: configure, activate"):
            fleet.start_ganglia()
        with phase("a session between every two robots") as details:
            self._wait_for_sessions(watch)
            status = watch.statuses[fleet.robots[0].name]
            details.append(f"{engine_text(status)}; MTU {status['interface_mtu']}")
        with phase("discovery by DDS multicast") as details:
            watch.start_probe()
            watch.applications = applications = Applications(self._lab, fleet.robots, self._options.around_overlay)
            self._wait_for_discovery(applications)
            discovery = applications.discovery_times()
            details.append(f"heard after {seconds_text(discovery.values())}")
            details.append("the underlay's address" if self._options.around_overlay else "with the profile of omni dds")
        with phase(f"talker and listeners, {self._options.seconds:g} s"):
            heard = self._listen(fleet, watch, applications)
        with phase("throughput of one TCP stream, robot1 to robot2"):
            goodput = self._transfer(fleet.robots[0], fleet.robots[1])
        if not self._options.around_overlay:  # there they learn nothing
            with phase("what the robots learn of each other's DDS"):
                self._wait_for_learning(watch)
        self._display.rows(watch.rows())
        self._watch = None  # the table keeps what it was at work
        with phase("nodes: deactivate, cleanup, shutdown"):
            applications.stop()
            watch.stop_probe()
            fleet.stop()
        with phase("reading the capture of the underlay"):
            captured = capture.stop()
            proof = examine(
                read_pcap(captured.path),
                {DEFAULT_PORT},
                fleet.host_names(),
                {
                    **forbidden_text(GREETING, [robot.mac for robot in fleet.robots]),
                    "the bulk transfer": PATTERN,
                },
                required_flows(fleet.robots, heard),
                captured.kernel_drops,
            )
        statuses = {robot.name: watch.statuses[robot.name] for robot in fleet.robots}
        return [
            *message_checks(heard),
            *counter_checks(heard),
            *dds_checks(statuses, discovery),
            *lane_checks(statuses),
            Check(proof.ok, proof_text(proof)),
            round_trip_check(watch.round_trips()),
            Check(True, f"throughput, one TCP stream: {rate_text(goodput)}"),
            Check(True, "every node went through deactivate, cleanup and shutdown; no omni0 is left"),
        ]

    # --- waiting --------------------------------------------------------------------------------------------------

    def _wait(self, condition: Callable[[], T], timeout: float, what: str) -> T:
        def refreshed() -> T:
            self._refresh()
            return condition()

        return wait_for(refreshed, timeout, what)

    def _refresh(self) -> None:
        if self._watch is not None and time.monotonic() - self._refreshed >= REFRESH:
            self._display.rows(self._watch.rows())
            self._refreshed = time.monotonic()

    def _wait_for_sessions(self, watch: Watch) -> None:
        try:
            self._wait(watch.all_up, SESSION_TIMEOUT, "a session between every two robots")
        except LabTimeout as error:
            states = "\n".join(
                f"{name}: Nucleus {status['nucleus_state']} {status['nucleus_reason']}, "
                f"peers {[(peer['name'], peer['state']) for peer in status['peers']]}, drops {status['drops']}"
                for name, status in watch.statuses.items()
            )
            raise LabTimeout(f"{error}\n{states}") from None

    def _wait_for_discovery(self, applications: Applications) -> None:
        try:
            self._wait(applications.all_heard_something, DISCOVERY_TIMEOUT, "every listener to hear the talker")
        except LabTimeout as error:
            counts = ", ".join(f"{name} heard {len(applications.heard(name))}" for name in applications.listeners)
            raise LabTimeout(f"{error}: the talker said {len(applications.said())}, {counts}") from None

    def _wait_for_learning(self, watch: Watch) -> None:
        try:
            self._wait(lambda: all(map(knows_dds, watch.statuses.values())), LEARNED, "every robot to learn")
        except LabTimeout:
            pass  # a check of its own

    # --- phases ---------------------------------------------------------------------------------------------------

    def _listen(self, fleet: Fleet, watch: Watch, applications: Applications) -> Heard:
        before = self._counts(fleet)
        first = max(applications.said())
        end = time.monotonic() + self._options.seconds

        def time_is_over() -> bool:
            applications.check()
            fleet.check_nodes()
            return time.monotonic() >= end

        self._wait(time_is_over, self._options.seconds + 60, "the end of the talk")
        last = max(applications.said())
        try:
            self._wait(lambda: applications.all_heard(last), LAST_WORDS, "the last words")
        except LabTimeout:
            pass  # counted below
        after = self._counts(fleet)
        said = {number for number in applications.said() if first < number <= last}
        heard = {name: applications.heard(name) & said for name in applications.listeners}
        return Heard(
            said,
            heard,
            sealed={name: after[name][0] - before[name][0] for name in heard},
            opened={name: after[name][1] - before[name][1] for name in heard},
        )

    def _counts(self, fleet: Fleet) -> dict[str, tuple[int, int]]:
        """By robot: frames that robot 1 has sealed for it, frames of robot 1 that it has opened."""
        first, *others = fleet.robots
        counts = {}
        for robot in others:
            source, destination = fleet.status(first), fleet.status(robot)
            if source is None or destination is None:
                raise LabError(f"the Ganglion of {first.name} or {robot.name} does not answer")
            counts[robot.name] = (frames(source, robot.name, "tx"), frames(destination, first.name, "rx"))
        return counts

    def _transfer(self, source: Robot, destination: Robot) -> float:
        """bit/s."""
        destination.host.start([sys.executable, BULK, "serve", str(BULK_PORT)], name="bulk")
        destination.host.wait_listening(BULK_PORT)
        client = source.host.start(
            [sys.executable, BULK, "send", destination.vip4, str(BULK_PORT), str(BULK_BYTES)], name="bulk"
        )
        self._wait(lambda: not client.running, 60, "the transfer")
        if client.returncode != 0:
            raise LabError(f"the transfer failed: {client.log_text()}")
        result = json.loads(client.log_text())
        return float(result["bytes"] * 8 / result["seconds"])


# --- verdicts ---------------------------------------------------------------------------------------------------------


def required_flows(robots: list[Robot], heard: Heard) -> dict[Flow, int]:
    """Each message that was heard is at least one data packet from robot 1 to that robot."""
    return {(robots[0].name, name): max(1, len(numbers)) for name, numbers in heard.heard.items()}


def message_checks(heard: Heard) -> list[Check]:
    said = len(heard.said)
    return [
        Check(
            said > 0 and len(numbers) >= HEARD_SHARE * said,
            f"{name} heard {len(numbers)} of the {said} messages that robot1 said",
        )
        for name, numbers in heard.heard.items()
    ]


def counter_checks(heard: Heard) -> list[Check]:
    """The Ganglia themselves must have carried at least what was heard."""
    checks = []
    for name, numbers in heard.heard.items():
        sealed, opened = heard.sealed[name], heard.opened[name]
        text = f"meanwhile robot1's Ganglion sealed {sealed} frames for {name}, which opened {opened}"
        checks.append(Check(min(sealed, opened) >= max(1, len(numbers)), text))
    return checks


def knows_dds(status: dict[str, Any]) -> bool:
    """It has seen the participants of its robot, heard of those elsewhere, and knows what every peer listens to."""
    cache = status["discovery"]
    return (
        peers_learned(status) == len(status["peers"]) > 0
        and bool(status["domains"])
        and min(cache.get("local_participants", 0), cache.get("remote_participants", 0)) > 0
    )


def dds_checks(statuses: Mapping[str, dict[str, Any]], discovery: Mapping[str, float]) -> list[Check]:
    """Discovery took the tuned path: announcements by the cache, multicast by what the peers told."""
    text = f"discovery: the listeners heard the talker {seconds_text(discovery.values())} after both were there"
    checks = [Check(bool(discovery), text)]
    for name, status in statuses.items():
        cache, domains = status["discovery"], ", ".join(map(str, status["domains"])) or "none"
        text = (
            f"{name}: DDS domain {domains}; it learned what {peers_learned(status)} of {len(status['peers'])} peers "
            f"listen to; SPDP cache: {cache.get('announcements', 0)} announcements here, {cache.get('suppressed', 0)} "
            f"of them unchanged and not sent, {cache.get('told', 0)} told to peers, {cache.get('replayed', 0)} of "
            "theirs given to the participants here"
        )
        checks.append(Check(knows_dds(status) and min(cache["told"], cache["replayed"]) > 0, text))
    return checks


def seconds_text(times: Collection[float]) -> str:
    lowest, highest = min(times), max(times)
    return f"{highest:.2f} s" if len(times) == 1 else f"{lowest:.2f} to {highest:.2f} s"


def lane_checks(statuses: Mapping[str, dict[str, Any]]) -> list[Check]:
    """With the engine kernel its programs did the work and the Ganglion saw only what they could not decide; where
    there is a bulk lane the transfer from robot1 to robot2 took it. With the engine native it did all."""
    checks = []
    for name, status in statuses.items():
        ways = status["ways"]
        native = f"sealed {ways.get('native_tx_sealed', 0)} frames and opened {ways.get('native_rx_opened', 0)}"
        if status["engine"] == "kernel":
            by_hand = sum(count for way, count in ways.items() if way in BY_HAND)
            text = (
                f"{name}: Synapse sealed {ways.get('tx_sealed', 0)} frames and opened {opened(ways)} in the kernel; "
                f"{by_hand} went through the Ganglion"
            )
            if status["bulk_lane"] == "on":
                text += f"; the native engine {native} on the bulk lane"
            checks.append(Check(by_hand < min(ways.get("tx_sealed", 0), opened(ways)), text))
        elif status["engine"] == "native":
            checks.append(Check(True, f"{name}: the native engine {native}"))
    first, second = statuses["robot1"], statuses["robot2"]
    if first["bulk_lane"] == second["bulk_lane"] == "on":
        sent, received = first["ways"].get("native_tx_super", 0), second["ways"].get("native_rx_super", 0)
        text = f"the transfer took the bulk lane: {sent} super-frames sent, {received} received"
        checks.append(Check(min(sent, received) > 0, text))
    return checks


def proof_text(proof: Proof) -> str:
    verdict = "the underlay carried nothing in clear" if proof.ok else "the underlay carried what it must not"
    return "\n".join([verdict, *proof.lines()])


def round_trip_check(trips: dict[str, list[float]]) -> Check:
    """``trips``: microseconds by "overlay-robot2", "underlay-robot2" ... The underlay needs IPv6 to be measured."""
    medians = {
        path: statistics.median(times)
        for path in ("overlay", "underlay")
        if (times := [us for name, values in trips.items() if name.startswith(path) for us in values])
    }
    if "overlay" not in medians:
        return Check(False, "no ping over the overlay was answered")
    return Check(True, "round trip, median: " + ", ".join(f"{path} {time_text(us)}" for path, us in medians.items()))
