"""Ganglion and Nucleus drivers on a machine of the test's own: verbs, refusals, leaks, names that resolve late."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ipaddress
import json
import os
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.machine import ip, machine, open_files
from support.own_network import own_network

from omni_core.config import ganglion, nucleus
from omni_core.crypto.identity import key_text
from omni_core.engines.ganglion_events import GanglionEvent, NucleusChanged, PeerUp
from omni_core.errors import ConfigError, LocalMisuse, OmniError, RegistrationRefused, SystemRefused
from omni_core.io import tap, underlay, underlay_follower
from omni_core.io.admin import request
from omni_core.io.clock import monotonic
from omni_core.io.driver_thread import DriverThread
from omni_core.io.ganglion_driver import GanglionDriver
from omni_core.io.journal import InterfaceLock
from omni_core.io.keyfile import create_identity
from omni_core.io.lifecycle import State
from omni_core.io.nucleus_driver import NucleusDriver
from omni_core.signaling.allow_list import parse_allow_list
from tools.netlab import wait_for

pytestmark = pytest.mark.netns

NOBODY = ipaddress.IPv4Address("10.77.0.99")


@pytest.fixture(autouse=True)
def network():
    with own_network():
        ipv6_setting("accept_dad", "0")
        ip("link add eth0 type veth peer name far0")
        ip("link set far0 up")
        ip("link set eth0 up")
        ip("address add 192.0.2.5/24 dev eth0")
        wait_for(lambda: ip("address").count(" fe80::") == 2 and "state UP" in ip("link show eth0"), 5, "eth0")
        yield


def ipv6_setting(key: str, value: str) -> None:
    for scope in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{scope}/{key}").write_text(value)


@pytest.fixture
def run_dir(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def settings(tmp_path, run_dir):
    """A robot that is alone: enough to be configured."""
    stranger = create_identity(str(tmp_path / "stranger.key"))
    return {
        "key_file": str(tmp_path / "key"),
        "cluster": "fleet",
        "static_peers": [f"{key_text(stranger.public_key)}@192.0.2.99:51820"],
        "vip4": "10.77.0.1/24",
        "engine": "python",
        "run_dir": str(run_dir),
    }


def make(settings: dict[str, object], **changes: object) -> GanglionDriver:
    return GanglionDriver(ganglion.validate({**settings, **changes}))


def left_in(directory: Path) -> list[str]:
    return sorted(os.listdir(directory)) if directory.exists() else []


async def test_the_verbs(settings, run_dir):
    before = machine()
    driver = make(settings)
    with pytest.raises(LocalMisuse):
        driver.status()
    for _ in range(2):
        await driver.configure()
        await driver.configure()
        assert driver.state is State.INACTIVE and driver.status().state == "stopped"
        assert "10.77.0.1/24" in ip("address show dev omni0") and driver.port == 51820
        assert left_in(run_dir) == ["omni0.json", "omni0.lock", "omni0.sock"]
        for _ in range(2):
            await driver.activate()
            await driver.activate()
            assert driver.status().state == "running"
            await driver.deactivate()
            await driver.deactivate()
            assert driver.status().state == "stopped" and "omni0" in ip("link")
        await driver.activate()
        await driver.cleanup()
        await driver.cleanup()
        assert driver.state is State.UNCONFIGURED and machine() == before and left_in(run_dir) == []


async def test_fifty_lives_leave_no_file_no_task_and_no_thread(settings, run_dir):
    before = machine()
    driver = make(settings)
    await driver.activate()
    await driver.cleanup()  # the executor's threads are there from now on
    files, threads = open_files(), threading.active_count()
    for life in range(50):
        await (driver.activate() if life % 5 == 0 else driver.configure())
        await driver.cleanup()
    assert open_files() == files and asyncio.all_tasks() == {asyncio.current_task()}
    assert threading.active_count() <= threads + 2  # of the executor
    assert machine() == before and left_in(run_dir) == []


# --- refusals ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def port_taken():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", 51820))
        yield


@contextlib.contextmanager
def interface_taken():
    ip("link add omni0 type bridge")
    try:
        yield
    finally:
        ip("link del omni0")


@contextlib.contextmanager
def no_tun():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tap, "DEVICE", "/dev/net/missing")
        yield


@contextlib.contextmanager
def key_open_to_others(settings):
    Path(settings["key_file"]).chmod(0o644)
    try:
        yield
    finally:
        Path(settings["key_file"]).chmod(0o600)


@contextlib.contextmanager
def other_ganglion(settings):
    lock = InterfaceLock(settings["run_dir"], "omni0")
    try:
        yield
    finally:
        lock.close()


@contextlib.contextmanager
def other_server(settings):
    path = f"{settings['run_dir']}/omni0.sock"
    os.makedirs(settings["run_dir"], exist_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        try:
            yield
        finally:
            os.unlink(path)


REFUSALS = {
    "port in use": (lambda settings: port_taken(), {}, "listen_port"),
    "interface taken": (lambda settings: interface_taken(), {}, "interface"),
    "no tun device": (lambda settings: no_tun(), {}, "/dev/net/missing"),
    "key open to others": (key_open_to_others, {}, "key_file"),
    "another Ganglion": (other_ganglion, {}, "interface"),
    "another admin socket": (other_server, {}, "run_dir"),
    "no such bridge": (lambda settings: contextlib.nullcontext(), {"bridge": "eth7"}, "bridge"),
    "no such address": (
        lambda settings: contextlib.nullcontext(),
        {"listen_address": ["192.0.2.77"]},
        "listen_address",
    ),
    "no such secret": (lambda settings: contextlib.nullcontext(), {"secret_file": "/nowhere"}, "secret_file"),
    "run_dir is a file": (lambda settings: contextlib.nullcontext(), {"run_dir": "/proc/version"}, "run_dir"),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_a_refusal_names_the_field_and_leaves_nothing(settings, run_dir, case):
    obstacle, changes, field = REFUSALS[case]
    create_identity(settings["key_file"])
    driver = make(settings, **changes)
    before, files = machine(), open_files()
    with obstacle(settings):
        obstructed, there = machine(), left_in(run_dir)
        for verb in (driver.configure, driver.activate):
            with pytest.raises((ConfigError, SystemRefused)) as caught:
                await verb()
            named = caught.value.field if isinstance(caught.value, ConfigError) else caught.value.what
            assert named == field and caught.value.fix and caught.value.exit_code in (2, 3)
            assert driver.state is State.UNCONFIGURED
            assert machine() == obstructed and left_in(run_dir) == there
    assert machine() == before and open_files() == files
    if not changes:  # and when the obstacle is gone it works
        await driver.activate()
        await driver.cleanup()


async def test_two_ganglia_with_one_interface_name(settings, tmp_path):
    first = make(settings)
    await first.activate()
    second = make(settings, listen_port=0, key_file=str(tmp_path / "other"), vip4="10.77.0.2/24")
    with pytest.raises(ConfigError, match="in use by another Ganglion") as caught:
        await second.configure()
    assert caught.value.field == "interface"
    assert first.status().state == "running" and "omni0" in ip("link")
    await first.cleanup()
    await second.configure()
    await second.cleanup()


@pytest.mark.parametrize(
    ("engine", "removed"), [("python", "omni0"), ("kernel", "omni0"), ("kernel", "omni0-syn"), ("kernel", "omni0-tap")]
)
async def test_an_interface_that_is_taken_away_ends_the_run(settings, run_dir, engine, removed):
    before = machine()
    driver = make(settings, engine=engine)
    running = asyncio.create_task(driver.run())
    await until(lambda: driver.state is State.ACTIVE, 60)
    await asyncio.to_thread(ip, f"link del {removed}")
    with pytest.raises(SystemRefused, match=r"omni0\S*: the interface was removed"):
        await asyncio.wait_for(running, 5)
    assert machine() == before and left_in(run_dir) == []


async def test_without_ipv6_there_is_no_vip6_and_all_else_works(settings, caplog):
    ipv6_setting("disable_ipv6", "1")
    driver = make(settings)
    await driver.activate()
    assert "10.77.0.1/24" in ip("address show dev omni0") and "inet6" not in ip("address show dev omni0")
    assert "no VIP6" in caplog.text
    await driver.cleanup()


# --- two robots and a Nucleus on one machine --------------------------------------------------------------------------


async def until(condition, timeout: float = 10.0):
    """Waits on a condition of the event loop."""
    end = asyncio.get_running_loop().time() + timeout
    while not (value := condition()):
        assert asyncio.get_running_loop().time() < end, "the condition did not come true"
        await asyncio.sleep(0.01)
    return value


class Cluster:
    """A Nucleus and robots on loopback."""

    def __init__(self, tmp_path: Path) -> None:
        self.directory = tmp_path
        self.stack = contextlib.AsyncExitStack()
        self.events: dict[str, list[GanglionEvent]] = {}

    async def start_nucleus(self, name: str = "nucleus", port: int = 0, **changes: object) -> NucleusDriver:
        values = {
            "key_file": str(self.directory / "nucleus.key"),
            "clusters": ["fleet"],
            "listen_port": port,
            "http_listen": "",
            "run_dir": str(self.directory / name),
            **changes,
        }
        driver = NucleusDriver(nucleus.validate(values))
        self.stack.push_async_callback(driver.cleanup)
        await driver.activate()
        self.nucleus = driver
        return driver

    async def start(self, number: int, **changes: object) -> GanglionDriver:
        values = {
            "interface": f"omni{number}",
            "key_file": str(self.directory / f"{number}.key"),
            "cluster": "fleet",
            "nucleus": [f"127.0.0.1:{self.nucleus.port}"],
            "nucleus_key": key_text(self.nucleus.public_key),
            "vip4": f"10.77.0.{number}/32",
            "name": f"robot-{number}",
            "listen_port": 0,
            "run_dir": str(self.directory / "run"),
            **changes,
        }
        events = self.events[f"robot-{number}"] = []
        driver = GanglionDriver(ganglion.validate(values), events.append)
        self.stack.push_async_callback(driver.cleanup)
        await driver.activate()
        return driver


@pytest.fixture
async def cluster(tmp_path) -> AsyncIterator[Cluster]:
    cluster = Cluster(tmp_path)
    async with cluster.stack:
        await cluster.start_nucleus()
        yield cluster


async def test_robots_find_each_other(cluster):
    a, b = await cluster.start(1), await cluster.start(2)
    assert await a.wait_for_peers(1, 10) == await b.wait_for_peers(1, 10) == 1
    result = await a.ping(b.config.vip4.ip)
    assert result.rtt is not None and 0 < result.rtt < 1
    assert (await a.ping(b._membership.identity.vip6)).rtt is not None
    assert (await a.ping(b._membership.identity.mac)).rtt is not None
    events = cluster.events["robot-1"]
    assert any(isinstance(event, NucleusChanged) and event.state == "registered" for event in events)
    assert [event.name for event in events if isinstance(event, PeerUp)] == ["robot-2"]
    assert cluster.nucleus.status().clusters[0].edges == 2
    await b.deactivate()
    await until(lambda: not any(peer.state == "up" for peer in a.status().peers))
    await b.activate()
    assert await a.wait_for_peers(1, 10) == 1


async def test_a_ping_that_nobody_answers(cluster):
    a = await cluster.start(1)
    await until(lambda: a.status().nucleus_state == "registered")
    result = await a.ping(NOBODY, timeout=0.3)
    assert result.rtt is None and result.text
    await a.deactivate()
    result = await a.ping(NOBODY, timeout=0.3)
    assert result.rtt is None and "not active" in result.text


async def test_a_deactivated_robot_ends_its_pings(cluster):
    a = await cluster.start(1)
    ping = asyncio.create_task(a.ping(NOBODY, timeout=60))
    await asyncio.sleep(0)
    await a.deactivate()
    assert (await asyncio.wait_for(ping, 1)).rtt is None
    assert a._pings == {}


async def test_a_vip_that_is_taken_is_refused_with_the_reason(cluster):
    a = await cluster.start(1)
    await until(lambda: a.status().nucleus_state == "registered")
    b = await cluster.start(2, vip4="10.77.0.1/32")
    with pytest.raises(RegistrationRefused, match=r"10\.77\.0\.1") as caught:
        await b.wait_for_peers(1, 10)
    assert caught.value.exit_code == 4
    assert a.status().nucleus_state == "registered"


async def test_waiting_for_peers_that_do_not_come(cluster):
    a = await cluster.start(1)
    assert await a.wait_for_peers(0, 5) == 0
    assert await a.wait_for_peers(3, 0.2) == 0


async def test_the_admin_socket(cluster):
    a, b = await cluster.start(1), await cluster.start(2)

    async def ask(command: str, driver: GanglionDriver = a, **arguments: object):
        return await asyncio.to_thread(request, driver.config.admin_socket, command, **arguments)

    assert await ask("wait", peers=1, timeout=10) == {"peers": 1, "reached": True}
    assert await ask("wait", peers=2, timeout=0.1) == {"peers": 1, "reached": False}
    assert (await ask("ping", address="10.77.0.2"))["rtt_s"] > 0
    assert (await ask("ping", address="10.77.0.99", timeout=0.1))["rtt_s"] is None
    status = await ask("status")
    assert status["lifecycle"] == "active" and status["interface"] == "omni1" and status["pid"] == os.getpid()
    assert [peer["name"] for peer in status["peers"]] == ["robot-2"]
    for command, bad in [
        ("ping", {"address": "nobody"}),
        ("ping", {}),
        ("ping", {"address": "10.77.0.2", "timeout": -1}),
        ("ping", {"address": "10.77.0.2", "timeout": "1"}),
        ("wait", {"peers": "many"}),
        ("wait", {"peers": True}),
        ("wait", {}),
    ]:
        with pytest.raises(OmniError, match="Fix:") as caught:
            await ask(command, **bad)
        assert caught.value.exit_code == 2
    running = asyncio.create_task(b.run())
    assert (await ask("stop", b))["pid"] == os.getpid()
    await asyncio.wait_for(running, 5)
    assert b.state is State.UNCONFIGURED
    shown = await asyncio.to_thread(request, cluster.nucleus.config.admin_socket, "status")
    assert shown["lifecycle"] == "active" and shown["port"] == cluster.nucleus.port
    assert "secret" not in json.dumps([status, shown])


class LateResolver:
    """getaddrinfo of a robot whose Wi-Fi comes after it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.ready = False
        self.asked = 0
        self._real = socket.getaddrinfo
        patch.setattr(underlay.socket, "getaddrinfo", self)
        patch.setattr(underlay_follower, "RESOLVE_RETRY", 0.05)

    def __call__(self, host, port, *rest, **options):
        if not str(host).endswith(".example.org"):
            return self._real(host, port, *rest, **options)
        self.asked += 1
        if not self.ready:
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", 0))]


