"""An edge that has nothing but the client of one Nucleus: for what a Nucleus costs, and for a herd of them."""

from __future__ import annotations

from random import Random

from omni_core.crypto.identity import Identity
from omni_core.crypto.record import signed
from omni_core.session.sessions import Sessions
from omni_core.signaling.client import NucleusClient
from omni_core.sim.network import EPOCH_NS
from omni_core.types import Endpoint, PublicKey
from omni_core.wire.control import ControlType

NUCLEUS_AT = Endpoint("10.0.0.1", 51820)


def unix_ns(now: float) -> int:
    """Virtual time as a calendar."""
    return EPOCH_NS + int(now * 1e9)


class BareEdge:
    """At ``at``; ``number`` gives it its VIP4. ``start`` the ``client``, then ``take_datagrams`` after every call."""

    __slots__ = ("at", "client", "due", "key", "sessions")

    def __init__(
        self,
        number: int,
        cluster: str,
        nucleus: PublicKey,
        at: Endpoint,
        local: Endpoint,
        rng: Random,
        now: float,
        name: str = "",
    ) -> None:
        identity = Identity.generate(rng.randbytes)
        vip4 = f"10.{77 + (number >> 16)}.{number >> 8 & 255}.{number & 255}/8"
        record = signed(identity, cluster, version=unix_ns(now), vip4=vip4, name=name)
        self.key: PublicKey = identity.public_key
        self.at = at
        self.due: float | None = None  # for the owner's plan
        self.sessions = Sessions(identity, None, lambda *_: None, random=rng.randbytes, unix_ns=unix_ns)
        self.client = NucleusClient(
            identity,
            cluster,
            nucleus,
            [NUCLEUS_AT],
            record,
            None,
            [local],
            sessions=self.sessions,
            random=rng.randbytes,
        )

    def receive(self, data: bytes, now: float) -> None:
        if data[0] == ControlType.SIGNALING:
            self.client.receive(data, NUCLEUS_AT, now)
        else:
            self.sessions.receive(data, NUCLEUS_AT, now)

    def next_timer(self) -> float | None:
        times = (self.sessions.next_timer(), self.client.next_timer())
        return min((t for t in times if t is not None), default=None)

    def handle_timer(self, now: float) -> None:
        self.sessions.handle_timer(now)
        self._follow_sessions(now)
        self.client.handle_timer(now)

    def take_datagrams(self, now: float) -> list[bytes]:
        """All for the Nucleus. What the client tells is of no interest."""
        self._follow_sessions(now)
        self.client.take_events()
        return [data for data, _ in self.sessions.take_datagrams() + self.client.take_datagrams()]

    def _follow_sessions(self, now: float) -> None:
        while events := self.sessions.take_events():
            for event in events:
                self.client.on_session_event(event, now)
