"""`omni` as a test calls it: in this process (quick), or as a real one (exit codes, argv, signals)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from omni_core.cli import main
from omni_core.io.admin import AdminServer, Handler

REPO = Path(__file__).resolve().parents[2]
OMNI = [sys.executable, "-B", "-m", "omni_core.cli"]


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    def assert_refused(self, code: int, field: str, *words: str) -> None:
        """Exit code, and on stderr one line that names field, problem and fix; nothing on stdout."""
        assert self.code == code, self
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith(f"omni: {field}: "), lines[0]
        assert ". Fix: " in lines[0]
        assert "Traceback" not in self.err
        for word in words:
            assert word in lines[0], (word, lines[0])
        assert self.out == ""


def omni_process(
    *arguments: str, stdin: str = "", env: Mapping[str, str] | None = None, timeout: float = 30
) -> Outcome:
    done = subprocess.run(
        [*OMNI, *arguments],
        input=stdin, capture_output=True, text=True, timeout=timeout, cwd="/",
        env={**os.environ, "PYTHONPATH": str(REPO), **(env or {})},
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)


class Caller:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Outcome:
        with pytest.raises(SystemExit) as ended:
            main.main([str(argument) for argument in arguments])
        out, err = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Outcome(ended.value.code, out, err)


@contextlib.contextmanager
def served(path: str, handlers: Mapping[str, Handler]) -> Iterator[None]:
    """An AdminServer on a loop in a thread, as a Ganglion's would be in another process."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(10)

    server = AdminServer(path, handlers)
    try:
        run(server.open())
        yield
    finally:
        run(server.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
