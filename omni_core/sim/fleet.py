"""A simulated fleet: Nuclei and any number of edges, numbered, with VIPs and virtual hosts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import IPv4Interface, ip_network
from typing import Any

from omni_core.constants import MESH_LIMIT
from omni_core.crypto.identity import Identity
from omni_core.crypto.kdf import admission_key, cluster_psk
from omni_core.engines.settings import GanglionSettings, NucleusSettings, StaticPeerSettings
from omni_core.session.machine import USABLE
from omni_core.signaling.admission import ClusterPolicy
from omni_core.sim.edge import SimEdge
from omni_core.sim.lan import LanHost
from omni_core.sim.network import SimNat, SimNet
from omni_core.sim.nucleus import SimNucleus
from omni_core.types import Endpoint

CLUSTER = "fleet"
VIPS = ip_network("10.77.0.0/16")


class Fleet:
    """``edges[i]`` is edge-i with the i-th VIP of 10.77.0.0/16; ``hosts[i]`` is the host there, with that VIP."""

    def __init__(
        self,
        net: SimNet,
        clusters: Sequence[str] = (CLUSTER,),
        secret: bytes | None = None,
        mesh_limit: int = MESH_LIMIT,
        nuclei: int = 1,
        nucleus_keys: int = 1,
    ) -> None:
        """``secret``: of every cluster; None: open clusters. ``mesh_limit``: of the Nuclei and of all edges.
        ``nuclei``: how many, each with a store of its own; ``nucleus_keys``: 1 for all of them, or one each.
        """
        self.net = net
        self.secret = secret
        self.mesh_limit = mesh_limit
        self.edges: list[SimEdge] = []
        self.hosts: list[LanHost] = []
        policies = [ClusterPolicy(name, admission_key(secret, name) if secret else None) for name in clusters]
        identities = [Identity.generate(net.random.randbytes) for _ in range(nucleus_keys)]
        self.nuclei: list[SimNucleus] = []
        for number in range(nuclei):
            name = f"nucleus-{number}" if number else "nucleus"
            nucleus = SimNucleus(name, policies, identities[number % nucleus_keys], mesh_limit)
            net.add_host(nucleus)
            nucleus.start()
            self.nuclei.append(nucleus)
        self.nucleus = self.nuclei[0]

    def add(
        self,
        *,
        cluster: str = CLUSTER,
        behind: SimNat | None = None,
        address: str = "",
        start: bool = True,
        identity: Identity | None = None,
        **settings: Any,
    ) -> SimEdge:
        """One more edge. ``settings`` are fields of GanglionSettings."""
        number = len(self.edges)
        vip4 = IPv4Interface((int(VIPS[number + 1]), VIPS.prefixlen))
        made = replace(
            GanglionSettings(
                cluster,
                f"edge-{number}",
                vip4,
                self.nucleus_settings(),
                cluster_psk(self.secret, cluster) if self.secret else None,
                admission_key(self.secret, cluster) if self.secret else None,
                mesh_limit=self.mesh_limit,
            ),
            **settings,
        )
        edge = SimEdge(made.name, made, identity or Identity.generate(self.net.random.randbytes))
        self.net.add_host(edge, address, behind)
        self.edges.append(edge)
        self.hosts.append(LanHost(edge, edge.identity.mac, str((made.vip4 or vip4).ip)))
        if start:
            edge.start()
        return edge

    def nucleus_settings(self) -> tuple[NucleusSettings, ...]:
        return tuple(
            NucleusSettings(nucleus.identity.public_key, (Endpoint(nucleus.addresses[0], nucleus.port),))
            for nucleus in self.nuclei
        )

    def introduce(self, a: SimEdge, b: SimEdge) -> None:
        """Configure each as a static peer of the other. Before they start."""
        for edge, other in ((a, b), (b, a)):
            endpoints = tuple(Endpoint(address, other.port) for address in other.addresses)
            peer = StaticPeerSettings(other.key, endpoints)
            edge.settings = replace(edge.settings, static_peers=(*edge.settings.static_peers, peer))

    # --- conditions for SimNet.until ---
    def registered(self, edges: Iterable[SimEdge] | None = None) -> bool:
        return all(
            edge.engine.nucleus is not None and edge.engine.nucleus.state == "registered"
            for edge in (self.edges if edges is None else edges)
        )

    def meshed(self, edges: Iterable[SimEdge] | None = None) -> bool:
        """Every one of these edges has a usable session with every other."""
        some = [edge for edge in (self.edges if edges is None else edges) if edge.running]
        return all(connected(a, b) for a in some for b in some if a is not b)


def connected(a: SimEdge, b: SimEdge) -> bool:
    """a can send to b."""
    return a.engine.sessions.state(b.key) in USABLE


def one_session(a: SimEdge, b: SimEdge) -> bool:
    """Both send with the same session."""
    mine, theirs = a.engine.sessions.sending(b.key), b.engine.sessions.sending(a.key)
    return (
        mine is not None
        and theirs is not None
        and (mine.send_id, mine.receive_id) == (theirs.receive_id, theirs.send_id)
    )
