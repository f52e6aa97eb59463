"""The unmodified ROS 2 applications: a talker on robot 1, listeners on the others, and a count of what they say.

They use the overlay only by their environment (see dds.py).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tools.demo_parts.dds import overlay_variables, write_profile
from tools.demo_parts.fleet import Robot
from tools.netlab import Lab, LabError, LabProcess, ros_environment, stop_all

INSIDE = Path(__file__).parent / "inside"
GREETING = "Hello from robot1"  # on the wire in clear where there is no encryption


class Numbers:
    """Numbers that follow the greeting in a growing log."""

    def __init__(self, process: LabProcess) -> None:
        self.process = process
        self.seen: set[int] = set()
        self._offset = 0
        self._pattern = re.compile(re.escape(GREETING.encode()) + rb": (\d+)\]")

    def read(self) -> set[int]:
        with self.process.log.open("rb") as log:
            log.seek(self._offset)
            complete, newline, _ = log.read().rpartition(b"\n")  # a half-written line waits
            self._offset += len(complete) + len(newline)
        self.seen.update(int(number) for number in self._pattern.findall(complete))
        return self.seen


class Applications:
    """``around``: use the underlay's address instead of the VIP, so that the demo's proof has something to find."""

    def __init__(self, lab: Lab, robots: list[Robot], around: bool) -> None:
        first, *others = robots
        self.talker = Numbers(self._start(lab, first, "talker", around, GREETING))
        self.listeners = {robot.name: Numbers(self._start(lab, robot, "listener", around)) for robot in others}

    def said(self) -> set[int]:
        return self.talker.read()

    def heard(self, robot: str) -> set[int]:
        return self.listeners[robot].read()

    def all_heard_something(self) -> bool:
        self.check()  # a message may be heard before the talker has logged it
        return bool(self.said()) and all(numbers.read() for numbers in self.listeners.values())

    def all_heard(self, number: int) -> bool:
        return all(number in numbers.read() for numbers in self.listeners.values())

    def check(self) -> None:
        """Raises LabError when an application has ended."""
        for numbers in (self.talker, *self.listeners.values()):
            if not numbers.process.running:
                raise LabError(f"{numbers.process.name} ended: {numbers.process.log_text()[-1000:]}")

    def discovery_times(self) -> dict[str, float]:
        """By robot: s from when both the talker and the listener were there to the first message."""
        talking = first_stamp(self.talker.process, "Publishing")
        found = {}
        for name, numbers in self.listeners.items():
            began = max(talking, first_stamp(numbers.process, "Listening"))
            found[name] = max(0.0, first_stamp(numbers.process, "I heard") - began)
        return found

    def stop(self) -> None:
        stop_all([numbers.process for numbers in (self.talker, *self.listeners.values())], grace=3.0)

    def _start(self, lab: Lab, robot: Robot, program: str, around: bool, *arguments: str) -> LabProcess:
        home = lab.logs / f"{robot.name}.ros"
        if around:
            assert robot.host.ipv4 is not None
            profile = write_profile(lab.logs / f"{robot.name}.applications.xml", robot.host.ipv4)
            environment = ros_environment(home, fastdds_profile=profile)
        else:
            variables = overlay_variables(robot.host, lab.logs / f"{robot.name}.dds")
            environment = {**ros_environment(home), **variables}
        return robot.host.start([sys.executable, INSIDE / f"{program}.py", *arguments], name=program, env=environment)


def first_stamp(process: LabProcess, words: str) -> float:
    """Unix time that ROS's log gives to the first line with these words. Raises LabError when there is none."""
    match = re.search(rf"\[(\d+\.\d+)\] \[\w+\]: {re.escape(words)}", process.log_text())
    if match is None:
        raise LabError(f"{process.name} never said {words!r}")
    return float(match[1])
