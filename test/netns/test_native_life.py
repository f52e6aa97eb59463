"""A Ganglion with the engine native starts, dies, restarts, ends, and so does its engine: real processes, and frames
that go on meanwhile."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import sys
from collections.abc import Iterator

import pytest
from support import fleet as fleet_module
from support.fleet import ENVIRONMENT, OMNI, REPO, Fleet, Robot
from support.kernel_fleet import RECEIVE_FILE, SEND_FILE
from support.lives import UP, Stream, engines, session_ids, start, status_of, traces

from omni_core.errors import SystemRefused
from omni_core.io.native.binary import native_binary
from tools.netlab import Lab, LabProcess, unavailable, wait_for

pytestmark = [
    pytest.mark.alone,
    pytest.mark.netns,
    pytest.mark.skipif(unavailable() is not None, reason=str(unavailable())),
]

NO_BPF = {"bpf_dir": "/proc/self/nowhere"}
SOCKET = "/run/omni/omni0.native.sock"


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    try:
        native_binary()
    except SystemRefused as missing:
        pytest.skip(str(missing))
    with Lab("native") as lab:
        fleet = Fleet(lab)
        fleet.start_nucleus(heartbeat_interval=2.0)
        yield fleet


@pytest.fixture(scope="module")
def b(fleet: Fleet) -> Robot:
    """The one that stays up all the time."""
    robot = fleet.robot()
    robot.launch(engine="native").wait_log("omni0 is up", UP)
    return robot


@pytest.fixture(scope="module")
def host_of_a(fleet: Fleet) -> Robot:
    return fleet.robot()


@pytest.fixture
def a(host_of_a: Robot, b: Robot) -> Iterator[Robot]:
    """Up, connected with b; afterwards everything of it is gone, and the next test may start it again."""
    before = traces(host_of_a.host)
    start(host_of_a, engine="native")
    yield host_of_a
    if host_of_a.process.running:
        assert host_of_a.process.stop(grace=20) == 0
    assert traces(host_of_a.host) == before and engines(host_of_a) == []
    assert "Traceback" not in host_of_a.process.log_text()


def index(robot: Robot) -> str:
    return robot.host.ip("-o link show dev omni0").split(":")[0]


def warnings(process: LabProcess, word: str) -> list[str]:
    return [line for line in process.log_text().splitlines() if word in line]


def test_the_engine_is_in_the_status_and_has_few_privileges(a, b):
    status = a.status()
    assert (status["engine"], status["engine_reason"], status["underlay"]) == ("native", "", [])
    assert a.ping(b.vip4, 20).count("bytes from") == 20 and b.reaches(a.vip6)
    after = a.status()["ways"]
    for way in ("native_tx_sealed", "native_rx_opened"):
        assert after[way] >= status["ways"].get(way, 0) + 20
    (engine,) = engines(a)
    facts = dict(line.split(":\t", 1) for line in status_of(engine).splitlines() if ":\t" in line)
    assert set(facts["Uid"].split()) == {"65534"} and facts["Groups"].strip() == ""
    assert (facts["CapEff"], facts["CapPrm"], facts["Seccomp"], facts["NoNewPrivs"]) == ("0" * 16, "0" * 16, "2", "1")
    assert a.host.run(["stat", "-c", "%a %U", SOCKET]).stdout == "600 root\n"


def test_transfers_arrive_whole(a, b, tmp_path):
    """Super-frames, both ways, over IPv4 and IPv6."""
    file = tmp_path / "file"
    file.write_bytes(os.urandom(50_000_000))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    for number, (source, target, address) in enumerate(((a, b, b.vip4), (b, a, a.vip4), (a, b, b.vip6))):
        receiver = target.host.start([sys.executable, "-c", RECEIVE_FILE, address], name=f"receive{number}")
        wait_for(lambda r=target: ":7000" in r.host.run(["ss", "-ltn"]).stdout, 10, "the listener")
        source.host.run([sys.executable, "-c", SEND_FILE, address, str(file)], timeout=60)
        assert receiver.wait_log(r"[0-9a-f]{64}", 30)[0] == digest
        assert receiver.wait(10) == 0
    for robot in (a, b):
        ways = robot.status()["ways"]
        assert ways["native_tx_super"] > 100 and ways["native_rx_super"] > 100, "one call for many frames"


def test_a_killed_ganglion_loses_nothing(a, b):
    stream, (engine,), device = Stream(b, a.vip4), engines(a), index(a)
    a.kill()
    stream.goes_on()
    log = start(a, engine="native")
    assert "taking over the native engine that runs" in log.log_text()
    assert "in a session that an earlier run made" in log.log_text()
    stream.goes_on()
    assert engines(a) == [engine] and index(a) == device
    sent, answered = stream.end()
    assert sent == answered, f"{sent - answered} of {sent} pings unanswered"
    assert b.reaches(a.vip6)


def test_a_transfer_does_not_notice_that_ganglia_die_and_come_back(a, b, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(os.urandom(10_000_000) * 40)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    receiver = b.host.start([sys.executable, "-c", RECEIVE_FILE, b.vip4], name="receive-on")
    wait_for(lambda: ":7000" in b.host.run(["ss", "-ltn"]).stdout, 10, "the listener")
    sender = a.host.start([sys.executable, "-c", SEND_FILE, b.vip4, str(file)], name="send-on")
    a.kill()
    assert "taking over the native engine that runs" in start(a, engine="native").log_text()
    assert receiver.wait_log(r"[0-9a-f]{64}", 120)[0] == digest
    assert (sender.wait(10), receiver.wait(10)) == (0, 0)


def test_a_stop_that_keeps_loses_nothing(a, b):
    stream, (engine,) = Stream(a, b.vip4), engines(a)
    for wanted in ("native", "auto"):
        assert a.omni("stop", "--keep") == "omni0: stopped, frames go on\n"
        assert a.process.wait(10) == 0
        stream.goes_on()
        log = start(a, engine=wanted)
        assert "taking over the native engine that runs" in log.log_text(), log.log_text()
        stream.goes_on()
    sent, answered = stream.end()
    assert sent == answered, f"{sent - answered} of {sent} pings unanswered"
    assert engines(a) == [engine]


def test_after_a_taken_over_start_an_orderly_end_removes_everything(a, b):
    a.kill()
    start(a, engine="native")
    assert a.omni("stop") == "omni0: stopped\n"
    assert a.process.wait(10) == 0
    assert engines(a) == [] and "omni0" not in a.host.interfaces()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"mtu": 1300}, "mtu"),
        ({"vip4": "10.77.0.200/24"}, "addresses"),
        ({"listen_port": 51999}, "port"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_any_more_is_made_anew(a, b, changes, what):
    (engine,) = engines(a)
    a.kill()
    process = start(a, engine="native", **changes)
    assert f"made anew: omni0: not as before: {what}" in process.log_text()
    assert b.reaches(changes.get("vip4", a.vip4).partition("/")[0])
    assert engine not in engines(a) and len(engines(a)) == 1


def test_a_killed_one_is_undone_by_the_engine_python(a, b):
    a.kill()
    process = start(a, engine="python")
    assert "undoing what an earlier Ganglion left" in process.log_text()
    assert a.status()["engine"] == "python" and b.reaches(a.vip4) and engines(a) == []


def test_both_killed(a, b):
    (engine,) = engines(a)
    a.kill()
    os.kill(engine, signal.SIGKILL)
    wait_for(lambda: engines(a) == [], 5, "its end")
    process = start(a, engine="native")
    assert f"the native engine that runs is made anew: omni-native: no engine answers at {SOCKET}" in process.log_text()
    assert b.reaches(a.vip4)


# --- the engine dies ---------------------------------------------------------------------------------------------


def test_a_killed_engine_is_started_again(a, b):
    stream, (engine,), device, before = Stream(b, a.vip4), engines(a), index(a), session_ids(b, a)
    os.kill(engine, signal.SIGKILL)
    a.process.wait_log("the engine has ended", 5)
    stream.goes_on()
    assert engines(a) not in ([], [engine]) and index(a) == device
    assert not before & session_ids(b, a), "keys of the engine before"
    sent, answered = stream.end()
    print(f"{sent - answered} of {sent} pings lost")
    assert sent - answered < 300, "pings of three seconds"
    (said,) = warnings(a.process, "the engine has ended")
    assert "it is started again, sessions begin anew" in said and "warning:" in said
    a.kill()  # the next one takes the new engine over
    assert "taking over the native engine that runs" in start(a, engine="native").log_text()


def test_a_stopped_engine_is_ended_and_started_again(a, b):
    (engine,) = engines(a)
    os.kill(engine, signal.SIGSTOP)
    a.process.wait_log("the engine has ended .*has not answered for 2 s", 20)
    wait_for(lambda: engines(a) not in ([], [engine]), 10, "another engine")
    wait_for(lambda: b.reaches(a.vip4), 10, "the overlay")


def kill_engine(robot: Robot) -> None:
    (engine,) = wait_for(lambda: engines(robot), 10, "an engine")
    os.kill(engine, signal.SIGKILL)
    wait_for(lambda: engine not in engines(robot), 5, "its end")


def test_an_engine_that_keeps_dying_is_started_again_with_patience(a, b):
    for number in range(4):
        kill_engine(a)
        wait_for(lambda n=number: len(warnings(a.process, "the engine has ended")) == n + 1, 10, "a warning")
    said = warnings(a.process, "it is started again")
    assert [re.findall(r" in \d+ s|$", line)[0] for line in said] == ["", " in 1 s", " in 2 s", " in 4 s"]
    wait_for(lambda: engines(a), 10, "an engine")
    a.wait(1)
    assert b.reaches(a.vip4)


def test_auto_takes_python_when_the_engine_keeps_dying(a, b):
    assert a.process.stop(grace=20) == 0
    process = start(a, engine="auto", **NO_BPF)
    status = a.status()
    assert status["engine"] == "native" and "BPF file system for /proc/self/nowhere" in status["engine_reason"]
    assert "not in the kernel: BPF file system" in a.omni("status")
    for number in range(3):
        kill_engine(a)
        wait_for(lambda n=number: len(warnings(a.process, "the engine has ended")) == n + 1, 10, "a warning")
    process.wait_log("omni0: engine python", 20)
    a.wait(1)
    assert a.status()["engine"] == "python" and b.reaches(a.vip4)
    reason = "nor native: the engine native ended three times within a minute"
    assert reason in a.omni("status") and reason in a.omni("engine")


def test_an_interface_that_somebody_removed_ends_the_ganglion(a, b):
    a.host.ip("link del omni0")
    assert a.process.wait(20) == 3
    assert "the interface was removed by somebody else" in a.process.log_text()


# --- which engine ------------------------------------------------------------------------------------------------


def test_engines_are_switched_at_run_time(a, b):
    for engine in ("python", "native", "kernel", "native", "auto"):
        first = session_ids(b, a)
        moves = "kernel" if engine == "auto" else engine
        assert a.omni("engine", engine, "--timeout", str(UP)) == f"engine {moves}\n" == a.omni("engine")
        a.wait(1)
        assert not first & session_ids(b, a), "keys of the engine before"
        assert b.reaches(a.vip4) and b.reaches(a.vip6)
        assert bool(engines(a)) == (moves != "python"), "alone, or beside the kernel"
    assert "underlay eth0 XDP in driver mode" in a.omni("status")


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fleet_module.ENVIRONMENT, "OMNI_NATIVE", "/nowhere")


def test_where_there_is_no_engine(a, b, no_engine):
    assert a.process.stop(grace=20) == 0
    start(a, engine="auto", **NO_BPF)
    reason = "BPF file system for /proc/self/nowhere"
    status = a.status()
    assert status["engine"] == "python" and status["engine_reason"].startswith(reason)
    assert status["engine_reason"].endswith(", nor native: OMNI_NATIVE: /nowhere is not a program")
    refused = a.host.run([*OMNI, "engine", "native"], cwd=REPO, check=False)
    assert refused.returncode == 2 and "python goes on: OMNI_NATIVE: /nowhere is not a program" in refused.stderr
    a.wait(1)
    assert b.reaches(a.vip4)
    assert a.process.stop(grace=20) == 0
    config = a.fleet.write_config("refused.toml", {})
    words = [*OMNI, "up", "--config", config, "--engine", "native"]
    words += ["--key-file", str(a.fleet.files / f"{a.number}.key"), "--token-file", a.fleet.token_file]
    refused = a.host.run(words, cwd=REPO, env=ENVIRONMENT, check=False)
    assert refused.returncode == 3 and "/nowhere is not a program" in refused.stderr
    assert "Traceback" not in refused.stdout + refused.stderr


def test_an_engine_that_cannot_start_says_why(a, b, monkeypatch, tmp_path):
    assert a.process.stop(grace=20) == 0
    program = tmp_path / "omni-native"
    program.write_text("#!/bin/sh\necho 'omni-native: privileges: cannot be dropped (no way)' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setitem(fleet_module.ENVIRONMENT, "OMNI_NATIVE", str(program))
    process = a.launch(engine="native")
    assert process.wait(20) == 3
    assert "omni-native: privileges: cannot be dropped (no way)" in process.log_text()
