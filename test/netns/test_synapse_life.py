"""A Ganglion with the engine kernel starts, dies, restarts, ends: real processes, and frames that go on meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fleet import ENVIRONMENT, OMNI, REPO, Fleet, Robot
from support.lives import UP, Stream, session_ids, start, tool, traces, xdp

from tools.netlab import Lab, unavailable, wait_for

pytestmark = [pytest.mark.netns, pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))]

EXPECTED_XDP = {"interface": "eth0", "xdp_mode": "driver", "reason": ""}
DEVICES = {"omni0", "omni0-syn", "omni0-tap", "omni0-blk"}


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Lab("life") as lab:
        fleet = Fleet(lab)
        fleet.start_nucleus(heartbeat_interval=2.0)
        yield fleet


@pytest.fixture(scope="module")
def b(fleet: Fleet) -> Robot:
    """The one that stays up all the time."""
    robot = fleet.robot()
    robot.launch(engine="kernel").wait_log("omni0 is up", UP)
    return robot


@pytest.fixture(scope="module")
def host_of_a(fleet: Fleet) -> Robot:
    return fleet.robot()


@pytest.fixture
def a(host_of_a: Robot, b: Robot) -> Iterator[Robot]:
    """Up, connected with b; afterwards everything of it is gone, and the next test may start it again."""
    before = traces(host_of_a.host)
    start(host_of_a, engine="kernel")
    yield host_of_a
    if host_of_a.process.running:
        assert host_of_a.process.stop(grace=20) == 0
    assert traces(host_of_a.host) == before


def test_the_engine_and_its_mode_are_in_the_status(a, b):
    status = a.status()
    assert (status["engine"], status["engine_reason"]) == ("kernel", "")
    assert status["underlay"] == [EXPECTED_XDP]
    assert set(a.host.interfaces()) >= DEVICES and [mode for mode, _ in xdp(a.host)] == ["driver"]
    assert "eth0: XDP in driver mode" in a.process.log_text()
    before = status["ways"]
    assert a.ping(b.vip4, 20).count("bytes from") == 20
    after = a.status()["ways"]
    for way in ("tx_sealed", "out_sent", "rx_delivered"):
        assert after[way] >= before.get(way, 0) + 20
    assert "underlay eth0 XDP in driver mode" in a.omni("status")


def test_a_killed_ganglion_loses_nothing(a, b):
    stream = Stream(b, a.vip4)
    devices, programs = a.host.ip("-o link show dev omni0-tap").split()[0], xdp(a.host)
    a.kill()
    stream.goes_on()
    log = start(a, engine="kernel")
    assert "taking over the engine that runs in the kernel" in log.log_text()
    stream.goes_on()
    assert a.host.ip("-o link show dev omni0-tap").split()[0] == devices and xdp(a.host) == programs
    sent, answered = stream.end()
    assert sent == answered, f"{sent - answered} of {sent} pings unanswered"
    assert "in a session that an earlier run made" in log.log_text()


def test_a_stop_that_keeps_loses_nothing(a, b):
    stream = Stream(a, b.vip4)
    for engine in ("kernel", "auto"):
        assert a.omni("stop", "--keep") == "omni0: stopped, frames go on\n"
        assert a.process.wait(10) == 0
        assert "omni0 goes on without this process" in a.process.log_text()
        assert set(a.host.interfaces()) >= DEVICES
        stream.goes_on()
        log = start(a, engine=engine)
        assert "taking over the engine that runs in the kernel" in log.log_text(), log.log_text()
        stream.goes_on()
    sent, answered = stream.end()
    assert sent == answered, f"{sent - answered} of {sent} pings unanswered"


def test_after_a_taken_over_start_an_orderly_end_removes_everything(a, b):
    a.kill()
    start(a, engine="kernel")
    assert a.omni("stop") == "omni0: stopped\n"
    assert a.process.wait(10) == 0
    assert not DEVICES & set(a.host.interfaces()) and xdp(a.host) == []
    # the fixture sees to the rest


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"mtu": 1300}, "mtu"),
        ({"vip4": "10.77.0.200/24"}, "addresses"),
        ({"xdp_mode": ["generic"]}, "xdp_mode"),
        ({"listen_port": 51999}, "port"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_any_more_is_made_anew(a, b, changes, what):
    a.kill()
    process = start(a, engine="kernel", **changes)
    assert f"made anew: omni0: not as before: {what}" in process.log_text()
    assert b.reaches(changes.get("vip4", a.vip4).partition("/")[0])
    if what == "xdp_mode":
        assert [mode for mode, _ in xdp(a.host)] == ["generic"]


def test_a_killed_one_is_undone_by_the_engine_python(a, b):
    a.kill()
    process = start(a, engine="python")
    assert "undoing what an earlier Ganglion left" in process.log_text()
    assert not {"omni0-syn", "omni0-tap", "omni0-blk"} & set(a.host.interfaces()) and xdp(a.host) == []
    assert a.status()["engine"] == "python" and b.reaches(a.vip4)
    outcome = a.host.run([*OMNI, "stop", "--keep"], cwd=REPO, check=False)
    assert outcome.returncode == 2 and "ends with its process" in outcome.stderr


def test_devices_that_somebody_removed_are_made_anew(a, b):
    a.kill()
    a.host.ip("link del omni0-tap")
    process = start(a, engine="kernel")
    assert "made anew: omni0-tap: the interface is not there" in process.log_text()
    assert b.reaches(a.vip4)


def children(parent: int, word: bytes) -> list[int]:
    """Processes that it started, with ``word`` in their command lines."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            status, command = (entry / "status").read_text(), (entry / "cmdline").read_bytes()
            if f"\nPPid:\t{parent}\n" in status and word in command:
                found.append(int(entry.name))
    return found


