"""Snapshots of a Ganglion for people and programs: admin socket, ROS topics, tables. No secret is in them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class SessionStatus:
    id: str  # first 4 hex digits of the receive id: enough to tell two apart, no help to a forger
    role: str  # "initiator" or "responder"
    age_s: float
    sending: bool


@dataclass(frozen=True)
class PeerStatus:
    public_key: str
    name: str
    vip4: str  # "" when it has none
    vip6: str
    mac: str
    state: str  # "idle", "handshaking", "up" or "lost"
    endpoint: str  # "" when unknown
    rtt_s: float | None
    session_age_s: float | None
    last_rx_age_s: float | None
    tx_frames: int
    tx_bytes: int
    rx_frames: int
    rx_bytes: int
    waiting_frames: int
    sessions: list[SessionStatus] = field(default_factory=list)
    loss: float | None = None  # share of the peer's packets that did not arrive, over its sessions; 0..1
    clock_offset_s: float | None = None  # peer's wall clock less ours (RFC 5905, section 8), of the best recent ping
    clock_error_s: float | None = None  # bound of the error: half the round trip of that ping
    multicast: str = ""  # "flood": it has not said what it listens to; "learned"
    domains: list[int] = field(default_factory=list)  # DDS domains with participants there; empty: none, or not known
    groups: int = 0  # IP multicast groups that it listens to; 0 too when not known
    adopted: bool = False  # up with a session that an earlier run of the Ganglion made; until the next rekey


@dataclass(frozen=True)
class NucleusLink:
    """One of the Nuclei that this robot may use."""

    endpoint: str  # where it was last heard, else the first address that is known; "" when there is none
    public_key: str
    role: str  # "active": used; "standby": kept warm, or on the way to it; "cold"
    state: str  # "idle", "connecting", "standby" (it answers), "registered" or "refused"
    reason: str  # what it did last that keeps us from using it; "" when it is well
    registered_s: float | None  # for how long we have been registered there
    last_answer_age_s: float | None
    rtt_s: float | None
    draining: bool  # it is about to stop


@dataclass(frozen=True)
class GossipStatus:
    """What peers tell each other while no Nucleus answers. Counts are since the start."""

    active: bool = False
    sent: int = 0  # messages
    taken: int = 0  # entries about peers
    refused: int = 0  # the same: forged, outdated, of a peer that left, or nobody that gossip may bring
    asked: int = 0  # peers that were asked for
    recalled: int = 0  # peers of the cache that were tried
    news: int = 0  # peers that are told of just now


@dataclass(frozen=True)
class UnderlayStatus:
    interface: str
    xdp_mode: str  # "driver", "generic", or "none": its packets come by the socket
    reason: str  # why not the mode that was asked for; "" when it is


@dataclass(frozen=True)
class GanglionStatus:
    state: str  # "stopped" or "running"
    engine: str
    cluster: str
    name: str
    public_key: str
    vip4: str
    vip6: str
    mac: str
    interface_mtu: int
    nucleus_state: str  # "none", "idle", "connecting", "registered" or "refused"
    nucleus_reason: str  # why not registered; "" when all is well
    observed_endpoint: str
    cluster_size: int
    on_demand: bool  # the cluster is larger than mesh_limit
    fdb_entries: int
    waiting_frames: int
    tx_frames: int
    tx_bytes: int
    rx_frames: int
    rx_bytes: int
    peers: list[PeerStatus]
    drops: dict[str, int]  # drop reason in lower case -> count
    engine_reason: str = ""  # why not the engine in the kernel (nor the native one); "" when nobody asked for better
    bulk_lane: str = ""  # with the engine kernel: "on", or "off: " and why
    domains: list[int] = field(default_factory=list)  # DDS domains with participants here
    discovery: dict[str, int] = field(default_factory=dict)  # what the SPDP cache did, by name (engines/discovery)
    underlay: list[UnderlayStatus] = field(default_factory=list)  # with the engine kernel
    nuclei: list[NucleusLink] = field(default_factory=list)  # in the order of preference
    gossip: GossipStatus = field(default_factory=GossipStatus)
    vip4_leased: bool = False  # vip4 is the Nucleus's to give
    ways: dict[str, int] = field(default_factory=dict)  # what an engine outside this process did, and how often

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)
