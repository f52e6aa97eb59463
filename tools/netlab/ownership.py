"""Who owns which namespaces, so that what a killed run left can be removed, and nothing else.

One JSON record per lab under RECORDS. It is written *before* anything is created. A lab is stale when the process that
made it is gone: pid and start time are compared, as pids are reused.
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.netlab.process import LabTimeout, wait_for
from tools.netlab.support import run_ip

RECORDS = Path("/run/omni-netlab")
NETNS_DIRECTORY = Path("/run/netns")


def start_time(pid: int) -> int | None:
    """Clock ticks after boot at which the process started; None when it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()  # the command name may hold spaces and parentheses
    return None if fields[0] in "ZX" else int(fields[19])  # proc(5): state is field 3, starttime 22


class Ownership:
    """The record of one lab; every change is on disk before the call returns."""

    def __init__(self, lab: str, directory: Path | None) -> None:
        """``directory``: goes with the lab."""
        self._path = RECORDS / f"{lab}.json"
        self._directory = directory
        self._namespaces: list[str] = []
        self._write()

    def add_namespace(self, name: str) -> None:
        self._namespaces.append(name)
        self._write()

    def remove(self) -> None:
        """Kill what runs in the namespaces, remove them, the directory, then the record. Idempotent."""
        _remove(self._namespaces, self._directory)
        self._path.unlink(missing_ok=True)
        _remove_empty_directory()

    def _write(self) -> None:
        record = {
            "owner": [os.getpid(), start_time(os.getpid())],
            "namespaces": self._namespaces,
            "directory": None if self._directory is None else str(self._directory),
        }
        new = self._path.with_suffix(".new")
        while True:
            RECORDS.mkdir(mode=0o700, exist_ok=True)
            try:
                new.write_text(json.dumps(record))
                new.replace(self._path)
                return
            except FileNotFoundError:
                continue  # another lab, which was the last, has just removed the directory


def _remove(names: list[str], directory: Path | None) -> None:
    """Processes inside get SIGKILL; a namespace that is not there is passed over."""
    present = [name for name in names if (NETNS_DIRECTORY / name).exists()]
    for name in present:
        for pid in _pids(name):
            _kill(pid)
    for name in present:
        try:
            wait_for(functools.partial(_empty, name), 5.0, f"the processes in {name} to end")
        except LabTimeout:
            pass  # unkillable for now (disk wait): the name goes, the namespace follows with its last process
        run_ip(["netns", "delete", name], check=False)
    if directory is not None:
        shutil.rmtree(directory, ignore_errors=True)


def clean_stale() -> list[str]:
    """Remove the labs whose process is gone. Returns their names."""
    try:
        with _locked():
            cleaned = [path.stem for path in RECORDS.glob("*.json") if _clean_if_stale(path)]
    except FileNotFoundError:
        return []  # no records
    _remove_empty_directory()
    return cleaned


def _clean_if_stale(path: Path) -> bool:
    try:
        record = json.loads(path.read_text())
        pid, started = record["owner"]
        names = [str(name) for name in record["namespaces"]]
        directory = record["directory"] and Path(record["directory"])
    except FileNotFoundError:
        return False  # its lab ended meanwhile
    except (ValueError, KeyError, TypeError):
        return False  # not ours, or written by another version: leave it
    if start_time(pid) == started:
        return False
    _remove(names, directory)
    path.unlink(missing_ok=True)
    path.with_suffix(".new").unlink(missing_ok=True)
    return True


@contextmanager
def _locked() -> Iterator[None]:
    directory = os.open(RECORDS, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _remove_empty_directory() -> None:
    try:
        RECORDS.rmdir()
    except OSError:
        pass  # other labs have their records there


def _pids(namespace: str) -> list[int]:
    result = run_ip(["netns", "pids", namespace], check=False)
    return [int(line) for line in result.stdout.split()] if result.returncode == 0 else []


def _empty(namespace: str) -> bool:
    return not _pids(namespace)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
