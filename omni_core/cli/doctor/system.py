"""Clock, shared memory, sysctls and directories."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable

from omni_core.cli.doctor.finding import Finding, Machine, note, ok, problem, warning
from omni_core.dds.settings import SETTINGS, Setting

YEAR_2025 = 1_735_689_600  # Unix time; a clock below it was never set
YEAR_2100 = 4_102_444_800
TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
SHM_MIN = 64 << 20  # bytes; Docker's default, which a few camera topics of Fast DDS fill


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
    return [_sysctl(machine, wanted) for wanted in SETTINGS]


def _sysctl(machine: Machine, setting: Setting) -> Finding:
    text = machine.read(setting.path)
    if text is None or not text.lstrip("-").isdigit():
        return note(setting.key, "cannot be read in this network namespace; it is the host's")
    if setting.is_good(int(text)):
        return ok(setting.key, text)
    return warning(
        setting.key, f"{text}; {setting.why}",
        f"sysctl -w {setting.key}={setting.wanted}, and put the line into /etc/sysctl.d/60-omni.conf",
    )  # fmt: skip


def run_directory(path: str, access: Callable[[str, int], bool] = os.access) -> Finding:
    """Writable, or can be made."""
    existing = path
    while not os.path.isdir(existing) and existing != "/":
        existing = os.path.dirname(existing)
    if access(existing, os.W_OK | os.X_OK):
        return ok("run_dir", path if existing == path else f"{path} will be made")
    return problem("run_dir", f"{existing} is not writable for this user", "run as root, or set run_dir to your own")
