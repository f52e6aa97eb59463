"""The demo's machines: a Nucleus and robots in namespaces, their files, their lifecycle nodes, their status."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from omni_core.constants import DEFAULT_PORT
from omni_core.crypto.token import JoinToken
from omni_core.errors import OmniError
from omni_core.io.admin import request
from omni_core.io.files import write_atomic
from omni_core.io.keyfile import create_identity
from omni_core.types import Endpoint
from tools.demo_parts.dds import LOOPBACK, write_profile
from tools.netlab import Host, Lab, LabError, LabProcess, ros_environment

CLUSTER = "demo"
OVERLAY = ip_network("10.77.0.0/24")
INTERFACE = "omni0"
MAX_ROBOTS = 50  # each is a ROS process or three, on one machine
LIFECYCLE = Path(__file__).parent / "inside" / "lifecycle.py"
LIFECYCLE_TIMEOUT = 60.0  # s; many nodes start at once, on few processors
QUOTED_LINES = 12  # of a node's log, in an error

T = TypeVar("T")


class Wait(Protocol):
    """``wait_for`` that keeps the display going."""

    def __call__(self, condition: Callable[[], T], timeout: float, what: str) -> T: ...


@dataclass
class Robot:
    number: int  # from 1
    host: Host
    vip4: str  # without prefix length
    public_key: bytes
    mac: bytes

    @property
    def name(self) -> str:
        return self.host.name


class ManagedNode(NamedTuple):
    """A lifecycle node and the client that drives it."""

    host: Host
    process: LabProcess
    client: LabProcess


class Fleet:
    """``wait``: how to wait for a condition; it may refresh a display meanwhile."""

    def __init__(self, lab: Lab, count: int, engine: str, wait: Wait) -> None:
        self._lab = lab
        self._wait = wait
        self._engine = engine
        self._files = lab.logs / "etc"
        self.nucleus_host = lab.host("nucleus")
        self._nuclei: list[ManagedNode] = []
        self._ganglia: list[ManagedNode] = []
        self._robot_hosts = [lab.host(f"robot{number}") for number in range(1, count + 1)]
        self.robots: list[Robot] = []

    def host_names(self) -> dict[str, str]:
        """Underlay address -> name of the host."""
        hosts = [self.nucleus_host, *self._robot_hosts]
        return {address: host.name for host in hosts for address in (host.ipv4, host.ipv6) if address}

    # --- files ------------------------------------------------------------------------------------------------------

    def write_files(self) -> None:
        """Keys, the cluster's secret, the token that every robot gets, and a parameter file for each node."""
        self._files.mkdir(mode=0o700)
        secret = secrets.token_urlsafe(24)
        nucleus = create_identity(str(self._files / "nucleus.key"))
        assert self.nucleus_host.ipv4 is not None
        token = JoinToken(
            nucleus=(Endpoint(self.nucleus_host.ipv4, DEFAULT_PORT),),
            cluster=CLUSTER,
            nucleus_keys=(nucleus.public_key,),
            secret=secret.encode(),
        )
        write_atomic(str(self._files / "token"), token.format() + "\n")
        write_atomic(str(self._files / "secret"), secret + "\n")
        self._write_params(
            "nucleus",
            key_file=str(self._files / "nucleus.key"),
            clusters=[CLUSTER],
            secret_files=[f"{CLUSTER}={self._files / 'secret'}"],
        )
        for number, host in enumerate(self._robot_hosts, 1):
            key_file = self._files / f"{host.name}.key"
            identity = create_identity(str(key_file))
            vip4 = str(OVERLAY[number])
            self.robots.append(Robot(number, host, vip4, identity.public_key, identity.mac))
            self._write_params(
                host.name,
                interface=INTERFACE,
                key_file=str(key_file),
                token_file=str(self._files / "token"),
                vip4=f"{vip4}/{OVERLAY.prefixlen}",
                engine=self._engine,
            )

    def _write_params(self, name: str, **parameters: object) -> None:
        lines = [f"    {key}: {json.dumps(value)}" for key, value in parameters.items()]  # JSON is YAML
        (self._files / f"{name}.yaml").write_text("\n".join(["/**:", "  ros__parameters:", *lines, ""]))

    # --- nodes ------------------------------------------------------------------------------------------------------

    def start_nucleus(self) -> None:
        self._nuclei = [self._start_node("nucleus", self.nucleus_host)]
        self._drive(self._nuclei, ["configure", "activate"])

    def start_ganglia(self) -> None:
        self._ganglia = [self._start_node("ganglion", robot.host) for robot in self.robots]
        self._drive(self._ganglia, ["configure", "activate"])

    def stop(self) -> None:
        """Through the lifecycle, as a robot would. Raises LabError when a node refuses or leaves its interface."""
        self._drive(self._ganglia, ["deactivate", "cleanup", "shutdown"])
        for robot in self.robots:
            if INTERFACE in robot.host.interfaces():
                raise LabError(f"{robot.name}: {INTERFACE} is still there after cleanup")
        self._drive(self._nuclei, ["deactivate", "cleanup", "shutdown"])

    def _start_node(self, executable: str, host: Host) -> ManagedNode:
        # Nodes and clients need DDS before omni0 exists, and only within their robot.
        profile = write_profile(self._lab.logs / f"{host.name}.nodes.xml", LOOPBACK)
        home = self._lab.logs / f"{host.name}.ros"
        environment = ros_environment(home, discovery="SYSTEM_DEFAULT", fastdds_profile=profile)
        params = self._files / f"{host.name}.yaml"
        process = host.start(
            [installed(executable), "--ros-args", "--params-file", params], name=executable, env=environment
        )
        command = [sys.executable, str(LIFECYCLE), f"/{executable}", f"{LIFECYCLE_TIMEOUT:g}"]
        return ManagedNode(host, process, host.start(command, name="lifecycle", env=environment, stdin=True))

    def _drive(self, nodes: Sequence[ManagedNode], transitions: Sequence[str]) -> None:
        """All nodes at once. Raises LabError with the node's own words when one fails or dies."""
        for node in nodes:
            node.client.write("".join(f"{name}\n" for name in transitions))

        def all_done() -> bool:
            self.check_nodes()
            for node in nodes:
                if not node.client.running:
                    words = node.client.log_text().strip()
                    raise LabError(f"{node.host.name}: {words}\n{quoted(node.process)}")
            return all(f"{transitions[-1]}: " in node.client.log_text() for node in nodes)

        self._wait(all_done, LIFECYCLE_TIMEOUT + 5, f"the nodes to {', '.join(transitions)}")

    # --- what they say ------------------------------------------------------------------------------------------------

    def status(self, robot: Robot) -> dict[str, Any] | None:
        """The Ganglion's status; None while it does not answer."""
        try:
            answer: dict[str, Any] = request(str(robot.host.path(f"/run/omni/{INTERFACE}.sock")), "status", timeout=2.0)
        except OmniError:
            return None
        return answer

    def check_nodes(self) -> None:
        """Raises LabError when a node has died."""
        for node in (*self._nuclei, *self._ganglia):
            if not node.process.running:
                raise LabError(f"{node.process.name} ended with {node.process.returncode}\n{quoted(node.process)}")


def installed(executable: str) -> str:
    """Path of a program of the built package, as `ros2 run` finds it."""
    from ament_index_python.packages import get_package_prefix

    return os.path.join(get_package_prefix("omni_ros2"), "lib", "omni_ros2", executable)


def quoted(process: LabProcess) -> str:
    return "\n".join(["its log ends:", *process.log_text().splitlines()[-QUOTED_LINES:]])
