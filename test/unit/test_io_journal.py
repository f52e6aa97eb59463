"""The journal survives its owner; the lock does not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from omni_core.errors import ConfigError
from omni_core.io import journal as module
from omni_core.io.journal import (
    AddedAddress,
    ChangedSetting,
    InterfaceLock,
    Journal,
    MadeLink,
    MadePort,
    MovedAddress,
    MovedRoute,
    NativeRuns,
    StartedEngine,
)

STEPS = (
    MadeLink("omni0", "02:00:00:00:00:01"),
    MadeLink("br-omni0", "02:00:00:00:00:01"),
    MadePort("eth1", "br-omni0", True),
    AddedAddress("br0", "10.77.0.1/24"),
    MovedAddress("eth1", "192.168.1.5/24", "192.168.1.255", "eth1", 0),
    MovedRoute("eth1", "0.0.0.0/0", "192.168.1.1", None, 254, 4, 0, 100),
    StartedEngine("/run/omni/omni0.native.sock", 4711, 123456),
    NativeRuns("hash", 2, "key", 51820, ["10.0.0.1"], "", ["10.77.0.1/24"], 1418, "why"),
    ChangedSetting("net.ipv4.ipfrag_time", 30, 3),
)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "omni0.json")


def test_steps_come_back_in_order(path):
    first = Journal(path)
    for step in STEPS:
        first.add(step)
    assert Journal(path).load() == list(STEPS)
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_replacing_by_nothing_removes_the_file(path):
    journal = Journal(path)
    journal.add(*STEPS)
    journal.replace(STEPS[:1])
    assert Journal(path).load() == [STEPS[0]]
    journal.replace([])
    journal.replace([])
    assert not os.path.exists(path) and journal.steps == []


@pytest.mark.parametrize("key", ["boot", "netns"])
def test_another_boot_or_namespace_is_not_ours_to_undo(path, key):
    journal = Journal(path)
    journal.add(*STEPS)
    content = json.loads(Path(path).read_text())
    content[key] = "other"
    Path(path).write_text(json.dumps(content))
    assert Journal(path).load() == []


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"steps": 1}', '{"boot": 1, "netns": 2, "steps": []}'])
def test_a_damaged_journal_is_reported_and_dropped(path, content, caplog):
    with open(path, "w") as file:
        file.write(content)
    assert Journal(path).load() == []
    if "boot" not in content:
        assert "ignored" in caplog.text


def test_an_unknown_step_drops_the_journal(path):
    journal = Journal(path)
    journal.add(*STEPS)
    content = json.loads(Path(path).read_text())
    content["steps"].append({"kind": "FormattedDisk"})
    Path(path).write_text(json.dumps(content))
    assert Journal(path).load() == []


def test_a_step_that_cannot_be_written_is_not_to_be_made(path, monkeypatch):
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    journal = Journal(path)
    monkeypatch.setattr(module, "write_atomic", full)
    with pytest.raises(ConfigError, match="No space left"):
        journal.add(STEPS[0])
    assert journal.steps == []


def test_one_owner_at_a_time(tmp_path):
    run_dir = str(tmp_path / "run")
    lock = InterfaceLock(run_dir, "omni0")
    with pytest.raises(ConfigError, match=f"pid {os.getpid()}") as caught:
        InterfaceLock(run_dir, "omni0")
    assert caught.value.field == "interface"
    InterfaceLock(run_dir, "omni1").close()
    lock.close()
    lock.close()
    assert os.listdir(run_dir) == []
    InterfaceLock(run_dir, "omni0").close()


def test_a_killed_owner_does_not_keep_the_lock(tmp_path):
    code = (
        "import sys; from omni_core.io.journal import InterfaceLock; lock = InterfaceLock(sys.argv[1], 'omni0');"
        "print('held', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "held\n"
    with pytest.raises(ConfigError, match=f"pid {child.pid}"):
        InterfaceLock(str(tmp_path), "omni0")
    child.send_signal(signal.SIGKILL)
    child.communicate()
    InterfaceLock(str(tmp_path), "omni0").close()


def test_a_lock_that_was_removed_while_waiting_is_not_believed(tmp_path, monkeypatch):
    """The owner unlinks and lets go between our open and our flock: what we locked is not the file any more."""
    first = InterfaceLock(str(tmp_path), "omni0")
    real, calls = module.fcntl.flock, []

    def flock(fd: int, operation: int) -> None:
        calls.append(fd)
        if len(calls) == 1:
            first.close()
        real(fd, operation)

    monkeypatch.setattr(module.fcntl, "flock", flock)
    second = InterfaceLock(str(tmp_path), "omni0")
    monkeypatch.undo()
    assert len(calls) == 2
    with pytest.raises(ConfigError):
        InterfaceLock(str(tmp_path), "omni0")
    second.close()


def test_a_run_dir_that_is_none(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as caught:
        InterfaceLock(str(tmp_path / "file" / "run"), "omni0")
    assert caught.value.field == "run_dir"
