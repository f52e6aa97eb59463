"""The engine's process: started, adopted, ended, with nothing left. The real one, or a script in its place."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.native_rig import NativeRig

from omni_core.errors import ConfigError, SystemRefused
from omni_core.io.native import process as module
from omni_core.io.native.client import EngineGone, NativeClient
from omni_core.io.native.process import NativeProcess, lives, start_time, stop_left
from omni_core.io.native.protocol import Mode

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("network", "engine_built")]


@pytest.fixture
def rig(network: None, engine_built: None, tmp_path: Path) -> Iterator[NativeRig]:
    made = NativeRig(tmp_path, workers=2)
    yield made
    made.close()


def ended(pid: int) -> bool:
    """Also when nobody has waited for it yet."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


@contextlib.contextmanager
def watched(pid: int) -> Iterator[None]:
    """It ends in it."""
    pidfd = os.pidfd_open(pid)
    try:
        yield
        assert select.select([pidfd], [], [], 10)[0]
    finally:
        os.close(pidfd)


def test_it_has_what_it_was_given_and_nothing_else(rig: NativeRig) -> None:
    pid = rig.process.pid
    hello = rig.client.hello
    assert (hello.mode, hello.workers, hello.pid, len(hello.build)) == (Mode.ALONE, 2, pid, 32)
    opened = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    assert not any(link.startswith("/") and link != "/dev/null" for link in opened), opened
    assert os.getsid(pid) == pid and os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.stat(rig.process.path).st_mode & 0o777 == 0o600
    assert rig.process.started == start_time(pid) > 0


def test_stop(rig: NativeRig) -> None:
    pid = rig.process.pid
    assert lives(rig.process.path)
    rig.process.stop()
    rig.process.stop()
    assert not os.path.exists(f"/proc/{pid}") and not os.path.exists(rig.process.path)
    assert not lives(rig.process.path)
    with pytest.raises(EngineGone):
        rig.client.counters()


def test_leave_and_adopt(rig: NativeRig) -> None:
    pid, path = rig.process.pid, rig.process.path
    rig.client.configure(300.0, 1, 1)
    rig.process.leave()
    for _ in range(2):
        again = NativeProcess.adopt(path, Mode.ALONE)
        assert (again.pid, again.client.hello.pid) == (pid, pid)
        again.leave()
    again = NativeProcess.adopt(path, Mode.ALONE)
    again.stop()
    assert ended(pid) and not os.path.exists(path)


def test_a_new_connection_takes_the_place_of_the_old_one(rig: NativeRig) -> None:
    again = NativeProcess.adopt(rig.process.path, Mode.ALONE)
    with pytest.raises(EngineGone, match="has ended"):
        rig.client.counters()
    again.client.counters()
    again.leave()


def test_one_of_another_mode_or_build_is_not_adopted(rig: NativeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemRefused, match="of another build"):
        NativeProcess.adopt(rig.process.path, Mode.BULK)
    monkeypatch.setattr(module, "build_of", lambda program: "other")
    with pytest.raises(SystemRefused, match="of another build"):
        NativeProcess.adopt(rig.process.path, Mode.ALONE)


def test_a_killed_one(rig: NativeRig) -> None:
    with watched(rig.process.pid):
        os.kill(rig.process.pid, signal.SIGKILL)
    with pytest.raises(EngineGone, match="has ended"):
        rig.client.counters()
    with pytest.raises(EngineGone, match="no engine answers"):
        NativeProcess.adopt(rig.process.path, Mode.ALONE)
    rig.process.stop()
    assert not os.path.exists(f"/proc/{rig.process.pid}"), "it was waited for"


def test_one_that_does_not_listen_is_killed(rig: NativeRig) -> None:
    rig.client.timeout = 0.05
    with watched(rig.process.pid):
        os.kill(rig.process.pid, signal.SIGSTOP)
        rig.process.stop()


# --- what an earlier Ganglion has left ----------------------------------------------------------------------------


