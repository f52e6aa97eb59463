"""Ending tasks, and blocking work beside the event loop, without leaving anything half done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeVar

T = TypeVar("T")

_CANCEL_AGAIN = 0.1  # s


async def end_tasks(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel and wait for the end; what they raise is theirs.

    Until Python 3.12 ``asyncio.wait_for`` loses a cancellation that comes at the moment its result does, so one request
    is not enough.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN)


async def in_turn(*steps: Callable[[], Awaitable[None] | None]) -> None:
    """Each step, also after one that failed; then the first failure is raised."""
    failures = []
    for step in steps:
        try:
            waited_for = step()
            if waited_for is not None:
                await waited_for
        except BaseException as failure:
            failures.append(failure)
    if failures:
        raise failures[0]


async def wait_until(event: asyncio.Event, timeout: float) -> bool:
    """True when the event came within ``timeout`` s."""
    try:
        await asyncio.wait_for(event.wait(), timeout)
    except asyncio.TimeoutError:
        return False
    return True


async def in_thread(work: Callable[[], T]) -> T:
    """Run blocking work beside the event loop. Cancelled, it waits for the work's end: what was made must be undone."""
    future = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise
