"""Two processes on two CPUs that do the same thing at the same moment, again and again."""

from __future__ import annotations

import mmap
import os
import pickle
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest

PATIENCE = 60.0  # s that one waits for the other


def race(turns: int, one: Callable[[int], Any], other: Callable[[int], Any]) -> tuple[list[Any], list[Any]]:
    """``one(turn)`` and ``other(turn)`` for each turn, on different CPUs, each turn as simultaneously as spinning makes
    it. -> what they returned. Skips on a machine with one CPU."""
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(cpus) < 2:
        pytest.skip("one CPU: nothing can race")
    shared = mmap.mmap(-1, mmap.PAGESIZE)
    at = memoryview(shared).cast("Q")
    try:
        children = [_start(cpus[me], at, me, turns, work) for me, work in enumerate((one, other))]
        results = [_finish(*child) for child in children]
    finally:
        at.release()
        shared.close()
    return results[0], results[1]


def _start(cpu: int, at: memoryview, me: int, turns: int, work: Callable[[int], Any]) -> tuple[int, int]:
    """-> process id, and a pipe that its results come through."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    code = 1
    try:
        os.sched_setaffinity(0, {cpu})
        done = []
        for turn in range(turns):
            _meet(at, me, turn + 1)
            done.append(work(turn))
        at[me] = turns + 1
        with os.fdopen(writer, "wb") as out:
            pickle.dump(done, out)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _meet(at: memoryview, me: int, turn: int) -> None:
    at[me] = turn
    tries = 0
    until = 0.0
    while at[1 - me] < turn:
        tries += 1
        if tries % 4096 == 0:  # the other one is not running: it may need this CPU
            os.sched_yield()
            until = until or time.monotonic() + PATIENCE
            if time.monotonic() > until:
                raise TimeoutError("the other process does not come")


def _finish(child: int, reader: int) -> list[Any]:
    with os.fdopen(reader, "rb") as results:
        raw = results.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, "a racing process failed; see above"
    done: list[Any] = pickle.loads(raw)
    return done
