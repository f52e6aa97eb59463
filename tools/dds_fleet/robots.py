"""A Nucleus and robots whose Ganglia are `omni up`; the environment of DDS on each; what crossed."""

from __future__ import annotations

import json
import os
import secrets
import sys
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any

from omni_core.constants import DEFAULT_PORT
from omni_core.crypto.token import JoinToken
from omni_core.dds.overlay import Overlay
from omni_core.dds.profiles import middleware
from omni_core.errors import OmniError
from omni_core.io.admin import request
from omni_core.io.dds_files import write_environment, write_profile
from omni_core.io.keyfile import create_identity
from omni_core.types import Endpoint
from tools.dds_fleet.participants import Participants
from tools.netlab import Host, Lab, LabError, LabProcess, ros_environment, wait_for

REPO = Path(__file__).resolve().parents[2]
OMNI = [sys.executable, "-B", "-m", "omni_core.cli"]
INTERFACE, UNDERLAY_INTERFACE, UNDERLAY_MTU = "omni0", "eth0", 1500
CLUSTER = "fleet"
OVERLAY = ip_network("10.77.0.0/24")
UP = 60.0  # s; engines in the kernel are compiled, all at once
RMW = {"fast": "rmw_fastrtps_cpp", "cyclone": "rmw_cyclonedds_cpp"}


@dataclass(eq=False)
class DdsRobot:
    number: int  # from 1
    host: Host
    vip4: str  # without prefix length
    key_file: Path
    process: LabProcess | None = None
    starts: int = 0
    settings: dict[str, object] = field(default_factory=dict)  # of its Ganglion, beside what all have

    @property
    def name(self) -> str:
        return self.host.name

    def status(self) -> dict[str, Any]:
        """Raises OmniError while the Ganglion does not answer."""
        answer: dict[str, Any] = request(str(self.host.path(f"/run/omni/{INTERFACE}.sock")), "status", timeout=2.0)
        return answer

    def peer(self, name: str) -> dict[str, Any]:
        """What its Ganglion says of another robot; empty when it does not know it (yet)."""
        try:
            return next((peer for peer in self.status()["peers"] if peer["name"] == name), {})
        except OmniError:
            return {}

    def peers(self, state: str = "up") -> int:
        try:
            return sum(peer["state"] == state for peer in self.status()["peers"])
        except OmniError:
            return 0

    def sent_to(self, name: str) -> int:
        """Frames, of whatever kind."""
        return int(self.peer(name).get("tx_frames", 0))


class DdsFleet:
    """``settings``: keys of the Ganglia's configuration. ``prefix``: of the hosts' names, for several in one lab."""

    def __init__(self, lab: Lab, count: int, prefix: str = "", **settings: object) -> None:
        self._lab = lab
        self._files = lab.logs / f"{prefix}etc"
        self._files.mkdir(mode=0o700)
        self._settings = settings
        self.nucleus_host = lab.host(f"{prefix}nucleus")
        self.robots: list[DdsRobot] = []
        for number in range(1, count + 1):
            key_file = self._files / f"{number}.key"
            create_identity(str(key_file))
            host = lab.host(f"{prefix}robot{number}")
            self.robots.append(DdsRobot(number, host, str(OVERLAY[number]), key_file))
        self._write_secrets()

    # --- Ganglia ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """All of them; returns when each has a session with every other."""
        config = self._write_config(
            "nucleus",
            key_file=str(self._files / "nucleus.key"),
            clusters=[CLUSTER],
            secret_files=[f"{CLUSTER}={self._files / 'secret'}"],
        )
        self._nucleus = self._omni(self.nucleus_host, "nucleus", "nucleus", "--config", str(config))
        self._nucleus.wait_log("Nucleus on UDP port", UP)
        for robot in self.robots:
            self.launch(robot)
        for robot in self.robots:
            assert robot.process is not None
            robot.process.wait_log("omni0 is up", UP)
        self.wait_connected()

    def launch(self, robot: DdsRobot, **settings: object) -> None:
        """Without waiting. ``settings`` from now on, over what it had."""
        robot.settings.update(settings)
        values = {
            "key_file": str(robot.key_file),
            "token_file": str(self._files / "token"),
            "vip4": f"{robot.vip4}/{OVERLAY.prefixlen}",
            "name": robot.name,
            **self._settings,
            **robot.settings,
        }
        config = self._write_config(robot.name, **values)
        robot.starts += 1
        robot.process = self._omni(robot.host, f"up{robot.starts}", "up", "--config", str(config))

    def restart(self, **settings: object) -> None:
        """Kill all Ganglia; the next ones, with other settings, take over what goes on without them."""
        for robot in self.robots:
            assert robot.process is not None
            robot.process.kill()
        for robot in self.robots:
            self.launch(robot, **settings)
        for robot in self.robots:
            assert robot.process is not None
            robot.process.wait_log("omni0 is up", UP)
        self.wait_connected()

    def wait_connected(self) -> None:
        others = len(self.robots) - 1
        wait_for(lambda: all(robot.peers() == others for robot in self.robots), UP, "a session between every two")

    def stop(self) -> None:
        for robot in self.robots:
            if robot.process is not None:
                robot.process.stop(grace=15.0)

    def _omni(self, host: Host, name: str, *words: str) -> LabProcess:
        environment = {"PYTHONPATH": str(REPO), "PYTHONUNBUFFERED": "1"}
        return host.start([*OMNI, *words], name, environment, REPO)

    def _write_secrets(self) -> None:
        secret = secrets.token_urlsafe(24)
        nucleus = create_identity(str(self._files / "nucleus.key"))
        if self.nucleus_host.ipv4 is None:
            raise LabError("the underlay has no IPv4")
        endpoint = Endpoint(self.nucleus_host.ipv4, DEFAULT_PORT)
        token = JoinToken((endpoint,), CLUSTER, (nucleus.public_key,), secret.encode())
        for name, text in (("token", token.format()), ("secret", secret)):
            path = self._files / name
            path.touch(0o600)
            path.write_text(text + "\n")

    def _write_config(self, file: str, **values: object) -> Path:
        path = self._files / f"{file}.toml"
        path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))  # JSON is TOML here
        return path

    # --- DDS --------------------------------------------------------------------------------------------------------

    def environment(self, robot: DdsRobot, vendor: str = "fast") -> dict[str, str | None]:
        """Of a program on the robot: the profile that `omni dds --write` makes for its Ganglion."""
        environment = ros_environment(self._lab.logs / f"{robot.name}.ros")
        distro = os.environ.get("ROS_DISTRO", "")
        directory = str(self._lab.logs / f"{robot.name}.dds")
        environment.update(write_environment(robot.status(), RMW[vendor], directory, distro))
        return environment

    def participants(self, robot: DdsRobot, vendor: str = "fast", label: str = "") -> Participants:
        return Participants(robot.host, vendor, self.environment(robot, vendor), label)


def underlay_environment(lab: Lab, host: Host, vendor: str = "fast") -> dict[str, str | None]:
    """The same profile, for the underlay of a host without a Ganglion: what the overlay is compared with."""
    assert host.ipv4 is not None
    overlay = Overlay(UNDERLAY_INTERFACE, IPv4Address(host.ipv4), None, UNDERLAY_MTU)
    environment = ros_environment(lab.logs / f"{host.name}.ros")
    chosen = middleware(RMW[vendor], os.environ.get("ROS_DISTRO", ""))
    environment.update(write_profile(overlay, chosen, str(lab.logs / f"{host.name}.dds")))
    return environment
