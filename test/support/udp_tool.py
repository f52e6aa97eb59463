"""Numbered UDP datagrams, as a program in a host's namespace. Says "ready"; on SIGTERM ends with one line of JSON.

    udp_tool.py echo ADDRESS PORT                   answers every datagram with itself
    udp_tool.py sizes ADDRESS PORT FIRST LAST STEP  each size once to an echo; ends by itself, status 1: one is missing
    udp_tool.py ask ADDRESS PORT RATE BYTES         numbered requests to an echo, RATE a second
    udp_tool.py send ADDRESS PORT RATE BYTES        numbered datagrams, RATE a second
    udp_tool.py receive ADDRESS PORT                counts them, by their numbers
    udp_tool.py join GROUP PORT INTERFACE           joins a multicast group; prints "heard TEXT", or "again TEXT"
    udp_tool.py say GROUP PORT INTERFACE TEXT COUNT sends "TEXT 0" and so on to a multicast group, and ends

What the numbers say of a stream: ``unique`` arrived, ``duplicates`` more than once; ``missing`` holds runs [first,
last] below the highest; ``setbacks`` counts how often order broke (late datagrams
fewer than EPISODE apart are one time); ``gap_s`` is the longest time without any.
"""

from __future__ import annotations

import json
import random
import signal
import socket
import struct
import sys
import time
from typing import Any

NUMBER = struct.Struct("=Q")
LARGEST = 65536
SO_RCVBUFFORCE = 33
RECEIVE_BUFFER = 8 << 20  # a process that is not scheduled at once loses nothing
LOOK = 0.1  # s between two looks at the stop flag while nothing arrives
SETTLE = 1.0  # s for the last answers
WINDOW = 4  # datagrams under way at once: the kernel gives up on one when 64 fragments of others come between its own
PATIENCE = 5.0  # s for one of them
EPISODE = 32
NAP = 0.0005  # s; the least time between two looks at what is due


class Stop:
    asked = False

    def __init__(self) -> None:
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, _number: int, _frame: object) -> None:
        self.asked = True


