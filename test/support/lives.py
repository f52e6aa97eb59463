"""What tests of the life of a Ganglion look at: what it leaves on its machine, its engine, a stream of pings."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

from support import attach_tool
from support.fleet import ENVIRONMENT, REPO, Robot

from tools.netlab import Host, LabProcess, wait_for

UP = 60.0  # s; it compiles


def start(robot: Robot, **settings: object) -> LabProcess:
    process = robot.launch(**settings)
    process.wait_log("omni0 is up", UP)
    robot.wait(1)
    return process


def traces(host: Host) -> dict[str, object]:
    """Everything that a Ganglion could leave behind on its machine."""
    shell = lambda command: host.run(["sh", "-c", command], check=False).stdout  # noqa: E731
    return {
        "links": sorted(host.interfaces()),
        "xdp": xdp(host),
        "queues": shell("tc qdisc show; tc filter show dev eth0 ingress"),
        "pins": shell("ls -A /sys/fs/bpf | grep -v debug"),
        "mounts": shell("mount -t bpf | grep -v /pytest-"),  # not those of tests beside this one
        "files": shell("ls -A /run/omni"),
        "sysctls": shell("ls /proc/sys/net/ipv6/conf; sysctl net.ipv6.conf.all net.ipv4.ip_forward 2>/dev/null"),
        "addresses": re.sub(r"@if\d+|fe80:\S+", "", host.ip("-br address")),
        "routes": host.ip("route show"),
    }


def tool(host: Host, *words: str) -> str:
    environment = {**ENVIRONMENT, "PYTHONPATH": f"{REPO}:{REPO / 'test'}"}
    return host.run([sys.executable, str(Path(attach_tool.__file__)), *words], env=environment, cwd=REPO).stdout


def xdp(host: Host, interface: str = "eth0") -> list[list[object]]:
    found: list[list[object]] = json.loads(tool(host, "show", interface))
    return found


class Stream:
    """Pings from one robot to the other's address, a hundred a second."""

    def __init__(self, source: Robot, address: str) -> None:
        number = sum(1 for _ in source.host.lab.logs.glob("*stream*"))
        self._process = source.host.start(["ping", "-i", "0.01", address], name=f"stream{number}")
        self.goes_on()

    def goes_on(self, answers: int = 30) -> None:
        """Until that many further answers have come."""
        seen = self._answers()
        wait_for(lambda: self._answers() >= seen + answers, 10, f"{answers} more answers to pings")

    def end(self) -> tuple[int, int]:
        """(sent, answered)."""
        self._process.signal(signal.SIGINT)
        found = self._process.wait_log(r"(\d+) packets transmitted, (\d+) received", 5)
        return int(found[1]), int(found[2])

    def _answers(self) -> int:
        return self._process.log_text().count(" bytes from ")


def session_ids(robot: Robot, peer: Robot) -> set[str]:
    found = next(each for each in robot.status()["peers"] if each["name"] == peer.host.name)
    return {session["id"] for session in found["sessions"]}


def engines(robot: Robot) -> list[int]:
    """Processes of engines in the robot's network."""
    inside = subprocess.run(
        ["ip", "netns", "pids", robot.host.namespace], check=True, capture_output=True, text=True
    ).stdout
    found = []
    for pid in map(int, inside.split()):
        try:
            if Path(f"/proc/{pid}/comm").read_text() == "omni-native\n" and "State:\tZ" not in status_of(pid):
                found.append(pid)
        except OSError:
            pass  # it has ended meanwhile
    return found


def status_of(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()
