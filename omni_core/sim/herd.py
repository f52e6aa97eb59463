"""A herd of edges that wants one Nucleus at one moment: real engine, real clients, a Nucleus that needs time.

The Nucleus is a server with one queue: what arrives while it works waits in its socket buffer, and is lost where that
is full. Each datagram takes it the CPU time that bench/nucleus/engine_cost.py has measured, so that an admission which
is too generous shows as a queue, and then as handshakes answered too late. The edges have no data plane and no peers.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from omni_core.constants import MESH_LIMIT
from omni_core.crypto.identity import Identity
from omni_core.engines.nucleus import NucleusEngine
from omni_core.session.limits import NUCLEUS_LIMITS, SessionLimits
from omni_core.signaling.admission import ClusterPolicy
from omni_core.signaling.store import MemoryStore
from omni_core.sim.bare_edge import BareEdge, unix_ns
from omni_core.types import Endpoint
from omni_core.wire.control import ControlType

_LOCAL = Endpoint("192.168.1.2", 51820)  # what each says of its own network
_SKB = 2304  # bytes that one datagram takes of a socket buffer, with a driver that gives each a half page


@dataclass(frozen=True)
class Costs:
    """s of CPU time at the Nucleus, its system calls included."""

    refused: float = 30e-6
    cookie: float = 60e-6
    handshake: float = 450e-6
    register: float = 320e-6
    request: float = 60e-6  # heartbeat, query
    pushed: float = 15e-6

    def slower(self, factor: float) -> Costs:
        return Costs(**{name: factor * cost for name, cost in asdict(self).items()})


@dataclass
class Report:
    edges: int
    after: dict[int, float] = field(default_factory=dict)  # per cent of the edges registered -> s
    busiest: float = 0.0  # part of the worst second that the Nucleus worked
    longest_queue: float = 0.0  # s that a datagram waited for its turn
    lost: int = 0  # datagrams that found the socket buffer full
    handshakes: int = 0
    cookies: int = 0

    def as_text(self) -> str:
        after = ", ".join(f"{part} % {seconds:.1f} s" for part, seconds in self.after.items())
        return (
            f"{self.edges} edges: {after}; worst second {100 * self.busiest:.0f} % busy, queue up to "
            f"{self.longest_queue:.2f} s, {self.lost} lost, {self.handshakes / self.edges:.2f} handshakes and "
            f"{self.cookies / self.edges:.2f} cookies an edge"
        )


class Herd:
    """``run`` until a condition holds; what the Nucleus went through since ``watch`` is in ``report``."""

    def __init__(
        self,
        seed: int,
        edges: int,
        clusters: int = 1,
        *,
        same_site: bool = False,
        loss: float = 0.0,
        latency: tuple[float, float] = (0.02, 0.06),
        costs: Costs = Costs(),
        socket_buffer: int = 32 << 20,
        batch: int = 32,
        mesh_limit: int = MESH_LIMIT,
        limits: SessionLimits = NUCLEUS_LIMITS,
    ) -> None:
        """``same_site``: one NAT for all. ``latency``: one way, uniform. ``socket_buffer``: bytes, twice
        io/udp_bind.py's BURST_BUFFER, as the kernel gives it. ``batch``: datagrams of one wake-up, as of io/udp.py."""
        self._batch, self._mesh_limit = batch, mesh_limit
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.identity = Identity.generate(self.rng.randbytes)
        self._clusters = [f"cluster-{n}" for n in range(clusters)]
        self._limits, self._costs = limits, costs
        self._loss, self._latency, self._room = loss, latency, socket_buffer // _SKB
        self._order = itertools.count()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self.up = True
        self._engine = self._make_engine()
        self._waiting: deque[tuple[float, bytes, Endpoint]] = deque()
        self._serving = False
        self._edges: dict[Endpoint, BareEdge] = {}
        for number in range(1, edges + 1):
            host = "198.51.100.7" if same_site else f"10.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
            at = Endpoint(host, 1024 + number if same_site else 51820)
            self._edges[at] = BareEdge(
                number, self._clusters[number % clusters], self.identity.public_key, at, _LOCAL, self.rng, self.now
            )
        self.watch()

    def watch(self) -> None:
        """Measure from now on."""
        self.report = Report(len(self._edges))
        self._since = self.now
        self._worked: Counter[int] = Counter()

    def _make_engine(self) -> NucleusEngine:
        policies = [ClusterPolicy(name) for name in self._clusters]
        store = MemoryStore(self.rng.getrandbits(63) + 1, self._mesh_limit)
        return NucleusEngine(
            self.identity, policies, random=self.rng.randbytes, unix_ns=unix_ns, store=store, handshakes=self._limits
        )

    # --- what happens -------------------------------------------------------------------------------------------

    def start_all(self, within: float) -> None:
        for edge in self._edges.values():
            self._at(self.now + within * self.rng.random(), lambda edge=edge: self._start(edge))  # type: ignore[misc]

    def crash(self) -> None:
        """As kill -9: nothing is answered, nothing is remembered."""
        self.up = False
        self._waiting.clear()

    def restart(self) -> None:
        self._engine = self._make_engine()
        self.up = True

    @property
    def registered(self) -> int:
        """As the Nucleus sees it."""
        return sum(row.edges for row in self._engine.status(self.now).clusters) if self.up else 0

    def run(self, seconds: float, *, until_registered: bool = False) -> bool:
        """True when all are registered, which ends it with ``until_registered``."""
        end, total = self.now + seconds, len(self._edges)
        marks = deque(part for part in (50, 90, 99, 100) if part not in self.report.after)
        looked = self.now
        while self._queue and self._queue[0][0] <= end:
            when, _, action = heapq.heappop(self._queue)
            self.now = max(self.now, when)
            action()
            if until_registered and self.now >= looked + 0.05:
                looked = self.now
                part = 100 * self.registered / total
                while marks and part >= marks[0]:
                    self.report.after[marks.popleft()] = self.now - self._since
                if not marks:
                    break
        else:
            self.now = end
        self.report.busiest = max(self._worked.values(), default=0) / 1e6
        return self.registered == total

    # --- network ------------------------------------------------------------------------------------------------

    def _at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (when, next(self._order), action))

    def _carry(self, sent: float, action: Callable[[], None]) -> None:
        if self.rng.random() >= self._loss:
            self._at(sent + self.rng.uniform(*self._latency), action)

    # --- edges --------------------------------------------------------------------------------------------------

    def _start(self, edge: BareEdge) -> None:
        edge.client.start(self.now)
        self._pump(edge)

    def _pump(self, edge: BareEdge) -> None:
        for data in edge.take_datagrams(self.now):
            self._carry(self.now, lambda data=data: self._arrive(data, edge.at))  # type: ignore[misc]
        due = edge.next_timer()
        if due is not None and due != edge.due:
            self._at(due, lambda: self._edge_timer(edge, due))
        edge.due = due

    def _edge_timer(self, edge: BareEdge, due: float) -> None:
        if edge.due == due:
            edge.due = None
            edge.handle_timer(self.now)
            self._pump(edge)

    def _edge_receives(self, edge: BareEdge, data: bytes) -> None:
        edge.receive(data, self.now)
        self._pump(edge)

    # --- Nucleus ------------------------------------------------------------------------------------------------

    def _arrive(self, data: bytes, source: Endpoint) -> None:
        if not self.up:
            return
        if len(self._waiting) >= self._room:
            self.report.lost += 1
            return
        self._waiting.append((self.now, data, source))
        if not self._serving:
            self._serve()

    def _serve(self) -> None:
        """One wake-up: timers, then a batch; its answers leave when the work is done."""
        self._serving = False
        if not self.up:
            return
        engine, spent = self._engine, 0.0
        answers: list[tuple[bytes, Endpoint]] = []
        if (due := engine.next_timer()) is not None and due <= self.now:
            engine.handle_timer(self.now)
            answers += engine.take_datagrams()
            spent += self._costs.pushed * len(answers)
        engine.set_behind(len(self._waiting) >= self._batch)
        for _ in range(min(self._batch, len(self._waiting))):
            arrived, data, source = self._waiting.popleft()
            self.report.longest_queue = max(self.report.longest_queue, self.now - arrived)
            before = engine.registrations
            engine.receive_datagram(data, source, self.now)
            sent = engine.take_datagrams()
            spent += self._cost(data, sent, engine.registrations != before)
            answers += sent
        done = self.now + spent
        self._worked[int(self.now - self._since)] += round(1e6 * spent)
        for data, destination in answers:
            edge = self._edges[destination]
            self._carry(done, lambda data=data, edge=edge: self._edge_receives(edge, data))  # type: ignore[misc]
        if self._waiting:
            self._serving = True
            self._at(done, self._serve)
        elif spent:
            self._serving = True
            self._at(done, self._rest)

    def _rest(self) -> None:
        self._serving = False
        if self._waiting:
            self._serve()
        elif self.up and (due := self._engine.next_timer()) is not None:
            self._at(due, self._wake)

    def _wake(self) -> None:
        if not self._serving and self.up and (due := self._engine.next_timer()) is not None and due <= self.now:
            self._serve()

    def _cost(self, data: bytes, sent: Sequence[tuple[bytes, Endpoint]], registered: bool) -> float:
        if data[0] == ControlType.SIGNALING:
            return self._costs.register if registered else self._costs.request
        if not sent:
            return self._costs.refused
        if sent[0][0][0] == ControlType.COOKIE_REPLY:
            self.report.cookies += 1
            return self._costs.cookie
        self.report.handshakes += 1
        return self._costs.handshake
