"""The native engine beside the one in the kernel dies, is left alone, is started again: real processes, with a transfer
and pings that go on meanwhile. What the lane carries is in test_bulk_transfers.py."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator

import pytest
from support import fleet as fleet_module
from support.fleet import Fleet, Robot
from support.kernel_fleet import RECEIVE_DATAGRAMS, SEGMENTS, UDP_TOOL, end, opened, sealed, udp, ways
from support.lives import UP, Stream, engines, session_ids, start, status_of, traces
from support.two_robots import Streams

from omni_core.errors import SystemRefused
from omni_core.io.native.binary import native_binary
from tools.netlab import Lab, unavailable, wait_for

pytestmark = [
    pytest.mark.alone,
    pytest.mark.netns,
    pytest.mark.skipif(unavailable() is not None, reason=str(unavailable())),
]

MB = 1_000_000
SIZE = 400 * MB  # some seconds
SOCKET = "/run/omni/omni0.native.sock"
STARTED = "bulk lane: omni-native with"


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    try:
        native_binary()
    except SystemRefused as missing:
        pytest.skip(str(missing))
    with Lab("bulk") as lab:
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
    """Up, connected with b, the bulk lane on at both; afterwards everything of it is gone."""
    before = traces(host_of_a.host)
    start(host_of_a, engine="kernel")
    for robot in (host_of_a, b):
        wait_for(lambda it=robot: it.status()["bulk_lane"] == "on", 35, "the bulk lane")
    yield host_of_a
    if host_of_a.process.running:
        assert host_of_a.process.stop(grace=20) == 0
    assert traces(host_of_a.host) == before and engines(host_of_a) == []
    assert "Traceback" not in host_of_a.process.log_text()


class Transfer:
    """A TCP stream whose every byte is checked, already on its way by the bulk lane."""

    def __init__(self, source: Robot, target: Robot, seed: int, size: int = SIZE) -> None:
        self._target = target
        before = ways(source)
        self._streams = Streams(source.host, target.host, source.fleet.files)
        self._streams.start(target.vip4, [size], seed)
        wait_for(lambda: (ways(source) - before)["tx_bulk"] > 100, 10, "super-frames on the bulk lane")

    def goes_on(self, within: float) -> float:
        """Returns how long it took until ten more megabytes had come."""
        assert self._streams.running, "it is over: the test needs more"
        begin, seen = time.monotonic(), self._bytes()
        wait_for(lambda: self._bytes() > seen + 10 * MB, within, "the transfer to go on", poll=0.005)
        return time.monotonic() - begin

    def finish(self) -> None:
        self._streams.finish(120)

    def _bytes(self) -> int:
        """That came to the host, inside packets and out."""
        return counter(self._target, "netstat", "IpExt:", "InOctets")


def engine_of(robot: Robot) -> int:
    (engine,) = engines(robot)
    return engine


def kill_engine(robot: Robot) -> int:
    engine = engine_of(robot)
    os.kill(engine, signal.SIGKILL)
    return engine


def lane_is(robot: Robot, state: str) -> None:
    wait_for(lambda: robot.status()["bulk_lane"].startswith(state), 35, f"a bulk lane that is {state}")


# --- two lanes --------------------------------------------------------------------------------------------------------


def test_elephants_take_the_one_lane_and_mice_the_other(a, b, seed):
    before = ways(a), ways(b)
    assert a.ping(b.vip4, 100).count("bytes from") == 100
    assert " 1000 received" in a.host.run(["ping", "-q", "-f", "-c", "1000", "-W", "2", b.vip4]).stdout
    echo = udp(b.host, "echo", "echo", b.vip4, 7001)
    a.host.run([sys.executable, UDP_TOOL, "sizes", b.vip4, "7001", "1", "1390", "50"])
    end(echo)
    mice = ways(a) - before[0]
    assert mice["tx_sealed"] > 1100 and mice["tx_bulk"] == mice["native_tx_sealed"] == 0
    before = ways(a), ways(b)
    Transfer(a, b, seed).finish()
    sent, received = ways(a) - before[0], ways(b) - before[1]
    assert sent["tx_bulk"] >= sent["native_tx_super"] > SIZE / 65536
    assert sent["native_tx_sealed"] > SIZE / 1400 and sent["tx_sealed"] < 1000, "acknowledgements at most"
    assert received["rx_bulk"] >= received["native_rx_opened"] > SIZE / 1400
    assert received["native_rx_super"] > 0 and received["rx_bulk_delivered"] < received["native_rx_opened"] / 4
    assert received["native_tx_sealed"] == 0, "acknowledgements are mice"
    assert sent["native_tx_calls"] < sent["native_tx_sealed"] / 10, "many frames in one system call"
    for status in (a.status(), b.status()):
        assert status["bulk_lane"] == "on"
    assert "bulk lane on" in a.omni("status")
    (peer,) = a.status()["peers"]
    assert peer["tx_bytes"] > SIZE, "of both lanes"


@pytest.mark.parametrize(("size", "count"), [(1200, 50), (500, 128)])
def test_udp_super_frames_pass_whole(a, b, seed, size, count):
    """A sender of QUIC, say. More of them than the engine's queue holds frames."""
    content = random.Random(seed).randbytes(size * count - 100)
    path = a.fleet.files / "segments"
    path.write_bytes(content)
    receiver = b.host.start([sys.executable, "-c", RECEIVE_DATAGRAMS, str(count)], name=f"segments{size}")
    receiver.wait_log("^ready$", 5)
    before = ways(a)
    a.host.run([sys.executable, "-c", SEGMENTS, b.vip4, str(size), path])
    assert receiver.wait(15) == 0
    received = [bytes.fromhex(line) for line in receiver.log_text().splitlines()[1:]]
    assert received == [content[at : at + size] for at in range(0, len(content), size)]
    sent = ways(a) - before
    assert (sent["tx_bulk"], sent["native_tx_super"], sent["native_tx_sealed"]) == (1, 1, count)