def test_killed_while_it_compiles(a, b):
    """Neither it nor its compiler leaves anything that the next one does not find."""
    assert a.process.stop(grace=20) == 0
    process = a.launch(engine="kernel")
    found = wait_for(lambda: children(process.pid, b"omni_core.io.synapse.compiler"), 20, "the compiler step")
    process.kill()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in found), 5, "its end")
    log = start(a, engine="kernel").log_text()
    assert "undoing what an earlier Ganglion left" in log
    assert b.reaches(a.vip4)


def test_an_interface_that_vanishes_and_returns(a, b):
    """As a USB stick does. Its address comes back with it."""
    address, route = a.host.ipv4, a.host.ip("route show default").strip()
    internet, name = a.host.lab.internet, a.host.lab.port_of(a.host)
    a.host.ip("link del eth0")
    wait_for(lambda: a.status()["underlay"] == [], 10, "the interface to be forgotten")
    a.host.ip(f"link add eth0 type veth peer name {name} netns {internet.namespace}")
    internet.ip(f"link set {name} master br0")
    internet.ip(f"link set {name} up")
    a.host.ip("link set eth0 up")
    a.host.ip(f"address add {address}/16 dev eth0")
    a.host.ip(f"address add {a.host.ipv6}/64 dev eth0 nodad")
    a.host.ip(f"route add {route}")
    wait_for(lambda: [mode for mode, _ in xdp(a.host)] == ["driver"], 10, "XDP on it again")
    wait_for(lambda: b.reaches(a.vip4), 10, "the overlay")


def test_a_route_that_changes_is_followed(a, b):
    """What has become too long for its path goes by the socket, which fragments it."""
    sent = lambda: a.status()["ways"].get("tx_send", 0)  # noqa: E731
    assert "1 received" in a.ping(b.vip4, 1, "-s", "1390") and sent() == 0
    a.host.ip(f"route add {b.host.ipv4}/32 dev eth0 mtu 1300")
    wait_for(lambda: "1 received" in a.ping(b.vip4, 1, "-s", "1390") and sent() > 0, 10, "the socket to send")
    a.host.ip(f"route del {b.host.ipv4}/32 dev eth0")
    before = sent()
    wait_for(lambda: a.reaches(b.vip4) and sent() == before, 5, "the way by the kernel again")


def test_programs_that_somebody_took_off_are_not_taken_over(a, b):
    a.kill()
    a.host.ip("link set dev omni0-tap xdpgeneric off")
    process = start(a, engine="kernel")
    assert "made anew: omni0-tap: its XDP program is not the one that was there" in process.log_text()


