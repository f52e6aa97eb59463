"""Kernel, capabilities and devices. What only the kernel engine needs is a note, never a problem."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable

from omni_core.cli.doctor.finding import Finding, Machine, note, ok, problem, warning
from omni_core.io.capability import CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN, effective_capabilities

KERNEL_ENGINE = (5, 12)  # 64-bit atomic fetch-and-add with its result in BPF
TUN = "/dev/net/tun"
BPF_FS = "/sys/fs/bpf"


def kernel_version(machine: Machine) -> Finding:
    release = machine.read("/proc/sys/kernel/osrelease")
    match = re.match(r"(\d+)\.(\d+)", release or "")
    if match is None:
        return problem("kernel", "this is not Linux", "run omni on Linux")
    wanted = ".".join(map(str, KERNEL_ENGINE))
    if (int(match[1]), int(match[2])) < KERNEL_ENGINE:
        return note("kernel", f"Linux {release}; the kernel engine needs {wanted}, the others run", "a newer kernel")
    return ok("kernel", f"Linux {release}, new enough for the kernel engine ({wanted}) too")


def _capabilities(machine: Machine) -> int:
    return effective_capabilities(machine.read("/proc/self/status") or "") or 0


def net_admin(machine: Machine) -> Finding:
    if _capabilities(machine) >> CAP_NET_ADMIN & 1:
        return ok("CAP_NET_ADMIN", "granted")
    return problem(
        "CAP_NET_ADMIN", "missing: no overlay interface can be made (a Nucleus needs none)",
        "run as root, or grant it (systemd: AmbientCapabilities=CAP_NET_ADMIN; docker: --cap-add NET_ADMIN)",
    )  # fmt: skip


def bpf_capability(machine: Machine) -> Finding:
    """CAP_BPF and CAP_PERFMON suffice to load the programs; to take them off again, the kernel wants CAP_SYS_ADMIN."""
    capabilities = _capabilities(machine)
    if capabilities >> CAP_SYS_ADMIN & 1:
        return ok("CAP_SYS_ADMIN", "granted")
    if capabilities >> CAP_BPF & 1:
        return warning(
            "CAP_SYS_ADMIN",
            "missing beside CAP_BPF: the kernel engine can load its programs, but not take them off again",
            "run as root, grant CAP_SYS_ADMIN, or use engine native",
        )
    return note(
        "CAP_SYS_ADMIN",
        "missing; only the kernel engine needs it",
        "run as root, or grant CAP_SYS_ADMIN and CAP_NET_ADMIN",
    )


def tun_device(machine: Machine, open_device: Callable[[str, int], int] = os.open) -> Finding:
    path = str(machine.path(TUN))
    missing = problem(TUN, "does not exist", "modprobe tun; in a container add --device /dev/net/tun")
    try:
        if not stat.S_ISCHR(os.stat(path).st_mode):
            return problem(TUN, "is not a device", "rm /dev/net/tun; mknod /dev/net/tun c 10 200")
        os.close(open_device(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO):
            return missing
        return problem(TUN, f"cannot be opened ({error.strerror})", "run as root, or give access to the device")
    return ok(TUN, "can be opened")


def bpf_file_system(machine: Machine) -> Finding:
    for mount in (machine.read("/proc/self/mounts") or "").splitlines():
        words = mount.split()
        if len(words) > 2 and words[1] == BPF_FS and words[2] == "bpf":
            return ok("BPF file system", f"mounted on {BPF_FS}")
    return note(
        "BPF file system", f"not mounted on {BPF_FS}; only the kernel engine needs it", f"mount -t bpf bpf {BPF_FS}"
    )
