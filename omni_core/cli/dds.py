"""`omni dds`: DDS profiles for the overlay (--print, --write), and whether DDS works with a peer (--check, --echo)."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping
from typing import Any

from omni_core.cli import exit_codes
from omni_core.cli.options import config_path, seconds
from omni_core.config import ganglion
from omni_core.config.schema import read_fields
from omni_core.config.values import VIP4_AUTO
from omni_core.dds.overlay import Overlay, read_vip4, read_vip6
from omni_core.dds.profiles import MIDDLEWARES, middleware, profile
from omni_core.dds.sizes import MTU_MIN
from omni_core.errors import ConfigError, OmniError, SystemRefused

_KEYS = ("interface", "vip4", "mtu", "run_dir")
DEFAULT_RMW = "rmw_fastrtps_cpp"  # of ROS 2 where nothing else is said


def configure(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--print", action="store_true", help="show the profile (the default)")
    what.add_argument("--write", metavar="DIR", help="write the profile into DIR and print what to export")
    what.add_argument("--check", action="store_true", help="exchange data with a peer's responder; needs ROS 2")
    what.add_argument("--echo", action="store_true", help="answer the checks of others, until Ctrl-C; needs ROS 2")
    parser.add_argument(
        "--rmw", metavar="NAME", help=f"{', '.join(MIDDLEWARES)} (default: RMW_IMPLEMENTATION, else fastdds)"
    )
    where = parser.add_argument_group("overlay", "From the running Ganglion, else the configuration file, else these.")
    where.add_argument("--interface", metavar="TEXT", help="of the overlay (default omni0)")
    where.add_argument("--vip4", metavar="ADDRESS", help="this robot's VIP4")
    where.add_argument("--vip6", metavar="ADDRESS", help="this robot's VIP6")
    where.add_argument(
        "--mtu", type=int, metavar="N", help=f"of the overlay interface (default: its own, or {MTU_MIN})"
    )
    where.add_argument("--ipv6", action="store_true", help="DDS over VIP6 although there is a VIP4")
    where.add_argument("--config", metavar="FILE", help="of the Ganglion: TOML, or ROS parameters YAML")
    where.add_argument("--node", default="ganglion", metavar="NAME", help="whose ROS parameters to take")
    where.add_argument("--run-dir", metavar="TEXT", help="of the Ganglion (default /run/omni)")
    check = parser.add_argument_group("check")
    check.add_argument("--peer", metavar="NAME", help="name, VIP4 or VIP6 (default: the only one that is up)")
    check.add_argument("--domain", type=int, metavar="N", help="ROS domain (default: ROS_DOMAIN_ID, else 0)")
    check.add_argument("--timeout", type=seconds, default=10.0, metavar="S", help="for each part (default 10)")
    check.add_argument("--json", action="store_true", help="machine-readable result")


def run(arguments: argparse.Namespace) -> int:
    if arguments.check or arguments.echo:
        from omni_core.cli import dds_check

        status = _status(arguments)
        return (dds_check.check if arguments.check else dds_check.echo)(arguments, status, _overlay(arguments, status))
    rmw = chosen_rmw(arguments.rmw)
    overlay = _overlay(arguments, _status(arguments))
    if arguments.write is None:
        sys.stdout.write(profile(overlay, rmw))
        return exit_codes.OK
    from omni_core.io.dds_files import write_profile

    for name, value in write_profile(overlay, rmw, arguments.write).items():
        print(f"export {name}={shlex.quote(value)}")
    return exit_codes.OK


def chosen_rmw(given: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """One of MIDDLEWARES. Raises ConfigError("rmw")."""
    name = given or environment.get("RMW_IMPLEMENTATION") or DEFAULT_RMW
    return middleware(name, environment.get("ROS_DISTRO", ""))


def _status(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Of the running Ganglion; None when there is none, or it may not be asked."""
    from omni_core.io import admin

    values = _configured(arguments)
    try:
        status = admin.request(ganglion.admin_socket(values["run_dir"], values["interface"]), "status")
    except OmniError:
        return None
    return status if isinstance(status, dict) else None


def _configured(arguments: argparse.Namespace) -> dict[str, Any]:
    """Keys of the configuration, an option first. A file that would start no Ganglion may still say the interface."""
    path = config_path(arguments, "ganglion")
    known: dict[str, object] = {}
    if path is not None:
        from omni_core.io.config_file import read_values

        try:
            values = read_values(path, arguments.node)
        except ConfigError:
            if arguments.config is not None:
                raise
        else:
            known = {key: values[key] for key in _KEYS if key in values}
    if arguments.interface is not None:
        known["interface"] = arguments.interface
    if arguments.run_dir is not None:
        known["run_dir"] = os.path.abspath(arguments.run_dir)
    return read_fields([field for field in ganglion.FIELDS if field.name in _KEYS], known)


def _overlay(arguments: argparse.Namespace, status: Mapping[str, Any] | None) -> Overlay:
    """Raises ConfigError where an option is wrong."""
    values = _configured(arguments)
    if status is not None:
        found = Overlay.of_status(status, ipv6=arguments.ipv6)
    else:
        vip4 = values["vip4"].ip if values["vip4"] and values["vip4"] != VIP4_AUTO else None
        mtu = values["mtu"] or interface_mtu(values["interface"]) or MTU_MIN
        found = Overlay(values["interface"], vip4, None, mtu)
    vip6 = read_vip6(arguments.vip6 or "") or found.vip6
    vip4 = read_vip4(arguments.vip4 or "") or found.vip4
    return Overlay(found.interface, vip4, vip6, arguments.mtu or found.mtu, arguments.ipv6)


def interface_mtu(name: str) -> int | None:
    """Of an interface of this machine; None when it is not there."""
    try:
        with open(f"/sys/class/net/{name}/mtu", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def need_ros() -> None:
    """Raises SystemRefused where the probe cannot run."""
    from importlib.util import find_spec

    for module in ("rclpy", "std_msgs", "omni_ros2"):
        if find_spec(module) is None:
            raise SystemRefused(
                "ROS 2",
                f"{module} is not importable with {sys.executable}",
                "source /opt/ros/<distro>/setup.bash and the workspace of omni_ros2, then repeat it",
            )
