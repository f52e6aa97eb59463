"""Discovery: what the Ganglion calls to have group frames pruned and announcements of DDS participants cached."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from omni_core.constants import ETHERNET_HEADER, LIVENESS_POLL
from omni_core.crypto.identity import Identity
from omni_core.dataplane.groups import is_watched
from omni_core.dataplane.port import DataPlane
from omni_core.drops import DropCounters
from omni_core.engines.control_link import ControlLink
from omni_core.engines.discovery.exchange import InterestExchange
from omni_core.engines.discovery.group_policy import flood_policy, make_policy
from omni_core.engines.discovery.listening import Listening, grows
from omni_core.engines.discovery.spdp_cache import SpdpCache
from omni_core.engines.ganglion_events import GanglionEvent, ListeningChanged
from omni_core.engines.peers import Peer, PeerBook
from omni_core.engines.settings import GanglionSettings
from omni_core.errors import RemoteViolation
from omni_core.types import Mac, PeerId, RandomBytes
from omni_core.wire.hello import CAPABILITY_GROUPS
from omni_core.wire.inband import ControlKind, ControlMessage
from omni_core.wire.interest import Interest
from omni_core.wire.listening import listening_from
from omni_core.wire.rtps import parse_announcement

POLICY_LEASE: Final = 5.0  # s; should the Ganglion be killed, so long its last word on group frames counts
TELL_GAP: Final = 0.25  # s between two changes of what peers are told
SILENCE: Final = 10.0  # s without a word from a peer: it may have missed something
_ALL: Final = Interest()


class Discovery:
    """``flood()``: the peers that get group frames at all."""

    def __init__(
        self,
        settings: GanglionSettings,
        identity: Identity,
        plane: DataPlane,
        book: PeerBook,
        link: ControlLink,
        drops: DropCounters,
        *,
        random: RandomBytes,
        flood: Callable[[], frozenset[PeerId]],
        emit: Callable[[GanglionEvent], None],
    ) -> None:
        self._settings = settings
        self._mac = identity.mac
        self._plane = plane
        self._book = book
        self._drops = drops
        self._flood = flood
        self._emit = emit
        self.listening = Listening(identity.mac, narrows=settings.multicast_learn, bridged=settings.bridged)
        self.exchange = InterestExchange(int.from_bytes(random(4), "little"), link.send)
        self.cache = SpdpCache(
            plane,
            link,
            identity.mac,
            settings.interface_mtu + ETHERNET_HEADER,
            interest_of=lambda peer: self.exchange.told.get(peer, _ALL),
            station=lambda mac: book.by_address(mac),
        )
        self._heard: dict[PeerId, float] = {}  # latest in-session control, of peers that are up
        self._flooded: frozenset[PeerId] | None = None  # as the policy has it
        self._policy_stale = True
        self._policy = flood_policy(())
        self._next_look: float | None = None
        self._tell_at: float | None = None
        self._told_at = 0.0

    def start(self, now: float, *, settle: bool) -> None:
        """``settle``: participants may be there that began before us."""
        if settle or self._settings.bridged:
            self.listening.settle(now)
        self._next_look = _next_look(now)

    def stop(self) -> None:
        """No policy is left behind."""
        self._next_look = self._tell_at = None
        self._plane.set_groups(None, 0.0)

    # --- the local port -------------------------------------------------------------------------------------------

    def take(self, frames: Sequence[bytes], now: float) -> Sequence[bytes]:
        """Frames from the local port. Returns those that the data plane is to switch."""
        watched = [frame for frame in frames if frame and frame[0] & 1 and is_watched(frame)]
        if not watched:
            return frames
        kept = {id(frame) for frame in watched if self._keep(frame, now)}
        return [frame for frame in frames if id(frame) not in kept]

    def _keep(self, frame: bytes, now: float) -> bool:
        """Whether a watched frame ends here."""
        if self._book.by_address(frame[6:12]) is not None:
            return False  # it came over the overlay and looped; the data plane drops it
        source = listening_from(frame)
        if source is not None:
            self.listening.heard_from(source, now)
            self._emit(ListeningChanged())
            self._retell(now)
            return False
        said = parse_announcement(frame)
        if said is None or self.cache.looped(said):
            return False
        self.listening.heard_from(said.source, now)
        if not said.ends:
            known = self.listening.domains
            self.listening.announced(said.domain, said.group, said.lease, now)
            self._policy_stale |= self.listening.domains != known
            self._retell(now)
        if not self._settings.spdp_cache:
            return False
        is_new = self.cache.announced(said, frame, now)
        if is_new:
            self._emit(ListeningChanged())
        return is_new is not None

    def set_memberships(self, groups: Collection[Mac] | None, now: float) -> None:
        """Group MACs that this machine's kernel has joined on the overlay interface; None: not known."""
        self.listening.set_memberships(groups)
        self._retell(now)

    # --- peers ----------------------------------------------------------------------------------------------------

    def peer_up(self, peer: Peer, now: float) -> None:
        self._heard[peer.id] = now
        if peer.capabilities & CAPABILITY_GROUPS:
            self.exchange.begin(peer, now)
        self.cache.begin(peer, now)

    def peer_down(self, peer: Peer) -> None:
        self._heard.pop(peer.id, None)
        self.exchange.end(peer.id)
        self.cache.end(peer.id)
        self._policy_stale = True

    def peer_removed(self, peer: Peer) -> None:
        self.peer_down(peer)
        self.cache.forget(peer.id)

    def heard(self, peer: Peer, now: float) -> None:
        """In-session control came from the peer, or a session with it has just begun."""
        before = self._heard.get(peer.id)
        if before is None:
            return
        self._heard[peer.id] = now
        if now - before >= SILENCE:
            self.exchange.again(peer, now)
            self.cache.back(peer, now)

    def control(self, peer: Peer, message: ControlMessage, now: float) -> None:
        if peer.up_since is None:
            return
        try:
            self._control(peer, message, now)
        except RemoteViolation as violation:
            self._drops.add(violation.reason)

    def _control(self, peer: Peer, message: ControlMessage, now: float) -> None:
        if message.kind is ControlKind.INTEREST:
            interest = self.exchange.heard(peer, message, now)
            if interest is not None:
                self._policy_stale = True
                if interest.ask:
                    self.cache.begin(peer, now)
                else:
                    self.cache.interest_changed(peer, now)
        elif message.kind is ControlKind.INTEREST_ACK:
            self.exchange.acknowledged(peer, message.token)
        elif message.kind is ControlKind.SPDP:
            self.cache.told(peer, message.body, now)
        elif message.kind is ControlKind.SPDP_ALIVE:
            self.cache.alive(peer, message.body, now)
        elif message.kind is ControlKind.SPDP_REQUEST:
            self.cache.requested(peer, message.body, now)

    # --- timers, and what is due after every call -----------------------------------------------------------------

    def next_timer(self) -> float | None:
        times = (self._next_look, self._tell_at, self.exchange.next_timer(), self.cache.next_timer())
        return min((t for t in times if t is not None), default=None)

    def handle_timer(self, now: float) -> None:
        self.exchange.handle_timer(now)
        self.cache.handle_timer(now)
        if self._tell_at is not None and self._tell_at <= now:
            self._retell(now)
        if self._next_look is not None and self._next_look <= now:
            self._next_look = _next_look(now)
            known = self.listening.domains
            self.listening.expire(now)
            self.cache.expire(now)
            self._policy_stale |= self.listening.domains != known
            self._retell(now, shrinks=True)
            self._update_policy(now)
            self._plane.set_groups(self._policy, now + POLICY_LEASE)

    def flush(self, now: float) -> None:
        """Who gets what, if that has changed."""
        if self._update_policy(now):
            self._plane.set_groups(self._policy, now + POLICY_LEASE)

    def _update_policy(self, now: float) -> bool:
        flood = self._flood()
        if not self._policy_stale and flood is self._flooded:
            return False
        self._flooded, self._policy_stale = flood, False
        if self._settings.multicast_learn:
            listening = self.listening
            policy = make_policy(flood, self.exchange.told, listening.spdp_groups, listening.domains)
        else:
            policy = flood_policy(flood)
        if policy == self._policy:
            return False
        self._policy = policy
        return True

    def _retell(self, now: float, shrinks: bool = False) -> None:
        """What is wanted now is told at once; what no more, at the next look (``shrinks``): it may be back."""
        interest = self.listening.interest(now)
        if interest == self.exchange.ours or not (shrinks or grows(self.exchange.ours, interest)):
            self._tell_at = None
        elif now < self._told_at + TELL_GAP:
            self._tell_at = self._told_at + TELL_GAP
        else:
            self._tell_at, self._told_at = None, now
            self.exchange.change(interest, now)


def _next_look(now: float) -> float:
    """Together with the looks at the peers (keepalives.py): no wake-up of its own."""
    return (now // LIVENESS_POLL + 1) * LIVENESS_POLL
