"""One edge of the load generator: what a Ganglion does with its Nuclei, and no data plane."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from ipaddress import IPv4Interface

from omni_core.crypto.identity import Identity
from omni_core.drops import DropCounters
from omni_core.engines.registration import make_nuclei
from omni_core.engines.settings import GanglionSettings, NucleusSettings
from omni_core.signaling.client_events import ClientEvent
from omni_core.types import Endpoint, PublicKey
from omni_core.wire.control import ControlType


def unix_ns(now: float) -> int:
    return time.time_ns()


class LoadEdge:
    """``at`` is where it sends from; ``number`` gives it its VIP4."""

    def __init__(
        self,
        number: int,
        cluster: str,
        nuclei: Sequence[NucleusSettings],
        at: Endpoint,
        rng: random.Random,
        admission_key: bytes | None = None,
        identity: Identity | None = None,
    ) -> None:
        self.number = number
        self.cluster = cluster
        self.identity = identity or Identity.generate(rng.randbytes)
        self.key: PublicKey = self.identity.public_key
        self.at = at
        self.wake_at: float | None = None  # when the owner looks at its timer
        self.settled_at: float | None = None  # since when it has been registered, and where it is
        settings = GanglionSettings(
            cluster=cluster,
            name=f"robot-{number}",
            vip4=IPv4Interface(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}/8"),
            nuclei=tuple(nuclei),
            admission_key=admission_key,
        )
        self._drops = DropCounters()
        made = make_nuclei(
            settings,
            self.identity,
            [at],
            version=time.time_ns(),
            drops=self._drops,
            random=rng.randbytes,
            unix_ns=unix_ns,
        )
        assert made is not None
        self._nuclei = made

    @property
    def registered(self) -> bool:
        return self._nuclei.state == "registered"

    @property
    def nucleus(self) -> Endpoint | None:
        """Where the Nucleus is that it uses."""
        return self._nuclei.endpoint

    def start(self, now: float) -> None:
        self._nuclei.start(now)

    def stop(self, now: float) -> None:
        self._nuclei.stop(now)

    def move(self, at: Endpoint, now: float) -> None:
        self.at = at
        self._nuclei.set_local_endpoints([at], now)

    def query(self, key: PublicKey, now: float) -> None:
        self._nuclei.query(key, now)

    def receive(self, data: bytes, source: Endpoint, now: float) -> None:
        if data[0] == ControlType.SIGNALING:
            self._nuclei.receive(data, source, now)
        else:
            self._nuclei.receive_handshake(data, source, now)

    def next_timer(self) -> float | None:
        return self._nuclei.next_timer()

    def handle_timer(self, now: float) -> None:
        self._nuclei.handle_timer(now)

    def take_datagrams(self) -> list[tuple[bytes, Endpoint]]:
        return self._nuclei.take_datagrams()

    def take_events(self) -> list[ClientEvent]:
        return self._nuclei.take_events()

    def drops(self) -> dict[str, int]:
        return {reason.name.lower(): n for reason, n in self._nuclei.drops.as_dict().items()}
