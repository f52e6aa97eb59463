"""The file of known peers, beside the key: whom a Ganglion may try when it starts while every Nucleus is dead.

It is written rarely, and whole or not at all. Whatever is wrong with it is no error: it is ignored, with one warning.
What is in it: engines/known_peers.py, which also says that nothing in it is believed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Callable, Sequence

from omni_core.constants import KNOWN_PEERS_MAX, PEER_CACHE_INTERVAL
from omni_core.engines.known_peers import FILE_MAX, KnownPeer, decode_known, encode_known
from omni_core.errors import RemoteViolation
from omni_core.io.clock import monotonic
from omni_core.io.files import write_atomic
from omni_core.io.tasks import end_tasks, in_thread, wait_until
from omni_core.types import PublicKey

logger = logging.getLogger(__name__)

SETTLE = 2.0  # s; peers come up in crowds
LOOK = 300.0  # s between two looks when nothing is told: addresses change without an event
REFRESH = 86400.0  # s; else peers that never change would be forgotten for their age


class PeerCache:
    """``owner``: key of this robot."""

    def __init__(self, path: str, owner: PublicKey, cluster: str) -> None:
        self._path = path
        self._owner = owner
        self._cluster = cluster
        self._written: frozenset[object] | None = None  # what of it matters; None: nothing, or we do not know
        self._written_at = 0.0
        self._writable = True
        self._there = False  # there is a file
        self._known: Callable[[], Sequence[KnownPeer]] = tuple
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    def load(self) -> list[KnownPeer]:
        """Blocking. Empty when there is nothing of use."""
        self._there = os.path.lexists(self._path)
        try:
            peers = decode_known(_read(self._path), self._owner, self._cluster)
        except FileNotFoundError:
            return []
        except RemoteViolation as violation:
            logger.warning("the cache of peers %s is ignored: %s", self._path, violation)
            return []
        except OSError as error:
            logger.warning("the cache of peers %s is ignored: %s", self._path, error.strerror or error)
            return []
        return peers

    def begin(self, known: Callable[[], Sequence[KnownPeer]]) -> None:
        """Write it now and then, until ``end``. ``known`` is called on the event loop."""
        self._known = known
        self._keeper = asyncio.create_task(self._keep(), name="cache of peers")

    def changed(self) -> None:
        """A look is worth while."""
        self._changed.set()

    async def end(self) -> None:
        """Write it a last time. Idempotent."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await end_tasks([keeper])
            await self._look()

    async def _keep(self) -> None:
        while True:
            await wait_until(self._changed, LOOK)
            await asyncio.sleep(SETTLE)
            self._changed.clear()
            if await self._look():
                await asyncio.sleep(PEER_CACHE_INTERVAL)

    async def _look(self) -> bool:
        """Whether it was written."""
        peers = list(self._known())[:KNOWN_PEERS_MAX]
        matters = frozenset((peer.record, peer.endpoints) for peer in peers)
        now = monotonic()
        if not self._writable or (matters == self._written and now - self._written_at < REFRESH):
            return False
        if not peers and not self._there:
            return False
        self._written, self._written_at, self._there = matters, now, True
        data = encode_known(self._owner, self._cluster, peers)
        await in_thread(lambda: self._write(data))
        return True

    def _write(self, data: bytes) -> None:
        try:
            write_atomic(self._path, data)
        except OSError as error:
            self._writable = False
            logger.warning(
                "the cache of peers %s cannot be written (%s): a start without a Nucleus will find nobody",
                self._path,
                error.strerror,
            )


def _read(path: str) -> bytes:
    """Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)  # a fifo must not hang the start
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_size > FILE_MAX:
            raise OSError(0, "it is no such file")
        data = b""
        while len(data) <= FILE_MAX and (part := os.read(fd, FILE_MAX + 1 - len(data))):
            data += part
        return data
    finally:
        os.close(fd)
