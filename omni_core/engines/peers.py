"""The peers of one Ganglion: who they are, where they may be, and how they may be found. A table, no decisions."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from omni_core.crypto.identity import key_start, mac_of, vip6_of
from omni_core.crypto.record import PeerRecord
from omni_core.dataplane.port import SessionStats
from omni_core.engines.clocks import PeerClock
from omni_core.engines.hints import Hints
from omni_core.session.liveness import Liveness, Traffic
from omni_core.types import Endpoint, Mac, PeerId, PublicKey, Vip


class Peer:
    """One remote edge. VIP6 and MAC follow from its key."""

    def __init__(self, public_key: PublicKey, peer_id: PeerId) -> None:
        self.public_key = public_key
        self.id = peer_id
        self.vip6: IPv6Address = vip6_of(public_key)
        self.mac: Mac = mac_of(public_key)
        self.name = ""
        self.capabilities = 0  # as its latest Hello says
        self.vip4: IPv4Address | None = None
        self.endpoints: tuple[Endpoint, ...] = ()  # candidates, from the Nucleus, the configuration or the cache
        self.hints = Hints()  # from other peers
        self.path: Endpoint | None = None  # where the data plane sends
        self.record: PeerRecord | None = None  # with which it is a member
        self.record_version = 0  # also without the record: an earlier Ganglion had it
        self.seen: float | None = None  # when it was last there, by a session or as we were told
        self.static = False  # configured: always wanted
        self.member = False  # the Nucleus vouches for it
        self.inherited = False  # a member by what an earlier Ganglion left, or peers say, until the Nucleus says so
        self.stranger = False  # only other peers told of it, and it has never answered
        self.up_since: float | None = None
        self.lost = False  # it was wanted and could not be reached
        self.reconnect_delay = 0.0
        self.nudge_delay = 0.0
        self.last_unicast = 0.0  # s; for giving up on-demand sessions
        self.rtt: float | None = None
        self.ping_token = 0  # of the latest PING: an older one's PONG tells nothing about now
        self.clock = PeerClock()
        self.traffic = Traffic()
        self.liveness = Liveness()
        self.roles: dict[int, bool] = {}  # sessions in the data plane: receive id -> whether we were initiator
        self.retired = SessionStats()  # counters of sessions that are gone

    def places(self, now: float) -> list[Endpoint]:
        """Where handshakes are tried, best first."""
        return [*([self.path] if self.path else []), *self.hints.endpoints(now), *self.endpoints]

    @property
    def label(self) -> str:
        """For log lines: name and the start of the key."""
        return f"{self.name or 'peer'} ({key_start(self.public_key)})"


class PeerBook:
    """Peers by key, by id, and by any of their addresses (VIP4, VIP6, MAC)."""

    def __init__(self) -> None:
        self._by_key: dict[PublicKey, Peer] = {}
        self._by_id: dict[PeerId, Peer] = {}
        self._by_address: dict[Vip | Mac, Peer] = {}
        self._next_id: PeerId = 1

    def get(self, public_key: PublicKey) -> Peer | None:
        return self._by_key.get(public_key)

    def by_id(self, peer_id: PeerId) -> Peer | None:
        return self._by_id.get(peer_id)

    def by_address(self, address: Vip | Mac) -> Peer | None:
        return self._by_address.get(address)

    def reserve(self, peer_id: PeerId) -> None:
        """An earlier control plane has used ids up to this one: new peers get greater ones."""
        self._next_id = max(self._next_id, peer_id + 1)

    def add(self, public_key: PublicKey, peer_id: PeerId | None = None) -> Peer:
        """The peer, made if it is new. ``peer_id``: the one that it has in the data plane already (see ``reserve``)."""
        peer = self._by_key.get(public_key)
        if peer is None:
            if peer_id is None:
                peer_id = self._next_id
                self._next_id += 1  # never reused: a late event cannot hit the wrong peer
            peer = Peer(public_key, peer_id)
            self._by_key[public_key] = self._by_id[peer.id] = peer
            self._by_address[peer.vip6] = self._by_address[peer.mac] = peer
        return peer

    def set_vip4(self, peer: Peer, vip4: IPv4Address | None) -> None:
        """The caller has checked that no other peer holds it."""
        if peer.vip4 is not None and self._by_address.get(peer.vip4) is peer:
            del self._by_address[peer.vip4]
        peer.vip4 = vip4
        if vip4 is not None:
            self._by_address[vip4] = peer

    def remove(self, peer: Peer) -> None:
        self._by_key.pop(peer.public_key, None)
        self._by_id.pop(peer.id, None)
        for address in (peer.vip6, peer.mac, peer.vip4):
            if address is not None and self._by_address.get(address) is peer:
                del self._by_address[address]

    def __iter__(self) -> Iterator[Peer]:
        return iter(list(self._by_key.values()))

    def __len__(self) -> int:
        return len(self._by_key)
