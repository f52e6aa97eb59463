"""The environment of a ROS 2 process in a lab: nothing inherited that could lead its traffic elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

DISCOVERY_VARIABLES = (
    "CYCLONEDDS_URI",
    "FASTDDS_DEFAULT_PROFILES_FILE",
    "FASTRTPS_DEFAULT_PROFILES_FILE",
    "FASTDDS_BUILTIN_TRANSPORTS",
    "ROS_DISCOVERY_SERVER",
    "ROS_LOCALHOST_ONLY",
    "ROS_STATIC_PEERS",
    "ROS_SUPER_CLIENT",
)


def ros_environment(
    home: Path,
    domain: int = 0,
    discovery: Literal["SUBNET", "LOCALHOST", "OFF", "SYSTEM_DEFAULT"] = "SUBNET",
    fastdds_profile: Path | None = None,
) -> dict[str, str | None]:
    """For ``Host.start(env=...)``; None removes a variable. ``home`` gets ROS's logs (else they land in ~/.ros).

    Both names of the profile variable are set: FASTRTPS_... became FASTDDS_DEFAULT_PROFILES_FILE in Fast DDS 3.
    """
    environment: dict[str, str | None] = dict.fromkeys(DISCOVERY_VARIABLES)
    environment.update(
        ROS_HOME=str(home),
        ROS_LOG_DIR=str(home / "log"),
        ROS_DOMAIN_ID=str(domain),
        ROS_AUTOMATIC_DISCOVERY_RANGE=discovery,
        RMW_IMPLEMENTATION="rmw_fastrtps_cpp",
        RCUTILS_COLORIZED_OUTPUT="0",
        PYTHONUNBUFFERED="1",
    )
    if fastdds_profile is not None:
        environment["FASTDDS_DEFAULT_PROFILES_FILE"] = str(fastdds_profile)
        environment["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(fastdds_profile)
    return environment
