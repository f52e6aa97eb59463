"""When the native engine of the bulk lane is started, and started again. No engine, no kernel: fakes all around."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from omni_core.errors import OmniError, SystemRefused
from omni_core.io.synapse import bulk_watch
from omni_core.io.synapse.bulk_watch import BulkWatch

REFUSED = SystemRefused("omni-native", "no way", "none")


class FakeProcess:
    """Its connection is a pipe, so that the event loop can watch it."""

    def __init__(self) -> None:
        self.readable, self.writable = os.pipe()
        self.stopped = False

    def fileno(self) -> int:
        return self.readable

    def stop(self) -> None:
        self.stopped = True


class FakeLane:
    def __init__(self) -> None:
        self.on_lost: Callable[[], None] = lambda: None
        self.engine: FakeProcess | None = None
        self.given_up: list[str] = []

    def lose(self) -> None:
        self.on_lost()
        self.engine = None

    def give_up(self, problem: str) -> None:
        self.given_up.append(problem)
        self.lose()


class FakePlane:
    def __init__(self) -> None:
        self.bulk = FakeLane()
        self.dies = False

    def use_engine(self, process: FakeProcess) -> bool:
        self.bulk.engine = process
        if self.dies:
            self.bulk.lose()
        return not self.dies


class FakeUdp:
    def __init__(self) -> None:
        self.log: list[object] = []
        self.refuses: OmniError | None = None
        self.given: list[socket.socket] = []

    def set_merging(self, on: bool) -> None:
        self.log.append(("merging", on))

    def share(self, workers: int, *, bulk: bool) -> list[socket.socket]:
        self.log.append(("share", workers, bulk))
        if self.refuses is not None:
            raise self.refuses
        self.given = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(workers)]
        return list(self.given)

    def unshare(self) -> None:
        self.log.append("unshare")


class Bench:
    def __init__(self) -> None:
        self.plane, self.udp = FakePlane(), FakeUdp()
        self.spawned: list[tuple[int, bool]] = []  # sockets, whether they merge
        self.outcomes: list[OmniError | None] = []  # of the next starts; then all is well
        self.generic = False
        self.news = 0
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.may_end.set()
        self.made: list[FakeProcess] = []
        self.watch = BulkWatch(
            *cast(Any, (self.plane, self.udp, 2, self.spawn, lambda: not self.generic, self.on_news))
        )

    def spawn(self, sockets: Sequence[int], merge: bool) -> FakeProcess:
        self.spawned.append((len(sockets), merge))
        assert all(os.fstat(number) for number in sockets), "open while it starts"
        self.begun.set()
        assert self.may_end.wait(10)
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is not None:
            raise outcome
        self.made.append(FakeProcess())
        return self.made[-1]

    def on_news(self) -> None:
        assert self.plane.bulk.engine is not None
        os.read(self.plane.bulk.engine.readable, 100)
        self.news += 1

    async def until(self, condition: Callable[[], object]) -> None:
        for _ in range(1000):
            if condition():
                return
            await asyncio.sleep(0.005)
        raise AssertionError("it did not come true")

    async def running(self) -> FakeProcess:
        await self.until(lambda: self.plane.bulk.engine is not None and self.watch.reason == "")
        assert self.plane.bulk.engine is not None
        return self.plane.bulk.engine


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_watch, "BACKOFF_MIN", 0.01)
    monkeypatch.setattr(bulk_watch, "BACKOFF_MAX", 0.04)


def run(do: Callable[[Bench], Any]) -> None:
    async def whole() -> None:
        bench = Bench()
        try:
            await do(bench)
        finally:
            bench.may_end.set()
            await bench.watch.end()

    asyncio.run(whole())


def test_it_starts_and_is_listened_to() -> None:
    async def do(bench: Bench) -> None:
        assert bench.watch.reason == "not started"
        bench.watch.begin()
        process = await bench.running()
        assert bench.udp.log == [("merging", True), ("share", 2, True)] and bench.spawned == [(2, True)]
        assert all(sock.fileno() == -1 for sock in bench.udp.given), "ours are closed: the engine has its own"
        os.write(process.writable, b"news")
        await bench.until(lambda: bench.news == 1)
        await bench.watch.end()
        os.write(process.writable, b"news")
        await asyncio.sleep(0.02)
        assert bench.news == 1 and not process.stopped, "it goes on without us"

    run(do)


def test_one_that_an_earlier_ganglion_left_is_listened_to() -> None:
    async def do(bench: Bench) -> None:
        bench.plane.bulk.engine = process = FakeProcess()
        bench.generic = True
        bench.watch.begin()
        assert bench.watch.reason == "" and bench.spawned == [] and bench.udp.log == [("merging", False)]
        os.write(process.writable, b"news")
        await bench.until(lambda: bench.news == 1)

    run(do)


def test_a_failure_is_said_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async def do(bench: Bench) -> None:
        bench.outcomes = [REFUSED, REFUSED, SystemRefused("omni-native", "another", "none"), None]
        bench.watch.begin()
        await bench.running()
        assert len(bench.spawned) == 4 and bench.udp.log.count("unshare") == 3
        warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
        said = "no bulk lane, the kernel goes on alone: omni-native: "
        assert warnings == [f"{said}no way", f"{said}another"]

    run(do)


def test_a_port_that_cannot_be_shared() -> None:
    async def do(bench: Bench) -> None:
        bench.udp.refuses = REFUSED
        bench.watch.begin()
        await bench.until(lambda: bench.watch.reason == "omni-native: no way")
        assert bench.spawned == []
        bench.udp.refuses = None
        await bench.running()

    run(do)


def test_a_lost_one_is_followed_by_another() -> None:
    async def do(bench: Bench) -> None:
        bench.watch.begin()
        for count in range(1, 6):
            process = await bench.running()
            assert len(bench.spawned) == count
            bench.plane.bulk.lose()
            assert bench.watch.reason.startswith("it was lost")
            os.write(process.writable, b"last words")
        await bench.running()
        assert bench.news == 0, "nobody listens to a lost one"

    run(do)


def test_one_that_dies_while_it_is_told() -> None:
    async def do(bench: Bench) -> None:
        bench.plane.dies = True
        bench.watch.begin()
        await bench.until(lambda: len(bench.spawned) >= 3)
        bench.plane.dies = False
        await bench.running()

    run(do)


def test_an_end_while_it_starts_leaves_none_behind() -> None:
    async def do(bench: Bench) -> None:
        bench.may_end.clear()
        bench.watch.begin()
        await bench.until(bench.begun.is_set)
        ending = asyncio.create_task(bench.watch.end())
        await asyncio.sleep(0.02)
        bench.may_end.set()
        await ending
        assert [process.stopped for process in bench.made] == [True]
        assert bench.plane.bulk.engine is None and bench.udp.log[-1] == "unshare"
        bench.plane.bulk.lose()  # nobody is told any more
        await asyncio.sleep(0.05)
        assert len(bench.spawned) == 1

    run(do)


def test_generic_mode_and_merging_do_not_go_together() -> None:
    async def do(bench: Bench) -> None:
        bench.watch.look_again()
        bench.watch.begin()
        await bench.running()
        bench.watch.look_again()
        assert bench.plane.bulk.given_up == []
        bench.generic = True
        bench.watch.look_again()
        assert len(bench.plane.bulk.given_up) == 1
        await bench.running()
        assert bench.spawned == [(2, True), (2, False)]
        bench.watch.look_again()
        bench.generic = False
        bench.watch.look_again()
        assert len(bench.plane.bulk.given_up) == 1, "to merge again it need not begin anew"

    run(do)
