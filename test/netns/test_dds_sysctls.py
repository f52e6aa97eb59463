"""Kernel settings for DDS with real Ganglia in a namespace: set, restored, shared, after a crash, left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.command_line import REPO
from support.own_network import own_network

from omni_core.config import ganglion
from omni_core.crypto.identity import key_text
from omni_core.io.ganglion_driver import GanglionDriver
from omni_core.io.keyfile import create_identity

pytestmark = pytest.mark.netns

FRAGMENT_TIME = Path("/proc/sys/net/ipv4/ipfrag_time")
FRAGMENT_MEMORY = Path("/proc/sys/net/ipv4/ipfrag_high_thresh")


@pytest.fixture(autouse=True)
def network():
    with own_network():
        yield


@pytest.fixture
def settings(tmp_path):
    stranger = create_identity(str(tmp_path / "stranger.key"))
    return {
        "cluster": "fleet",
        "static_peers": [f"{key_text(stranger.public_key)}@192.0.2.99:51820"],
        "engine": "python",
        "listen_port": 0,
        "run_dir": str(tmp_path / "run"),
    }


def make(settings: dict[str, object], tmp_path: Path, interface: str, **changes: object) -> GanglionDriver:
    values = {**settings, "interface": interface, "key_file": str(tmp_path / f"{interface}.key"), **changes}
    return GanglionDriver(ganglion.validate(values))


def set_fragment_time(seconds: int) -> None:
    FRAGMENT_TIME.write_text(f"{seconds}\n")


def values() -> tuple[int, int]:
    return int(FRAGMENT_TIME.read_text()), int(FRAGMENT_MEMORY.read_text())


async def test_two_ganglia_and_the_last_restores(settings, tmp_path):
    before = values()
    assert before[0] > 3
    first, second = (make(settings, tmp_path, name) for name in ("omni0", "omni1"))
    await first.configure()
    during = values()
    assert during[0] == 3 and during[1] >= before[1]
    await second.configure()
    await first.cleanup()
    assert values() == during
    await first.configure()
    await second.cleanup()
    assert values() == during
    await first.cleanup()
    assert values() == before
    assert not list((tmp_path / "run").glob("*"))


async def test_off_and_somebody_elses(settings, tmp_path):
    before = values()
    off = make(settings, tmp_path, "omni0", dds_sysctls="off")
    await off.configure()
    assert values() == before
    await off.cleanup()
    driver = make(settings, tmp_path, "omni0")
    await driver.configure()
    set_fragment_time(2)
    await driver.cleanup()
    assert values() == (2, before[1])


# Its first argument: the configuration. The second: how it ends.
PROGRAM = """
import asyncio, json, logging, os, sys
from omni_core.config import ganglion
from omni_core.io.ganglion_driver import GanglionDriver

async def main():
    logging.basicConfig(level=logging.INFO)
    driver = GanglionDriver(ganglion.validate(json.loads(sys.argv[1])))
    await driver.configure()
    if sys.argv[2] == "crash":
        os.kill(os.getpid(), 9)
    await driver.cleanup()

asyncio.run(main())
"""


def run(settings: dict[str, object], tmp_path: Path, end: str, *before: str) -> subprocess.CompletedProcess[str]:
    config = json.dumps({**settings, "interface": "omni0", "key_file": str(tmp_path / "omni0.key")})
    command = [*before, sys.executable, "-c", PROGRAM, config, end]
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True)


async def test_after_a_crash(settings, tmp_path):
    before = values()
    done = run(settings, tmp_path, "crash")
    assert done.returncode == -9, done.stderr
    assert values()[0] == 3
    driver = make(settings, tmp_path, "omni0")
    await driver.configure()
    assert values()[0] == 3
    await driver.cleanup()
    assert values() == before


async def test_proc_sys_that_is_read_only(settings, tmp_path):
    """As in a container."""
    before = values()
    script = 'mount -o bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec "$@"'
    done = run(settings, tmp_path, "cleanup", "unshare", "--mount", "sh", "-c", script, "sh")
    assert done.returncode == 0, done.stderr
    assert "net.ipv4.ipfrag_time stays" in done.stderr and "read-only here" in done.stderr
    assert values() == before
