"""GanglionStatus from a Ganglion engine. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from omni_core.crypto.identity import key_text
from omni_core.dataplane.port import SessionStats
from omni_core.engines.peers import Peer
from omni_core.engines.status import GanglionStatus, GossipStatus, PeerStatus, SessionStatus
from omni_core.session.machine import State
from omni_core.types import format_mac

if TYPE_CHECKING:
    from omni_core.engines.ganglion import GanglionEngine

TEXTS_MAX = 4096  # peers whose texts are remembered: they never change, and took a fifth of a snapshot's time

_key_text = lru_cache(TEXTS_MAX)(key_text)
_address_text = lru_cache(TEXTS_MAX)(str)


def snapshot(engine: GanglionEngine, now: float) -> GanglionStatus:
    settings, identity, nucleus = engine.settings, engine.identity, engine.nucleus
    peers = sorted((_peer(engine, peer, now) for peer in engine.book), key=lambda p: (p.name, p.public_key))
    drops: Counter[str] = Counter()
    sources = [engine.drops.as_dict(), engine.sessions.drops.as_dict(), engine.plane.drops()]
    if nucleus is not None:
        sources.append(nucleus.drops.as_dict())
    for source in sources:
        drops.update({reason.name.lower(): count for reason, count in source.items() if count})
    return GanglionStatus(
        state="running" if engine.running else "stopped",
        engine=engine.plane.name,
        cluster=settings.cluster,
        name=settings.name,
        public_key=key_text(identity.public_key),
        vip4=str(settings.vip4 or ""),
        vip6=str(identity.vip6),
        mac=format_mac(identity.mac),
        interface_mtu=settings.interface_mtu,
        nucleus_state="none" if not settings.nuclei else nucleus.state if nucleus else "idle",
        nucleus_reason=engine.nucleus_news.reason,
        observed_endpoint=str(nucleus.observed or "") if nucleus is not None else "",
        cluster_size=engine.peering.cluster_size,
        on_demand=engine.peering.on_demand,
        fdb_entries=len(engine.plane.fdb(now)),
        waiting_frames=len(engine.resolver),
        tx_frames=sum(p.tx_frames for p in peers),
        tx_bytes=sum(p.tx_bytes for p in peers),
        rx_frames=sum(p.rx_frames for p in peers),
        rx_bytes=sum(p.rx_bytes for p in peers),
        peers=peers,
        drops=dict(sorted(drops.items())),
        gossip=engine.gossip.status() if engine.gossip is not None else GossipStatus(),
        vip4_leased=settings.vip4_auto and settings.vip4 is not None,
        domains=sorted(engine.discovery.listening.domains) if engine.discovery is not None else [],
        discovery=engine.discovery.cache.status() if engine.discovery is not None else {},
        nuclei=nucleus.links(now) if nucleus is not None else [],
    )


def _peer(engine: GanglionEngine, peer: Peer, now: float) -> PeerStatus:
    keypairs = engine.sessions.keypairs(peer.public_key)
    sending = engine.sessions.sending(peer.public_key)
    stats = [engine.plane.session_stats(k.receive_id) for k in keypairs]
    clock = peer.clock.offset(now)
    told = engine.discovery.exchange.told.get(peer.id) if engine.discovery is not None else None
    last_rx = max([peer.traffic.rx, *(s.last_rx for s in stats)])
    return PeerStatus(
        public_key=_key_text(peer.public_key),
        name=peer.name,
        vip4=str(peer.vip4 or ""),
        vip6=_address_text(peer.vip6),
        mac=format_mac(peer.mac),
        state=_state(engine, peer),
        endpoint=str(peer.path or ""),
        rtt_s=peer.rtt,
        session_age_s=now - sending.created if sending else None,
        last_rx_age_s=max(0.0, now - last_rx) if last_rx else None,
        tx_frames=peer.retired.tx_frames + sum(s.tx_frames for s in stats),
        tx_bytes=peer.retired.tx_bytes + sum(s.tx_bytes for s in stats),
        rx_frames=peer.retired.rx_frames + sum(s.rx_frames for s in stats),
        rx_bytes=peer.retired.rx_bytes + sum(s.rx_bytes for s in stats),
        waiting_frames=engine.resolver.for_peer.count(peer.id),
        sessions=[
            SessionStatus(
                id=k.receive_id.to_bytes(8, "little")[:2].hex(),
                role="initiator" if k.initiator else "responder",
                age_s=now - k.created,
                sending=k is sending,
            )
            for k in keypairs
        ],
        loss=_loss(peer, stats),
        clock_offset_s=clock[0] if clock else None,
        clock_error_s=clock[1] if clock else None,
        multicast="learned" if told is not None else "flood" if peer.up_since is not None else "",
        domains=sorted(told.domains or ()) if told is not None else [],
        groups=len(told.groups or ()) if told is not None else 0,
        adopted=sending is not None and sending.adopted,
    )


def _loss(peer: Peer, stats: Sequence[SessionStats]) -> float | None:
    """A packet that is still on its way, behind one that overtook it, counts as lost until it is there."""
    expected = peer.retired.rx_expected + sum(s.rx_expected for s in stats)
    received = peer.retired.rx_frames + sum(s.rx_frames for s in stats)
    return max(0.0, 1 - received / expected) if expected else None


def _state(engine: GanglionEngine, peer: Peer) -> str:
    if peer.up_since is not None:
        return "up"
    if engine.sessions.state(peer.public_key) is not State.DOWN:
        return "handshaking"
    return "lost" if peer.lost else "idle"
