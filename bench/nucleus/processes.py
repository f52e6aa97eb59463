"""Nucleus processes for the bench and for tests: the command `omni nucleus` on loopback, with files of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omni_core.crypto.identity import Identity, encode_key_file
from omni_core.engines.settings import NucleusSettings
from omni_core.io.admin import request
from omni_core.types import Endpoint

ROOT = Path(__file__).resolve().parents[2]
START = 20.0  # s until a process says that it listens
_LISTENS = re.compile(r"Nucleus on UDP port (\d+)")


class NucleusProcess:
    """``directory``: its own. The port is the same after a restart."""

    def __init__(self, directory: Path, identity: Identity, config: Mapping[str, Any]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.log = directory / "log"
        self.port = 0
        self._identity = identity
        self._config = {"clusters": ["fleet"], "http_listen": "", **config}
        self._process: subprocess.Popen[bytes] | None = None
        key = directory / "nucleus.key"
        key.touch(0o600)
        key.write_text(encode_key_file(identity))

    @property
    def settings(self) -> NucleusSettings:
        return NucleusSettings(self._identity.public_key, (Endpoint("127.0.0.1", self.port),))

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, prefix: tuple[str, ...] = ()) -> None:
        """Returns when it listens."""
        values = {
            "key_file": str(self.directory / "nucleus.key"),
            "listen_address": ["127.0.0.1"],
            "listen_port": self.port,
            "run_dir": str(self.directory),
            **self._config,
        }
        file = self.directory / "nucleus.toml"
        file.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "omni_core.cli", "nucleus", "--config", str(file)],
                cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        end = time.monotonic() + START
        while (found := _LISTENS.search(self.log.read_text()[before:])) is None:
            if not self.running or time.monotonic() > end:
                raise RuntimeError(f"the Nucleus did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.02)
        self.port = int(found.group(1))

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """As a service manager would; kill -9 when it does not end. Idempotent."""
        if not self.running:
            return
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = request(f"{self.directory}/nucleus.sock", "status", 20.0)
        return answer

    def memory(self) -> int:
        """Resident bytes."""
        fields = (Path("/proc") / str(self.pid) / "statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu(self) -> float:
        """s of processor time, user and system, all threads."""
        return time.clock_gettime((~self.pid << 3) | 2)  # clock_getcpuclockid(3): CPUCLOCK_SCHED of the process


@contextlib.contextmanager
def nucleus_process(directory: Path, identity: Identity, **config: Any) -> Iterator[NucleusProcess]:
    process = NucleusProcess(directory, identity, config)
    try:
        process.start()
        yield process
    finally:
        process.stop()
