"""Real clients of a Nucleus, Sans-IO, many in one process of their own: so that the CPU time and the memory of the
process that holds the engine are the Nucleus's alone.

    Clients   in this process          RemoteClients   the same methods, in a child process
"""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Iterable
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

from omni_core.crypto.identity import Identity, vip6_of
from omni_core.crypto.record import signed
from omni_core.session.sessions import Sessions
from omni_core.signaling.client import NucleusClient
from omni_core.types import Endpoint
from omni_core.wire.control import ControlType

EPOCH_NS = 1_700_000_000 * 10**9
NUCLEUS_AT = Endpoint("10.0.0.1", 51820)

Sent: TypeAlias = "list[tuple[bytes, Endpoint]]"  # (datagram, source)


def unix_ns(now: float) -> int:
    return EPOCH_NS + int(now * 1e9)


class _Client:
    __slots__ = ("at", "client", "key", "sessions")

    def __init__(self, number: int, cluster: str, nucleus: bytes, rng: random.Random, now: float) -> None:
        identity = Identity.generate(rng.randbytes)
        self.key = identity.public_key
        self.at = Endpoint(f"10.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}", 51820)
        vip4 = f"10.{77 + (number >> 16)}.{number >> 8 & 255}.{number & 255}/8"
        record = signed(identity, cluster, version=unix_ns(now), vip4=vip4, name=f"robot-{number}")
        self.sessions = Sessions(identity, None, lambda *_: None, random=rng.randbytes, unix_ns=unix_ns)
        self.client = NucleusClient(
            identity,
            cluster,
            nucleus,
            [NUCLEUS_AT],
            record,
            None,
            [Endpoint(f"192.168.1.{number % 250 + 1}", 51820)],
            sessions=self.sessions,
            random=rng.randbytes,
        )

    def receive(self, data: bytes, now: float) -> None:
        if data[0] == ControlType.SIGNALING:
            self.client.receive(data, NUCLEUS_AT, now)
        else:
            self.sessions.receive(data, NUCLEUS_AT, now)

    def drain(self, now: float) -> list[tuple[bytes, Endpoint]]:
        while events := self.sessions.take_events():
            for event in events:
                self.client.on_session_event(event, now)
        self.client.take_events()
        return [(data, self.at) for data, _ in self.sessions.take_datagrams() + self.client.take_datagrams()]


class Clients:
    """Datagrams go to the Nucleus at once: what a method sends is its result."""

    def __init__(self, seed: int, nucleus: bytes, clusters: list[str]) -> None:
        self._rng = random.Random(seed)
        self._nucleus = nucleus
        self._clusters = clusters
        self._clients: dict[Endpoint, _Client] = {}
        self._order: list[_Client] = []

    def start(self, count: int, now: float) -> Sent:
        """``count`` more; in turn one of each cluster."""
        sent: Sent = []
        for _ in range(count):
            number = len(self._order) + 1
            client = _Client(number, self._clusters[number % len(self._clusters)], self._nucleus, self._rng, now)
            self._clients[client.at] = client
            self._order.append(client)
            client.client.start(now)
            sent += client.drain(now)
        return sent

    def deliver(self, datagrams: Sent, now: float) -> Sent:
        """(datagram, destination) each."""
        sent: Sent = []
        for data, destination in datagrams:
            client = self._clients[destination]
            client.receive(data, now)
            sent += client.drain(now)
        return sent

    def timers(self, now: float) -> Sent:
        sent: Sent = []
        for client in self._order:
            if (due := client.sessions.next_timer()) is not None and due <= now:
                client.sessions.handle_timer(now)
                sent += client.drain(now)
            if (due := client.client.next_timer()) is not None and due <= now:
                client.client.handle_timer(now)
                sent += client.drain(now)
        return sent

    def query(self, count: int, now: float) -> Sent:
        """``count`` clients, one after the other, each ask for another of their cluster."""
        sent: Sent = []
        step = len(self._clusters)
        for at in range(count):
            client = self._order[at % len(self._order)]
            other = self._order[
                (at + step * self._rng.randrange(1, max(2, len(self._order) // step))) % len(self._order)
            ]
            client.client.query(vip6_of(other.key), now)
            sent += client.drain(now)
        return sent

    def states(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for client in self._order:
            counts[client.client.state] = counts.get(client.client.state, 0) + 1
        return counts


class RemoteClients:
    """Close it when done."""

    def __init__(self, seed: int, nucleus: bytes, clusters: list[str]) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_serve, args=(theirs, seed, nucleus, clusters), daemon=True)
        self._process.start()
        theirs.close()

    def _call(self, name: str, *arguments: Any) -> Any:
        self._pipe.send((name, arguments))
        answer = self._pipe.recv()
        if name == "states":
            return answer
        return [(data, Endpoint(*at)) for data, at in answer]

    def start(self, count: int, now: float) -> Sent:
        return self._call("start", count, now)  # type: ignore[no-any-return]

    def deliver(self, datagrams: Iterable[tuple[bytes, Endpoint]], now: float) -> Sent:
        return self._call("deliver", [(data, tuple(at)) for data, at in datagrams], now)  # type: ignore[no-any-return]

    def timers(self, now: float) -> Sent:
        return self._call("timers", now)  # type: ignore[no-any-return]

    def query(self, count: int, now: float) -> Sent:
        return self._call("query", count, now)  # type: ignore[no-any-return]

    def states(self) -> dict[str, int]:
        return self._call("states")  # type: ignore[no-any-return]

    def close(self) -> None:
        self._pipe.close()
        self._process.join(10)


def _serve(pipe: Connection, seed: int, nucleus: bytes, clusters: list[str]) -> None:
    clients = Clients(seed, nucleus, clusters)
    while True:
        try:
            name, arguments = pipe.recv()
        except EOFError:
            return
        answer = getattr(clients, name)(*arguments)
        if name == "states":
            pipe.send(answer)
        else:
            pipe.send([(data, tuple(at)) for data, at in answer])
