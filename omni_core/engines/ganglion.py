"""The Ganglion: control plane of one edge, Sans-IO.

The driver feeds datagrams from the underlay and frames from the local port, calls ``handle_timer`` when ``next_timer``
is due, and drains ``take_datagrams``, ``take_frames`` and ``take_events`` after each call. Decisions are in Peering
(who, and in what state), Resolver (unknown destinations), Sessions (handshakes), Nuclei (signaling) and the
data plane (frames), whose reports PlaneEvents hands out; this file routes between them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from ipaddress import IPv4Interface

from omni_core.constants import FIRST_DATA_BYTE
from omni_core.crypto.identity import Identity
from omni_core.dataplane.port import Datagram, DataPlane
from omni_core.drops import DropCounters, DropReason
from omni_core.engines.adoption import take_over
from omni_core.engines.control_link import ControlLink
from omni_core.engines.discovery.discovery import Discovery
from omni_core.engines.ganglion_events import GanglionEvent
from omni_core.engines.gossip import Gossip
from omni_core.engines.known_peers import KnownPeer
from omni_core.engines.leased_vip4 import LeasedVip4
from omni_core.engines.notes import owner_of
from omni_core.engines.nuclei import Nuclei
from omni_core.engines.nucleus_news import NucleusNews
from omni_core.engines.peering import Peering
from omni_core.engines.peers import Peer, PeerBook
from omni_core.engines.pings import Pings
from omni_core.engines.plane_events import PlaneEvents
from omni_core.engines.registration import make_nuclei, own_record
from omni_core.engines.resolver import Resolver
from omni_core.engines.settings import GanglionSettings
from omni_core.engines.slow_path import SlowPath
from omni_core.engines.snapshot import snapshot
from omni_core.engines.status import GanglionStatus
from omni_core.session.handshake import Profile
from omni_core.session.sessions import Sessions
from omni_core.signaling.client_events import Vip4Leased, Vip4NotLeased
from omni_core.types import Endpoint, Mac, PublicKey, RandomBytes, Vip
from omni_core.wire.control import ControlType
from omni_core.wire.hello import CAPABILITY_GROUPS
from omni_core.wire.inband import ControlKind

_HOUSEKEEPING = 1.0  # s between two looks at waiting frames
_AGEING_LOOK = 10.0  # s between two looks at the FDB when no frame waits: an idle robot is not woken each second


class GanglionEngine:
    """See the module docstring. Not started, it drops everything."""

    def __init__(
        self,
        settings: GanglionSettings,
        identity: Identity,
        plane: DataPlane,
        *,
        random: RandomBytes,
        unix_ns: Callable[[float], int],
        wall_ns: Callable[[float], int] | None = None,
    ) -> None:
        """``unix_ns``: strictly increasing, for handshakes; ``wall_ns``: the wall clock as it is, for the offset to a
        peer's. Both take ``now`` and give ns since 1970."""
        self.settings = settings
        self.identity = identity
        self.plane = plane
        self.drops = DropCounters()
        self.link = ControlLink(plane, identity.mac, wall_ns)
        self.running = False
        self._random = random
        self._unix_ns = unix_ns
        self._local_endpoints = settings.local_endpoints
        self._datagrams: list[Datagram] = []
        self._events: list[GanglionEvent] = []
        self._housekeeping: float | None = None
        self._reset()

    def _reset(self) -> None:
        self.book = PeerBook()
        profile = Profile("peer", self.settings.cluster, self.settings.psk)
        self.sessions = Sessions(
            self.identity,
            profile,
            lambda key, body, source: self.peering.admit(key, body, source),
            random=self._random,
            unix_ns=self._unix_ns,
        )
        self.peering = Peering(
            self.settings,
            self.identity,
            self.plane,
            self.book,
            self.sessions,
            self.drops,
            self.link,
            owner=owner_of(self.identity, profile),
            emit=self._events.append,
            on_usable=self._send_waiting,
            ask=self._ask,
            on_up=self._on_up,
            on_down=self._on_down,
            on_removed=self._on_removed,
            drain=self._handle_session_events,
        )
        self.resolver = Resolver(
            self.book,
            self.drops,
            is_up=self.peering.is_up,
            reach=self.peering.reach,
            connect=self.peering.connect,
            query=self._query,
        )
        self.slow_path = SlowPath(self.plane, self.book, self.sessions, self.peering, self.resolver, self.drops)
        self.discovery: Discovery | None = None
        if self.settings.capabilities & CAPABILITY_GROUPS:
            self.discovery = Discovery(
                self.settings,
                self.identity,
                self.plane,
                self.book,
                self.link,
                self.drops,
                random=self._random,
                flood=lambda: self.peering.flood,
                emit=self._events.append,
            )
        self.pings = Pings(
            self._random,
            emit=self._events.append,
            send=lambda peer, token, now: self.link.ping(peer, now, token),
            find=self.book.by_address,
            why=self._why_unreached,
        )
        self._plane_events = PlaneEvents(
            self.plane,
            self.book,
            self.sessions,
            self.peering,
            self.slow_path,
            self.link,
            self.pings,
            self.discovery,
            self.drops,
            gossip=lambda: self.gossip,
            drain=self._handle_session_events,
        )
        self.leased_vip4 = LeasedVip4(
            self.settings.vip4,
            change=self._set_vip4,
            prepare=self._prepare_vip4,
            decline=lambda reason, now: self.nucleus.decline(reason, now) if self.nucleus is not None else None,
            underlay=self._underlay,
            emit=self._events.append,
        )
        self.nucleus: Nuclei | None = None
        self.gossip: Gossip | None = None
        self.nucleus_news = NucleusNews(self.sessions, self.peering, self.resolver, self._events.append)

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self, now: float, *, fresh: bool = True, known: Sequence[KnownPeer] = ()) -> None:
        """Begin to register, to connect and to forward; take over what an earlier control plane left. Idempotent.

        ``fresh``: the local port has just been made, so no program has used it before. ``known``: peers of before, as
        ``known_peers`` gave them.
        """
        if self.running:
            return
        self.running = True
        self._housekeeping = now + _HOUSEKEEPING
        self.plane.set_static(self.identity.mac, None)
        for entry in self.settings.static_macs:
            if entry.peer is None:
                self.plane.set_static(entry.mac, None, entry.vlan)
        take_over(self.plane, self.book, self.peering, self.identity, self.settings, self._events.append, now)
        if self.discovery is not None:
            self.discovery.start(now, settle=not fresh or len(self.book) > 0)
        self.nucleus = make_nuclei(
            self.settings,
            self.identity,
            self._local_endpoints,
            version=self._unix_ns(now),
            drops=self.drops,
            random=self._random,
            unix_ns=self._unix_ns,
        )
        if self.nucleus is not None:
            self.gossip = self._make_gossip(self.nucleus)
            self.gossip.start(known, now)
            self.nucleus.start(now)
        self.peering.start(now)
        self._pump(now)

    def _make_gossip(self, nucleus: Nuclei) -> Gossip:
        return Gossip(
            self.settings,
            self.book,
            self.sessions,
            self.peering,
            self.link,
            self.drops,
            random=self._random,
            unix_ns=self._unix_ns,
            own=lambda: nucleus.record,
            local=lambda: self._local_endpoints,
            emit=self._events.append,
        )

    def detach(self, now: float) -> None:
        """The control plane ends and the data plane goes on: no word to anyone, and nothing in it changes.

        A GanglionEngine of the same identity that starts over this plane takes the sessions over; adoption.py says how
        long that may take. Frames that waited for a session are lost. Idempotent, also after ``stop``.
        """
        if not self.running:
            return
        if self.nucleus is not None:
            self.nucleus.stop(now)  # wipes its keys; its farewell is not sent
        self.sessions.close(now)
        self._end("the Ganglion is being restarted")

    def stop(self, now: float) -> None:
        """Tell peers and Nucleus, end all sessions. What is to be sent is in ``take_datagrams``. Idempotent."""
        if not self.running:
            return
        for peer in self.book:
            if peer.up_since is not None:
                self.link.send(peer, ControlKind.GOODBYE, now)
        if self.nucleus is not None:
            self.nucleus.stop(now)
        self._pump(now)
        self.sessions.close(now)
        self._handle_session_events(now)
        for peer in self.book:
            self.plane.remove_peer(peer.id)
            self.plane.remove_static(peer.mac)
        if self.discovery is not None:
            self.discovery.stop()
        self._datagrams += self.plane.take_datagrams()
        self._end("the Ganglion stopped")

    def _end(self, reason: str) -> None:
        self.pings.end_all(reason)
        self.running, self._housekeeping = False, None
        self.drops.update(self.sessions.drops.as_dict())
        self._reset()

    # --- traffic --------------------------------------------------------------------------------------------------

    def receive_datagrams(self, datagrams: Sequence[Datagram], now: float) -> None:
        """UDP payloads with their source. Never raises on what they hold."""
        if not self.running:
            return
        data: list[Datagram] = []
        for datagram in datagrams:
            packet = datagram[0]
            if packet and packet[0] >= FIRST_DATA_BYTE:
                data.append(datagram)
                continue
            if data:  # keep the order of arrival between a session's first data and what made it
                self._receive_data(data, now)
                data = []
            self._receive_control(packet, Endpoint(*datagram[1][:2]), now)
        if data:
            self._receive_data(data, now)
        self._pump(now)

    def set_memberships(self, groups: Collection[Mac] | None, now: float) -> None:
        """Group MACs that this machine's kernel has joined on the overlay interface; None: not known."""
        if self.discovery is not None and self.running:
            self.discovery.set_memberships(groups, now)
            self._pump(now)

    def receive_frames(self, frames: Sequence[bytes], now: float) -> None:
        """Ethernet frames from the local port (TAP), without FCS."""
        if not self.running:
            return
        flood = self.peering.flood
        for frame in frames:
            if frame and frame[0] & 1:
                self.resolver.watch_group_frame(frame, flood, now)
        if self.discovery is not None:
            frames = self.discovery.take(frames, now)
        self.plane.frames_from_port(frames, now)
        self._pump(now)

    def _receive_data(self, datagrams: Sequence[Datagram], now: float) -> None:
        self.plane.datagrams_from_underlay(datagrams, now)
        self._plane_events.handle(now)

    def _receive_control(self, packet: bytes, source: Endpoint, now: float) -> None:
        if not packet:
            self.drops.add(DropReason.TOO_SHORT)
        elif packet[0] == ControlType.SIGNALING:
            if self.nucleus is None:
                self.drops.add(DropReason.SIGNALING_FORGED)
            else:
                self.nucleus.receive(packet, source, now)
        elif packet[0] in (ControlType.INITIATION, ControlType.RESPONSE, ControlType.COOKIE_REPLY):
            if self.nucleus is None or not self.nucleus.receive_handshake(packet, source, now):
                self.sessions.receive(packet, source, now)
                self._handle_session_events(now)
        else:
            self.drops.add(DropReason.UNKNOWN_TYPE)

    # --- timers ---------------------------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        if not self.running:
            return None
        times = [self._housekeeping, self.sessions.next_timer(), self.peering.next_timer(), self.pings.next_timer()]
        if self.discovery is not None:
            times.append(self.discovery.next_timer())
        if self.nucleus is not None:
            times.append(self.nucleus.next_timer())
        if self.gossip is not None:
            times.append(self.gossip.next_timer())
        return min((t for t in times if t is not None), default=None)

    def handle_timer(self, now: float) -> None:
        if not self.running:
            return
        self.sessions.handle_timer(now)
        self._handle_session_events(now)
        self.peering.handle_timer(now)
        if self.nucleus is not None:
            self.nucleus.handle_timer(now)
        if self.gossip is not None:
            self.gossip.handle_timer(now)
        self.pings.handle_timer(now)
        if self.discovery is not None:
            self.discovery.handle_timer(now)
        if self._housekeeping is not None and self._housekeeping <= now:
            self._housekeeping = now + _AGEING_LOOK
            self.plane.tick(now)
            self.resolver.expire(now)
        self._pump(now)

    # --- output ---------------------------------------------------------------------------------------------------

    def take_datagrams(self) -> list[Datagram]:
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def take_frames(self) -> list[bytes]:
        return self.plane.take_frames()

    def take_events(self) -> list[GanglionEvent]:
        events = list(self._events)
        self._events.clear()
        return events

    def known_peers(self, now: float) -> list[KnownPeer]:
        """Whom a start without a Nucleus may try (``start``); the one that was there last first."""
        return self.gossip.known_peers(now) if self.gossip is not None else []

    def status(self, now: float) -> GanglionStatus:
        return snapshot(self, now)

    # --- requests -------------------------------------------------------------------------------------------------

    def ping(self, address: Vip | Mac, now: float, timeout: float = 3.0) -> int:
        """Round trip inside the session with the peer that has this address, connecting first if need be.

        Returns a token; a PingResult event with it follows within ``timeout`` seconds.
        """
        token = self.pings.begin(address, now + timeout)
        if not self.running:
            self.pings.end(token, None, "the Ganglion is not active")
            return token
        peer = self.resolver.look_up(address, now)
        if peer is not None and peer.up_since is not None:
            self.pings.send(token, peer, now)
        self._pump(now)
        return token

    def set_local_endpoints(self, endpoints: Sequence[Endpoint], now: float) -> None:
        """Our underlay addresses changed: tell the Nucleus, and let every peer see where we are now."""
        if tuple(endpoints) == self._local_endpoints:
            return
        self._local_endpoints = tuple(endpoints)
        if self.running:
            if self.nucleus is not None:
                self.nucleus.set_local_endpoints(self._local_endpoints, now)
            self.peering.probe_all(now)
            if self.gossip is not None:
                self.gossip.we_moved(now)
            self._pump(now)

    def set_nucleus_endpoints(self, number: int, endpoints: Sequence[Endpoint], now: float) -> None:
        """The name of a Nucleus, by its place in the settings, resolved to these addresses."""
        if self.nucleus is not None:
            self.nucleus.set_nucleus_endpoints(number, endpoints, now)
            self._pump(now)

    def set_static_endpoints(self, public_key: PublicKey, endpoints: Sequence[Endpoint], now: float) -> None:
        """The name of a configured peer resolved to these addresses."""
        if self.running:
            self.peering.set_static_endpoints(public_key, endpoints, now)
            self._pump(now)

    # --- routing between the parts --------------------------------------------------------------------------------

    def _pump(self, now: float) -> None:
        """Until nobody has anything to say: events lead to events."""
        nucleus = self.nucleus
        while True:
            self._handle_session_events(now)
            self._plane_events.handle(now)
            if nucleus is None:
                break
            if self.gossip is not None:
                self.gossip.follow(nucleus.state, now)
            size = nucleus.cluster_size or (self.gossip.least_size if self.gossip is not None else 0)
            if size != self.peering.cluster_size:
                self.peering.cluster_changed(size, now)
            events = nucleus.take_events()
            for event in events:
                if isinstance(event, (Vip4Leased, Vip4NotLeased)):
                    self.leased_vip4.handle(event, now)
                else:
                    self.nucleus_news.handle(event, now)
            if not events:
                break
        if self.discovery is not None:
            self.discovery.flush(now)
        if self._housekeeping is not None and self.resolver.is_waiting:
            self._housekeeping = min(self._housekeeping, now + _HOUSEKEEPING)
        self._datagrams += self.sessions.take_datagrams()
        self._datagrams += self.plane.take_datagrams()
        if nucleus is not None:
            self._datagrams += nucleus.take_datagrams()

    def _handle_session_events(self, now: float) -> None:
        for event in self.sessions.take_events():
            self.peering.handle_session_event(event, now)

    def _set_vip4(self, vip4: IPv4Interface | None, now: float) -> None:
        self.settings = replace(self.settings, vip4=vip4)
        self.peering.set_vip4(vip4, now)
        if self.nucleus is not None:
            self.nucleus.set_record(own_record(self.settings, self.identity, self._unix_ns(now)), now)

    def _prepare_vip4(self, vip4: IPv4Interface | None, now: float) -> None:
        if self.nucleus is not None:
            settings = replace(self.settings, vip4=vip4)
            self.nucleus.prepare_record(own_record(settings, self.identity, self._unix_ns(now)), now)

    def _underlay(self) -> list[Endpoint]:
        return [*self._local_endpoints, *(place for each in self.settings.nuclei for place in each.endpoints)]

    def _ask(self, peer: Peer, now: float) -> None:
        """Where is it now?"""
        if not self._query(peer.vip6, now) and self.gossip is not None:
            self.gossip.want(peer, now)

    def _query(self, address: Vip | Mac, now: float) -> bool:
        """Ask the Nucleus who has this address. False when there is no Nucleus to ask."""
        if self.nucleus is None or not self.nucleus.can_ask:
            return False
        self.nucleus.query(address, now)
        return True

    def _on_up(self, peer: Peer, now: float) -> None:
        if self.gossip is not None:
            self.gossip.peer_up(peer, now)
        if self.discovery is not None:
            self.discovery.peer_up(peer, now)

    def _on_down(self, peer: Peer) -> None:
        if self.gossip is not None:
            self.gossip.peer_down(peer)
        if self.discovery is not None:
            self.discovery.peer_down(peer)

    def _on_removed(self, peer: Peer) -> None:
        self.resolver.forget(peer.id)
        if self.gossip is not None:
            self.gossip.peer_removed(peer)
        if self.discovery is not None:
            self.discovery.peer_removed(peer)

    def _send_waiting(self, peer: Peer, now: float) -> None:
        self.slow_path.usable(peer, now)
        self.pings.usable(peer, now)
        if self.gossip is not None:
            self.gossip.noted(peer, now)
        if self.discovery is not None:
            self.discovery.heard(peer, now)

    def _why_unreached(self, address: Vip | Mac) -> str:
        peer = self.book.by_address(address)
        if peer is not None:
            return (
                f"no session with {peer.label}: it does not answer handshakes (offline, or UDP is blocked on the way)"
            )
        if self.nucleus is not None and self.nucleus.state != "registered":
            why = self.nucleus_news.reason or "not registered yet"
            return f"this address is not known here, and the Nucleus cannot be asked: {why}"
        return "no edge of this cluster has this address"
