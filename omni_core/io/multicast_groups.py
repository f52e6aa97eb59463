"""Which multicast groups this machine listens to on an interface, from the kernel's own table.

    /proc/net/dev_mcast    4    omni0           1     0     01005e7f0001
                           index, interface, users, users that asked for it by netlink, group MAC address

A join of an IPv4 or IPv6 group puts its MAC address there at once, and what a VLAN or macvlan device on top of the
interface listens to is there too, which /proc/net/igmp and igmp6 do not have. The table is of the network namespace of
the thread that reads it. There is no news of a change: it is looked for now and then, and at once when a
report or a new DDS participant was seen, as a join comes in front of both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from omni_core.constants import LIVENESS_POLL
from omni_core.engines.ganglion import GanglionEngine
from omni_core.io.clock import monotonic
from omni_core.types import Mac

_TABLE = Path("/proc/thread-self/net/dev_mcast")
_Groups: TypeAlias = "frozenset[Mac] | None"  # None: unknown


def joined_groups(interface: str, table: Path = _TABLE) -> frozenset[Mac] | None:
    """Group MAC addresses. None when the kernel does not say."""
    try:
        rows = (line.split() for line in table.read_text("ascii").splitlines())
        return frozenset(bytes.fromhex(row[4]) for row in rows if row[1] == interface)
    except (OSError, ValueError, IndexError):
        return None


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


def watch_groups(
    interface: str, engine: GanglionEngine, flush: Callable[[], None], is_bridged: Callable[[], bool]
) -> GroupsWatch:
    """Started. ``flush`` carries out what the engine decides. ``is_bridged``: the interface is a port of some bridge,
    and so the table says nothing of who listens behind it."""

    def tell(groups: frozenset[Mac] | None) -> None:
        engine.set_memberships(groups, monotonic())
        flush()

    watch = GroupsWatch(lambda: None if is_bridged() else joined_groups(interface), tell)
    watch.start()
    return watch
