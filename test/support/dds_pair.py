"""Two robots with an underlay (eth0, 1500) and what looks like an overlay (omni0, a veth of 1418), for tests of DDS.

a  eth0 ---- internet ---- eth0  b
   omni0 ------------------ omni0        10.77.0.1, 10.77.0.2; fd77::1, fd77::2
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from support.command_line import REPO, Outcome

from omni_core.dds.overlay import Overlay
from omni_core.dds.profiles import middleware
from omni_core.io.dds_files import write_profile
from tools.netlab import Host, Lab, LabProcess, ros_environment, wait_for

MTU = 1418  # of omni0 on an underlay of 1500
NODE = Path(__file__).with_name("dds_node.py")
CYCLONE_NODE = Path(__file__).with_name("cyclone_node.py")
OMNI = [sys.executable, "-B", "-m", "omni_core.cli"]


class DdsPair:
    """``a`` and ``b`` are new hosts of the lab. With ``link=False`` omni0 is missing until ``connect``."""

    def __init__(self, lab: Lab, name: str = "", *, link: bool = True) -> None:
        self.lab = lab
        self.a, self.b = lab.host(f"{name}a"), lab.host(f"{name}b")
        if link:
            self.connect()

    def connect(self) -> None:
        self.a.ip(f"link add omni0 mtu {MTU} type veth peer name omni0 mtu {MTU} netns {self.b.namespace}")
        for host in (self.a, self.b):
            host.ip(f"address add {self.vip4(host)}/24 dev omni0")
            host.ip(f"address add {self.vip6(host)}/64 dev omni0 nodad")
            host.ip("link set omni0 up")
        # DDS overlooks an interface that the kernel does not call running yet.
        wait_for(lambda: all("state UP" in host.ip("link show omni0") for host in (self.a, self.b)), 5, "omni0 to run")

    def vip4(self, host: Host) -> str:
        return f"10.77.0.{1 if host is self.a else 2}"

    def vip6(self, host: Host) -> str:
        return f"fd77::{1 if host is self.a else 2}"

    def overlay(self, host: Host, *, ipv6: bool = False) -> Overlay:
        vip4, vip6 = ipaddress.IPv4Address(self.vip4(host)), ipaddress.IPv6Address(self.vip6(host))
        return Overlay("omni0", vip4, vip6, MTU, ipv6)

    def environment(self, host: Host, rmw: str = "", *, ipv6: bool = False, domain: int = 0) -> dict[str, str | None]:
        """With the profile for an RMW; "" is without one."""
        environment = ros_environment(self.lab.logs / f"{host.name}.ros", domain)
        environment["TMPDIR"] = str(self.lab.logs)  # a lab that ends may kill
        if rmw:
            directory = str(self.lab.logs / f"{host.name}{'6' if ipv6 else ''}.dds")
            chosen = middleware(rmw, os.environ.get("ROS_DISTRO", ""))
            environment.update(write_profile(self.overlay(host, ipv6=ipv6), chosen, directory))
        return environment

    def node(
        self, host: Host, role: str, environment: dict[str, str | None], *, size: int = 1000, program: Path = NODE
    ) -> LabProcess:
        """``talk`` sends messages of ``size`` bytes twice a second to whoever listens; ``listen`` says what came."""
        number = sum(1 for _ in self.lab.logs.glob(f"{host.name}-{role}*"))
        return host.start([sys.executable, "-B", program, role, str(size)], f"{role}{number}", environment)

    def omni(self, host: Host, *words: str, environment: dict[str, str | None]) -> LabProcess:
        """``omni dds ...`` of a robot without a Ganglion, whose overlay is named by options."""
        number = sum(1 for _ in self.lab.logs.glob(f"{host.name}-omni*"))
        place = ["--interface", "omni0", "--vip4", self.vip4(host), "--vip6", self.vip6(host)]
        return host.start([*OMNI, "dds", *place, *words], f"omni{number}", environment, REPO)


def fragments(host: Host) -> int:
    """IP packets that the host has cut into fragments so far, IPv4 and IPv6."""
    rows = [line.split() for line in host._proc_net("snmp").splitlines() if line.startswith("Ip:")]
    ipv4 = dict(zip(rows[0][1:], rows[1][1:], strict=True))["FragCreates"]
    ipv6 = dict(line.split() for line in host._proc_net("snmp6").splitlines()).get("Ip6FragCreates", "0")
    return int(ipv4) + int(ipv6)


def outcome(process: LabProcess, timeout: float) -> Outcome:
    code = process.wait(timeout)
    return Outcome(code, process.log_text(), "")


def heard(listener: LabProcess, size: int, times: int, timeout: float) -> None:
    """Until the listener has had so many whole messages."""
    line = f"got {size}"

    def enough() -> bool:
        assert listener.running, listener.log_text()
        return listener.log_text().splitlines().count(line) >= times

    wait_for(enough, timeout, f"{times} times {line!r}")


def groups(host: Host, group: str = "239.255.0.1") -> set[str]:
    """Interfaces on which somebody has joined an IPv4 group."""
    wanted = ipaddress.IPv4Address(group).packed[::-1].hex().upper()
    found, interface = set(), ""
    for line in host._proc_net("igmp").splitlines()[1:]:
        if not line.startswith("\t"):
            interface = line.split()[1]
        elif line.split()[0] == wanted:
            found.add(interface)
    return found


def complaints(processes: Sequence[LabProcess]) -> list[str]:
    """Lines that DDS or ROS printed as warnings or errors."""
    lines = [line for process in processes for line in process.log_text().splitlines()]
    return [line for line in lines if any(word in line for word in ("Error", "rror:", "WARN", "arning", "not found"))]
