"""What a Nucleus says of itself. JSON-able by ``dataclasses.asdict``."""

from __future__ import annotations

from dataclasses import dataclass, field

from omni_core.signaling.messages import Status


@dataclass
class ClusterStatus:
    name: str
    open: bool  # without a secret and an allow list: whoever knows the Nucleus's key may join
    edges: int = 0  # live
    joins: int = 0  # since the start: registrations of new edges, and of edges that came back with a new record
    moves: int = 0  # new endpoints
    leaves: int = 0  # said goodbye
    departures: int = 0  # heartbeats missed
    refusals: int = 0
    change: int = 0  # number of the last change
    refused: dict[str, int] = field(default_factory=dict)  # refusals by the status that was answered, in lower case
    leases: int = 0  # VIP4s of the pool that are held
    pool: int = 0  # addresses that the pool has; 0: there is none
    admits_by: str = ""  # "everyone", "secret", "12 keys" or "12 keys and secret"

    def count_refusal(self, status: Status) -> None:
        self.refusals += 1
        name = status.name.lower()
        self.refused[name] = self.refused.get(name, 0) + 1


@dataclass
class StoreStatus:
    kind: str = "memory"  # or "redis"
    location: str = ""  # URL without a secret
    available: bool = True  # False: the Nucleus goes on from memory until the store is back
    text: str = ""  # why it is not available
    for_s: float = 0.0  # since when it is, or is not
    lag_s: float | None = None  # since it was last heard; None: nobody need be heard


@dataclass
class NucleusStatus:
    public_key: str
    epoch: str  # changes with every start, and with every life of a shared store
    sessions: int
    clusters: list[ClusterStatus] = field(default_factory=list)
    drops: dict[str, int] = field(default_factory=dict)  # by the drop reason's name
    users: int = 0  # edges that are registered and use this Nucleus
    handshakes: int = 0  # sessions made since the start
    requests: dict[str, int] = field(default_factory=dict)  # since the start: "register", "heartbeat", "query"
    draining: bool = False  # edges are told to go to another Nucleus
    drained: bool = False  # those that have another one have gone
    store: StoreStatus = field(default_factory=StoreStatus)
    denied: int = 0  # keys that an administrator shuts out
    http: str = ""  # address and port of metrics and health; "": none
