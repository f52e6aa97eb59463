"""The driver of a Ganglion with the engine native, on a machine of the test's own: verbs, leaks, refusals, deaths."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.machine import ip, machine, open_files
from support.own_network import own_network

from omni_core.config import ganglion
from omni_core.crypto.identity import key_text
from omni_core.errors import ConfigError, SystemRefused
from omni_core.io import udp_group
from omni_core.io.ganglion_driver import GanglionDriver
from omni_core.io.keyfile import create_identity
from omni_core.io.lifecycle import State
from omni_core.io.native import port as native_port
from omni_core.io.native.binary import native_binary
from omni_core.io.native.process import NativeProcess
from tools.netlab import wait_for

pytestmark = pytest.mark.netns


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    try:
        native_binary()
    except SystemRefused as missing:
        pytest.skip(str(missing))
    with own_network():
        for scope in ("all", "default"):
            Path(f"/proc/sys/net/ipv6/conf/{scope}/accept_dad").write_text("0")
        ip("link add eth0 type veth peer name far0")
        ip("link set far0 up")
        ip("link set eth0 up")
        ip("address add 192.0.2.5/24 dev eth0")
        wait_for(lambda: ip("address").count(" fe80::") == 2 and "state UP" in ip("link show eth0"), 5, "eth0")
        yield


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def settings(tmp_path: Path, run_dir: Path) -> dict[str, object]:
    """A robot that is alone."""
    stranger = create_identity(str(tmp_path / "stranger.key"))
    return {
        "key_file": str(tmp_path / "key"),
        "cluster": "fleet",
        "static_peers": [f"{key_text(stranger.public_key)}@192.0.2.99:51820"],
        "vip4": "10.77.0.1/24",
        "engine": "native",
        "run_dir": str(run_dir),
    }


def make(settings: dict[str, object], **changes: object) -> GanglionDriver:
    return GanglionDriver(ganglion.validate({**settings, **changes}))


def runs(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def left_in(directory: Path) -> list[str]:
    return sorted(os.listdir(directory)) if directory.exists() else []


def engine_of(driver: GanglionDriver) -> NativeProcess:
    assert isinstance(driver._port, native_port.NativePort)
    return driver._port._process


async def until(condition: Callable[[], Any], what: str, timeout: float = 10.0) -> None:
    """The driver goes on meanwhile."""
    end = asyncio.get_running_loop().time() + timeout
    while not condition():
        assert asyncio.get_running_loop().time() < end, f"waited for {what}"
        await asyncio.sleep(0.01)


async def test_the_verbs(settings: dict[str, object], run_dir: Path) -> None:
    before = machine()
    driver = make(settings)
    for _ in range(2):
        await driver.configure()
        assert driver.state is State.INACTIVE and driver.status().engine == "native"
        assert "10.77.0.1/24" in ip("address show dev omni0") and driver.port == 51820
        assert left_in(run_dir) == ["omni0.json", "omni0.lock", "omni0.native.sock", "omni0.sock"]
        for _ in range(2):
            await driver.activate()
            assert driver.status().state == "running"
            await driver.deactivate()
            assert driver.status().state == "stopped" and "omni0" in ip("link")
        await driver.activate()
        await driver.cleanup()
        assert driver.state is State.UNCONFIGURED and machine() == before and left_in(run_dir) == []


async def test_many_lives_leave_no_file_no_task_no_thread_and_no_process(
    settings: dict[str, object], run_dir: Path
) -> None:
    before, driver = machine(), make(settings)
    await driver.activate()
    await driver.cleanup()
    files, threads = open_files(), threading.active_count()
    for life in range(20):
        await (driver.activate() if life % 2 else driver.configure())
        pid = engine_of(driver).pid
        await driver.cleanup()
        assert not runs(pid)
    assert open_files() == files and asyncio.all_tasks() == {asyncio.current_task()}
    assert threading.active_count() <= threads + 2
    assert machine() == before and left_in(run_dir) == []


async def test_leave_and_take_over(settings: dict[str, object], run_dir: Path) -> None:
    before = machine()
    first, second = make(settings), make(settings, listen_port=0)
    await first.activate()
    pid, files = engine_of(first).pid, left_in(run_dir)
    await first.leave()
    assert first.left_running and left_in(run_dir) == ["omni0.json", "omni0.native.sock"]
    await second.activate()
    assert engine_of(second).pid == pid and second.port == 51820 and left_in(run_dir) == files
    await second.cleanup()
    assert machine() == before and left_in(run_dir) == [] and not runs(pid)


# --- refusals ---------------------------------------------------------------------------------------------------------


def refuse(*_: object, **__: object) -> Any:
    raise SystemRefused("test", "it is refused", "do not test")


STEPS = {
    "the queues": (native_port.TapQueues, "open"),
    "sockets": (udp_group, "bind_group"),
    "their program": (udp_group, "steer"),
    "the process": (native_port.NativeProcess, "start"),
    "routes": (native_port, "RouteLookup"),
    "the plane": (native_port, "NativeDataPlane"),
    "the agreement": (native_port, "agreement"),
}


@pytest.mark.parametrize("step", STEPS)
async def test_what_is_refused_leaves_nothing(
    settings: dict[str, object], run_dir: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, driver = machine(), make(settings)
    await driver.configure()
    await driver.cleanup()
    files = open_files()
    where, name = STEPS[step]
    monkeypatch.setattr(where, name, refuse)
    with pytest.raises(SystemRefused, match="it is refused"):
        await driver.configure()
    assert machine() == before and left_in(run_dir) == [] and open_files() == files
    await make(settings, engine="python").configure()  # the port is free


async def test_a_port_that_is_taken(settings: dict[str, object], run_dir: Path) -> None:
    """Also by somebody who would share it."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("0.0.0.0", 51820))
        with pytest.raises(ConfigError, match="UDP port 51820 is in use"):
            await make(settings).configure()
        assert left_in(run_dir) == []


