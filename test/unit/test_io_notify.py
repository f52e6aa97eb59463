"""Words to a service manager."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from omni_core.io.notify import READY, STOPPING, WATCHDOG, Watchdog, notify, watchdog_period


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        yield sock


def environment(sock: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": sock.getsockname(), **more}


def test_a_manager_is_told(manager: socket.socket) -> None:
    assert notify(READY, "STATUS=serving", environment=environment(manager))
    assert manager.recv(100) == b"READY=1\nSTATUS=serving"


def test_an_abstract_socket() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0omni-test-{os.getpid()}")
        assert notify(STOPPING, environment={"NOTIFY_SOCKET": f"@omni-test-{os.getpid()}"})
        assert sock.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("path", ["", "relative", "/no/such/socket", "vsock:1:2"])
def test_nobody_to_be_told(path: str) -> None:
    assert not notify(READY, environment={"NOTIFY_SOCKET": path})
    assert not notify(READY, environment={})


def test_a_manager_that_does_not_read_stops_nobody(manager: socket.socket) -> None:
    told = [notify(WATCHDOG, environment=environment(manager)) for _ in range(3000)]
    assert told[0] and not told[-1]


@pytest.mark.parametrize(
    ("given", "period"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({}, None),
    ],
)
def test_how_often(given: dict[str, str], period: float | None) -> None:
    assert watchdog_period(given) == period


async def test_signs_of_life(manager: socket.socket) -> None:
    watchdog = Watchdog(environment(manager, WATCHDOG_USEC="20000"))
    watchdog.start()
    for _ in range(3):
        assert await asyncio.get_running_loop().run_in_executor(None, manager.recv, 100) == WATCHDOG.encode()
    watchdog.stop()
    watchdog.stop()
