"""What a Ganglion engine needs to know. Made by the driver (or the simulator) from a checked configuration; no
files, no DNS."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Interface

from omni_core.constants import MESH_LIMIT
from omni_core.types import Endpoint, Mac, PublicKey
from omni_core.wire.hello import CAPABILITY_BULK, CAPABILITY_GOSSIP, CAPABILITY_GROUPS


@dataclass(frozen=True)
class NucleusSettings:
    public_key: PublicKey
    endpoints: tuple[Endpoint, ...]  # of one Nucleus, which may have several addresses


@dataclass(frozen=True)
class StaticPeerSettings:
    """A peer that is known without a Nucleus; a session with it is always kept."""

    public_key: PublicKey
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True)
class StaticMacSettings:
    mac: Mac
    peer: PublicKey | None  # None: behind the local port
    vlan: int | None = None  # None: on every VLAN


@dataclass(frozen=True)
class GanglionSettings:
    """``psk`` and ``admission_key`` come from the cluster secret (crypto.kdf); both None in an open cluster."""

    cluster: str
    name: str
    vip4: IPv4Interface | None = None
    nuclei: tuple[NucleusSettings, ...] = ()  # the preferred one first
    psk: bytes | None = field(default=None, repr=False)
    admission_key: bytes | None = field(default=None, repr=False)
    static_peers: tuple[StaticPeerSettings, ...] = ()
    static_macs: tuple[StaticMacSettings, ...] = ()
    allowed_keys: frozenset[PublicKey] | None = None  # None: every member of the cluster
    local_endpoints: tuple[Endpoint, ...] = ()
    mesh_limit: int = MESH_LIMIT
    # Every engine opens stream 1. Without CAPABILITY_GROUPS group frames are flooded, and no announcement is cached.
    capabilities: int = CAPABILITY_BULK | CAPABILITY_GROUPS | CAPABILITY_GOSSIP
    multicast_learn: bool = True  # else: all groups go to all peers, and all are wanted from them
    spdp_cache: bool = True
    bridged: bool = False  # a local network is joined to the overlay
    vip4_auto: bool = False  # the Nucleus leases it; ``vip4`` is the last one that we had
    interface_mtu: int = 1418  # bounds in-session control, and is shown

    @property
    def nucleus_keys(self) -> frozenset[PublicKey]:
        return frozenset(nucleus.public_key for nucleus in self.nuclei)
