"""A small HTTP/1.1 server for a few GET paths, on an event loop in a thread of its own.

Whoever asks can hold up neither the process nor others for long: connections, the size of a request and the time of
each are bounded, one request is answered on a connection, and there is nothing to post.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, TypeAlias

from omni_core.errors import ConfigError
from omni_core.io.clock import monotonic
from omni_core.io.tasks import end_tasks
from omni_core.session.limits import TokenBucket
from omni_core.types import Endpoint

logger = logging.getLogger(__name__)

CONNECTIONS_MAX = 16
EXCHANGE_TIME = 10.0  # s from a connection's beginning to its end
REQUEST_MAX = 8192  # bytes of request line and headers
RATE, BURST = 20.0, 40.0  # connections a second that are served; a scrape takes milliseconds of processor time

_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Response(NamedTuple):
    status: int
    content_type: str
    body: bytes


Handler: TypeAlias = Callable[[Mapping[str, str]], Awaitable[Response]]
"""Gets the request's headers, names in lower case. Runs on the server's own event loop."""


def listen(address: Endpoint, field: str) -> socket.socket:
    """Raises ConfigError naming ``field``."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections in TIME_WAIT do not matter
        listener.bind((address.host, address.port))
        listener.listen(CONNECTIONS_MAX)
    except OSError as error:
        listener.close()
        problem, fix = f"{address} cannot be bound ({error.strerror})", "use another address and port"
        if error.errno == errno.EADDRINUSE:
            problem, fix = f"{address} is used by another process", "stop that one, or use another port"
        elif error.errno == errno.EADDRNOTAVAIL:
            problem, fix = f"{address.host} is no address of this machine", "use 127.0.0.1, or one that it has"
        elif error.errno == errno.EACCES:
            problem, fix = f"port {address.port} is for root", "use a port of 1024 or higher"
        raise ConfigError(field, problem, f"{fix}, or an empty text for none") from None
    return listener


def is_local(address: Endpoint) -> bool:
    """Only this machine reaches it."""
    return ipaddress.ip_address(address.host).is_loopback


class HttpPort:
    def __init__(self, listener: socket.socket, handlers: Mapping[str, Handler]) -> None:
        """Takes the listener over. ``handlers``: by path."""
        self.address = Endpoint(*listener.getsockname()[:2])
        self._listener = listener
        self._handlers = dict(handlers)
        self._connections: set[asyncio.Task[None]] = set()
        self._bucket = TokenBucket(RATE, BURST, monotonic())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="omni-http", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._started.wait()

    def close(self) -> None:
        """Running requests are cut off. Idempotent. It waits for the thread."""
        if self._loop is not None and self._end is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it has just ended
                self._loop.call_soon_threadsafe(self._end.set)
        if self._thread.ident is not None:
            self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception:
            logger.exception("the HTTP server ended")
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._on_client, sock=self._listener, limit=REQUEST_MAX)
        self._started.set()
        await self._end.wait()
        server.close()
        await end_tasks(self._connections)

    async def _on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if len(self._connections) <= CONNECTIONS_MAX and self._bucket.take(monotonic()):
                await asyncio.wait_for(self._exchange(reader, writer), EXCHANGE_TIME)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # it went away, was too slow, or sent too much
        except asyncio.CancelledError:
            pass  # the server ends
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, response = await self._answer(head)
        writer.write(
            f"HTTP/1.1 {response.status} {_REASONS[response.status]}\r\nContent-Type: {response.content_type}\r\n"
            f"Content-Length: {len(response.body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n".encode()
        )
        if method != "HEAD":
            writer.write(response.body)
        writer.write_eof()
        await writer.drain()
        await reader.read(REQUEST_MAX)  # until the other side has it all: an abort before would cut it off

    async def _answer(self, head: bytes) -> tuple[str, Response]:
        line, *rest = head.decode("latin-1").split("\r\n")
        parts = line.split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            return "", text_response(400, "not an HTTP/1.1 request")
        method, target, _ = parts
        if method not in ("GET", "HEAD"):
            return method, text_response(405, "GET only")
        handler = self._handlers.get(target.partition("?")[0])
        if handler is None:
            return method, text_response(404, f"there are {', '.join(sorted(self._handlers))}")
        headers = {
            name.strip().lower(): value.strip() for name, colon, value in (h.partition(":") for h in rest) if colon
        }
        try:
            return method, await handler(headers)
        except Exception:
            logger.exception("GET %s failed", target.partition("?")[0])
            return method, text_response(503, "internal error, see the log")


def text_response(status: int, text: str) -> Response:
    return Response(status, "text/plain; charset=utf-8", f"{text}\n".encode())