async def test_a_nucleus_whose_name_resolves_late(cluster, monkeypatch):
    resolver = LateResolver(monkeypatch)
    a = await cluster.start(1, nucleus=[f"nucleus.example.org:{cluster.nucleus.port}"])
    await until(lambda: resolver.asked > 3)
    assert a.status().nucleus_state != "registered"
    resolver.ready = True
    await until(lambda: a.status().nucleus_state == "registered")


async def test_a_static_peer_whose_name_resolves_late(cluster, tmp_path, monkeypatch):
    resolver = LateResolver(monkeypatch)
    keys = {number: create_identity(str(tmp_path / f"{number}.key")).public_key for number in (1, 2)}
    alone = {"nucleus": [], "nucleus_key": ""}
    a = await cluster.start(1, **alone, static_peers=[f"{key_text(keys[2])}@127.0.0.1:9"])
    b = await cluster.start(2, **alone, static_peers=[f"{key_text(keys[1])}@robot-1.example.org:{a.port}"])
    await until(lambda: resolver.asked > 3)
    assert await b.wait_for_peers(1, 0) == 0
    resolver.ready = True
    assert await b.wait_for_peers(1, 10) == 1


async def test_a_new_address_reaches_the_engine(cluster):
    a = await cluster.start(1)
    endpoints = lambda: [str(endpoint) for endpoint in a._underlay.endpoints]  # noqa: E731
    assert endpoints() == [f"192.0.2.5:{a.port}"]
    await asyncio.to_thread(ip, "address add 198.51.100.6/24 dev eth0")
    await until(lambda: len(endpoints()) == 2)
    await asyncio.to_thread(ip, "address del 192.0.2.5/24 dev eth0")
    await until(lambda: endpoints() == [f"198.51.100.6:{a.port}"])


