"""A redis-server of a test's own, on a Unix socket."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

# Debian has the program in redis-tools, by the name of another one: it looks at its own name.
PROGRAM = shutil.which("redis-server") or shutil.which("redis-check-rdb")
START = 10.0  # s


class RedisServer:
    """Keeps nothing on disk, unless its ``options`` say so: after ``kill`` and ``start`` it is empty. ``directory``:
    short enough for a socket.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.options = options
        self.socket = directory / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}?db=0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns when it answers."""
        assert PROGRAM is not None
        with (self.directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no",
                 *self.options],
                executable=PROGRAM, cwd=self.directory, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        end = time.monotonic() + START
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((self.directory / "redis.log").read_text()[-2000:])
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False