class Arrivals:
    """What the numbers of a stream say."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.duplicates = 0
        self.setbacks = 0
        self.gap = 0.0
        self._highest = -1
        self._in_order = EPISODE  # since the last late one
        self._last_time: float | None = None

    def add(self, data: bytes) -> None:
        number = int(NUMBER.unpack_from(data)[0])
        now = time.monotonic()
        if self._last_time is not None:
            self.gap = max(self.gap, now - self._last_time)
        self._last_time = now
        if number in self.seen:
            self.duplicates += 1
        else:
            self.seen.add(number)
            late = number < self._highest
            self.setbacks += late and self._in_order >= EPISODE
            self._in_order = 0 if late else self._in_order + 1
        self._highest = max(self._highest, number)

    def report(self) -> dict[str, Any]:
        return {
            "unique": len(self.seen),
            "duplicates": self.duplicates,
            "setbacks": self.setbacks,
            "gap_s": round(self.gap, 4),
            "missing": self._missing(),
        }

    def _missing(self) -> list[list[int]]:
        runs: list[list[int]] = []
        expected = 0
        for number in sorted(self.seen):
            if number > expected:
                runs.append([expected, number - 1])
            expected = number + 1
        return runs


def bound(address: str, port: int) -> socket.socket:
    host = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    host.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    host.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    host.bind((address, port))
    host.settimeout(LOOK)
    return host


def connected(address: str, port: int) -> socket.socket:
    host = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    host.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    host.connect((address, port))
    return host


def echo(host: socket.socket) -> None:
    stop, count = Stop(), 0
    print("ready", flush=True)
    while not stop.asked:
        try:
            data, source = host.recvfrom(LARGEST)
            host.sendto(data, source)
        except OSError:  # nothing for a while, or the asker has gone
            continue
        count += 1
    print(json.dumps({"echoed": count}), flush=True)


def sizes(host: socket.socket, first: int, last: int, step: int) -> None:
    draw = random.Random(first)
    left = {size: draw.randbytes(size) for size in range(first, last + 1, step)}
    waiting = list(left)
    under_way: dict[int, float] = {}
    host.settimeout(PATIENCE)
    wrong: list[int] = []
    while left:
        while waiting and len(under_way) < WINDOW:
            size = waiting.pop(0)
            under_way[size] = time.monotonic()
            host.send(left[size])
        try:
            data = host.recv(LARGEST)
        except TimeoutError:
            break
        if left.pop(len(data), None) != data:
            wrong.append(len(data))
        under_way.pop(len(data), None)
    print(json.dumps({"missing": sorted(left), "wrong": wrong}), flush=True)
    sys.exit(1 if left or wrong else 0)


def send(host: socket.socket, rate: float, size: int, asks: bool) -> None:
    """The numbers are sent at ``rate`` whatever happens; what is overdue goes out at once."""
    stop, arrivals = Stop(), Arrivals()
    padding = bytes(max(0, size - NUMBER.size))
    host.setblocking(False)
    sent = refused = 0
    print("ready", flush=True)
    begin = time.monotonic()
    end: float | None = None
    while end is None or (time.monotonic() < end and len(arrivals.seen) < sent):
        if end is None:
            due = int((time.monotonic() - begin) * rate) + 1
            while sent < due:
                try:
                    host.send(NUMBER.pack(sent) + padding)
                except OSError:  # the queue is full, or an ICMP error came in: this number is lost
                    refused += 1
                sent += 1
            if stop.asked:
                end = time.monotonic() + (SETTLE if asks else 0)
        while asks:
            try:
                arrivals.add(host.recv(LARGEST))
            except OSError:
                break
        time.sleep(max(NAP, begin + sent / rate - time.monotonic()))
    report = {"sent": sent, "refused": refused}
    print(json.dumps({**report, **arrivals.report()} if asks else report), flush=True)


def receive(host: socket.socket) -> None:
    stop, arrivals = Stop(), Arrivals()
    print("ready", flush=True)
    while True:
        try:
            arrivals.add(host.recv(LARGEST))
        except TimeoutError:
            if stop.asked:
                break
    print(json.dumps(arrivals.report()), flush=True)


def join(host: socket.socket, group: str, interface: str) -> None:
    stop = Stop()
    index = socket.if_nametoindex(interface)
    if ":" in group:
        request = socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", index)
        host.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
    else:
        request = socket.inet_aton(group) + bytes(4) + struct.pack("@i", index)  # struct ip_mreqn
        host.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    heard: set[bytes] = set()
    print("ready", flush=True)
    while not stop.asked:
        try:
            data = host.recv(LARGEST)
        except TimeoutError:
            continue
        print("again" if data in heard else "heard", data.decode(), flush=True)
        heard.add(data)


def say(group: str, port: int, interface: str, text: str, count: int) -> None:
    index = socket.if_nametoindex(interface)
    if ":" in group:
        host = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        host.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        host.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
    else:
        host = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        host.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, bytes(8) + struct.pack("@i", index))
        host.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    for number in range(count):
        host.sendto(f"{text} {number}".encode(), (group, port))


def main(command: str, address: str, port: str, *rest: str) -> None:
    if command == "echo":
        echo(bound(address, int(port)))
    elif command == "sizes":
        sizes(connected(address, int(port)), *map(int, rest))
    elif command in ("send", "ask"):
        send(connected(address, int(port)), float(rest[0]), int(rest[1]), asks=command == "ask")
    elif command == "receive":
        receive(bound(address, int(port)))
    elif command == "join":
        join(bound(address, int(port)), address, rest[0])
    elif command == "say":
        say(address, int(port), rest[0], rest[1], int(rest[2]))


if __name__ == "__main__":
    main(*sys.argv[1:])
