"""Facts about DDS on this machine, for `omni dds --check`: profile, addresses, kernel settings, processes."""

from __future__ import annotations

import glob
import os
from collections import defaultdict
from collections.abc import Mapping

from omni_core.constants import RTPS_DOMAIN_GAIN, RTPS_PORT_BASE
from omni_core.dds.diagnosis import Profile
from omni_core.dds.profiles import FASTDDS2_DISTROS, PROFILE_VARIABLES
from omni_core.dds.settings import SETTINGS, Setting
from omni_core.io.netlink import Netlink

PROFILE_MAX = 1 << 20  # bytes


def profile_of(environment: Mapping[str, str]) -> Profile | None:
    """The profile that DDS reads in such an environment."""
    if environment.get("RMW_IMPLEMENTATION", "") == "rmw_cyclonedds_cpp":
        uri = environment.get(PROFILE_VARIABLES["cyclonedds"], "").strip()
        if not uri:
            return None
        return Profile("in CYCLONEDDS_URI", uri) if uri.startswith("<") else _read(uri.removeprefix("file://"))
    newer, older = PROFILE_VARIABLES["fastdds"], PROFILE_VARIABLES["fastdds2"]
    names = (older,) if environment.get("ROS_DISTRO", "") in FASTDDS2_DISTROS else (newer, older)
    path = next((environment[name] for name in names if environment.get(name)), None)
    return None if path is None else _read(path)


def _read(path: str) -> Profile:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return Profile(path, file.read(PROFILE_MAX))
    except OSError:
        return Profile(path, None)


def addresses(interface: str) -> tuple[list[str], list[str]]:
    """(of the interface, of the machine), without link-local ones."""
    of_interface, of_machine = [], []
    with Netlink() as netlink:
        names = {link.index: link.name for link in netlink.links()}
        for found in netlink.addresses():
            text = str(found.interface.ip)
            if not found.interface.ip.is_link_local:
                of_machine.append(text)
                if names.get(found.index) == interface:
                    of_interface.append(text)
    return of_interface, of_machine


def bad_settings() -> list[tuple[Setting, int]]:
    """Kernel settings that DDS would like to be better, and what they are."""
    found = []
    for setting in SETTINGS:
        try:
            with open(setting.path, encoding="ascii") as file:
                value = int(file.read())
        except (OSError, ValueError):
            continue
        if not setting.is_good(value):
            found.append((setting, value))
    return found


def local_only_processes(domain: int) -> list[str]:
    """``name (pid)`` of processes whose DDS sockets of a domain are bound to loopback and nothing else.

    So Fast DDS ends up with the profile of `omni dds` when it starts before the overlay has its address.
    """
    local = _bound_to_loopback(RTPS_PORT_BASE + RTPS_DOMAIN_GAIN * domain)
    by_process: dict[str, set[bool]] = defaultdict(set)
    for fd in glob.iglob("/proc/[0-9]*/fd/*"):
        try:
            target = os.readlink(fd)
        except OSError:
            continue
        if target.startswith("socket:[") and (inode := target[8:-1]) in local:
            by_process[fd.split("/")[2]].add(local[inode])
    return sorted(f"{_name(pid)} ({pid})" for pid, kinds in by_process.items() if kinds == {True})


def _bound_to_loopback(first_port: int) -> dict[str, bool]:
    """Inode of each UDP socket of this namespace on a port of DDS -> whether its address is a loopback one."""
    found = {}
    for table, loopback in (("udp", "0100007F"), ("udp6", "0" * 24 + "01000000")):
        try:
            with open(f"/proc/net/{table}", encoding="ascii") as file:
                rows = [line.split() for line in file.readlines()[1:]]
        except OSError:
            continue
        for row in rows:
            address, _, port = row[1].partition(":")
            # Groups are bound as well, whatever the interface.
            if first_port <= int(port, 16) < first_port + RTPS_DOMAIN_GAIN and address != "0100FFEF":
                found[row[9]] = address == loopback
    return found


def _name(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "?"
