"""`make demo` end to end: it succeeds for the right reason, fails when it should, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tools.netlab import unavailable

pytestmark = [
    pytest.mark.ros,
    pytest.mark.netns,
    pytest.mark.skipif(unavailable() is not None, reason=str(unavailable())),
]
DEMO = Path(__file__).resolve().parents[2] / "tools" / "demo.py"
TIMEOUT = 240  # s; nodes and DDS discovery on a busy machine


@contextmanager
def nothing_left() -> Iterator[list[int]]:
    """Yields a list for the demo's pid; checks afterwards that its lab is gone."""
    interfaces = set(os.listdir("/sys/class/net"))
    pids: list[int] = []
    yield pids
    for pid in pids:
        for place in ("/run/netns", "/run/omni-netlab", "/tmp"):
            assert not list(Path(place).glob(f"omni-{pid}-*"))  # the place itself may be gone
    assert set(os.listdir("/sys/class/net")) == interfaces


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-B", DEMO, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(*arguments: str) -> tuple[int, str]:
    with nothing_left() as pids, start(*arguments) as demo:
        pids.append(demo.pid)
        output, _ = demo.communicate(timeout=TIMEOUT)
    return demo.returncode, output


def test_messages_cross_the_overlay_and_the_underlay_sees_nothing_of_them():
    code, output = run("--robots", "3", "--seconds", "2")
    assert code == 0, output
    for robot in ("robot2", "robot3"):
        heard, said = map(int, re.search(rf"ok   {robot} heard (\d+) of the (\d+) messages", output).groups())
        assert 0.8 * said <= heard <= said and said >= 10
        sealed, opened = map(int, re.search(rf"sealed (\d+) frames for {robot}, which opened (\d+)", output).groups())
        assert min(sealed, opened) >= heard
    assert "ok   the underlay carried nothing in clear" in output
    assert re.search(r"round trip, median: overlay [\d.]+ ms", output)
    assert "ok   nothing is left in this machine" in output and "FAIL" not in output


def test_dds_beside_the_overlay_fails_the_demo():
    code, output = run("--seconds", "2", "--around-overlay")
    assert code == 1, output
    assert "ok   robot2 heard" in output  # everything seems to work ...
    for violation in ("RTPS magic in clear", "the talker's text in clear", "a UDP datagram to port 7410, not omni's"):
        assert f"VIOLATION: {violation}" in output
    assert "FAIL meanwhile robot1's Ganglion" in output
    assert "the demo failed; logs and capture are in" in output


def test_a_node_that_refuses_is_quoted():
    code, output = run("--engine", "warp")
    assert code == 1
    assert "/ganglion refused to configure" in output
    assert "engine: 'warp' is not one of" in output


@pytest.mark.parametrize("phase", ["Ganglia: configure, activate ...", "talker and listeners, 60 s ..."])
def test_interrupted_it_leaves_nothing(phase: str):
    with nothing_left() as pids, start("--seconds", "60") as demo:
        pids.append(demo.pid)
        assert demo.stdout is not None
        seen = []
        for line in demo.stdout:
            seen.append(line)
            if phase in line:
                demo.send_signal(signal.SIGINT)
                break
        rest, _ = demo.communicate(timeout=TIMEOUT)
    assert demo.returncode == 130, "".join([*seen, rest])
    assert "stopped; nothing is left of it" in rest


@pytest.mark.parametrize("arguments", [["--robots", "1"], ["--robots", "51"], ["--seconds", "0"], ["--robots", "two"]])
def test_senseless_settings_are_refused(arguments):
    code, output = run(*arguments)
    assert code == 2 and "make demo: error:" in output
