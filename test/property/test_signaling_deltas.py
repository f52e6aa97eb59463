"""The change log and the cursor against a naive model, over a network that loses, repeats and reorders.

Naive: the full history of a cluster, applied change by change. An edge that caught up must know exactly those live
edges whose latest change came after it started, each with its latest value, however the deltas travelled.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from support.edges import make_edge

from omni_core.signaling import changes
from omni_core.signaling.changes import ChangeLog
from omni_core.signaling.cursor import ChangeCursor
from omni_core.signaling.edge import Edge
from omni_core.signaling.messages import Delta

ROOM = 120  # bytes: about three changes, so that pages matter
KEYS = 14


class Server:
    """A ChangeLog and the full history next to it."""

    def __init__(self, epoch: int, mesh_limit: int) -> None:
        self.epoch = epoch
        self.log = ChangeLog(mesh_limit)
        self.live: dict[bytes, Edge] = {}
        self.latest: dict[bytes, int] = {}  # key -> number of its latest change
        self.values = 0

    def join(self, number: int) -> None:
        self.values += 1
        edge = make_edge(number, version=self.values)
        self.log.joined(edge, 0.0)
        self.live[edge.key] = edge
        self.latest[edge.key] = self.log.head

    def leave(self, number: int) -> None:
        key = make_edge(number).key
        if self.live.pop(key, None):
            self.log.left(key)
            self.latest[key] = self.log.head

    def known_since(self, start: int) -> dict[bytes, bytes]:
        return {key: edge.record for key, edge in self.live.items() if self.latest[key] > start}


@dataclass
class Client:
    server: Server
    cursor: ChangeCursor = field(default_factory=ChangeCursor)
    start: int = 0
    told: int = 0  # what the server believes to have told
    view: dict[bytes, bytes] = field(default_factory=dict)
    wire: list[tuple[int, Delta]] = field(default_factory=list)  # (epoch, delta) on its way
    warned: bool = False  # that departures are missing

    def register(self, server: Server) -> None:
        self.server = server
        self.start = self.told = server.log.head
        self.cursor.restart(server.epoch, self.start)
        self.view.clear()
        self.warned = False

    def receive(self, epoch: int, delta: Delta) -> None:
        if epoch != self.cursor.epoch:
            return
        before = self.cursor.seen
        if not self.cursor.take(delta):
            assert self.cursor.seen == before
            return
        self.warned |= delta.lost
        for entry in delta.joins:
            self.view[_key(entry.record)] = entry.record
        for key in delta.leaves:
            self.view.pop(key, None)

    def request(self) -> None:
        """A heartbeat; the answer goes on the wire."""
        delta = self.server.log.delta(self.cursor.seen, ROOM)
        self.told = delta.until
        self.wire.append((self.server.epoch, delta))

    def push(self) -> None:
        if self.server.log.is_mesh and self.told < self.server.log.head:
            delta = self.server.log.delta(self.told, ROOM)
            self.told = delta.until
            self.wire.append((self.server.epoch, delta))

    def catch_up(self) -> None:
        for _ in range(200):
            self.request()
            self.receive(*self.wire.pop())
            if not self.cursor.behind:
                assert self.cursor.seen == self.server.log.head
                return
        pytest.fail("does not catch up")


def _key(record: bytes) -> bytes:
    return int(record.rsplit(b" ", 1)[1]).to_bytes(32, "big")


def step(rng: random.Random, server: Server, clients: list[Client]) -> None:
    action = rng.random()
    client = rng.choice(clients)
    if action < 0.2:
        server.join(rng.randrange(1, KEYS))
    elif action < 0.35:
        server.leave(rng.randrange(1, KEYS))
    elif action < 0.5:
        client.request()
    elif action < 0.6:
        for each in clients:
            each.push()
    elif action < 0.65:
        client.register(server)
    elif client.wire:
        at = rng.randrange(len(client.wire))  # any order
        epoch, delta = client.wire[at]
        fate = rng.random()
        if fate > 0.2:  # else lost
            client.receive(epoch, delta)
        if fate < 0.85:  # else once more, later
            del client.wire[at]


def check(client: Client) -> None:
    client.catch_up()
    server = client.server
    if server.log.is_mesh:
        assert client.view == server.known_since(client.start)
    elif not client.warned:
        assert set(client.view) <= set(server.live), "departures are told in a large cluster, too"


@pytest.mark.parametrize("mesh_limit", [128, 6], ids=["mesh", "around the limit"])
def test_what_an_edge_knows_after_any_network(mesh_limit: int, seed: int) -> None:
    rng = random.Random(seed)
    for run in range(150):
        server = Server(run + 1, mesh_limit)
        clients = [Client(server) for _ in range(3)]
        for client in clients:
            client.register(server)
        for _ in range(rng.randrange(20, 150)):
            if rng.random() < 0.01:  # another life of the Nucleus: numbers start again
                server = Server(1000 + rng.randrange(1 << 30), mesh_limit)
                for client in clients:
                    client.register(server)
            step(rng, server, clients)
        for client in clients:
            check(client)
        while len(server.live) > mesh_limit:  # what was left out comes when the cluster is small again
            server.leave(_number(rng.choice(list(server.live))))
        for client in clients:
            check(client)


def test_late_deltas_of_an_earlier_life_change_nothing(seed: int) -> None:
    rng = random.Random(seed)
    old, new = Server(1, 128), Server(2, 128)
    client = Client(old)
    client.register(old)
    for server in (old, new):
        for _ in range(20):
            server.join(rng.randrange(1, KEYS))
    client.request()
    client.register(new)
    client.receive(*client.wire.pop())
    assert client.view == {} and client.cursor.seen == new.log.head


def test_forgotten_departures_leave_only_ghosts(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a log too short, every live edge is still told with its latest value, and the delta says what is missing."""
    monkeypatch.setattr(changes, "DEPARTED_MAX", 3)
    rng = random.Random(seed)
    for run in range(100):
        server = Server(run + 1, 128)
        client = Client(server)
        client.register(server)
        for _ in range(100):
            (server.join if rng.random() < 0.6 else server.leave)(rng.randrange(1, KEYS))
            if rng.random() < 0.05:
                client.catch_up()
        client.catch_up()
        expected = server.known_since(client.start)
        ghosts = client.view.keys() - expected.keys()
        assert {key: client.view[key] for key in expected} == expected
        assert not ghosts or client.warned


def _number(key: bytes) -> int:
    return int.from_bytes(key, "big")