def test_somebody_elses_program_stays_and_frames_come_by_the_socket(a, b):
    assert a.process.stop(grace=20) == 0
    identity = int(tool(a.host, "attach", "eth0", "driver"))
    try:
        process = start(a, engine="kernel")
        reason = f"another XDP program is there: somebody_else (id {identity})"
        assert f"eth0 runs without XDP, slower: {reason}" in process.log_text()
        assert a.status()["underlay"] == [{"interface": "eth0", "xdp_mode": "none", "reason": reason}]
        assert a.ping(b.vip4, 20).count("bytes from") == 20
        assert a.ping(b.vip4, 3, "-s", "1390").count("bytes from") == 3
        assert xdp(a.host) == [["driver", identity]]
        assert process.stop(grace=20) == 0
        assert xdp(a.host) == [["driver", identity]]
    finally:
        a.host.ip("link set dev eth0 xdp off")


def test_engines_are_switched_at_run_time_and_the_interface_stays(a, b):
    index = a.host.ip("-o link show dev omni0").split(":")[0]
    stream = Stream(b, a.vip4)
    for engine, moves in (("python", "python"), ("kernel", "kernel"), ("python", "python"), ("auto", "kernel")):
        first = session_ids(b, a)
        assert a.omni("engine", engine) == f"engine {moves}\n" == a.omni("engine")
        a.wait(1)
        stream.goes_on()
        assert not first & session_ids(b, a), "keys of the engine before"
        assert a.status()["underlay"] == ([] if moves == "python" else [EXPECTED_XDP])
        assert a.reaches(b.vip6) and b.reaches(a.vip6)
        assert bool(xdp(a.host)) == (moves == "kernel")
    sent, answered = stream.end()
    print(f"{sent - answered} of {sent} pings lost in 4 switches")
    assert answered > 0.9 * sent
    assert a.host.ip("-o link show dev omni0").split(":")[0] == index
    a.omni("engine", "python")
    a.kill()  # in this state there is nothing to take over
    process = start(a, engine="kernel")
    assert "undoing what an earlier Ganglion left" in process.log_text()


def test_from_the_engine_python_the_interface_is_made_anew(a, b):
    assert a.process.stop(grace=20) == 0
    process = start(a, engine="python")
    assert a.omni("engine", "kernel") == "engine kernel\n"
    assert "omni0 is made anew: sockets" in process.log_text()
    a.wait(1)
    assert b.reaches(a.vip4) and set(a.host.interfaces()) >= DEVICES
    assert process.stop(grace=20) == 0
    process = start(a, engine="python", bpf_dir="/proc/self/nowhere")
    refused = a.host.run([*OMNI, "engine", "kernel"], cwd=REPO, check=False)
    assert refused.returncode == 2 and "python goes on: BPF file system for /proc/self/nowhere" in refused.stderr
    a.wait(1)
    assert b.reaches(a.vip4)


def test_where_the_kernel_does_not_allow_it_auto_takes_the_next_and_says_why(a, b):
    """The native one where it is built (test_native_life.py), else python."""
    assert a.process.stop(grace=20) == 0
    process = start(a, engine="auto", bpf_dir="/proc/self/nowhere")
    status = a.status()
    assert status["engine"] in ("native", "python") and "/proc/self/nowhere" in status["engine_reason"]
    assert f"engine {status['engine']}: BPF file system for /proc/self/nowhere" in process.log_text()
    assert "not in the kernel: BPF file system" in a.omni("status")
    assert b.reaches(a.vip4)
    assert process.stop(grace=20) == 0
    config = a.fleet.write_config("refused.toml", {})
    words = [*OMNI, "up", "--config", config, "--engine", "kernel", "--bpf-dir", "/proc/self/nowhere"]
    words += ["--key-file", str(a.fleet.files / f"{a.number}.key"), "--token-file", a.fleet.token_file]
    refused = a.host.run(words, cwd=REPO, env=ENVIRONMENT, check=False)
    assert refused.returncode == 3 and "BPF file system for /proc/self/nowhere" in refused.stderr
    assert "Traceback" not in refused.stdout + refused.stderr
