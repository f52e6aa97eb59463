"""Telling a service manager how we are: sd_notify(3), a datagram to the socket that it names. Nothing without one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"


def notify(*lines: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Never raises. False where nobody listens."""
    path = environment.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)  # a manager that does not read must not stop us
        sock.connect(address)
        sock.sendall("\n".join(lines).encode())
        return True
    return False


def watchdog_period(environment: Mapping[str, str] = os.environ) -> float | None:
    """s between two signs of life, half of what the manager waits (sd_watchdog_enabled(3)); None: it does not wait."""
    try:
        microseconds = int(environment["WATCHDOG_USEC"])
        of_us = int(environment.get("WATCHDOG_PID") or os.getpid()) == os.getpid()
    except (KeyError, ValueError):
        return None
    return microseconds / 2e6 if of_us and microseconds > 0 else None


class Watchdog:
    """Signs of life from the running event loop: none when it hangs. ``stop`` is idempotent."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._period = watchdog_period(environment)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._period is not None:
            self._tell()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _tell(self) -> None:
        assert self._loop is not None and self._period is not None
        notify(WATCHDOG, environment=self._environment)
        self._handle = self._loop.call_later(self._period, self._tell)
