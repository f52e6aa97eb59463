"""The profile files of a middleware, and the environment variables that make DDS read them.

    fastdds      Fast DDS 3.x (ROS 2 Kilted and later); on an older distribution the same as fastdds2
    fastdds2     Fast DDS 2.x (ROS 2 Humble to Jazzy)
    cyclonedds   Cyclone DDS

Each version of Fast DDS gets the variable of its own and no other: 3.x reads that of 2.x as well (and warns), and two
files with the same profile are an error to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omni_core.dds.cyclonedds import cyclonedds
from omni_core.dds.fastdds import fastdds, fastdds2
from omni_core.dds.overlay import Overlay
from omni_core.errors import ConfigError

MIDDLEWARES = ("fastdds", "fastdds2", "cyclonedds")
FASTDDS2_DISTROS = ("foxy", "galactic", "humble", "iron", "jazzy")

RMW_VARIABLE = "RMW_IMPLEMENTATION"
DISCOVERY_RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
PROFILE_VARIABLES = {
    "fastdds": "FASTDDS_DEFAULT_PROFILES_FILE",
    "fastdds2": "FASTRTPS_DEFAULT_PROFILES_FILE",
    "cyclonedds": "CYCLONEDDS_URI",
}
_RMW = {"fastdds": "rmw_fastrtps_cpp", "fastdds2": "rmw_fastrtps_cpp", "cyclonedds": "rmw_cyclonedds_cpp"}
_NAMES = {"rmw_fastrtps_cpp": "fastdds", "rmw_fastrtps_dynamic_cpp": "fastdds", "rmw_cyclonedds_cpp": "cyclonedds"}


def middleware(name: str, distro: str = "") -> str:
    """One of MIDDLEWARES, also for the name of an RMW implementation. Raises ConfigError("rmw").

    ``distro``: of ROS 2, as in ROS_DISTRO; "" when it is not known.
    """
    found = _NAMES.get(name, name)
    if found not in MIDDLEWARES:
        raise ConfigError("rmw", f"{name!r} has no profile", f"use {', '.join(MIDDLEWARES)}")
    return "fastdds2" if found == "fastdds" and distro in FASTDDS2_DISTROS else found


def profile(overlay: Overlay, rmw: str) -> str:
    """The file for one of MIDDLEWARES. Raises ConfigError."""
    return {"fastdds": fastdds, "fastdds2": fastdds2, "cyclonedds": cyclonedds}[middleware(rmw)](overlay)


def profile_path(overlay: Overlay, rmw: str, directory: str) -> str:
    return f"{directory.rstrip('/')}/{overlay.interface}.{rmw}.xml"


def variables(overlay: Overlay, rmw: str, directory: str) -> dict[str, str]:
    """What to export for one of MIDDLEWARES, with the file in ``directory`` (an absolute path)."""
    path = profile_path(overlay, rmw, directory)
    value = f"file://{path}" if rmw == "cyclonedds" else path
    return {RMW_VARIABLE: _RMW[rmw], PROFILE_VARIABLES[rmw]: value}


def environment(status: Mapping[str, Any], rmw: str, directory: str, distro: str = "") -> dict[str, str]:
    """What to export, from a Ganglion's status as the admin socket gives it. Raises ConfigError.

    omni_core.io.dds_files.write_environment writes the file too; this one only names it.
    """
    return variables(Overlay.of_status(status), middleware(rmw, distro), directory)
