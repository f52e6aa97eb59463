"""What the load generator saw: registrations, answers, and whether they were true."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field


def quantiles(values: list[float]) -> dict[str, float]:
    """Empty without values."""
    if not values:
        return {}
    ordered = sorted(values)
    last = len(ordered) - 1
    at = {"p50": last // 2, "p90": last * 9 // 10, "p99": last * 99 // 100, "max": last}
    return {name: ordered[number] for name, number in at.items()}


@dataclass
class Wrong:
    """An answer that is not so. ``after``: s since the asker and the peer were last on the move."""

    at: float  # s since the load began
    what: str  # missing, misplaced, departed
    asker: int
    peer: int
    after: float


@dataclass
class Tally:
    """Times in s since the load began."""

    began: float
    started: int = 0
    left: int = 0
    killed: int = 0
    moved: int = 0
    asked: int = 0
    answered: int = 0
    unanswered: int = 0  # given up: no Nucleus answered in time
    unjudged: int = 0  # the peer was on the move, or came or went, at the time
    wrong: list[Wrong] = field(default_factory=list)
    registration: list[float] = field(default_factory=list)  # s from the start of an edge
    latency: list[float] = field(default_factory=list)  # s from a question to its answer
    lost: list[tuple[float, int]] = field(default_factory=list)  # an edge lost its Nucleus, and told so
    registered: list[tuple[float, int]] = field(default_factory=list)  # registered, again or for the first time
    refused: Counter[str] = field(default_factory=Counter)
    timeline: list[tuple[float, int, int]] = field(default_factory=list)  # (when, registered edges, all edges)

    def since(self, moment: float) -> float:
        return round(moment - self.began, 4)

    def as_dict(self) -> dict[str, object]:
        return {
            **{name: getattr(self, name) for name in (
                "started", "left", "killed", "moved", "asked", "answered", "unanswered", "unjudged"
            )},
            "wrong": [asdict(each) for each in self.wrong],
            "registration_s": quantiles(self.registration),
            "latency_s": quantiles(self.latency),
            "lost": len(self.lost),
            "registered_again": len(self.registered) - self.started,
            "refused": dict(self.refused),
            "timeline": self.timeline,
        }  # fmt: skip
