"""Nuclei and clients of them on virtual time, over a lossy in-memory wire."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from omni_core.constants import MESH_LIMIT
from omni_core.crypto.identity import Identity
from omni_core.crypto.record import PeerRecord, open_record, signed
from omni_core.drops import DropCounters, DropReason
from omni_core.engines.nuclei import Nuclei
from omni_core.engines.nucleus import NucleusEngine
from omni_core.engines.settings import NucleusSettings
from omni_core.session.sessions import Sessions
from omni_core.signaling.admission import ClusterPolicy
from omni_core.signaling.book import PeerBook
from omni_core.signaling.client import NucleusClient
from omni_core.signaling.client_events import ClientEvent, PeerJoined, PeerLeft
from omni_core.signaling.roster import Roster
from omni_core.signaling.store import MemoryStore
from omni_core.types import Endpoint, PublicKey
from omni_core.wire.control import ControlType

EPOCH_NS = 1_700_000_000 * 10**9
NUCLEUS_AT = Endpoint("10.0.0.1", 51820)
LATENCY = 0.01  # s, one way


class Edge:
    """What a Ganglion does with a NucleusClient, and no more."""

    def __init__(
        self,
        net: Net,
        number: int,
        *,
        cluster: str = "fleet",
        vip4: str | None = None,
        admission_key: bytes | None = None,
        nucleus_key: PublicKey | None = None,
        identity: Identity | None = None,
        record: bytes | None = None,
        version: int | None = None,
        mac: bytes | None = None,
    ) -> None:
        self.net = net
        self.identity = identity or Identity.generate(net.rng.randbytes)
        self.key = self.identity.public_key
        self.at = Endpoint(f"10.1.{number >> 8}.{number & 255}", 51820)
        version = net.unix_ns(net.now) if version is None else version
        vip4 = f"10.77.{number >> 8}.{number & 255}/16" if vip4 is None else vip4
        self.record = record or signed(self.identity, cluster, version=version, vip4=vip4 or None, mac=mac)
        self.sessions = Sessions(self.identity, None, lambda *_: None, random=net.rng.randbytes, unix_ns=net.unix_ns)
        self.client = NucleusClient(
            self.identity,
            cluster,
            nucleus_key or net.identity.public_key,
            [NUCLEUS_AT],
            self.record,
            admission_key,
            [Endpoint("192.168.1.2", 51820)],
            sessions=self.sessions,
            random=net.rng.randbytes,
        )
        self.alive = True
        self.events: list[ClientEvent] = []
        self.known: dict[PublicKey, tuple[bytes, tuple[Endpoint, ...]]] = {}
        self.counters = DropCounters()

    @property
    def info(self) -> PeerRecord:
        return open_record(self.record)

    def receive(self, data: bytes, source: Endpoint, now: float) -> None:
        if data and data[0] == ControlType.SIGNALING:
            self.client.receive(data, source, now)
        else:
            self.sessions.receive(data, source, now)

    def handle_timer(self, now: float) -> None:
        self.sessions.handle_timer(now)
        self._route(now)
        self.client.handle_timer(now)

    def next_timer(self) -> float | None:
        times = (self.sessions.next_timer(), self.client.next_timer())
        return min((t for t in times if t is not None), default=None)

    def drain(self, now: float) -> list[tuple[bytes, Endpoint]]:
        self._route(now)
        self._take(self.client.take_events())
        return self.sessions.take_datagrams() + self.client.take_datagrams()

    def _take(self, events: Iterable[ClientEvent]) -> None:
        for event in events:
            self.events.append(event)
            if isinstance(event, PeerJoined):
                self.known[event.record.public_key] = event.record.encode(), event.endpoints
            elif isinstance(event, PeerLeft):
                self.known.pop(event.public_key, None)

    def _route(self, now: float) -> None:
        while events := self.sessions.take_events():
            for event in events:
                self.client.on_session_event(event, now)

    def start(self) -> Edge:
        self.client.start(self.net.now)
        self.net.pump(self)
        return self

    def stop(self) -> None:
        self.client.stop(self.net.now)
        self.net.pump(self)
        self.alive = False

    def kill(self) -> None:
        self.alive = False

    def of(self, kind: type) -> list:
        return [event for event in self.events if type(event) is kind]

    @property
    def registered(self) -> bool:
        return self.client.state == "registered"

    def drops(self, reason: DropReason) -> int:
        return self.client.drops[reason] + self.sessions.drops[reason]


class RovingEdge(Edge):
    """The same with Nuclei: it may change between all that the net has."""

    def __init__(self, net: Net, number: int, **options: object) -> None:
        super().__init__(net, number, **options)  # type: ignore[arg-type]
        roster, book = Roster(), PeerBook(self.record, self.counters)

        def make(settings: NucleusSettings) -> tuple[NucleusClient, Sessions]:
            sessions = Sessions(self.identity, None, lambda *_: None, random=net.rng.randbytes, unix_ns=net.unix_ns)
            client = NucleusClient(
                self.identity,
                self.info.cluster,
                settings.public_key,
                settings.endpoints,
                self.record,
                None,
                [Endpoint("192.168.1.2", 51820)],
                sessions=sessions,
                random=net.rng.randbytes,
                roster=roster,
                book=book,
            )
            return client, sessions

        servers = [NucleusSettings(server.identity.public_key, (server.at,)) for server in net.nuclei]
        self.nuclei = Nuclei(servers, roster, make=make, random=net.rng.randbytes)
        self.roster = roster

    @property
    def used(self) -> int | None:
        """Number of the Nucleus that it is registered with."""
        links = self.nuclei.links(self.net.now)
        return next((n for n, link in enumerate(links) if link.role == "active" and link.state == "registered"), None)

    @property
    def registered(self) -> bool:
        return self.used is not None

    def receive(self, data: bytes, source: Endpoint, now: float) -> None:
        if data and data[0] == ControlType.SIGNALING:
            self.nuclei.receive(data, source, now)
        elif not self.nuclei.receive_handshake(data, source, now):
            self.counters.add(DropReason.UNKNOWN_INDEX)

    def handle_timer(self, now: float) -> None:
        self.nuclei.handle_timer(now)

    def next_timer(self) -> float | None:
        return self.nuclei.next_timer()

    def drain(self, now: float) -> list[tuple[bytes, Endpoint]]:
        self._take(self.nuclei.take_events())
        return self.nuclei.take_datagrams()

    def start(self) -> RovingEdge:
        self.nuclei.start(self.net.now)
        self.net.pump(self)
        return self

    def stop(self) -> None:
        self.nuclei.stop(self.net.now)
        self.net.pump(self)
        self.alive = False


@dataclass
class Server:
    at: Endpoint
    identity: Identity
    engine: NucleusEngine
    up: bool = True


class Net:
    """``carry`` decides about each datagram: (data, source, destination) -> delays of the copies that arrive."""

    def __init__(
        self,
        seed: int,
        clusters: Iterable[ClusterPolicy] = (ClusterPolicy("fleet"),),
        nuclei: int = 1,
        nucleus_keys: int = 1,
        shared: bool = False,
        **options: object,
    ) -> None:
        """``nucleus_keys``: 1 for all Nuclei, or one each. ``shared``: one store for all of them, which outlives them;
        only one of them hears of its changes, so the others push nothing. ``options``: of the engines."""
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.clusters = list(clusters)
        self.options = options
        self.mesh_limit = MESH_LIMIT
        self.shared = MemoryStore(self.rng.getrandbits(63) + 1) if shared else None
        identities = [Identity.generate(self.rng.randbytes) for _ in range(nucleus_keys)]
        self.nuclei = [self._server(number, identities[number % nucleus_keys]) for number in range(nuclei)]
        self.edges: dict[Endpoint, Edge] = {}
        self.carry: Callable[[bytes, Endpoint, Endpoint], list[float]] = lambda *_: [LATENCY]
        self.seen: list[tuple[bytes, Endpoint, Endpoint]] = []  # everything sent, when ``record`` is set
        self.record = False
        self._queue: list[tuple[float, int, bytes, Endpoint, Endpoint]] = []
        self._order = itertools.count()

    # --- the first Nucleus, for tests with one ---
    @property
    def identity(self) -> Identity:
        return self.nuclei[0].identity

    @property
    def nucleus(self) -> NucleusEngine:
        return self.nuclei[0].engine

    @property
    def nucleus_up(self) -> bool:
        return self.nuclei[0].up

    @nucleus_up.setter
    def nucleus_up(self, up: bool) -> None:
        self.nuclei[0].up = up

    def unix_ns(self, now: float) -> int:
        return EPOCH_NS + int(now * 1e9)

    def _server(self, number: int, identity: Identity) -> Server:
        return Server(Endpoint(f"10.0.0.{number + 1}", 51820), identity, self._engine(identity))

    def _engine(self, identity: Identity) -> NucleusEngine:
        return NucleusEngine(
            identity,
            self.clusters,
            random=self.rng.randbytes,
            unix_ns=self.unix_ns,
            store=MemoryStore(self.rng.getrandbits(63) + 1, self.mesh_limit) if self.shared is None else self.shared,
            **self.options,  # type: ignore[arg-type]
        )

    def restart_nucleus(self, mesh_limit: int | None = None, number: int = 0) -> None:
        """As kill -9 and start: the same key, nothing remembered."""
        self.mesh_limit = mesh_limit or self.mesh_limit
        server = self.nuclei[number]
        server.engine = self._engine(server.identity)
        server.up = True

    def roving_edge(self, **options: object) -> RovingEdge:
        """Knows all Nuclei."""
        edge = RovingEdge(self, len(self.edges) + 1, **options)  # type: ignore[arg-type]
        self.edges[edge.at] = edge
        return edge

    def edge(self, number: int | None = None, **options: object) -> Edge:
        edge = Edge(self, number or len(self.edges) + 1, **options)  # type: ignore[arg-type]
        assert edge.at not in self.edges or not self.edges[edge.at].alive
        self.edges[edge.at] = edge
        return edge

    def send(self, data: bytes, source: Endpoint, destination: Endpoint) -> None:
        if self.record:
            self.seen.append((data, source, destination))
        for delay in self.carry(data, source, destination):
            heapq.heappush(self._queue, (self.now + delay, next(self._order), data, source, destination))

    def pump(self, edge: Edge) -> None:
        for data, destination in edge.drain(self.now):
            self.send(data, edge.at, destination)

    def pump_nucleus(self) -> None:
        for server in self.nuclei:
            for data, destination in server.engine.take_datagrams():
                self.send(data, server.at, destination)

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Virtual time passes. True as soon as ``until`` holds; False when it did not come true."""
        end = self.now + seconds
        while True:
            if until is not None and until():
                return True
            when = self._next()
            if when is None or when > end:
                self.now = end
                return until() if until is not None else True
            self.now = max(self.now, when)
            self._deliver()
            self._timers()

    def _next(self) -> float | None:
        times = [edge.next_timer() for edge in self.edges.values() if edge.alive]
        times += [server.engine.next_timer() for server in self.nuclei if server.up]
        if self._queue:
            times.append(self._queue[0][0])
        return min((t for t in times if t is not None), default=None)

    def _deliver(self) -> None:
        while self._queue and self._queue[0][0] <= self.now:
            _, _, data, source, destination = heapq.heappop(self._queue)
            server = next((server for server in self.nuclei if server.at == destination), None)
            if server is not None:
                if server.up:
                    server.engine.receive_datagram(data, source, self.now)
                    self.pump_nucleus()
            elif (edge := self.edges.get(destination)) and edge.alive:
                edge.receive(data, source, self.now)
                self.pump(edge)

    def _timers(self) -> None:
        for server in self.nuclei:
            if server.up and (due := server.engine.next_timer()) is not None and due <= self.now:
                server.engine.handle_timer(self.now)
                self.pump_nucleus()
        for edge in list(self.edges.values()):
            if edge.alive and (due := edge.next_timer()) is not None and due <= self.now:
                edge.handle_timer(self.now)
                self.pump(edge)

    def all_registered(self) -> bool:
        return all(edge.registered for edge in self.edges.values() if edge.alive)

    def quiet(self) -> bool:
        """Nothing is on its way."""
        return not self._queue
