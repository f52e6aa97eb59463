"""The native engine of the bulk lane, from the event loop: started, listened to, and followed by another when it dies.

The first one starts with the pump, when it is known how XDP is attached; one that an earlier Ganglion left is there
already. What goes wrong is said once, and never ends the Ganglion: the kernel goes on alone.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence

from omni_core.errors import ConfigError, OmniError, SystemRefused
from omni_core.io.native.process import NativeProcess
from omni_core.io.synapse.plane import KernelDataPlane
from omni_core.io.tasks import end_tasks, in_thread
from omni_core.io.udp import UdpPort

logger = logging.getLogger(__name__)

BACKOFF_MIN, BACKOFF_MAX = 1.0, 30.0  # s before the next start, doubled each time; from new after BACKOFF_MAX of life


class BulkWatch:
    """``spawn(sockets, merge)`` starts an engine; blocking. ``merges()``: whether the kernel may merge datagrams on
    their way to the sockets. ``on_news``: the engine has something to tell."""

    def __init__(
        self,
        plane: KernelDataPlane,
        udp: UdpPort,
        workers: int,
        spawn: Callable[[Sequence[int], bool], NativeProcess],
        merges: Callable[[], bool],
        on_news: Callable[[], None],
    ) -> None:
        self.reason = "not started"  # why there is no engine; "": there is one
        self._lane = plane.bulk
        self._plane = plane
        self._udp = udp
        self._workers = workers
        self._spawn = spawn
        self._merges = merges
        self._on_news = on_news
        self._task: asyncio.Task[None] | None = None
        self._reading = -1
        self._merging = True
        self._delay = BACKOFF_MIN
        self._began = -math.inf

    def begin(self) -> None:
        self._lane.on_lost = self._on_lost
        if self._lane.engine is not None:
            self._merging = self._merges()
            self._udp.set_merging(self._merging)
            self._listen()
        else:
            self._start(0.0)

    async def end(self) -> None:
        """The engine goes on. Idempotent."""
        if self._task is not None:
            await end_tasks([self._task])
            self._task = None
        self._lane.on_lost = lambda: None
        self._ignore()

    def look_again(self) -> None:
        """The machine's interfaces changed. In generic mode XDP comes behind what merges datagrams, and cannot open
        them: then nothing may be merged, which an engine is told when it starts."""
        if self._reading >= 0 and self._merging and not self._merges():
            self._lane.give_up("it begins anew for an interface with XDP in generic mode")

    def _on_lost(self) -> None:
        self._ignore()
        self.reason = "it was lost and is being started again"
        now = asyncio.get_running_loop().time()
        self._delay = BACKOFF_MIN if now - self._began > BACKOFF_MAX else min(2 * self._delay, BACKOFF_MAX)
        self._start(self._delay)

    def _start(self, delay: float) -> None:
        self._task = asyncio.create_task(self._keep_trying(delay), name="native engine")

    async def _keep_trying(self, delay: float) -> None:
        while True:
            await asyncio.sleep(delay)
            try:
                await self._begin_one()
                return
            except OmniError as error:
                problem = _sentence(error)
                level = logging.DEBUG if problem == self.reason else logging.WARNING
                logger.log(level, "no bulk lane, the kernel goes on alone: %s", problem)
                self.reason = problem
            self._delay = delay = min(max(2 * delay, BACKOFF_MIN), BACKOFF_MAX)

    async def _begin_one(self) -> None:
        """Raises OmniError; then everything is as before."""
        self._merging = self._merges()
        self._udp.set_merging(self._merging)
        sockets = self._udp.share(self._workers, bulk=True)
        made: list[NativeProcess] = []
        try:
            numbers = [sock.fileno() for sock in sockets]
            await in_thread(lambda: made.append(self._spawn(numbers, self._merging)))
        except BaseException:
            for process in made:
                process.stop()
            self._udp.unshare()
            raise
        finally:
            for sock in sockets:
                sock.close()
        self._began = asyncio.get_running_loop().time()
        if self._plane.use_engine(made[0]):
            self._listen()
            logger.info("bulk lane: omni-native with %d workers", self._workers)

    def _listen(self) -> None:
        assert self._lane.engine is not None
        self.reason = ""
        self._reading = self._lane.engine.fileno()
        asyncio.get_running_loop().add_reader(self._reading, self._on_news)

    def _ignore(self) -> None:
        if self._reading >= 0:
            asyncio.get_running_loop().remove_reader(self._reading)
            self._reading = -1


def _sentence(error: OmniError) -> str:
    if isinstance(error, SystemRefused):
        return f"{error.what}: {error.problem}"
    return error.problem if isinstance(error, ConfigError) else str(error)