def test_the_engine_has_few_privileges(a):
    facts = dict(line.split(":\t", 1) for line in status_of(engine_of(a)).splitlines() if ":\t" in line)
    assert set(facts["Uid"].split()) == {"65534"} and (facts["CapEff"], facts["Seccomp"]) == ("0" * 16, "2")
    assert a.host.run(["stat", "-c", "%a %U", SOCKET]).stdout == "600 root\n"


# --- the engine dies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["sender", "receiver"])
def test_a_killed_engine(a, b, seed, whose):
    """The kernel goes on alone within a second, with the same sessions; then another engine takes the lane over."""
    pings, transfer, sessions = Stream(b, a.vip4), Transfer(a, b, seed, 2 * SIZE), session_ids(a, b)
    robot = a if whose == "sender" else b
    starts = robot.process.log_text().count(STARTED)
    killed = kill_engine(robot)
    print(f"went on after {transfer.goes_on(1.0):.2f} s")
    wait_for(lambda: robot.process.log_text().count(STARTED) > starts, 10, "the next engine")
    assert engine_of(robot) != killed
    before = ways(a)
    wait_for(lambda: (ways(a) - before)["tx_bulk"] > 100, 10, "the bulk lane again")
    transfer.finish()
    sent, answered = pings.end()
    assert sent == answered, f"{sent - answered} of {sent} pings unanswered"
    assert session_ids(a, b) == sessions, "no session was lost"
    assert robot.process.log_text().count("the native engine is lost, the kernel goes on alone") == 1
    assert not {"bad_tag", "bad_inner_frame"} & set(ways(a) + ways(b))


def test_an_engine_that_stands_still(a, b, seed):
    """Nobody has to notice: it does not renew its lease. When it wakes up it goes on."""
    transfer, engine = Transfer(a, b, seed, 2 * SIZE), engine_of(a)
    os.kill(engine, signal.SIGSTOP)
    try:
        print(f"went on after {transfer.goes_on(1.5):.2f} s")
        transfer.goes_on(1.0)
    finally:
        os.kill(engine, signal.SIGCONT)
    before = ways(a)
    wait_for(lambda: (ways(a) - before)["tx_bulk"] > 100, 10, "the bulk lane again")
    assert engine_of(a) == engine
    transfer.finish()


def test_one_that_dies_again_and_again(a, b, seed):
    for _ in range(2):
        kill_engine(a)
        lane_is(a, "off: it was lost")
        lane_is(a, "on")
    Transfer(a, b, seed).finish()


# --- the Ganglion dies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["killed", "stopped, and keeps"])
def test_without_a_ganglion_both_lanes_go_on(a, b, seed, how):
    """Not one frame is lost, on either lane."""
    before = Lane(a, b)
    pings, transfer, engine = Stream(b, a.vip4), Transfer(a, b, seed, 2 * SIZE), engine_of(a)
    if how == "killed":
        a.kill()
    else:
        assert a.omni("stop", "--keep") == "omni0: stopped, frames go on\n"
    transfer.goes_on(1.0)
    process = start(a, engine="kernel")
    assert "taking over the engine that runs in the kernel" in process.log_text()
    assert engine_of(a) == engine and a.status()["bulk_lane"] == "on"
    transfer.finish()
    sent, answered = pings.end()
    assert sent == answered, f"{sent - answered} of {sent} pings unanswered"
    after = Lane(a, b)
    overflowed = after.overflowed - before.overflowed
    print(f"{overflowed} packets had no room at the receiver's socket")
    lost = (after.sealed - before.sealed) - (after.opened - before.opened)
    assert lost == overflowed, f"{lost} frames of the bulk lane were lost, {overflowed} of them at a full socket"
    Transfer(b, a, seed).finish()


