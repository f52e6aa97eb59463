"""Processes of a lab, and waiting on conditions."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

POLL = 0.02  # s between two looks at a condition
LOG_TAIL = 2000  # characters of a log that an error quotes

T = TypeVar("T")


class LabError(Exception):
    """A command of the lab failed, or a process of it died."""


class LabTimeout(LabError):
    """A condition did not come true in time."""


def wait_for(condition: Callable[[], T], timeout: float, what: str, poll: float = POLL) -> T:
    """First truthy value of ``condition()``. Raises LabTimeout naming ``what`` after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise LabTimeout(f"waited {timeout:g} s for {what}")
        time.sleep(poll)


class LabProcess:
    """A process in a namespace. Its output goes to ``log``; it is the leader of its own session and process group."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._popen = popen

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        return self._popen.poll()

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait(self, timeout: float) -> int:
        """Exit status (negative: the signal). Raises LabTimeout."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabTimeout(f"waited {timeout:g} s for {self.name} to end\n{self._tail()}") from None

    def wait_log(self, pattern: str, timeout: float) -> re.Match[str]:
        """First match of the regular expression in the log. Raises LabError when the process ends without it."""
        compiled = re.compile(pattern, re.MULTILINE)

        def look() -> re.Match[str] | None:
            ended = not self.running  # looked at before the log, so that its last line is not missed
            match = compiled.search(self.log_text())
            if match is None and ended:
                raise LabError(f"{self.name} ended with {self.returncode} before it said {pattern!r}\n{self._tail()}")
            return match

        try:
            found = wait_for(look, timeout, f"{self.name} to say {pattern!r}")
        except LabTimeout as error:
            raise LabTimeout(f"{error}\n{self._tail()}") from None
        assert found is not None
        return found

    def write(self, text: str) -> None:
        """To the standard input of a process started with ``stdin=True``. Raises LabError when it has ended."""
        assert self._popen.stdin is not None
        try:
            self._popen.stdin.write(text.encode())
            self._popen.stdin.flush()
        except BrokenPipeError:
            raise LabError(f"{self.name} ended with {self.wait(5)}\n{self._tail()}") from None

    def signal(self, number: int) -> None:
        """To the process only. No error when it has ended."""
        if self.running:
            self._popen.send_signal(number)

    def stop(self, grace: float = 3.0) -> int:
        """SIGTERM, then SIGKILL to its group after ``grace`` seconds. Returns the exit status. Idempotent."""
        self._ask_to_end()
        try:
            return self._popen.wait(grace)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """SIGKILL to the process and what it started in its group."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return self._popen.wait()

    def _ask_to_end(self) -> None:
        if self._popen.stdin is not None:
            self._popen.stdin.close()
        self.signal(signal.SIGTERM)

    def _tail(self) -> str:
        return f"--- {self.log} ---\n{self.log_text()[-LOG_TAIL:]}"


def stop_all(processes: Sequence[LabProcess], grace: float) -> None:
    """SIGTERM to all at once, one common ``grace``, then SIGKILL to their groups."""
    for process in processes:
        process._ask_to_end()
    deadline = time.monotonic() + grace
    for process in processes:
        process.stop(max(0.0, deadline - time.monotonic()))
        process.kill()  # what it left in its group
