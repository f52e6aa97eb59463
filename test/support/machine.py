"""What iproute2 says of the namespace of the caller: to set a machine up, and to compare it before and after."""

from __future__ import annotations

import gc
import os
import re
import subprocess


def ip(command: str) -> str:
    """``ip("link set lo up")``. Raises AssertionError with what it said."""
    result = subprocess.run(["ip", *command.split()], capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"ip {command}: {result.stderr}"
    return result.stdout


def machine() -> dict[str, list[str]]:
    """Interfaces, addresses and routes: equal before and after something that left no trace."""
    return {
        "links": sorted(_line(line) for line in ip("-o -d link").splitlines()),
        "addresses": sorted(_line(line) for line in ip("-o address").splitlines()),
        "routes": sorted(_line(line) for family in "46" for line in ip(f"-{family} route show table all").splitlines()),
    }


def _line(text: str) -> str:
    """Without what changes by itself: timers of a bridge, blanks."""
    text = re.sub(r"\b\w*(timer|ageing_time|gc_timer)\s+[\d.]+", "", text.replace("\\", " "))
    return " ".join(text.split())


def open_files() -> int:
    gc.collect()  # what an earlier test has left in a cycle must not go while this one counts
    return len(os.listdir("/proc/self/fd"))