class Lane:
    """Frames from a to b, when none is on its way. A busy machine may overflow a socket, whoever lives or dies."""

    def __init__(self, a: Robot, b: Robot) -> None:
        self.sealed, self.opened = ways(a)["native_tx_sealed"], ways(b)["native_rx_opened"]
        self.overflowed = counter(b, "snmp", "Udp:", "RcvbufErrors")


def counter(robot: Robot, file: str, line: str, name: str) -> int:
    """One of those in /proc/net."""
    text = robot.host.run(["cat", f"/proc/net/{file}"]).stdout
    names, numbers = (each.split() for each in text.splitlines() if each.startswith(line))
    return int(numbers[names.index(name)])


def test_both_killed(a, b, seed):
    """The engine's lease runs out: the programs need nothing else. The next Ganglion starts another one."""
    pings, transfer = Stream(b, a.vip4), Transfer(a, b, seed, 2 * SIZE)
    a.kill()
    killed = kill_engine(a)
    print(f"went on after {transfer.goes_on(1.5):.2f} s")
    process = start(a, engine="kernel")
    assert "taking over the engine that runs in the kernel" in process.log_text()
    lane_is(a, "on")
    assert engine_of(a) != killed
    transfer.finish()
    sent, answered = pings.end()
    assert sent == answered, f"{sent - answered} of {sent} pings unanswered"
    Transfer(a, b, seed).finish()


def test_an_engine_that_does_not_answer_the_next_ganglion(a, b, seed):
    """It is ended by force, and another one started."""
    a.kill()
    hung = engine_of(a)
    os.kill(hung, signal.SIGSTOP)
    process = start(a, engine="kernel")
    assert "taking over the engine that runs in the kernel" in process.log_text()
    lane_is(a, "on")
    assert engine_of(a) != hung
    Transfer(a, b, seed).finish()


# --- without it -------------------------------------------------------------------------------------------------------


def test_the_lane_is_switched_off_by_the_next_ganglion(a, b, seed):
    a.kill()
    process = start(a, engine="kernel", bulk_lane="off")
    assert "taking over the engine that runs in the kernel" in process.log_text()
    assert a.status()["bulk_lane"] == "off: not wanted"
    wait_for(lambda: engines(a) == [], 5, "the engine's end")
    before = ways(a)
    streams = Streams(a.host, b.host, a.fleet.files)
    streams.start(b.vip4, [50 * MB], seed)
    streams.finish(60)
    sent = ways(a) - before
    assert sent["tx_bulk"] == 0 and sealed(sent) == sent["tx_sealed"] > 50 * MB / 1400


def test_where_there_is_no_engine(a, b, seed, monkeypatch):
    assert a.process.stop(grace=20) == 0
    monkeypatch.setitem(fleet_module.ENVIRONMENT, "OMNI_NATIVE", "/nowhere")
    process = start(a, engine="kernel")
    assert "no bulk lane: OMNI_NATIVE: /nowhere is not a program" in process.log_text()
    assert a.status()["bulk_lane"] == "off: OMNI_NATIVE: /nowhere is not a program"
    for source, target in ((a, b), (b, a)):  # the one without still opens stream 1
        before = ways(target)
        streams = Streams(source.host, target.host, a.fleet.files)
        streams.start(target.vip4, [50 * MB], seed)
        streams.finish(60)
        assert opened(ways(target) - before) > 50 * MB / 1400


def test_an_engine_that_cannot_start_is_tried_again(a, b, monkeypatch, tmp_path):
    assert a.process.stop(grace=20) == 0
    program = tmp_path / "omni-native"
    program.write_text("#!/bin/sh\necho 'omni-native: privileges: cannot be dropped (no way)' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setitem(fleet_module.ENVIRONMENT, "OMNI_NATIVE", str(program))
    process = start(a, engine="kernel")
    process.wait_log("no bulk lane, the kernel goes on alone: .*cannot be dropped", 10)
    lane_is(a, "off: omni-native: privileges: cannot be dropped (no way)")
    assert b.reaches(a.vip4)
    program.unlink()
    program.symlink_to(native_binary())
    process.wait_log(STARTED, 15)
    assert process.log_text().count("cannot be dropped") == 1, "said once"


def test_an_orderly_end_takes_the_engine_along(a):
    assert a.omni("stop") == "omni0: stopped\n"
    assert a.process.wait(10) == 0 and engines(a) == []
    # the fixture sees to the rest


def test_in_and_out_of_the_kernel(a, b, seed):
    """The engine python on the same devices has no bulk lane; then there is one again."""
    assert a.omni("engine", "python") == "engine python\n"
    assert engines(a) == [] and a.status()["bulk_lane"] == ""
    wait_for(lambda: b.reaches(a.vip4), 10, "the overlay")
    assert a.omni("engine", "kernel") == "engine kernel\n"
    lane_is(a, "on")
    a.wait(1)
    Transfer(a, b, seed).finish()
