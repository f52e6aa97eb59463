"""Whether DDS can use the overlay: the environment and profile of this process, and the machine's kernel settings.

Other nodes are started with environments of their own; `omni dds --check` and `omni doctor` look further.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from omni_core.dds.profiles import PROFILE_VARIABLES, middleware
from omni_core.dds.settings import SETTINGS
from omni_core.errors import ConfigError
from omni_ros2.diagnostics import DDS, Level, Verdict

PROFILE_MAX = 1 << 20  # bytes of a profile that are read
DOMAIN_MAX = 232  # DDSI-RTPS 2.5, section 9.6.2.3: ports are 16 bits
KEEPS_LOCAL = ("LOCALHOST", "OFF")  # values of ROS_AUTOMATIC_DISCOVERY_RANGE
# What limits a profile to interfaces: Fast DDS 3.x and 2.x, Cyclone DDS.
_LIMITS = re.compile(r"<(allowlist|interfaceWhiteList|NetworkInterface\s|NetworkInterfaceAddress)", re.IGNORECASE)


@dataclass(frozen=True)
class DdsFacts:
    rmw: str  # RMW implementation that this process has loaded
    domain: int | None  # None: ROS_DOMAIN_ID is no number
    keeps_local: str = ""  # the variable that keeps DDS of this process on this machine, with its value
    profile_name: str = ""  # variable and file of the profile; "" when there is none
    profile: str | None = None  # its text; None: it cannot be read
    settings: dict[str, int] = field(default_factory=dict)  # kernel settings that this network namespace has


def look(environment: Mapping[str, str], rmw: str, read: Callable[[str], str | None]) -> DdsFacts:
    """``read``: a file's text, None where it cannot be read."""
    name, profile = _profile(environment, rmw, read)
    values = {setting.key: read(setting.path) for setting in SETTINGS}
    return DdsFacts(
        rmw=rmw,
        domain=_domain(environment.get("ROS_DOMAIN_ID", "")),
        keeps_local=_keeps_local(environment),
        profile_name=name,
        profile=profile,
        settings={key: int(value) for key, value in values.items() if value and value.strip().isdigit()},
    )


def read_file(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(PROFILE_MAX)
    except (OSError, ValueError):
        return None


def dds_setup(
    facts: DdsFacts, interface: str, vips: tuple[str, ...], domains: list[int], judges_settings: bool
) -> Verdict:
    """``vips``: addresses of the overlay interface. ``judges_settings``: kernel settings are not left to the user."""
    bound = _bound(facts, (interface, *vips))
    troubles = []
    if facts.keeps_local.endswith("=OFF"):
        troubles.append(f"{facts.keeps_local}: this process talks to nobody. Fix: unset it, or set LOCALHOST")
    if facts.domain is None:
        troubles.append(f"ROS_DOMAIN_ID is no domain. Fix: use 0..{DOMAIN_MAX}")
    if facts.profile_name and facts.profile is None:
        troubles.append(f"{facts.profile_name} cannot be read. Fix: omni dds --write")
    elif bound == "to others":
        troubles.append(f"{facts.profile_name} leaves {interface} out. Fix: omni dds --write")
    if judges_settings:
        troubles += [
            f"{setting.key} is {value}, wanted {setting.wanted}: {setting.why}"
            for setting in SETTINGS
            if (value := facts.settings.get(setting.key)) is not None and not setting.is_good(value)
        ]
    values = (
        ("RMW implementation", facts.rmw),
        ("domain", "" if facts.domain is None else str(facts.domain)),
        ("discovery range", facts.keeps_local),
        ("profile", facts.profile_name),
        ("bound to the overlay", bound),
        ("domains with participants here", ", ".join(map(str, domains))),
        *((key, str(value)) for key, value in facts.settings.items()),
    )
    if troubles:
        return Verdict(DDS, Level.WARN, "; ".join(troubles), values)
    said = f"bound to {interface}" if bound == "yes" else "not bound to one interface"
    if facts.keeps_local:  # as fleet.launch.py has it: the overlay has /omni/fleet
        said = "this node is for this machine alone"
    return Verdict(DDS, Level.OK, f"{facts.rmw}, domain {facts.domain}, {said}", values)


def _bound(facts: DdsFacts, names: tuple[str, ...]) -> str:
    if not facts.profile or not _LIMITS.search(facts.profile):
        return "no"
    found = any(name and re.search(rf"(?<![\w.:-]){re.escape(name)}(?![\w.:-])", facts.profile) for name in names)
    return "yes" if found else "to others"


def _domain(text: str) -> int | None:
    if not text:
        return 0
    return int(text) if text.isascii() and text.isdigit() and int(text) <= DOMAIN_MAX else None


def _keeps_local(environment: Mapping[str, str]) -> str:
    if environment.get("ROS_LOCALHOST_ONLY", "0") not in ("", "0"):
        return f"ROS_LOCALHOST_ONLY={environment['ROS_LOCALHOST_ONLY']}"
    reach = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    return f"ROS_AUTOMATIC_DISCOVERY_RANGE={reach}" if reach in KEEPS_LOCAL else ""


def _profile(environment: Mapping[str, str], rmw: str, read: Callable[[str], str | None]) -> tuple[str, str | None]:
    """("VARIABLE=file", its text) of the middleware that ``rmw`` is."""
    try:
        kind = middleware(rmw, environment.get("ROS_DISTRO", ""))
    except ConfigError:
        return "", None
    # Fast DDS 3.x reads the variable of 2.x as well.
    variables = [PROFILE_VARIABLES[kind], *([PROFILE_VARIABLES["fastdds2"]] if kind == "fastdds" else [])]
    for variable in variables:
        value = environment.get(variable, "").strip()
        if value.startswith("<"):
            return variable, value
        if value:
            texts = [read(part.removeprefix("file://")) for part in value.split(",") if part]
            return f"{variable}={value}", None if None in texts else "\n".join(text for text in texts if text)
    return "", None
