"""ROS 2: is it there, which middleware, does its environment let DDS reach the overlay. Nothing here stops `omni`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec

from omni_core.cli.doctor.finding import Finding, Machine, note, ok, warning

FindSpec = Callable[[str], "ModuleSpec | None"]

KNOWN_DISTROS = ("humble", "jazzy", "kilted", "lyrical", "rolling")
# UDP port = 7400 + 250 * domain; above 101 they reach into Linux's ephemeral ports (32768..60999).
SAFE_DOMAINS = (range(102), range(215, 233))


def distro(machine: Machine, find_spec: FindSpec = importlib.util.find_spec) -> Finding:
    name = machine.environment.get("ROS_DISTRO", "")
    importable = _found(find_spec, "rclpy")
    if not name and not importable:
        installed = sorted(p.name for p in machine.path("/opt/ros").glob("*") if (p / "setup.bash").is_file())
        if installed:
            return note(
                "ROS", f"installed ({', '.join(installed)}), not sourced", f"source /opt/ros/{installed[-1]}/setup.bash"
            )
        return note(
            "ROS", "not installed: `omni up` works, the nodes do not", "install ROS 2, or use only the omni command"
        )
    if not importable:
        return warning(
            "ROS",
            f"{name} is sourced, but this python cannot import rclpy",
            "use the python that the distro was built for",
        )
    if not name:
        return note("ROS", "rclpy is importable, ROS_DISTRO is not set", "source the setup file of the distro")
    known = "" if name in KNOWN_DISTROS else " (not a distro that omni was tried with)"
    return ok("ROS", name + known)


def messages(find_spec: FindSpec = importlib.util.find_spec) -> Finding | None:
    """None without ROS: then there is nothing to say."""
    if not _found(find_spec, "rclpy"):
        return None
    if _found(find_spec, "omni_ros2.msg"):
        return ok("omni_ros2 messages", "built")
    return note(
        "omni_ros2 messages",
        "not built or not sourced; only the nodes need them",
        "colcon build; source install/setup.bash",
    )


def middleware(machine: Machine, find_spec: FindSpec = importlib.util.find_spec) -> Finding | None:
    if not _found(find_spec, "rclpy"):
        return None
    chosen = machine.environment.get("RMW_IMPLEMENTATION", "")
    installed = installed_middlewares(machine)
    if not installed:
        return warning("rmw", "no RMW implementation found", "apt install ros-$ROS_DISTRO-rmw-fastrtps-cpp")
    if chosen and chosen not in installed:
        return warning(
            "rmw", f"RMW_IMPLEMENTATION={chosen} is not installed", f"unset it, or choose from {', '.join(installed)}"
        )
    return ok("rmw", f"{chosen or 'default'} (installed: {', '.join(installed)})")


def installed_middlewares(machine: Machine) -> list[str]:
    """From the ament index (REP 122), in the prefixes of the environment and of this python."""
    prefixes = [p for p in machine.environment.get("AMENT_PREFIX_PATH", "").split(":") if p] or [sys.prefix]
    return sorted(
        {
            entry.name
            for prefix in prefixes
            for entry in machine.path(prefix).glob("share/ament_index/resource_index/rmw_typesupport/rmw_*")
            if entry.name != "rmw_implementation"  # the loader of the others
        }
    )


def discovery(machine: Machine) -> Finding:
    """Environment variables that keep DDS from leaving the machine, whatever the network can do."""
    environment = machine.environment
    if environment.get("ROS_LOCALHOST_ONLY", "0") not in ("", "0"):
        return warning("discovery", "ROS_LOCALHOST_ONLY keeps DDS on this machine", "unset ROS_LOCALHOST_ONLY")
    reach = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    if reach in ("LOCALHOST", "OFF"):
        return warning(
            "discovery", f"ROS_AUTOMATIC_DISCOVERY_RANGE={reach} keeps DDS on this machine",
            "export ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET",
        )  # fmt: skip
    domain = environment.get("ROS_DOMAIN_ID", "") or "0"
    if not (domain.isascii() and domain.isdigit()):
        return warning("discovery", "ROS_DOMAIN_ID is not a number", "use 0..101")
    if not any(int(domain) in safe for safe in SAFE_DOMAINS):
        return warning("discovery", f"ROS_DOMAIN_ID={domain} collides with ephemeral ports", "use 0..101")
    return ok("discovery", f"domain {domain}, {'range ' + reach if reach else 'default range'}")


def early_nodes(processes: Sequence[str], interface: str) -> Finding | None:
    """``processes``: those of io.dds_facts.local_only_processes. None where there is nothing to say."""
    if not processes:
        return None
    return warning(
        "DDS processes", f"started before {interface} had its address, so not on it: {', '.join(processes)}",
        f"restart them; start nodes after {interface}",
    )  # fmt: skip


def _found(find_spec: FindSpec, module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:  # of the parent package
        return False
