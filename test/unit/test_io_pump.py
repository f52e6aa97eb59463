"""The pump: one timer, back-pressure from the socket to the TAP, and an engine that fails."""

from __future__ import annotations

import asyncio
import socket

import pytest

from omni_core.drops import DropReason
from omni_core.io.pump import GanglionPump, NucleusPump
from omni_core.io.udp import RECEIVE_CALLS, UdpPort


class FakeEngine:
    """Records what it is told; says what the test puts in."""

    def __init__(self) -> None:
        self.datagrams: list = []
        self.frames: list = []
        self.events: list = []
        self.due: float | None = None
        self.seen: list = []
        self.times: list[float] = []
        self.broken = False

    def next_timer(self):
        return self.due

    def handle_timer(self, now):
        self.times.append(now)
        assert self.due is not None and now >= self.due
        self.due = None
        self._maybe_break()

    def receive_datagrams(self, datagrams, now):
        self.seen += [data for data, _ in datagrams]
        self._maybe_break()

    def receive_frames(self, frames, now):
        self.seen += frames
        self._maybe_break()

    def take_datagrams(self):
        taken, self.datagrams = self.datagrams, []
        return taken

    def take_frames(self):
        taken, self.frames = self.frames, []
        return taken

    def take_events(self):
        taken, self.events = self.events, []
        return taken

    def _maybe_break(self):
        if self.broken:
            raise RuntimeError("a bug")


class FakeTap:
    """A TAP made of a pair of datagram sockets."""

    name = "omni0"

    def __init__(self) -> None:
        self._ours, self.kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ours.setblocking(False)
        self.gone = False
        self.refuse = 0

    def fileno(self):
        return self._ours.fileno()

    def read_batch(self, limit):
        if self.gone:
            raise OSError(77, "File descriptor in bad state")
        frames = []
        try:
            while len(frames) < limit:
                frames.append(self._ours.recv(65536))
        except BlockingIOError:
            pass
        return frames

    def write_batch(self, frames):
        for frame in frames[self.refuse :]:
            self._ours.send(frame)
        return len(frames) - self.refuse

    def close(self):
        self._ours.close()
        self.kernel.close()


class Bench:
    def __init__(self) -> None:
        self.engine, self.tap, self.udp = FakeEngine(), FakeTap(), UdpPort.open(0, ["127.0.0.1"])
        self.events: list = []
        self.faults: list = []
        self.pump = GanglionPump(self.engine, self.udp, self.tap, self.events.append, self.faults.append)
        self.remote = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.remote.bind(("127.0.0.1", 0))
        self.remote.settimeout(2)

    def close(self) -> None:
        self.pump.stop()
        self.pump.stop()
        self.tap.close()
        self.udp.close()
        self.remote.close()

    async def until(self, condition) -> None:
        for _ in range(500):
            if condition():
                return
            await asyncio.sleep(0.002)
        raise AssertionError("the condition did not come true")


@pytest.fixture
async def bench():
    bench = Bench()
    yield bench
    bench.close()


async def test_both_ways(bench):
    bench.tap.kernel.send(b"stale")
    bench.pump.start()
    bench.tap.kernel.send(b"frame")
    bench.remote.sendto(b"datagram", ("127.0.0.1", bench.udp.port))
    await bench.until(lambda: set(bench.engine.seen) == {b"frame", b"datagram"})
    bench.engine.frames = [b"up"]
    bench.engine.datagrams = [(b"out", bench.remote.getsockname())]
    bench.engine.events = ["event"]
    bench.pump.flush()
    assert bench.tap.kernel.recv(100) == b"up" and bench.remote.recv(100) == b"out" and bench.events == ["event"]


async def test_one_timer_that_follows_the_engine(bench):
    loop = asyncio.get_running_loop()
    bench.engine.due = loop.time() + 60
    bench.pump.start()
    bench.engine.due = soon = loop.time() + 0.02
    bench.pump.flush()
    await bench.until(lambda: bench.engine.times)
    assert bench.engine.times[0] >= soon and len(bench.engine.times) == 1
    bench.engine.due = loop.time() - 5  # overdue
    bench.pump.flush()
    await bench.until(lambda: len(bench.engine.times) == 2)
    bench.engine.due = loop.time() + 0.01
    bench.pump.flush()
    bench.pump.stop()
    assert bench.pump._timer is None


async def test_a_full_socket_stops_the_reading_of_the_tap(bench):
    bench.pump.start()
    bench.udp._pending.append((b"waiting", bench.remote.getsockname()))
    bench.pump.flush()
    bench.tap.kernel.send(b"later")
    bench.remote.sendto(b"datagram", ("127.0.0.1", bench.udp.port))
    await bench.until(lambda: bench.engine.seen == [b"datagram"])
    bench.udp._on_writable()
    await bench.until(lambda: bench.engine.seen == [b"datagram", b"later"])
    assert bench.remote.recv(100) == b"waiting"


async def test_frames_that_the_tap_refuses_are_counted(bench):
    bench.pump.start()
    bench.tap.refuse = 2
    bench.engine.frames = [b"a", b"b", b"c"]
    bench.pump.flush()
    assert bench.pump.drops.as_dict() == {DropReason.PORT_REFUSED: 2}


async def test_an_interface_that_is_gone_is_told_once(bench):
    bench.pump.start()
    bench.tap.gone = True
    bench.tap.kernel.send(b"x")
    await bench.until(lambda: bench.faults)
    bench.tap.kernel.send(b"y")
    bench.remote.sendto(b"datagram", ("127.0.0.1", bench.udp.port))
    await bench.until(lambda: bench.engine.seen == [b"datagram"])
    assert len(bench.faults) == 1 and bench.faults[0].what == "omni0"


async def test_a_bug_in_the_engine_does_not_end_the_pumping(bench):
    told: list = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: told.append(context["exception"]))
    bench.pump.start()
    bench.engine.broken = True
    bench.engine.due = loop.time()
    bench.engine.datagrams = [(b"still sent", bench.remote.getsockname())]
    bench.pump.flush()
    assert bench.remote.recv(100) == b"still sent"
    bench.tap.kernel.send(b"frame")
    bench.remote.sendto(b"datagram", ("127.0.0.1", bench.udp.port))
    await bench.until(lambda: len(told) == 3)
    bench.engine.broken = False
    bench.tap.kernel.send(b"fine")
    await bench.until(lambda: b"fine" in bench.engine.seen)


class FakeNucleus(FakeEngine):
    def __init__(self):
        super().__init__()
        self.behind: list[bool] = []

    def set_behind(self, behind):
        self.behind.append(behind)

    def receive_datagram(self, data, source, now):
        self.seen.append(data)


async def test_a_nucleus_hears_whether_more_waits():
    """A wake-up that takes all that it may is followed by another one: new sessions are put off meanwhile."""
    engine, udp = FakeNucleus(), UdpPort.open(0, ["127.0.0.1"])
    pump = NucleusPump(engine, udp)
    for count in (RECEIVE_CALLS, RECEIVE_CALLS - 1):
        pump._on_datagrams([(b"x", ("127.0.0.1", 9))] * count)
    assert engine.behind == [True, False] and len(engine.seen) == 2 * RECEIVE_CALLS - 1
    udp.close()
