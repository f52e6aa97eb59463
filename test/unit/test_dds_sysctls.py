"""Kernel settings for DDS, on a /proc/sys of the test's own: set, restored, shared, and left alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from omni_core.dds.settings import SETTINGS, Setting
from omni_core.io import journal as module
from omni_core.io.journal import ChangedSetting, Journal, MadeLink
from omni_core.io.sysctls import apply_settings, restore_setting

TIME = Setting("net.ipv4.ipfrag_time", 3, False, "why")
BUFFER = Setting("net.core.rmem_max", 1000, True, "why")
SETTINGS_HERE = (TIME, BUFFER)


class Machine:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.run = root / "run"
        self.run.mkdir()
        self.set(TIME, 30)
        self.set(BUFFER, 200)

    def path(self, setting: Setting) -> Path:
        return self.root / setting.path.lstrip("/")

    def set(self, setting: Setting, value: int) -> None:
        self.path(setting).parent.mkdir(parents=True, exist_ok=True)
        self.path(setting).write_text(f"{value}\n")

    def values(self) -> tuple[int, int]:
        return int(self.path(TIME).read_text()), int(self.path(BUFFER).read_text())

    def journal(self, interface: str) -> Journal:
        """As a process that starts, after another one has died or not."""
        journal = Journal(str(self.run / f"{interface}.json"))
        journal.load()
        return journal

    def start(self, interface: str) -> Journal:
        journal = self.journal(interface)
        apply_settings(journal, SETTINGS_HERE, str(self.root))
        return journal

    def stop(self, journal: Journal) -> None:
        for step in reversed(journal.steps):
            assert isinstance(step, ChangedSetting)
            restore_setting(step, journal, str(self.root))
        assert journal.steps == []
        assert not os.path.exists(journal.path)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_set_and_restored(machine: Machine) -> None:
    journal = machine.start("omni0")
    assert machine.values() == (3, 1000)
    assert machine.journal("omni0").steps == [
        ChangedSetting(TIME.key, 30, 3),
        ChangedSetting(BUFFER.key, 200, 1000),
    ]
    apply_settings(journal, SETTINGS_HERE, str(machine.root))  # the next engine
    assert len(journal.steps) == 2
    machine.stop(journal)
    assert machine.values() == (30, 200)


def test_after_a_crash_the_next_one_restores(machine: Machine) -> None:
    machine.start("omni0")
    machine.stop(machine.start("omni0"))
    assert machine.values() == (30, 200)


def test_what_is_better_already_stays(machine: Machine) -> None:
    machine.set(TIME, 1)
    machine.set(BUFFER, 5000)
    journal = machine.start("omni0")
    assert machine.values() == (1, 5000) and journal.steps == []


def test_what_somebody_else_changed_meanwhile_stays(machine: Machine) -> None:
    journal = machine.start("omni0")
    machine.set(BUFFER, 7777)
    machine.stop(journal)
    assert machine.values() == (30, 7777)


@pytest.mark.parametrize("first_to_stop", [0, 1, 2])
def test_the_last_of_several_ganglia_restores(machine: Machine, first_to_stop: int) -> None:
    journals = [machine.start(f"omni{number}") for number in range(3)]
    journals = journals[first_to_stop:] + journals[:first_to_stop]
    for journal in journals[:-1]:
        machine.stop(journal)
        assert machine.values() == (3, 1000)
    machine.stop(journals[-1])
    assert machine.values() == (30, 200)


def test_a_value_that_others_set_is_not_theirs_to_restore(machine: Machine) -> None:
    """The administrator's value, better than ours, between two Ganglia."""
    first = machine.start("omni0")
    machine.set(BUFFER, 2000)
    second = machine.start("omni1")
    assert [step.key for step in second.steps if isinstance(step, ChangedSetting)] == [TIME.key]
    machine.stop(first)
    machine.stop(second)
    assert machine.values() == (30, 2000)


def test_a_journal_of_another_network_namespace_says_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    first = machine.start("omni0")
    here = module._place()
    monkeypatch.setattr(module, "_place", lambda: {**here, "netns": 1})
    machine.set(TIME, 30)  # its own
    machine.stop(machine.start("omni1"))
    monkeypatch.setattr(module, "_place", lambda: here)
    assert machine.values()[0] == 30
    assert len(first.steps) == 2


def test_what_is_not_there_or_read_only_is_left_out(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.path(TIME).unlink()
    read_only: list[str] = []
    real = os.access
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: read_only.append(str(path)) or False)
        with caplog.at_level("INFO"):
            journal = machine.start("omni0")
    assert os.access is real and read_only == [str(machine.path(BUFFER))]
    assert journal.steps == []
    assert "net.core.rmem_max stays 200, it is read-only here: why" in caplog.text


def test_what_the_kernel_does_not_take_is_no_step(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Out of a range: written without an error, and ignored."""
    monkeypatch.setattr("omni_core.io.sysctls._write", lambda path, value: None)
    journal = machine.journal("omni0")
    journal.add(MadeLink("omni0", "02:00:00:00:00:01"))
    with caplog.at_level("INFO"):
        apply_settings(journal, SETTINGS_HERE, str(machine.root))
    assert journal.steps == [MadeLink("omni0", "02:00:00:00:00:01")]
    assert "net.core.rmem_max stays 200 (out of its range here): why" in caplog.text


def test_the_settings_of_the_guide() -> None:
    assert {setting.key: setting.wanted for setting in SETTINGS} == {
        "net.ipv4.ipfrag_time": 3,
        "net.ipv4.ipfrag_high_thresh": 128 << 20,
        "net.core.rmem_max": 16 << 20,
    }
    assert [setting.is_good(setting.wanted) for setting in SETTINGS] == [True] * 3
    assert TIME.is_good(1) and not TIME.is_good(4) and BUFFER.is_good(1001) and not BUFFER.is_good(999)
