"""The refusals that most set-ups meet first."""

from __future__ import annotations

import re
from pathlib import Path

from omni_core.errors import SystemRefused

# linux/capability.h
CAP_NET_ADMIN = 12
CAP_SYS_ADMIN = 21
CAP_BPF = 39


def effective_capabilities(status: str) -> int | None:
    """Bit mask, of the text of /proc/self/status; None when it does not say."""
    match = re.search(r"^CapEff:\s*([0-9a-fA-F]+)$", status, re.MULTILINE)
    return int(match[1], 16) if match else None


def no_capability(problem: str) -> SystemRefused:
    return SystemRefused(
        "CAP_NET_ADMIN",
        problem,
        "run as root, or grant it (systemd: AmbientCapabilities=CAP_NET_ADMIN; docker: --cap-add NET_ADMIN)",
    )


def require_sys_admin() -> None:
    """Raises SystemRefused. With CAP_BPF and CAP_PERFMON programs can be loaded and attached, but not be found by their
    number (BPF_PROG_GET_FD_BY_ID), which is how they are taken off again."""
    effective = effective_capabilities(Path("/proc/self/status").read_text())
    if effective is not None and not effective >> CAP_SYS_ADMIN & 1:
        raise SystemRefused(
            "CAP_SYS_ADMIN",
            "missing; without it the programs of the engine kernel cannot be taken off again",
            "run as root, or grant it (systemd: AmbientCapabilities=CAP_NET_ADMIN CAP_SYS_ADMIN; docker: --cap-add), "
            "or use the engine native",
        )
