"""Status of the engines -> messages. Times that are not known are NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping

from builtin_interfaces.msg import Time

from omni_core.engines import nucleus_status, status
from omni_ros2.msg import ClusterStatus, DropCount, GanglionStatus, NucleusStatus, PeerStatus, SessionStatus

_PEER_STATES = {
    "idle": PeerStatus.STATE_IDLE,
    "handshaking": PeerStatus.STATE_HANDSHAKING,
    "up": PeerStatus.STATE_UP,
    "lost": PeerStatus.STATE_LOST,
}
_NUCLEUS_STATES = {
    "none": GanglionStatus.NUCLEUS_NONE,
    "idle": GanglionStatus.NUCLEUS_IDLE,
    "connecting": GanglionStatus.NUCLEUS_CONNECTING,
    "registered": GanglionStatus.NUCLEUS_REGISTERED,
    "refused": GanglionStatus.NUCLEUS_REFUSED,
}
_GANGLION_STATES = {"stopped": GanglionStatus.STATE_INACTIVE, "running": GanglionStatus.STATE_ACTIVE}


def ganglion_message(snapshot: status.GanglionStatus, interface: str, stamp: Time) -> GanglionStatus:
    message = GanglionStatus(
        state=_GANGLION_STATES.get(snapshot.state, GanglionStatus.STATE_UNKNOWN),
        engine=snapshot.engine,
        interface=interface,
        interface_mtu=snapshot.interface_mtu,
        cluster=snapshot.cluster,
        name=snapshot.name,
        public_key=snapshot.public_key,
        vip4=snapshot.vip4,
        vip6=snapshot.vip6,
        mac=snapshot.mac,
        nucleus_state=_NUCLEUS_STATES.get(snapshot.nucleus_state, GanglionStatus.NUCLEUS_UNKNOWN),
        nucleus_reason=snapshot.nucleus_reason,
        observed_endpoint=snapshot.observed_endpoint,
        cluster_size=snapshot.cluster_size,
        on_demand=snapshot.on_demand,
        peers_up=sum(peer.state == "up" for peer in snapshot.peers),
        peers=[_peer_message(peer) for peer in snapshot.peers],
        fdb_entries=snapshot.fdb_entries,
        waiting_frames=snapshot.waiting_frames,
        tx_frames=snapshot.tx_frames,
        tx_bytes=snapshot.tx_bytes,
        rx_frames=snapshot.rx_frames,
        rx_bytes=snapshot.rx_bytes,
        drops=_drop_messages(snapshot.drops),
        engine_reason=snapshot.engine_reason,
        xdp=[_xdp(interface) for interface in snapshot.underlay],
        bulk_lane=snapshot.bulk_lane,
    )
    message.header.stamp = stamp
    return message


def nucleus_message(snapshot: nucleus_status.NucleusStatus, active: bool, stamp: Time) -> NucleusStatus:
    message = NucleusStatus(
        state=NucleusStatus.STATE_ACTIVE if active else NucleusStatus.STATE_INACTIVE,
        public_key=snapshot.public_key,
        epoch=snapshot.epoch,
        sessions=snapshot.sessions,
        clusters=[
            ClusterStatus(
                name=cluster.name,
                open=cluster.open,
                edges=cluster.edges,
                joins=cluster.joins,
                moves=cluster.moves,
                leaves=cluster.leaves,
                departures=cluster.departures,
                refusals=cluster.refusals,
            )
            for cluster in snapshot.clusters
        ],
        edges=sum(cluster.edges for cluster in snapshot.clusters),
        drops=_drop_messages(snapshot.drops),
    )
    message.header.stamp = stamp
    return message


def _xdp(interface: status.UnderlayStatus) -> str:
    return f"{interface.interface}={interface.xdp_mode}" + (f" ({interface.reason})" if interface.reason else "")


def _peer_message(peer: status.PeerStatus) -> PeerStatus:
    return PeerStatus(
        public_key=peer.public_key,
        name=peer.name,
        vip4=peer.vip4,
        vip6=peer.vip6,
        mac=peer.mac,
        state=_PEER_STATES.get(peer.state, PeerStatus.STATE_UNKNOWN),
        endpoint=peer.endpoint,
        rtt=_seconds(peer.rtt_s),
        session_age=_seconds(peer.session_age_s),
        sessions=[
            SessionStatus(
                id=session.id,
                role=SessionStatus.ROLE_INITIATOR if session.role == "initiator" else SessionStatus.ROLE_RESPONDER,
                age=session.age_s,
                sending=session.sending,
            )
            for session in peer.sessions
        ],
        waiting_frames=peer.waiting_frames,
        tx_frames=peer.tx_frames,
        tx_bytes=peer.tx_bytes,
        rx_frames=peer.rx_frames,
        rx_bytes=peer.rx_bytes,
        last_rx_age=_seconds(peer.last_rx_age_s),
    )


def _drop_messages(drops: Mapping[str, int]) -> list[DropCount]:
    return [DropCount(reason=reason, count=count) for reason, count in sorted(drops.items())]


def _seconds(value: float | None) -> float:
    return math.nan if value is None else value
