"""The change log, the cursor and the roster against a naive model, over a network that loses, repeats and reorders.

Naive: the full history of a cluster, applied change by change. An edge that caught up must know exactly those live
edges whose latest change came after it started, each with its latest value, however the deltas travelled and whichever
Nucleus told them. A Nucleus may forget everything (another epoch), go on from an earlier number of another one
(lineage, both ways), and remember fewer departures than an edge missed.
"""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from support.edges import make_edge

from omni_core.constants import LOCAL_ENDPOINTS_MAX
from omni_core.crypto.record import RECORD_MAX
from omni_core.signaling import changes
from omni_core.signaling.changes import ChangeLog
from omni_core.signaling.codec import decode_message, encode_message
from omni_core.signaling.cursor import ChangeCursor
from omni_core.signaling.edge import Edge
from omni_core.signaling.leases import Lease
from omni_core.signaling.messages import DELTA_ROOM, Delta, HeartbeatAck, RegisterAck, Status
from omni_core.signaling.roster import Roster
from omni_core.wire.control import SIGNALING_PAYLOAD

ROOM = 120  # bytes: about three changes, so that pages matter
KEYS = 14
PATIENCE = 4.0  # s


class Server:
    """A ChangeLog and the full history next to it. What every delta holds is compared with that history."""

    epochs = itertools.count(1)
    values = itertools.count(1)

    def __init__(self, mesh_limit: int) -> None:
        self.epoch = next(self.epochs)
        self.log = ChangeLog(mesh_limit)
        self.live: dict[bytes, Edge] = {}
        self.latest: dict[bytes, int] = {}  # key -> number of its latest change, also of edges that left
        self.lineage: dict[int, int] = {}  # other epoch -> number up to which both agree

    def fork(self) -> Server:
        """Another Nucleus, or this one without its database: both go on from here, and each knows of the other."""
        other = copy.deepcopy(self)
        other.epoch = next(self.epochs)
        other.lineage[self.epoch] = self.lineage[other.epoch] = self.log.head
        return other

    def join(self, number: int) -> None:
        edge = make_edge(number, version=next(self.values))
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

    def register(self, epoch: int, seen: int) -> tuple[Delta, int]:
        """-> the answer's delta, and where it starts."""
        if epoch == self.epoch:
            since: int | None = seen
        else:
            since = min(seen, self.lineage[epoch]) if epoch in self.lineage else None
        delta = self.delta(self.log.head if since is None else since)
        return (replace(delta, lost=True) if since is None and epoch else delta), delta.since

    def delta(self, since: int) -> Delta:
        delta = self.log.delta(since, ROOM)
        joins = [_key(entry.record) for entry in delta.joins]
        told = [*joins, *delta.leaves]
        assert len(told) == len(set(told)), "nobody twice"
        assert all(delta.since < self.latest[key] <= delta.until for key in told), "nothing that was seen already"
        news = {key for key, number in self.latest.items() if delta.since < number <= delta.until}
        left = {key for key in news if key not in self.live}
        assert {entry.record for entry in delta.joins} <= {edge.record for edge in self.live.values()}
        assert set(delta.leaves) <= left and (delta.lost or set(delta.leaves) == left), "every departure, or a marker"
        if delta.omitted:
            assert not joins and not self.log.is_mesh
        else:
            assert set(joins) == news - left, "exactly what came"
        assert delta.more == (delta.until < self.log.head)
        return delta


