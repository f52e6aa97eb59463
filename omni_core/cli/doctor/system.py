"""Clock, shared memory, sysctls and directories."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from typing import NamedTuple

from omni_core.cli.doctor.finding import Finding, Machine, note, ok, problem, warning

YEAR_2025 = 1_735_689_600  # Unix time; a clock below it was never set
YEAR_2100 = 4_102_444_800
TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
SHM_MIN = 64 << 20  # bytes; Docker's default, which a few camera topics of Fast DDS fill


class Sysctl(NamedTuple):
    key: str
    wanted: int
    at_least: bool
    why: str


# Fast DDS's and Cyclone's tuning guides, ROS 2's "DDS tuning".
SYSCTLS = (
    Sysctl("net.ipv4.ipfrag_time", 3, False, "one lost fragment blocks reassembly for that many seconds"),
    Sysctl("net.ipv4.ipfrag_high_thresh", 134_217_728, True, "large messages on a lossy link fill the fragment memory"),
    Sysctl("net.core.rmem_max", 16_777_216, True, "DDS asks for large receive buffers for images and point clouds"),
)


def clock(now: float, synchronised: bool | None) -> Finding:
    """``now``: Unix time; ``synchronised``: None when the kernel does not say."""
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if not YEAR_2025 <= now < YEAR_2100:
        return warning("clock", f"{shown} is wrong: TF and bags of robots disagree", "set it (NTP or PTP)")
    if synchronised is False:
        return note(
            "clock", f"{shown}, not synchronised as far as the kernel knows", "run chrony or PTP, for TF between robots"
        )
    return ok("clock", shown)


def kernel_clock_synchronised() -> bool | None:
    """What NTP or PTP told the kernel; None when it cannot be asked."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        buffer = ctypes.create_string_buffer(512)  # struct timex is 208 bytes; modes 0: only ask
        state = libc.adjtimex(buffer)
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != TIME_ERROR


def shared_memory(machine: Machine) -> Finding:
    hint = "robots simulated on one machine pass data through it, around the overlay: give each its own (unshare -m)"
    path = machine.path("/dev/shm")
    try:
        info = os.statvfs(path)
    except OSError:
        return note(
            "/dev/shm", "not there: Fast DDS uses the network within this machine", "mount -t tmpfs tmpfs /dev/shm"
        )
    total = info.f_blocks * info.f_frsize
    if total < SHM_MIN:
        return warning(
            "/dev/shm",
            f"{total >> 20} MiB; Fast DDS loses large topics within this machine",
            "docker run --shm-size=512m",
        )
    return note("/dev/shm", f"{total >> 20} MiB; {hint}")


def sysctls(machine: Machine) -> list[Finding]:
    return [_sysctl(machine, wanted) for wanted in SYSCTLS]


def _sysctl(machine: Machine, sysctl: Sysctl) -> Finding:
    text = machine.read("/proc/sys/" + sysctl.key.replace(".", "/"))
    if text is None or not text.lstrip("-").isdigit():
        return note(sysctl.key, "cannot be read in this network namespace; it is the host's")
    value = int(text)
    if value >= sysctl.wanted if sysctl.at_least else value <= sysctl.wanted:
        return ok(sysctl.key, text)
    return warning(
        sysctl.key, f"{value}; {sysctl.why}",
        f"sysctl -w {sysctl.key}={sysctl.wanted}, and put the line into /etc/sysctl.d/60-omni.conf",
    )  # fmt: skip


def run_directory(path: str, access: Callable[[str, int], bool] = os.access) -> Finding:
    """Writable, or can be made."""
    existing = path
    while not os.path.isdir(existing) and existing != "/":
        existing = os.path.dirname(existing)
    if access(existing, os.W_OK | os.X_OK):
        return ok("run_dir", path if existing == path else f"{path} will be made")
    return problem("run_dir", f"{existing} is not writable for this user", "run as root, or set run_dir to your own")
