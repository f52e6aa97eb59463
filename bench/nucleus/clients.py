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

from omni_core.crypto.identity import vip6_of
from omni_core.sim.bare_edge import BareEdge
from omni_core.types import Endpoint

Sent: TypeAlias = "list[tuple[bytes, Endpoint]]"  # (datagram, source)


class Clients:
    """Datagrams go to the Nucleus at once: what a method sends is its result."""

    def __init__(self, seed: int, nucleus: bytes, clusters: list[str]) -> None:
        self._rng = random.Random(seed)
        self._nucleus = nucleus
        self._clusters = clusters
        self._clients: dict[Endpoint, BareEdge] = {}
        self._order: list[BareEdge] = []

    def start(self, count: int, now: float) -> Sent:
        """``count`` more; in turn one of each cluster."""
        sent: Sent = []
        for _ in range(count):
            number = len(self._order) + 1
            client = BareEdge(
                number,
                self._clusters[number % len(self._clusters)],
                self._nucleus,
                Endpoint(f"10.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}", 51820),
                Endpoint(f"192.168.1.{number % 250 + 1}", 51820),
                self._rng,
                now,
                f"robot-{number}",
            )
            self._clients[client.at] = client
            self._order.append(client)
            client.client.start(now)
            sent += _sent(client, now)
        return sent

    def deliver(self, datagrams: Sent, now: float) -> Sent:
        """(datagram, destination) each."""
        sent: Sent = []
        for data, destination in datagrams:
            client = self._clients[destination]
            client.receive(data, now)
            sent += _sent(client, now)
        return sent

    def timers(self, now: float) -> Sent:
        sent: Sent = []
        for client in self._order:
            if (due := client.next_timer()) is not None and due <= now:
                client.handle_timer(now)
                sent += _sent(client, now)
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
            sent += _sent(client, now)
        return sent

    def states(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for client in self._order:
            counts[client.client.state] = counts.get(client.client.state, 0) + 1
        return counts


def _sent(client: BareEdge, now: float) -> Sent:
    return [(data, client.at) for data in client.take_datagrams(now)]


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
