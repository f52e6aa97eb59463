"""A whole fleet on this machine: a Nucleus and robots, each in namespaces of its own. `ros2 run omni_ros2 sim_fleet`.

     robot1                     internet                    robot2 ...
    ganglion (ROS namespace    nucleus                      ganglion
    /robot1), omni0            br0: p1, p2 ...              omni0
    eth0 198.18.0.1 ── veth ── p1        p2 ─── veth ────── eth0 198.18.0.2

Network, mounts (/dev/shm, /run, /sys/fs/bpf), hostname and machine-id are a robot's own, so DDS has no way but the
network. Nothing has a name on the machine itself: the namespaces live as long as their first processes, which the
kernel ends with this one, however it ends. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import IO

from omni_core.constants import DEFAULT_PORT
from omni_core.crypto.token import JoinToken
from omni_core.dds.profiles import DISCOVERY_RANGE
from omni_core.errors import OmniError, SystemRefused
from omni_core.io.admin import request
from omni_core.io.files import write_atomic
from omni_core.io.keyfile import create_identity
from omni_core.types import Endpoint, is_name

UNDERLAY = IPv4Network("198.18.0.0/16")  # RFC 2544: never routed
OVERLAY = IPv4Network("10.77.0.0/24")
NUCLEUS_ADDRESS = UNDERLAY[-2]
CLUSTER = "sim"
RECORDS = Path("/run")  # omni-sim-<name of the fleet>.json: robot -> process id of its first process, for --enter
ROBOTS_MAX = 50  # a ROS process each
UP_TIMEOUT = 120.0  # s until all have sessions; the engine kernel compiles for each
END_TIMEOUT = 20.0  # s that nodes have to remove everything

# No duplicate address detection: it takes 2 s, and the addresses are ours.
_FIRST_PROCESS = """
set -e
echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad 2>/dev/null || :
echo "$1" > /proc/sys/kernel/hostname
if [ -f /etc/machine-id ]; then mount --bind "$2" /etc/machine-id; fi
mount -t tmpfs -o mode=1777 sim /dev/shm
mount -t tmpfs -o mode=755 sim /run
mount -t bpf bpf /sys/fs/bpf 2>/dev/null || :
ip link set lo up
echo ready
exec setpriv --pdeathsig KILL -- sleep infinity
"""


class Machine:
    """Namespaces with a first process in them."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        machine_id = directory / f"{name}.machine-id"
        machine_id.write_text(secrets.token_hex(16) + "\n")
        enter = ["unshare", "--net", "--mount", "--uts", "--propagation", "private"]
        # Not a shell's child: setpriv ties the kernel's signal to the thread that starts it, the main one.
        self._first = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *enter, "sh", "-c", _FIRST_PROCESS, "sh", name, str(machine_id)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
            start_new_session=True,
        )  # fmt: skip
        assert self._first.stdout is not None and self._first.stderr is not None
        if self._first.stdout.readline() != "ready\n":
            problem = self._first.stderr.read().strip().splitlines() or ["no reason given"]
            raise SystemRefused("namespaces", f"{name} cannot be made ({problem[-1]})", "run it as root")

    @property
    def pid(self) -> int:
        return self._first.pid

    def inside(self, command: Sequence[str]) -> list[str]:
        return [*entering(self.pid), "setpriv", "--pdeathsig", "KILL", "--", *command]

    def run(self, *command: str) -> None:
        run(*entering(self.pid), *command)

    def end(self) -> None:
        """The namespaces go with it."""
        self._first.kill()
        self._first.communicate()