@dataclass
class Client:
    server: Server
    roster: Roster = field(default_factory=Roster)
    now: float = 1.0
    start: int = 0
    told: int = 0  # what the server believes to have told
    view: dict[bytes, bytes] = field(default_factory=dict)
    wire: list[tuple[int, Delta]] = field(default_factory=list)  # (epoch, delta) on its way
    listed: bool = False  # everyone was asked for

    @property
    def cursor(self) -> ChangeCursor:
        return self.roster.cursor

    def register(self, server: Server) -> None:
        known = self.cursor.epoch != 0
        delta, since = server.register(self.cursor.epoch, self.cursor.seen)
        self.start = min(self.start, since) if known else since
        self.server = server
        self.told = delta.until
        self.roster.begin(server.epoch, delta, self.now, PATIENCE)
        self._apply(delta)

    def receive(self, epoch: int, delta: Delta) -> None:
        if epoch == self.cursor.epoch:
            self._apply(delta)

    def _apply(self, delta: Delta) -> None:
        before = self.cursor.seen
        if self.roster.take(delta):
            for entry in delta.joins:
                self.view[_key(entry.record)] = entry.record
                self.roster.joined(_key(entry.record))
            for key in delta.leaves:
                self.view.pop(key, None)
                self.roster.left(key)
        else:
            assert self.cursor.seen == before
        self.roster.settle(replace(delta, size=delta.size + 1), self.now, PATIENCE)  # and this edge
        self.listed |= self.cursor.behind and self.cursor.seen == 0

    def request(self) -> None:
        """A heartbeat; the answer goes on the wire."""
        self.roster.ask(self.now, PATIENCE)
        self.listed |= self.cursor.behind and self.cursor.seen == 0
        delta = self.server.delta(self.cursor.seen)
        self.told = delta.until
        self.wire.append((self.server.epoch, delta))

    def push(self) -> None:
        if self.server.log.is_mesh and self.told < self.server.log.head:
            delta = self.server.delta(self.told)
            self.told = delta.until
            self.wire.append((self.server.epoch, delta))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        timer = self.roster.next_timer()
        gone = self.roster.departed(self.now)
        assert not gone or (timer is not None and timer <= self.now)
        for key in gone:
            self.view.pop(key, None)

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
    elif action < 0.7:
        client.wait(rng.random() * PATIENCE)
    elif client.wire:
        at = rng.randrange(len(client.wire))  # any order
        epoch, delta = client.wire[at]
        fate = rng.random()
        if fate > 0.2:  # else lost
            client.receive(epoch, delta)
        if fate < 0.85:  # else once more, later
            del client.wire[at]


def check(client: Client) -> None:
    """After the network's end: two heartbeats, and the time that a peer in doubt has."""
    client.catch_up()
    client.wait(PATIENCE)
    client.catch_up()  # a count that is wrong is noticed with one heartbeat and mended with the next
    client.catch_up()
    client.wait(PATIENCE)
    server = client.server
    everyone = server.known_since(-1)
    assert client.view.keys() <= everyone.keys(), "no departed peer stays"
    assert not client.roster.doubtful
    if not server.log.is_mesh:
        return
    assert {key: everyone[key] for key in client.view} == client.view, "the latest value of each"
    expected = server.known_since(client.start)
    assert {key: client.view.get(key) for key in expected} == expected, "none is missing"
    if not client.listed:
        assert client.view == expected, "and nobody that was not asked for"


def run(rng: random.Random, mesh_limit: int, restart: Callable[[Server], Server], rate: float) -> None:
    server = Server(mesh_limit)
    clients = [Client(server) for _ in range(3)]
    for client in clients:
        client.register(server)
    servers = [server]
    for _ in range(rng.randrange(20, 150)):
        if rng.random() < rate:
            servers.append(restart(rng.choice(servers)))
            for client in clients:
                if rng.random() < 0.8:  # the others are late, or stay with another Nucleus
                    client.register(servers[-1])
        step(rng, rng.choice(servers), clients)
    last = rng.choice(servers)
    for client in clients:
        if client.server is not last:
            client.register(last)
        check(client)
    while len(last.live) > mesh_limit:  # what was left out comes when the cluster is small again
        last.leave(_number(rng.choice(list(last.live))))
    for client in clients:
        check(client)


MESH_LIMITS = pytest.mark.parametrize("mesh_limit", [128, 6], ids=["mesh", "around the limit"])
LOGS = pytest.mark.parametrize("remembered", [1024, 3], ids=["long log", "short log"])


@LOGS
@MESH_LIMITS
def test_one_nucleus(mesh_limit: int, remembered: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "DEPARTED_MAX", remembered)
    rng = random.Random(seed)
    for _ in range(150):
        run(rng, mesh_limit, lambda server: server, 0.0)


@LOGS
@MESH_LIMITS
def test_nuclei_that_forget_everything(
    mesh_limit: int, remembered: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "DEPARTED_MAX", remembered)
    rng = random.Random(seed)
    for _ in range(150):
        run(rng, mesh_limit, lambda server: Server(mesh_limit), 0.03)


