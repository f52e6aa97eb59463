"""Which multicast groups this machine has joined on an interface, from the kernel's own tables.

    /proc/net/igmp     4  omni0 : 2 V3            a line for each interface, then one for each of its groups, the
                           010000E0 1 0:0 0       address as the machine holds it in memory, printed as a number
    /proc/net/igmp6    4  omni0  ff02...01 1 0 0  a line for each group: index, interface, address, users, flags, timer

The tables are of the network namespace of the thread that reads them. There is no news of a change: it is looked for
now and then, and at once when a report or a new DDS participant was seen, as a join comes in front of both.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from omni_core.constants import LIVENESS_POLL
from omni_core.engines.ganglion import GanglionEngine
from omni_core.io.clock import monotonic
from omni_core.types import Mac

_TABLES = Path("/proc/thread-self/net")
_Groups: TypeAlias = "frozenset[Mac] | None"  # None: unknown


def joined_groups(interface: str, tables: Path = _TABLES) -> frozenset[Mac] | None:
    """As group MAC addresses (RFC 1112, 6.4; RFC 2464, 7). None when the kernel does not say."""
    try:
        groups = _ipv4_groups((tables / "igmp").read_text("ascii"), interface)
    except (OSError, ValueError):
        return None  # without CONFIG_IP_MULTICAST there is no such table
    try:
        return groups | _ipv6_groups((tables / "igmp6").read_text("ascii"), interface)
    except FileNotFoundError:
        return groups  # a kernel without IPv6
    except (OSError, ValueError):
        return None


def _ipv4_groups(table: str, interface: str) -> frozenset[Mac]:
    groups = set()
    is_ours = False
    for line in table.splitlines()[1:]:
        fields = line.split()
        if not line.startswith("\t"):
            is_ours = len(fields) > 1 and fields[1].rstrip(":") == interface
        elif is_ours:
            address = int(fields[0], 16).to_bytes(4, sys.byteorder)
            groups.add(b"\x01\x00\x5e" + bytes([address[1] & 0x7F]) + address[2:])
    return frozenset(groups)


def _ipv6_groups(table: str, interface: str) -> frozenset[Mac]:
    rows = (line.split() for line in table.splitlines())
    return frozenset(b"\x33\x33" + bytes.fromhex(row[2])[-4:] for row in rows if len(row) > 2 and row[1] == interface)


class GroupsWatch:
    """Tells when they have changed, on the running event loop. ``start`` it; ``tell`` gets the first look, too."""

    def __init__(
        self, look: Callable[[], frozenset[Mac] | None], tell: Callable[[frozenset[Mac] | None], None]
    ) -> None:
        self._look = look
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._seen: frozenset[Mac] | None = None  # unknown, as the engine has it
        self._next: asyncio.TimerHandle | None = None
        self._soon: asyncio.Handle | None = None

    def start(self) -> None:
        self._plan()
        self.look_soon()

    def stop(self) -> None:
        """Idempotent."""
        for handle in (self._next, self._soon):
            if handle is not None:
                handle.cancel()
        self._next = self._soon = None

    def look_soon(self) -> None:
        """However many reports came in one batch, one look."""
        if self._soon is None and self._next is not None:
            self._soon = self._loop.call_soon(self._look_now)

    def _look_now(self) -> None:
        self._soon = None
        groups = self._look()
        if groups != self._seen:
            self._seen = groups
            self._tell(groups)

    def _plan(self) -> None:
        """At the moments of the engine's own look at its peers: no wake-up more."""
        self._next = self._loop.call_at((self._loop.time() // LIVENESS_POLL + 1) * LIVENESS_POLL, self._on_time)

    def _on_time(self) -> None:
        self._plan()
        self._look_now()


def watch_groups(interface: str, engine: GanglionEngine, flush: Callable[[], None]) -> GroupsWatch:
    """Started. ``flush`` carries out what the engine decides."""

    def tell(groups: frozenset[Mac] | None) -> None:
        engine.set_memberships(groups, monotonic())
        flush()

    watch = GroupsWatch(lambda: joined_groups(interface), tell)
    watch.start()
    return watch
