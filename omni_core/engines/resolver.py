"""Finding the peer behind an address: what is known here, else QUERY_PEER. Frames wait meanwhile. Part of the
Ganglion engine."""

from __future__ import annotations

from collections.abc import Callable

from omni_core.drops import DropCounters, DropReason
from omni_core.engines.peers import Peer, PeerBook
from omni_core.engines.waiting import WaitingFrames
from omni_core.types import Mac, PeerId, Vip
from omni_core.wire.ethernet import target_address


class Resolver:
    """``reach(peer, now)`` brings a session up with the help of the Nucleus, ``connect`` without asking it (again);
    ``query(address, now)`` asks the Nucleus who has an address, and says whether it could."""

    def __init__(
        self,
        book: PeerBook,
        drops: DropCounters,
        *,
        is_up: Callable[[Peer], bool],
        reach: Callable[[Peer, float], None],
        connect: Callable[[Peer, float], None],
        query: Callable[[Vip | Mac, float], bool],
    ) -> None:
        self._book = book
        self._is_up = is_up
        self._reach = reach
        self._connect = connect
        self._query = query
        self._drops = drops
        self.for_peer: WaitingFrames[PeerId] = WaitingFrames(drops)
        self.for_address: WaitingFrames[Vip | Mac] = WaitingFrames(drops)

    def look_up(self, address: Vip | Mac, now: float) -> Peer | None:
        """The peer, connected or being connected; None while the Nucleus is asked, or when nobody can be."""
        peer = self._book.by_address(address)
        if peer is None:
            self._query(address, now)
        elif not self._is_up(peer):
            self._reach(peer, now)
        return peer

    def watch_group_frame(self, frame: bytes, flooded: frozenset[PeerId], now: float) -> None:
        """An ARP request or neighbour solicitation says whom the host is about to talk to. A peer that the flood misses
        (on demand, or lost) is looked up, and gets this frame when it is there."""
        address = target_address(frame)
        if address is None:
            return
        peer = self._book.by_address(address)
        if peer is None:
            if self._query(address, now):
                self.for_address.add(address, frame, now)
        elif peer.id not in flooded:
            self.for_peer.add(peer.id, frame, now)
            self._reach(peer, now)

    def look_for_destination(self, frame: bytes, now: float) -> None:
        """A unicast frame whose MAC the FDB does not know, in a cluster where not everyone is connected. It was
        flooded to those who are; here the one who may have been missed is looked up, by MAC or by the IP address in
        the frame."""
        address: Vip | Mac = target_address(frame) or frame[:6]
        if self._book.by_address(address) is None and self._query(address, now):
            self.for_address.add(address, frame, now)

    def no_session(self, peer: Peer, frame: bytes, now: float) -> None:
        self.for_peer.add(peer.id, frame, now)
        self._reach(peer, now)

    def answered(self, address: Vip | Mac, peer: Peer | None, now: float) -> None:
        """The Nucleus answered: the frames wait for the peer now, or are dropped."""
        if peer is None:
            self.for_address.drop(address, DropReason.UNKNOWN_DESTINATION)
            return
        for frame in self.for_address.take(address, now):
            self.for_peer.add(peer.id, frame, now)
        self._connect(peer, now)

    def take(self, peer: Peer, now: float) -> list[bytes]:
        return self.for_peer.take(peer.id, now)

    def forget(self, peer_id: PeerId) -> None:
        self.for_peer.drop(peer_id, DropReason.NO_SESSION)

    def expire(self, now: float) -> None:
        self.for_peer.expire(now)
        self.for_address.expire(now)

    @property
    def is_waiting(self) -> bool:
        return bool(self.for_peer or self.for_address)

    def __len__(self) -> int:
        return len(self.for_peer) + len(self.for_address)
