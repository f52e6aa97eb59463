"""DDS participants on simulated edges: they announce themselves as Fast DDS does, and remember what they heard."""

from __future__ import annotations

from support.announcing import GROUP, Speaker

from omni_core.sim.edge import SimEdge
from omni_core.wire.rtps import parse_announcement

FIRST = (0.0, 0.1, 0.2, 0.3, 0.4)  # s; Fast DDS's initial announcements
PERIOD = 3.0  # s, Fast DDS's


class Participant:
    """``begin`` it. ``heard``: GUID prefix -> times; a dispose takes the prefix out of ``known``."""

    def __init__(self, edge: SimEdge, number: int, domain: int = 0, lease: float = 20.0, period: float = PERIOD):
        self.edge = edge
        self.speaker = Speaker(number, edge.identity.mac, domain, lease)
        self.period = period
        self.heard: dict[bytes, list[float]] = {}
        self.known: set[bytes] = set()
        self.began = 0.0
        self.running = False
        self.data = b"here"
        edge.plug(self._on_frame)

    @property
    def prefix(self) -> bytes:
        return self.speaker.prefix

    def begin(self) -> Participant:
        self.running, self.began = True, self.edge.net.now
        for delay in FIRST:
            self.edge.call_later(delay, self._say)
        self.edge.call_later(FIRST[-1] + self.period, self._repeat)
        return self

    def change(self, data: bytes) -> None:
        self.data = data
        self._say()

    def end(self, says_so: bool = True) -> None:
        self.running = False
        if says_so:
            self.edge.send_frame(self.speaker.says(ends=True))

    def waited_for(self, other: Participant) -> float:
        """s from our begin to the first that we heard of the other."""
        return next(when for when in self.heard[other.prefix] if when >= self.began) - self.began

    def _say(self) -> None:
        if self.running:
            self.edge.send_frame(self.speaker.says(data=self.data))

    def _repeat(self) -> None:
        if self.running:
            self._say()
            self.edge.call_later(self.period, self._repeat)

    def _on_frame(self, frame: bytes) -> None:
        said = parse_announcement(frame)
        if said is None or said.domain != self.speaker.domain or not self.running:
            return
        self.heard.setdefault(said.prefix, []).append(self.edge.net.now)
        (self.known.discard if said.ends else self.known.add)(said.prefix)


def joined(edge: SimEdge, *groups: bytes) -> None:
    """As the driver tells the engine what the kernel has joined."""
    edge.engine.set_memberships(groups, edge.net.now)
    edge.pump()


def learned(*edges: SimEdge) -> bool:
    """Each of them has heard from each other what it listens to, and what it told was acknowledged."""
    return all(
        edge.engine.discovery is not None
        and edge.engine.discovery.exchange.ours == edge.engine.discovery.listening.interest(edge.net.now)
        and len(edge.engine.discovery.exchange.told) == len(edges) - 1
        and edge.engine.discovery.exchange.next_timer() is None
        for edge in edges
    )


__all__ = ["GROUP", "Participant", "joined", "learned"]