def test_what_is_left_is_stopped_by_its_socket(rig: NativeRig) -> None:
    with watched(rig.process.pid):
        rig.process.leave()
        stop_left(rig.process.path, 0, 0)
    assert not os.path.exists(rig.process.path)


def test_what_is_left_is_stopped_by_its_pid(rig: NativeRig) -> None:
    os.unlink(rig.process.path)
    with watched(rig.process.pid):
        stop_left(rig.process.path, rig.process.pid, rig.process.started)


def test_what_is_left_and_stands_still_is_stopped_by_its_pid(rig: NativeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NativeClient.connect.__func__, "__defaults__", (0.05,))
    with watched(rig.process.pid):
        os.kill(rig.process.pid, signal.SIGSTOP)
        stop_left(rig.process.path, rig.process.pid, rig.process.started)


def test_nobody_else_is_stopped(tmp_path: Path) -> None:
    """The pid of one that has ended may be another's by now; and nobody listens."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        stop_left(str(tmp_path / "none"), other.pid, start_time(other.pid) + 1)
        stop_left(str(tmp_path / "none"), other.pid, 0)
        assert other.poll() is None
        other.kill()
    stop_left(str(tmp_path / "none"), 0, 0)


def test_who_lies_about_its_pid_stops_nobody(rig: NativeRig) -> None:
    """An engine that was taken over by somebody cannot have another process killed."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        hello = rig.client.hello
        object.__setattr__(hello, "pid", other.pid)
        with pytest.raises(SystemRefused, match="cannot be told"):
            module.peer_pid(rig.client)
        other.kill()


# --- what goes wrong at the start -------------------------------------------------------------------------------------


def script(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "omni-native"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setenv("OMNI_NATIVE", str(program))


def attempt(path: Path) -> NativeProcess:
    return NativeProcess.start(str(path), name="omni0", mode=Mode.ALONE, taps=[0], sockets=[0])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("echo 'omni-native: --taps: one queue for each worker' >&2; exit 1", "--taps: one queue for each worker"),
        ("echo one >&2; echo 'omni-native: seccomp: refused' >&2; exit 1", "seccomp: refused"),
        ("exit 0", "it ended at once"),
        ("exec 2>&-; exit 3", "it ended at once"),
    ],
)
def test_what_it_complains_of_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, problem: str) -> None:
    script(tmp_path, text, monkeypatch)
    with pytest.raises(SystemRefused) as caught:
        attempt(tmp_path / "sock")
    assert (caught.value.what, caught.value.problem) == ("omni-native", problem)
    assert not os.path.exists(tmp_path / "sock")


def test_one_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 1000", monkeypatch)
    monkeypatch.setattr(module, "_START_TIME", 0.5)
    with pytest.raises(SystemRefused, match="has not answered"):
        attempt(tmp_path / "sock")
    assert ended(int((tmp_path / "pid").read_text())) and not os.path.exists(tmp_path / "sock")


def test_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNI_NATIVE", "/nowhere")
    with pytest.raises(SystemRefused, match="is not a program"):
        attempt(tmp_path / "sock")
    script(tmp_path, "", monkeypatch)
    (tmp_path / "omni-native").write_bytes(b"\x7fELF nonsense")
    with pytest.raises(SystemRefused, match="cannot be started"):
        attempt(tmp_path / "sock")


def test_no_place_for_the_socket(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere/sock", tmp_path / ("x" * 120)):
        with pytest.raises(ConfigError) as caught:
            attempt(path)
        assert caught.value.field == "run_dir"


def test_the_real_one_refuses_what_makes_no_sense(tmp_path: Path) -> None:
    pair = socket.socketpair()
    with pytest.raises(SystemRefused) as caught:
        NativeProcess.start(
            str(tmp_path / "sock"), name="omni0", mode=Mode.BULK, taps=[pair[0].fileno()], sockets=[pair[1].fileno()]
        )
    assert caught.value.problem == "--mode bulk: needs --fdb, --streams and --lane"