# --- deaths -----------------------------------------------------------------------------------------------------------


async def test_an_engine_that_dies_is_replaced(
    settings: dict[str, object], run_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, driver = machine(), make(settings)
    await driver.activate()
    made = ip("-o link show dev omni0").split(":")[0]
    for number in range(2):
        old = engine_of(driver)
        os.kill(old.pid, signal.SIGKILL)
        await until(lambda dead=old: engine_of(driver) is not dead and driver._pump is not None, "another one")
        assert not runs(old.pid) and driver.state is State.ACTIVE
        assert ip("-o link show dev omni0").split(":")[0] == made
        assert len([line for line in caplog.messages if "the engine has ended" in line]) == number + 1
    assert driver.fault is None
    await driver.cleanup()
    assert machine() == before and left_in(run_dir) == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_engine_that_dies_while_nothing_is_forwarded(settings: dict[str, object]) -> None:
    driver = make(settings)
    await driver.activate()
    await driver.deactivate()
    old = engine_of(driver)
    os.kill(old.pid, signal.SIGKILL)
    driver.status()
    await driver.activate()
    await until(lambda: engine_of(driver) is not old and driver._pump is not None, "another one")
    await driver.cleanup()


VERBS: dict[str, Callable[[GanglionDriver], Awaitable[object]]] = {
    "cleanup": lambda driver: driver.cleanup(),
    "deactivate": lambda driver: driver.deactivate(),
    "leave": lambda driver: driver.leave(),
    "switch": lambda driver: driver.switch_engine("python"),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_verbs_while_another_engine_is_awaited(
    settings: dict[str, object], run_dir: Path, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come between two attempts, and are not held up by them."""
    before, driver = machine(), make(settings)
    await driver.activate()
    start = native_port.NativeProcess.start
    attempts: list[int] = []

    def refused(*_: object, **__: object) -> Any:
        attempts.append(1)
        raise SystemRefused("test", "it is refused", "do not test")

    monkeypatch.setattr(native_port.NativeProcess, "start", refused)
    os.kill(engine_of(driver).pid, signal.SIGKILL)
    await until(lambda: len(attempts) >= 2, "the second attempt")
    await asyncio.wait_for(VERBS[verb](driver), 5)
    monkeypatch.setattr(native_port.NativeProcess, "start", start)
    if verb == "switch":
        assert driver.status().engine == "python"
    elif verb == "deactivate":
        await driver.activate()
        await until(lambda: driver.status().state == "running" and engine_of(driver).client is not None, "it again")
    await driver.cleanup()
    assert machine() == before and left_in(run_dir) == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_interface_that_was_taken_away_together_with_the_engine(settings: dict[str, object]) -> None:
    driver = make(settings)
    task = asyncio.create_task(driver.run())
    await until(lambda: driver.state is State.ACTIVE, "it")
    ip("link del omni0")
    with pytest.raises(SystemRefused, match="was removed by somebody else"):
        await asyncio.wait_for(task, 10)