@LOGS
@MESH_LIMITS
def test_nuclei_that_go_on_from_each_other(
    mesh_limit: int, remembered: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And some that do not."""
    monkeypatch.setattr(changes, "DEPARTED_MAX", remembered)
    rng = random.Random(seed)
    for _ in range(150):
        run(rng, mesh_limit, lambda server: server.fork() if rng.random() < 0.8 else Server(mesh_limit), 0.05)


def test_an_edge_that_missed_any_number_of_heartbeats(seed: int) -> None:
    """It gets what it missed and nothing else, in as few messages as that takes."""
    rng = random.Random(seed)
    server = Server(128)
    client = Client(server)
    client.register(server)
    for missed in [*range(40), *(rng.randrange(40, 500) for _ in range(20))]:
        before = server.log.head
        for _ in range(missed):
            (server.join if rng.random() < 0.6 else server.leave)(rng.randrange(1, KEYS))
        news = {key for key, number in server.latest.items() if number > before}
        answers = 0
        told: list[bytes] = []
        while answers == 0 or client.cursor.behind:
            client.request()
            epoch, delta = client.wire.pop()
            answers += 1
            told += [_key(entry.record) for entry in delta.joins] + list(delta.leaves)
            client.receive(epoch, delta)
        assert sorted(told) == sorted(news), "each once"
        assert client.view == server.known_since(0) and not client.listed
        assert answers <= 1 + len(news)


def test_late_deltas_of_an_earlier_life_change_nothing(seed: int) -> None:
    rng = random.Random(seed)
    old, new = Server(128), Server(128)
    client = Client(old)
    client.register(old)
    for server in (old, new):
        for _ in range(20):
            server.join(rng.randrange(1, KEYS))
    client.request()
    client.register(new)
    client.receive(*client.wire.pop())
    assert client.view == {} and client.cursor.epoch == new.epoch


def test_peers_in_doubt_leave_when_their_time_is_over() -> None:
    old, new = Server(128), Server(128)
    client = Client(old)
    client.register(old)
    for number in (1, 2, 3):
        old.join(number)
    client.catch_up()
    new.join(2)
    client.register(new)
    client.catch_up()
    assert client.view.keys() == {make_edge(n).key for n in (1, 2, 3)}, "nobody leaves because a Nucleus restarts"
    new.join(3)  # a little later
    client.wait(PATIENCE - 0.1)
    assert len(client.view) == 3 and client.roster.next_timer() == pytest.approx(1.0 + PATIENCE)
    client.catch_up()
    client.wait(0.2)
    assert client.view.keys() == {make_edge(n).key for n in (2, 3)}


def test_an_edge_that_knows_more_than_there_are_asks_for_everyone() -> None:
    server = Server(128)
    client = Client(server)
    client.register(server)
    for number in range(1, 6):
        server.join(number)
    client.catch_up()
    client.view[b"ghost"] = b""
    client.roster.joined(b"ghost")
    client.catch_up()
    client.catch_up()
    assert client.listed
    client.wait(PATIENCE)
    assert client.view == server.known_since(0)


@MESH_LIMITS
def test_every_answer_fits_a_datagram(mesh_limit: int, seed: int) -> None:
    """With entries of any size up to the largest, and the largest of all other fields."""
    rng = random.Random(seed)
    log = ChangeLog(mesh_limit)
    live: set[int] = set()
    for _ in range(1500):
        number = rng.randrange(1, 400)
        if number in live and rng.random() < 0.5:
            live.remove(number)
            log.left(make_edge(number).key)
        else:
            live.add(number)
            local = tuple(bytes([9]) * rng.choice((6, 18)) for _ in range(rng.randrange(LOCAL_ENDPOINTS_MAX + 1)))
            record = rng.randbytes(rng.choice((150, 220, RECORD_MAX)))
            log.joined(make_edge(number, record=record, local=local, observed=bytes([9]) * 18), 0.0)
        if rng.random() < 0.3:
            delta = log.delta(rng.randrange(log.head + 1), DELTA_ROOM)
            assert delta.until > delta.since or delta.since == log.head, "progress"
            wide = replace(delta, since=(1 << 63) - 2, until=(1 << 63) - 1, size=(1 << 32) - 1)
            for message in (
                HeartbeatAck((1 << 32) - 1, Status.OK, "", bytes([9]) * 18, (1 << 64) - 1, wide, draining=True),
                RegisterAck(
                    (1 << 32) - 1, Status.OK, "", bytes([9]) * 18, (1 << 64) - 1, (1 << 32) - 1, wide,
                    Lease(bytes(4), 24), draining=True,
                ),
            ):  # fmt: skip
                body = encode_message(message)
                assert len(body) <= SIGNALING_PAYLOAD
                assert decode_message(body) == message


def _number(key: bytes) -> int:
    return int.from_bytes(key, "big")
