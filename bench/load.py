"""Processor time over one cell of the benchmark: what the machine worked, what others took of it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

TICK = 1.0 / os.sysconf("SC_CLK_TCK")  # s
KTHREADD = 2  # parent of kernel threads, whose time (softirq, napi) is work for whoever sent the packets


@dataclass(frozen=True)
class Load:
    """Seconds. ``busy`` is all processors' working time, kernel and interrupts with it, without ``steal``."""

    elapsed: float
    busy: float
    steal: float  # the hypervisor ran something else
    foreign: float  # of ``busy``: processes that are not the lab's; such as ended meanwhile are missed

    @property
    def own(self) -> float:
        return max(0.0, self.busy - self.foreign)


class LoadMeter:
    """``stop()`` gives the load since construction. ``namespaces``: inodes of the lab's network namespaces."""

    def __init__(self, namespaces: set[int]) -> None:
        self._namespaces = namespaces
        self._foreign = self._processes()
        self._busy, self._steal = processors()
        self._began = time.monotonic()

    def stop(self) -> Load:
        elapsed = time.monotonic() - self._began
        busy, steal = processors()
        now = self._processes()
        foreign = sum(ticks - self._foreign.get(process, 0) for process, ticks in now.items())
        return Load(elapsed, (busy - self._busy) * TICK, (steal - self._steal) * TICK, foreign * TICK)

    def _processes(self) -> dict[tuple[int, int], int]:
        """(pid, start time) -> ticks used, of user processes outside the lab."""
        found = {}
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                stat = Path(entry.path, "stat").read_text()
                fields = stat[stat.rindex(")") + 2 :].split()  # from field 3 of proc(5) on
                if int(fields[1]) == KTHREADD or os.stat(f"{entry.path}/ns/net").st_ino in self._namespaces:
                    continue
            except OSError:
                continue  # it ended
            found[(int(entry.name), int(fields[19]))] = int(fields[11]) + int(fields[12])
        return found


def processors() -> tuple[int, int]:
    """Ticks since boot, all processors together: busy and stolen (proc(5), /proc/stat)."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return user + nice + system + irq + softirq, steal
