"""An engine whose process has ended by itself is started again, at first at once, then with more and more patience."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from omni_core.errors import SystemRefused
from omni_core.io.clock import monotonic
from omni_core.io.native.deaths import Deaths
from omni_core.io.tasks import end_tasks

logger = logging.getLogger(__name__)


class Revival:
    """Of one driver. ``replace(reason)`` makes the port work again, or finds that nobody wants that any more; with a
    reason it is to be another engine, and why. It raises SystemRefused when it is to be tried again."""

    def __init__(self, interface: str, replace: Callable[[str], Awaitable[None]]) -> None:
        self._interface = interface
        self._replace = replace
        self._deaths = Deaths()
        self._task: asyncio.Task[None] | None = None
        self._next: SystemRefused | None = None  # what the latest one has ended of

    def begin(self, gone: SystemRefused, falls_back: bool) -> None:
        """Once for each engine. ``falls_back``: rather another engine than one that keeps ending."""
        self._next = gone
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(falls_back), name=f"{self._interface} revival")

    def forget(self) -> None:
        """What follows is a new engine's, or somebody wanted it so."""
        self._deaths.forget()

    async def end(self) -> None:
        """Idempotent. Nothing when it is the revival that ends."""
        if self._task is not None and self._task is not asyncio.current_task():
            await end_tasks([self._task])
            self._task = None

    async def _run(self, falls_back: bool) -> None:
        while (problem := self._next) is not None:
            self._next = None
            delay = self._deaths.add(monotonic())
            gives_up = falls_back and self._deaths.many
            logger.warning(
                "%s: the engine has ended (%s: %s); %s%s, sessions begin anew",
                self._interface,
                problem.what,
                problem.problem,
                "another engine takes its place" if gives_up else "it is started again",
                f" in {delay:g} s" if delay else "",
            )
            await asyncio.sleep(delay)
            try:
                await self._replace("the engine native ended three times within a minute" if gives_up else "")
            except SystemRefused as error:
                self._next = error
