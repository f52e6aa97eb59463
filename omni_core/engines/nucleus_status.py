"""What a Nucleus says of itself. JSON-able by ``dataclasses.asdict``."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ClusterStatus:
    name: str
    open: bool  # without a secret: whoever knows the Nucleus's key may join
    edges: int = 0  # live
    joins: int = 0  # since the start: registrations of new edges, and of edges that came back with a new record
    moves: int = 0  # new endpoints
    leaves: int = 0  # said goodbye
    departures: int = 0  # heartbeats missed
    refusals: int = 0
    change: int = 0  # number of the last change


@dataclass
class NucleusStatus:
    public_key: str
    epoch: str  # changes with every start
    sessions: int
    clusters: list[ClusterStatus] = field(default_factory=list)
    drops: dict[str, int] = field(default_factory=dict)  # by the drop reason's name