class Fleet:
    def __init__(self, robots: int, engine: str, directory: Path, log_level: str, name: str) -> None:
        self._directory, self._engine, self._log_level, self._record = directory, engine, log_level, record(name)
        self._machines: list[Machine] = []
        self._nodes: list[subprocess.Popen[str]] = []
        self._names = [f"robot{number}" for number in range(1, robots + 1)]

    def start(self) -> None:
        """Raises OmniError."""
        internet = self._machine("nucleus")
        internet.run("ip", "link", "add", "br0", "type", "bridge", "stp_state", "0", "forward_delay", "0")
        internet.run("ip", "address", "add", f"{NUCLEUS_ADDRESS}/{UNDERLAY.prefixlen}", "dev", "br0")
        internet.run("ip", "link", "set", "br0", "up")
        identity = create_identity(str(self._directory / "nucleus.key"))
        secret = secrets.token_urlsafe(24)
        nucleus = (Endpoint(str(NUCLEUS_ADDRESS), DEFAULT_PORT),)
        token = JoinToken(nucleus, CLUSTER, (identity.public_key,), secret.encode())
        write_atomic(str(self._directory / "token"), token.format() + "\n")
        write_atomic(str(self._directory / "secret"), secret + "\n")
        secret_files = [f"{CLUSTER}={self._directory / 'secret'}"]
        key_file = str(self._directory / "nucleus.key")
        self._node(internet, "nucleus", "", key_file=key_file, clusters=[CLUSTER], secret_files=secret_files)
        for number, name in enumerate(self._names, 1):
            robot, port = self._machine(name), f"p{number}"
            internet.run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(robot.pid))
            internet.run("ip", "link", "set", port, "master", "br0", "up")
            robot.run("ip", "address", "add", f"{UNDERLAY[number]}/{UNDERLAY.prefixlen}", "dev", "eth0")
            robot.run("ip", "link", "set", "eth0", "up")
            vip4 = f"{OVERLAY[number]}/{OVERLAY.prefixlen}"
            key_file, token_file = str(self._directory / f"{name}.key"), str(self._directory / "token")
            self._node(
                robot, "ganglion", name,
                key_file=key_file, token_file=token_file, vip4=vip4, name=name, engine=self._engine,
            )  # fmt: skip
        write_atomic(str(self._record), json.dumps({machine.name: machine.pid for machine in self._machines}))

    def up(self) -> bool:
        """Every robot has a session with every other."""
        for machine in self._machines[1:]:
            try:
                status = request(f"/proc/{machine.pid}/root/run/omni/omni0.sock", "status", 2.0)
            except OmniError:
                return False
            if sum(peer["state"] == "up" for peer in status["peers"]) < len(self._names) - 1:
                return False
        return True

    def dead(self) -> bool:
        """A node's process has ended."""
        return any(node.poll() is not None for node in self._nodes)

    def end(self) -> None:
        """Robots first, so that they can say goodbye to the Nucleus. Idempotent."""
        deadline = time.monotonic() + END_TIMEOUT
        for nodes in (self._nodes[1:], self._nodes[:1]):
            for node in nodes:
                node.send_signal(signal.SIGTERM)
            for node in nodes:
                try:
                    node.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    node.kill()
                    node.wait()
        for machine in self._machines:
            machine.end()
        self._machines.clear()
        self._nodes.clear()
        self._record.unlink(missing_ok=True)

    def _machine(self, name: str) -> Machine:
        machine = Machine(name, self._directory)
        self._machines.append(machine)
        return machine

    def _node(self, machine: Machine, executable: str, namespace: str, **parameters: object) -> None:
        file = self._directory / f"{machine.name}.yaml"
        lines = [f"    {key}: {json.dumps(value)}" for key, value in {**parameters, "autostart": True}.items()]
        file.write_text("\n".join(["/**:", "  ros__parameters:", *lines, ""]))
        program = f"import sys; from omni_ros2.{executable}_node import main; sys.exit(main())"
        command = [sys.executable, "-c", program, "--ros-args", "--log-level", self._log_level]
        command += ["--params-file", str(file), "-r", f"__ns:=/{namespace}"]
        node = subprocess.Popen(
            machine.inside(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            text=True, start_new_session=True,
            env={**os.environ, "RCUTILS_COLORIZED_OUTPUT": "0", DISCOVERY_RANGE: "LOCALHOST"},
        )  # fmt: skip
        assert node.stdout is not None
        threading.Thread(target=_copy, args=(node.stdout, machine.name), daemon=True).start()
        self._nodes.append(node)


def entering(pid: int) -> list[str]:
    return ["nsenter", "--target", str(pid), "--net", "--mount", "--uts", "--"]


def run(*command: str) -> None:
    """Raises SystemRefused with the command's own words."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        raise SystemRefused("namespaces", f"{' '.join(command)}: {said}", "run it as root, on Linux with iproute2")


def record(fleet: str) -> Path:
    return RECORDS / f"omni-sim-{fleet}.json"


def enter(fleet: str, name: str, command: Sequence[str]) -> None:
    """Becomes the command (a shell without one) inside a robot. Raises SystemRefused."""
    try:
        pids = json.loads(record(fleet).read_text())
    except (OSError, ValueError):
        pids = {}
    pids = {robot: pid for robot, pid in pids.items() if os.path.exists(f"/proc/{pid}")}
    if name not in pids:
        there = ", ".join(pids) or "none"
        raise SystemRefused("enter", f"there is no robot {name} (running: {there})", "start the fleet first")
    words = [*entering(pids[name]), *(command or [os.environ.get("SHELL", "sh")])]
    os.execvp(words[0], words)


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="sim_fleet", description="A fleet in network namespaces of this machine.")
    parser.add_argument("--robots", type=int, default=3, choices=range(1, ROBOTS_MAX + 1), metavar=f"1..{ROBOTS_MAX}")
    parser.add_argument("--engine", default="auto", choices=("auto", "kernel", "native", "python"))
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warn", "error", "fatal"))
    parser.add_argument("--name", default="sim", help="of the fleet, where several run at once (default sim)")
    parser.add_argument("--enter", metavar="ROBOT", help="run a command, or a shell, inside a robot of the fleet")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="with --enter")
    given = list(sys.argv[1:] if args is None else args)
    if "--ros-args" in given:  # launch_ros adds them
        given = given[: given.index("--ros-args")]
    options = parser.parse_args(given)
    if not is_name(options.name):
        parser.error("--name: use letters, digits, '-', '_' and '.'")
    try:
        if options.enter:
            enter(options.name, options.enter, options.command)
        return _run(options)
    except OmniError as error:
        print(f"sim_fleet: {error}", file=sys.stderr)
        return error.exit_code


def _run(options: argparse.Namespace) -> int:
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    with tempfile.TemporaryDirectory(prefix="omni-sim-") as directory:
        fleet = Fleet(options.robots, options.engine, Path(directory), options.log_level, options.name)
        try:
            fleet.start()
            if not _wait(fleet.up, fleet, stopping):
                return 0 if stopping.is_set() else 1
            name = "" if options.name == "sim" else f" --name {options.name}"
            print(
                f"{options.robots} robots are up. Enter one: ros2 run omni_ros2 sim_fleet{name} --enter robot1",
                flush=True,
            )
            _wait(lambda: False, fleet, stopping, forever=True)
            return 0 if stopping.is_set() else 1
        finally:
            fleet.end()
            print("nothing is left of the fleet", flush=True)


def _wait(condition: Callable[[], bool], fleet: Fleet, stopping: threading.Event, forever: bool = False) -> bool:
    """False when it is to stop, a node has died, or the time is over; the last two are said."""
    end = time.monotonic() + UP_TIMEOUT
    while not condition():
        if stopping.wait(0.3):
            return False
        if fleet.dead():
            print("sim_fleet: a node has ended; its lines above say why", file=sys.stderr)
            return False
        if not forever and time.monotonic() > end:
            print(f"sim_fleet: not all robots have sessions after {UP_TIMEOUT:g} s", file=sys.stderr)
            return False
    return True


def _copy(stream: IO[str], name: str) -> None:
    for line in stream:
        print(f"[{name}] {line}", end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
