"""An edge without a data plane: what a Ganglion does with its Nuclei, and no more. For fleets of ten thousand."""

from __future__ import annotations

from dataclasses import replace

from omni_core.constants import DEFAULT_PORT
from omni_core.crypto.identity import Identity
from omni_core.dataplane.port import Datagram
from omni_core.drops import DropCounters
from omni_core.engines.nuclei import Nuclei
from omni_core.engines.registration import make_nuclei
from omni_core.engines.settings import GanglionSettings
from omni_core.signaling.client_events import PeerJoined, PeerLeft, QueryAnswered, Registered
from omni_core.sim.host import SimHost
from omni_core.types import Endpoint, PublicKey
from omni_core.wire.control import ControlType

_GIVEN_UP = 5.0  # s; "no such peer" that took longer is the client's, after the last repetition


class LeanEdge(SimHost):
    """Add it to a SimNet, then ``start``."""

    def __init__(self, name: str, settings: GanglionSettings, identity: Identity, port: int = DEFAULT_PORT) -> None:
        super().__init__(name, port)
        self.settings = settings
        self.identity = identity
        self.key: PublicKey = identity.public_key
        self.nuclei: Nuclei
        self.drops = DropCounters()
        self.known: dict[PublicKey, Endpoint] = {}  # who is in the cluster, by what was told
        self.answers: dict[PublicKey, QueryAnswered] = {}  # the latest to each question
        self.given_up: set[PublicKey] = set()  # questions that nobody answered
        self._asked: dict[PublicKey, float] = {}
        self.registrations = 0

    @property
    def at(self) -> Endpoint:
        return Endpoint(self.addresses[0], self.port)

    @property
    def registered(self) -> bool:
        return self.running and self.nuclei.state == "registered"

    # --- life ---
    def start(self) -> None:
        self.running = True
        self.known.clear()
        nuclei = make_nuclei(
            replace(self.settings, local_endpoints=(self.at,)),
            self.identity,
            [self.at],
            version=self.net.unix_ns(self.net.now),
            drops=self.drops,
            random=self.net.random.randbytes,
            unix_ns=self.net.unix_ns,
        )
        assert nuclei is not None
        self.nuclei = nuclei
        self.nuclei.start(self.net.now)
        self.pump()

    def stop(self) -> None:
        """Says goodbye."""
        self.nuclei.stop(self.net.now)
        self.pump()
        self.stop_running()

    def crash(self) -> None:
        self.stop_running()

    def roam(self, address: str = "") -> None:
        """Another address at once, and it is told."""
        self.net.move(self, address)
        self.nuclei.set_local_endpoints([self.at], self.net.now)
        self.pump()

    def ask(self, peer: PublicKey) -> None:
        self.answers.pop(peer, None)
        self.given_up.discard(peer)
        self._asked[peer] = self.net.now
        self.nuclei.query(peer, self.net.now)
        self.pump()

    # --- SimHost ---
    def engine_receive(self, data: bytes, source: tuple[str, int], now: float) -> None:
        if data and data[0] == ControlType.SIGNALING:
            self.nuclei.receive(data, Endpoint(*source), now)
        else:
            self.nuclei.receive_handshake(data, Endpoint(*source), now)

    def engine_next_timer(self) -> float | None:
        return self.nuclei.next_timer()

    def engine_handle_timer(self, now: float) -> None:
        self.nuclei.handle_timer(now)

    def engine_take_datagrams(self) -> list[Datagram]:
        for event in self.nuclei.take_events():
            if isinstance(event, PeerJoined):
                self.known[event.record.public_key] = event.endpoints[0]
            elif isinstance(event, PeerLeft):
                self.known.pop(event.public_key, None)
            elif isinstance(event, QueryAnswered) and isinstance(event.address, bytes):
                asked = self._asked.pop(event.address, self.net.now)
                if event.record is None and self.net.now - asked > _GIVEN_UP:
                    self.given_up.add(event.address)
                else:
                    self.answers[event.address] = event
            elif isinstance(event, Registered):
                self.registrations += 1
        return list(self.nuclei.take_datagrams())