def vip4s(device: str) -> list[str]:
    shown = json.loads(ip(f"-j -4 address show dev {device}"))
    return [f"{each['local']}/{each['prefixlen']}" for each in shown[0]["addr_info"]] if shown else []


async def test_a_leased_vip_on_a_bridge_that_was_there(cluster):
    """It comes, changes and goes; what was on the bridge before stays."""
    ip("link add br0 type bridge")
    ip("link set br0 up")
    ip("address add 198.51.100.1/24 dev br0")
    await cluster.start_nucleus("leasing", vip4_pools=["fleet=10.77.0.100-10.77.0.199/24"])
    robot = await cluster.start(1, vip4="auto", bridge="br0", engine="python")
    assert await robot.wait_for_peers(0, 10, vip4=True) == 0 and robot.has_vip4
    first = robot.status().vip4
    assert vip4s("br0") == ["198.51.100.1/24", first] and vip4s("omni1") == []
    steps = [dataclasses.astuple(step) for step in robot._journal.steps]
    assert ("br0", first) in steps

    listed = parse_allow_list(f"{robot.status().public_key} vip4=10.77.1.7/24", "a test")
    cluster.nucleus.engine.admin.set_allow_list("fleet", listed, monotonic())
    cluster.nucleus.flush()
    await until(lambda: vip4s("br0") == ["198.51.100.1/24", "10.77.1.7/24"], 10)
    await robot.cleanup()
    assert vip4s("br0") == ["198.51.100.1/24"] and left_in(cluster.directory / "run") == []


