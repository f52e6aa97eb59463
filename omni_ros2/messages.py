"""Status of the engines -> messages. Numbers that are not known are NaN."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from builtin_interfaces.msg import Time

from omni_core.engines import nucleus_status, status
from omni_ros2.msg import (
    ClusterStatus,
    Count,
    DataPlaneStatus,
    DropCount,
    GanglionStatus,
    NucleusLink,
    NucleusStatus,
    PathStatus,
    PeerStatus,
    SessionStatus,
    StoreStatus,
    UnderlayStatus,
)

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
_LINK_ROLES = {
    "cold": NucleusLink.ROLE_COLD,
    "standby": NucleusLink.ROLE_STANDBY,
    "active": NucleusLink.ROLE_ACTIVE,
}
_LINK_STATES = {
    "idle": NucleusLink.STATE_IDLE,
    "connecting": NucleusLink.STATE_CONNECTING,
    "standby": NucleusLink.STATE_STANDBY,
    "registered": NucleusLink.STATE_REGISTERED,
    "refused": NucleusLink.STATE_REFUSED,
}
_STORES = {"memory": StoreStatus.KIND_MEMORY, "redis": StoreStatus.KIND_REDIS}
_MULTICAST = {
    "": PeerStatus.MULTICAST_UNKNOWN,
    "flood": PeerStatus.MULTICAST_FLOOD,
    "learned": PeerStatus.MULTICAST_LEARNED,
}
_XDP_MODES = {
    "none": UnderlayStatus.MODE_SOCKET,
    "generic": UnderlayStatus.MODE_GENERIC,
    "driver": UnderlayStatus.MODE_DRIVER,
}
_BULK_LANES = {"on": DataPlaneStatus.BULK_LANE_ON, "off": DataPlaneStatus.BULK_LANE_OFF}
_GANGLION_STATES = {"stopped": GanglionStatus.STATE_INACTIVE, "running": GanglionStatus.STATE_ACTIVE}


def ganglion_message(
    snapshot: status.GanglionStatus, interface: str, stamp: Time, local_address: Callable[[str], str]
) -> GanglionStatus:
    """``local_address``: ours, for an endpoint of a peer."""
    message = GanglionStatus(
        state=_GANGLION_STATES.get(snapshot.state, GanglionStatus.STATE_UNKNOWN),
        engine=snapshot.engine,
        engine_reason=snapshot.engine_reason,
        interface=interface,
        interface_mtu=snapshot.interface_mtu,
        cluster=snapshot.cluster,
        name=snapshot.name,
        public_key=snapshot.public_key,
        vip4=snapshot.vip4,
        vip4_leased=snapshot.vip4_leased,
        vip6=snapshot.vip6,
        mac=snapshot.mac,
        nucleus_state=_NUCLEUS_STATES.get(snapshot.nucleus_state, GanglionStatus.NUCLEUS_UNKNOWN),
        nucleus_reason=snapshot.nucleus_reason,
        nuclei=[_link_message(link) for link in snapshot.nuclei],
        observed_endpoint=snapshot.observed_endpoint,
        cluster_size=snapshot.cluster_size,
        on_demand=snapshot.on_demand,
        domains=snapshot.domains,
        peers_up=sum(peer.state == "up" for peer in snapshot.peers),
        peers=[_peer_message(peer, local_address) for peer in snapshot.peers],
        fdb_entries=snapshot.fdb_entries,
        waiting_frames=snapshot.waiting_frames,
        tx_frames=snapshot.tx_frames,
        tx_bytes=snapshot.tx_bytes,
        rx_frames=snapshot.rx_frames,
        rx_bytes=snapshot.rx_bytes,
        drops=_drop_messages(snapshot.drops),
        underlay=_underlay_messages(snapshot.underlay),
        bulk_lane=snapshot.bulk_lane,
    )
    message.header.stamp = stamp
    return message


def data_plane_message(snapshot: status.GanglionStatus, interface: str, stamp: Time) -> DataPlaneStatus:
    lane, _, reason = snapshot.bulk_lane.partition(": ")
    message = DataPlaneStatus(
        engine=snapshot.engine,
        engine_reason=snapshot.engine_reason,
        interface=interface,
        tx_frames=snapshot.tx_frames,
        tx_bytes=snapshot.tx_bytes,
        rx_frames=snapshot.rx_frames,
        rx_bytes=snapshot.rx_bytes,
        dropped=sum(snapshot.drops.values()),
        drops=_drop_messages(snapshot.drops),
        ways=_count_messages(snapshot.ways),
        discovery=_count_messages(snapshot.discovery),
        underlay=_underlay_messages(snapshot.underlay),
        bulk_lane=_BULK_LANES.get(lane, DataPlaneStatus.BULK_LANE_NONE),
        bulk_lane_reason=reason,
        fdb_entries=snapshot.fdb_entries,
        waiting_frames=snapshot.waiting_frames,
    )
    message.header.stamp = stamp
    return message


def nucleus_message(snapshot: nucleus_status.NucleusStatus, active: bool, stamp: Time) -> NucleusStatus:
    message = NucleusStatus(
        state=NucleusStatus.STATE_ACTIVE if active else NucleusStatus.STATE_INACTIVE,
        public_key=snapshot.public_key,
        epoch=snapshot.epoch,
        sessions=snapshot.sessions,
        users=snapshot.users,
        draining=snapshot.draining,
        store=_store_message(snapshot.store),
        http=snapshot.http,
        denied=snapshot.denied,
        handshakes=snapshot.handshakes,
        requests=_count_messages(snapshot.requests),
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
                refused=_count_messages(cluster.refused),
                leases=cluster.leases,
                pool=cluster.pool,
            )
            for cluster in snapshot.clusters
        ],
        edges=sum(cluster.edges for cluster in snapshot.clusters),
        drops=_drop_messages(snapshot.drops),
    )
    message.header.stamp = stamp
    return message


def _store_message(store: nucleus_status.StoreStatus) -> StoreStatus:
    return StoreStatus(
        kind=_STORES.get(store.kind, StoreStatus.KIND_UNKNOWN),
        location=store.location,
        available=store.available,
        reason=store.text,
        since=store.for_s,
        lag=_or_nan(store.lag_s),
    )


def _link_message(link: status.NucleusLink) -> NucleusLink:
    return NucleusLink(
        endpoint=link.endpoint,
        public_key=link.public_key,
        role=_LINK_ROLES.get(link.role, NucleusLink.ROLE_UNKNOWN),
        state=_LINK_STATES.get(link.state, NucleusLink.STATE_UNKNOWN),
        reason=link.reason,
        draining=link.draining,
        registered=_or_nan(link.registered_s),
        last_answer_age=_or_nan(link.last_answer_age_s),
        rtt=_or_nan(link.rtt_s),
    )


def _underlay_messages(underlay: list[status.UnderlayStatus]) -> list[UnderlayStatus]:
    return [
        UnderlayStatus(
            interface=entry.interface,
            mode=_XDP_MODES.get(entry.xdp_mode, UnderlayStatus.MODE_UNKNOWN),
            reason=entry.reason,
        )
        for entry in underlay
    ]


def _peer_message(peer: status.PeerStatus, local_address: Callable[[str], str]) -> PeerStatus:
    return PeerStatus(
        public_key=peer.public_key,
        name=peer.name,
        vip4=peer.vip4,
        vip6=peer.vip6,
        mac=peer.mac,
        state=_PEER_STATES.get(peer.state, PeerStatus.STATE_UNKNOWN),
        endpoint=peer.endpoint,
        paths=[_path_message(peer, local_address(peer.endpoint))] if peer.endpoint else [],
        rtt=_or_nan(peer.rtt_s),
        loss=_or_nan(peer.loss),
        clock_offset=_or_nan(peer.clock_offset_s),
        clock_error=_or_nan(peer.clock_error_s),
        session_age=_or_nan(peer.session_age_s),
        sessions=[
            SessionStatus(
                id=session.id,
                role=SessionStatus.ROLE_INITIATOR if session.role == "initiator" else SessionStatus.ROLE_RESPONDER,
                age=session.age_s,
                sending=session.sending,
            )
            for session in peer.sessions
        ],
        adopted=peer.adopted,
        multicast=_MULTICAST.get(peer.multicast, PeerStatus.MULTICAST_UNKNOWN),
        domains=peer.domains,
        groups=peer.groups,
        waiting_frames=peer.waiting_frames,
        tx_frames=peer.tx_frames,
        tx_bytes=peer.tx_bytes,
        rx_frames=peer.rx_frames,
        rx_bytes=peer.rx_bytes,
        last_rx_age=_or_nan(peer.last_rx_age_s),
    )


def _path_message(peer: status.PeerStatus, local_address: str) -> PathStatus:
    return PathStatus(
        local_address=local_address,
        remote_endpoint=peer.endpoint,
        in_use=peer.state == "up",
        rtt=_or_nan(peer.rtt_s),
    )


def _count_messages(counts: Mapping[str, int]) -> list[Count]:
    return [Count(name=name, count=count) for name, count in sorted(counts.items())]


def _drop_messages(drops: Mapping[str, int]) -> list[DropCount]:
    return [DropCount(reason=reason, count=count) for reason, count in sorted(drops.items())]


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
