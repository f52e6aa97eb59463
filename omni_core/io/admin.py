"""The admin socket: a Unix socket of mode 0600 that speaks one JSON object per line, each way.

    -> {"command": "ping", "address": "10.77.0.2"}
    <- {"ok": true, "result": {...}}        or {"ok": false, "error": "a sentence", "exit_code": 2}

``AdminServer`` serves a table of handlers; ``request`` is the client of the command line and of tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from omni_core.errors import ConfigError, OmniError, SystemRefused
from omni_core.io.files import PRIVATE_MODE, make_directory
from omni_core.io.tasks import end_tasks

logger = logging.getLogger(__name__)

LINE_MAX = 1 << 20  # bytes of one request; an answer (status of a large cluster) may be longer
IDLE_TIMEOUT = 60.0  # s without a request, then the connection is closed
CLIENTS_MAX = 32

Handler: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Any]]


class AdminServer:
    """Serves while open. A handler gets the request and returns something JSON-able; OmniErrors become answers."""

    def __init__(self, path: str, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = dict(handlers)
        self._server: asyncio.AbstractServer | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._inode: int | None = None

    async def open(self) -> None:
        """Replaces the socket of a dead process. Raises ConfigError("run_dir"), also when a living one has it."""
        make_directory(os.path.dirname(self._path), "run_dir")
        if _is_alive(self._path):
            raise ConfigError(
                "run_dir", f"{self._path} is served by another process", "stop that one, or use another run_dir"
            )
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            if _is_socket(self._path):
                os.unlink(self._path)
            listener.bind(self._path)
            os.chmod(self._path, PRIVATE_MODE)  # nobody can connect before listen()
            self._inode = os.stat(self._path).st_ino
            self._server = await asyncio.start_unix_server(self._on_client, sock=listener, limit=LINE_MAX)
        except OSError as error:
            listener.close()
            raise ConfigError(
                "run_dir", f"{self._path} cannot be made ({error.strerror})", "name a directory that root may write"
            ) from None

    async def close(self) -> None:
        """Ends running requests. Idempotent. Removes the socket file if it is still ours."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        await end_tasks([task for task in self._clients if task is not asyncio.current_task()])
        with contextlib.suppress(OSError):
            if os.stat(self._path).st_ino == self._inode:
                os.unlink(self._path)

    async def _on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if len(self._clients) <= CLIENTS_MAX:
                await self._serve(reader, writer)
        except (OSError, asyncio.TimeoutError, ValueError, asyncio.CancelledError):
            pass  # the client went away, kept silent, sent an endless line, or the server closes
        finally:
            self._clients.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            line = await asyncio.wait_for(reader.readline(), IDLE_TIMEOUT)
            if not line:
                return
            writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
            await writer.drain()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            handler = self._handlers[request["command"]]
        except (ValueError, RecursionError):
            return _failure("the request is not JSON")
        except (TypeError, KeyError):
            return _failure(f"no such command; there are {', '.join(sorted(self._handlers))}")
        try:
            return {"ok": True, "result": await handler(request)}
        except OmniError as error:
            return _failure(str(error), error.exit_code)
        except Exception:
            logger.exception("admin command %s failed", request["command"])
            return _failure("internal error, see the log")


def request(path: str, command: str, timeout: float = 5.0, /, **arguments: object) -> Any:
    """Ask a running process and return the result. ``timeout`` in s for each step of the exchange here; a request may
    have one of its own among the arguments.

    Raises SystemRefused when nobody serves ``path``, none answers in time, or the path is not ours to open; OmniError
    (with the server's exit code) when the answer is an error.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(path)
            connection.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline()
        except TimeoutError:
            raise SystemRefused("admin socket", f"no answer from {path} within {timeout:g} s", "try again") from None
        except PermissionError:
            raise SystemRefused("admin socket", f"{path} is not yours to open", "use sudo") from None
        except OSError:
            raise SystemRefused(
                "admin socket",
                f"nobody answers at {path}",
                "start it (omni up), or give the right interface and run_dir",
            ) from None
    if not line.endswith(b"\n"):
        raise SystemRefused("admin socket", f"{path} ended without an answer", "see its log")
    answer = json.loads(line)
    if not answer["ok"]:
        failure = OmniError(answer["error"])
        failure.exit_code = answer["exit_code"]
        raise failure
    return answer["result"]


def _failure(text: str, exit_code: int = 1) -> dict[str, Any]:
    return {"ok": False, "error": text, "exit_code": exit_code}


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _is_alive(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except OSError as error:
            return error.errno == errno.EAGAIN  # it listens, and its queue is full
        return True