async def test_a_leased_vip_is_there_at_once_and_without_a_nucleus(cluster):
    await cluster.start_nucleus("leasing", vip4_pools=["fleet=10.77.0.100-10.77.0.199/24"])
    robot = await cluster.start(1, vip4="auto")
    await robot.wait_for_peers(0, 10, vip4=True)
    leased = robot.status().vip4
    await robot.deactivate()
    await robot.activate()
    assert vip4s("omni1") == [leased] and robot.status().vip4 == leased
    await robot.cleanup()
    await cluster.nucleus.cleanup()
    await robot.activate()
    assert vip4s("omni1") == [leased] and robot.status().vip4 == leased and robot.status().vip4_leased
    await robot.switch_engine("native")
    assert vip4s("omni1") == [leased]


def test_in_a_thread_of_its_own(settings, run_dir):
    """As the ROS node does: blocking verbs, status from another thread, and no trace."""
    before, files = machine(), open_files()
    thread = DriverThread(lambda: make(settings))
    thread.configure()
    thread.activate()
    assert thread.call(thread.driver.status).state == "running"
    thread.deactivate()
    assert "omni0" in ip("link")
    thread.close()
    assert machine() == before and left_in(run_dir) == [] and open_files() == files
    failing = DriverThread(lambda: make(settings, bridge="eth7"))
    with pytest.raises(ConfigError):
        failing.configure()
    failing.close()
    assert machine() == before and open_files() == files
