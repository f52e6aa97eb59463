"""Carries the commands of a SharedStore to a Redis, and its replies, changes and hints back.

Three connections: commands (pipelined, in order), the stream of changes (XREAD BLOCK), and hints (pub/sub). When one of
them fails, or does not answer in time, all are closed, the store is told, and they are made again. RESP2 on all, which
every Redis from 5.0 on speaks.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis.asyncio as redis_asyncio
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
from redis.retry import Retry

from omni_core.config.nucleus_values import StoreLocation
from omni_core.constants import STORE_PATIENCE, STORE_RETRY, STORE_RETRY_MAX
from omni_core.errors import ConfigError, SystemRefused
from omni_core.io.clock import monotonic
from omni_core.io.tasks import end_tasks, wait_until
from omni_core.signaling.shared.commands import Command
from omni_core.signaling.shared.store import SharedStore

logger = logging.getLogger(__name__)

SCRIPTS = Path(__file__).parent / "redis_scripts"
STREAM = "omni:changes"
BATCH = 500  # commands in one go
READ_BLOCK = 1.0  # s that XREAD waits
READ_COUNT = 1000
OUTPUT_LIMIT = 200  # characters of what a Redis says, in a sentence of ours


def load_scripts() -> dict[str, str]:
    common = (SCRIPTS / "common.lua").read_text()
    return {path.stem: common + path.read_text() for path in SCRIPTS.glob("*.lua") if path.stem != "common"}


@dataclass(frozen=True)
class RedisAccess:
    """How to reach it. ``ca_file`` "": the certificates that the system trusts."""

    location: StoreLocation
    password: str = field(default="", repr=False)
    ca_file: str = ""

    def options(self) -> dict[str, Any]:
        """Raises ConfigError for a CA file that is none."""
        location = self.location
        options: dict[str, Any] = {
            "db": location.database, "username": location.username or None, "password": self.password or None,
            "protocol": 2, "retry": Retry(NoBackoff(), 0), "decode_responses": False,
            "socket_connect_timeout": STORE_PATIENCE, "socket_timeout": STORE_PATIENCE,
            "client_name": "omni-nucleus", "single_connection_client": True,
        }  # fmt: skip
        if location.scheme == "unix":
            return options | {"unix_socket_path": location.path}
        options |= {"host": location.host, "port": location.port, "socket_keepalive": True}
        if location.scheme == "rediss":
            try:
                ssl.create_default_context(cafile=self.ca_file or None)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(
                    "store_ca_file",
                    f"{self.ca_file} has no certificates ({getattr(error, 'strerror', None) or error})",
                    "name a file with the certificate of the CA in PEM",
                ) from None
            options |= {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True}
            if self.ca_file:
                options["ssl_ca_certs"] = self.ca_file
        return options


class RedisLink:
    """Keeps ``store`` connected. ``on_progress`` is called on the event loop after the store was given something."""

    def __init__(self, store: SharedStore, access: RedisAccess, on_progress: Callable[[], None]) -> None:
        self._store = store
        self._access = access
        self._on_progress = on_progress
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()  # the position of the stream is another one
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="redis")

    async def stop(self) -> None:
        """Idempotent. What has not been sent yet is not."""
        task, self._task = self._task, None
        if task is not None:
            self._stop.set()  # and not cancelled, so that the connections are closed in order
            await asyncio.wait([task], timeout=2 * STORE_PATIENCE)
            await end_tasks([task])

    def flush(self) -> None:
        """After every call of the store, or of the engine that has it."""
        self._wake.set()

    async def _run(self) -> None:
        pause = STORE_RETRY
        while True:
            try:
                await self._session()
            except Exception as error:
                if not isinstance(error, (RedisError, OSError, asyncio.TimeoutError, _GivenUp)):
                    logger.exception("the store: a fault of ours")
                reason = f"{self._access.location}: {sentence(error)}"
            else:
                reason = f"{self._access.location}: closed"
            if self._stop.is_set():
                return
            was_there = self._store.available
            self._store.on_lost(reason, monotonic())
            self._on_progress()
            pause = STORE_RETRY if was_there else min(2 * pause, STORE_RETRY_MAX)
            await wait_until(self._stop, pause * (0.5 + random.random() / 2))

    async def _session(self) -> None:
        options = self._access.options()
        patient = options | {"socket_timeout": READ_BLOCK + STORE_PATIENCE}
        clients = [redis_asyncio.Redis(**each) for each in (options, patient, options)]
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(self._stop.wait())]
        try:
            commands, stream, hints = clients
            subscription = hints.pubsub()
            prepare = asyncio.create_task(self._prepare(commands, subscription))
            tasks.append(prepare)
            await asyncio.wait(tasks, timeout=2 * STORE_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            if not prepare.done():
                raise asyncio.TimeoutError
            run_id, shas = prepare.result()
            tasks.remove(prepare)
            self._store.on_connected(run_id, monotonic())
            generation = self._store.generation
            self._wake.set()
            tasks += [
                asyncio.create_task(self._carry(commands, shas, generation)),
                asyncio.create_task(self._follow(stream)),
                asyncio.create_task(self._hear(subscription)),
            ]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end_tasks(tasks)
            for task in tasks:
                if not task.cancelled():
                    task.exception()  # all that use one Redis fail with it; the first one's word is enough
            for client in clients:
                await _close(client)

    async def _prepare(self, client: Any, subscription: Any) -> tuple[str, dict[str, str]]:
        run_id = await _run_id(client)
        shas = {name: await client.script_load(text) for name, text in load_scripts().items()}
        await subscription.subscribe(self._store.channel)
        return run_id, shas

    async def _carry(self, client: Any, shas: Mapping[str, str], generation: int) -> None:
        store = self._store
        while True:
            if store.generation != generation:
                raise _GivenUp(store.reason)
            commands = store.take_commands()
            if not commands:
                self._wake.clear()
                await self._wake.wait()
                continue
            for first in range(0, len(commands), BATCH):
                await self._execute(client, shas, commands[first : first + BATCH])
            self._on_progress()

    async def _execute(self, client: Any, shas: Mapping[str, str], batch: Sequence[Command]) -> None:
        pipeline = client.pipeline(transaction=False)
        for command in batch:
            pipeline.evalsha(shas[command.script], 0, *command.args)
        replies = await pipeline.execute(raise_on_error=False)
        now = monotonic()
        for command, reply in zip(batch, replies, strict=True):
            if isinstance(reply, Exception):
                raise reply
            self._store.on_reply(command, reply, now)
        self._moved.set()

    async def _follow(self, client: Any) -> None:
        store = self._store
        while True:
            position = store.position
            if position is None:
                self._moved.clear()
                await self._moved.wait()
                continue
            answer = await client.xread({STREAM: f"{position}-0"}, count=READ_COUNT, block=round(READ_BLOCK * 1000))
            entries = answer[0][1] if answer else []
            if entries:
                changes = [(int(name.partition(b"-")[0]), fields[b"k"], fields[b"v"]) for name, fields in entries]
                store.on_entries(changes, monotonic())
                self._on_progress()
                self._wake.set()

    async def _hear(self, subscription: Any) -> None:
        """Redis ends the subscription when it goes; one that only stalls is noticed by its commands."""
        while True:
            message = await subscription.get_message(ignore_subscribe_messages=True, timeout=READ_BLOCK)
            if message is not None and isinstance(message.get("data"), bytes):
                self._store.on_hint(message["data"])
                self._on_progress()


class _GivenUp(Exception):
    """The store did not wait any longer."""


async def check_access(access: RedisAccess) -> str:
    """Empty: a Nucleus can use it. A sentence: it is not there now, but may come.

    Raises SystemRefused when it is there and does not let us: password, user, certificate; ConfigError for a CA file.
    """
    client = redis_asyncio.Redis(**access.options())
    what = f"store {access.location}"
    try:
        await asyncio.wait_for(_run_id(client), 2 * STORE_PATIENCE)
        await asyncio.wait_for(client.script_load(load_scripts()["hello"]), STORE_PATIENCE)
    except NoPermissionError as error:
        raise _refused(what, error) from None
    except ResponseError as error:
        return sentence(error)
    except (RedisError, OSError, asyncio.TimeoutError) as error:
        for cause in _causes(error):
            if isinstance(cause, AuthenticationError):
                raise _refused(what, error) from None
            if isinstance(cause, ssl.SSLError):
                raise SystemRefused(
                    what,
                    f"TLS failed ({sentence(error)})",
                    "set store_ca_file to the CA of its certificate, and the host in store to a name in it; "
                    "without TLS the URL begins with redis://",
                ) from None
        return sentence(error)
    finally:
        await _close(client)
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """redis-py wraps some errors into its ConnectionError."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _refused(what: str, error: RedisError | OSError | asyncio.TimeoutError) -> SystemRefused:
    return SystemRefused(
        what,
        f"refuses us ({sentence(error)})",
        "correct the user in store and the password in store_password_file; the user needs all commands on omni:*",
    )


def sentence(error: BaseException) -> str:
    """What is told of an error. Never what we sent."""
    if isinstance(error, asyncio.TimeoutError) or not str(error):
        return "does not answer in time"
    return "".join(c for c in str(error) if c.isprintable())[:OUTPUT_LIMIT].rstrip(".")


async def _run_id(client: Any) -> str:
    info = await client.info("server")
    return str(info["run_id"])


async def _close(client: Any) -> None:
    try:
        await asyncio.wait_for(client.aclose(), STORE_PATIENCE)
    except (RedisError, OSError, asyncio.TimeoutError):
        pass
