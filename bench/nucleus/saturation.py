"""What one Nucleus process answers when it gets all that it can take, and a bare asyncio UDP echo beside it.

Messages are sealed ahead and answers are counted, not opened, so that the other core is not the limit. The number of
datagrams under way is bounded, so that nothing is lost in the socket. The Nucleus and the echo take turns.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.load import TICK, processors
from bench.nucleus.processes import ROOT, NucleusProcess, nucleus_process
from bench.nucleus.talker import Talker
from omni_core.constants import EDGE_REQUEST_BURST
from omni_core.crypto.identity import Identity
from omni_core.types import Endpoint

TALKERS = 500
UNDER_WAY = 200  # datagrams: fills every wake-up of the process, and no socket's buffer
HEARTBEATS_EACH = EDGE_REQUEST_BURST // 3  # in one go, below the rate limit of an edge
QUERIES_EACH = EDGE_REQUEST_BURST // 3
STUCK = 2.0  # s without an answer
_IP_PKTINFO = 8
_PKTINFO = struct.Struct("=I4s4s")


@dataclass
class Rate:
    per_second: float
    cpu_share: float  # of one core, of the process that answers
    steal_share: float  # of the machine
    lost: int


class Blaster:
    """One socket that sends from many addresses of 127.0.0.0/8."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, 25, b"lo\0")  # SO_BINDTODEVICE
        self.socket.bind(("0.0.0.0", 0))
        with contextlib.suppress(PermissionError):
            self.socket.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)  # SO_RCVBUFFORCE
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]

    def at(self, number: int) -> Endpoint:
        return Endpoint(f"127.20.{number // 250}.{number % 250 + 1}", self.port)

    def send(self, data: bytes, source: bytes, destination: Endpoint) -> None:
        info = [(socket.IPPROTO_IP, _IP_PKTINFO, _PKTINFO.pack(0, source, b"\0\0\0\0"))]
        self.socket.sendmsg([data], info, 0, destination)

    def blast(
        self, messages: Sequence[tuple[bytes, bytes]], destination: Endpoint, answers_each: int, pid: int
    ) -> Rate:
        """(datagram, source address) each; ``answers_each``: datagrams that come for one."""
        sock, received, sent, lost = self.socket, 0, 0, 0
        _, steal = processors()
        cpu, began = _cpu(pid), time.monotonic()
        total = len(messages)
        last = began
        while (sent < total or received < sent * answers_each) and time.monotonic() - last < STUCK:
            while sent < total and sent - received // answers_each < UNDER_WAY:
                data, source = messages[sent]
                self.send(data, source, destination)
                sent += 1
            select.select([sock], [], [], 0.2)
            with contextlib.suppress(BlockingIOError):
                while True:
                    sock.recv(2048)
                    received += 1
                    last = time.monotonic()
        elapsed = last - began
        lost = sent - received // answers_each
        stolen = (processors()[1] - steal) * TICK / elapsed / (os.cpu_count() or 1)
        return Rate((received // answers_each) / elapsed, (_cpu(pid) - cpu) / elapsed, stolen, lost)


def _cpu(pid: int) -> float:
    return time.clock_gettime((~pid << 3) | 2)


def _packed(endpoint: Endpoint) -> bytes:
    return socket.inet_aton(endpoint.host)


def register_all(blaster: Blaster, talkers: Sequence[Talker], nucleus: NucleusProcess) -> dict[str, float]:
    """All of them, as fast as both can; -> figures. Handshakes, REGISTER, answers opened: the clients' work counts in
    the elapsed time, and not in the CPU time of the Nucleus."""
    destination = nucleus.settings.endpoints[0]
    at = {_packed(talker.at): talker for talker in talkers}
    waiting = list(talkers)
    cpu, began = nucleus.cpu(), time.monotonic()
    open_: dict[bytes, float] = {}
    done = 0
    blaster.socket.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    while done < len(talkers):
        now = time.monotonic()
        if now - began > 60:
            raise TimeoutError(f"{done} of {len(talkers)} registered")
        while waiting and len(open_) < 64:
            talker = waiting.pop()
            talker.start(now)
            open_[_packed(talker.at)] = now
            _flush(blaster, talker, destination)
        for address, since in list(open_.items()):
            if now - since > 0.25:
                open_[address] = now
                at[address].again(now)
                _flush(blaster, at[address], destination)
        select.select([blaster.socket], [], [], 0.05)
        with contextlib.suppress(BlockingIOError):
            while True:
                data, ancillary, _, _ = blaster.socket.recvmsg(2048, 64)
                address = _PKTINFO.unpack(ancillary[0][2])[2]
                talker = at[address]
                known = talker.registered is not None
                talker.receive(data, now)
                if talker.registered is not None and not known:
                    done += 1
                    del open_[address]
                _flush(blaster, talker, destination)
    blaster.socket.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 0)
    elapsed, spent = time.monotonic() - began, nucleus.cpu() - cpu
    return {
        "edges": len(talkers),
        "per_second": len(talkers) / elapsed,
        "per_cpu_second": len(talkers) / spent,
        "cpu_share": spent / elapsed,
    }


def _flush(blaster: Blaster, talker: Talker, destination: Endpoint) -> None:
    for data in talker.take():
        blaster.send(data, _packed(talker.at), destination)


@contextlib.contextmanager
def echo() -> Iterator[tuple[Endpoint, int]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.nucleus.echo"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield Endpoint("127.0.0.1", int(process.stdout.readline())), process.pid
    finally:
        process.kill()
        process.wait()


def measure(repetitions: int, seed: int) -> dict[str, object]:
    rng = random.Random(seed)
    found: dict[str, list[Rate]] = {"echo": [], "heartbeats": [], "queries": []}
    registrations = []
    with tempfile.TemporaryDirectory() as directory, echo() as (echo_at, echo_pid):
        for repetition in range(repetitions):
            identity = Identity.generate(random.SystemRandom().randbytes)
            with nucleus_process(Path(directory) / str(repetition), identity, drain_time=0.0) as nucleus:
                blaster = Blaster()
                talkers = [Talker(n + 1, "fleet", nucleus.settings, blaster.at(n), rng) for n in range(TALKERS)]
                registrations.append(register_all(blaster, talkers, nucleus))
                time.sleep(1.0)  # what is pushed has been pushed
                beats = [(d, _packed(t.at)) for t in talkers for d in t.heartbeats(HEARTBEATS_EACH)]
                keys = [talker.key for talker in talkers]
                asks = [(d, _packed(t.at)) for t in talkers for d in t.queries(rng.choices(keys, k=QUERIES_EACH))]
                rng.shuffle(beats)
                rng.shuffle(asks)
                at = nucleus.settings.endpoints[0]
                found["heartbeats"].append(blaster.blast(beats[:40_000], at, 1, nucleus.pid))
                found["echo"].append(blaster.blast(beats[:40_000], echo_at, 1, echo_pid))
                time.sleep(4.0)  # every edge may ask as much as before
                found["queries"].append(blaster.blast(asks[:40_000], at, 2, nucleus.pid))
                blaster.socket.close()
    result: dict[str, object] = {
        name: {
            "per_second": statistics.median(rate.per_second for rate in rates),
            "lowest": min(rate.per_second for rate in rates),
            "highest": max(rate.per_second for rate in rates),
            "per_cpu_second": statistics.median(rate.per_second / rate.cpu_share for rate in rates),
            "cpu_share": statistics.median(rate.cpu_share for rate in rates),
            "steal_share": max(rate.steal_share for rate in rates),
            "lost": sum(rate.lost for rate in rates),
        }
        for name, rates in found.items()
    }
    result["registrations"] = {key: statistics.median(each[key] for each in registrations) for key in registrations[0]}
    return result


if __name__ == "__main__":
    print(measure(1, 1))
