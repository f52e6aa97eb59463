"""What a lab needs of the machine, and calls of iproute2."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tools.netlab.process import LabError

TOOLS = {"ip": "iproute2", "tc": "iproute2", "nsenter": "util-linux", "setpriv": "util-linux", "unshare": "util-linux"}
COMMAND_TIMEOUT = 30.0  # s


@functools.cache
def unavailable() -> str | None:
    """Why no lab can be made on this machine, with the fix; None when it can."""
    if os.geteuid() != 0:
        return "network namespaces need root: run with sudo"
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            return f"the command {tool} is missing: apt-get install {package}"
    probe = subprocess.run(["unshare", "--net", "--mount", "--uts", "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        return f"this machine forbids new network namespaces (CAP_SYS_ADMIN is needed): {probe.stderr.strip()}"
    return None


def has_ipv6() -> bool:
    return Path("/proc/sys/net/ipv6").exists()


def run_ip(arguments: Sequence[str], check: bool = True) -> subprocess.CompletedProcess[str]:
    return run_tool(["ip", *arguments], check=check)


def ip_batch(namespace: str, commands: str) -> None:
    """Many ``ip`` commands, one per line, inside a namespace. Raises LabError at the first that fails."""
    run_tool(["ip", "-n", namespace, "-batch", "-"], stdin=commands)


def run_tool(command: Sequence[str], check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """In a session of its own: a Ctrl-C at the terminal reaches the lab only, which then cleans up in order."""
    result = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=COMMAND_TIMEOUT, start_new_session=True
    )
    if check and result.returncode != 0:
        detail = f"{stdin or ''}{result.stderr.strip()}"
        raise LabError(f"{' '.join(command)}: exit status {result.returncode}\n{detail}")
    return result
