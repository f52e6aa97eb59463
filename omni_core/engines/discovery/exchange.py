"""Peers are told what our side listens to, again and again until they say that they have it, and tell theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from omni_core.engines.peers import Peer
from omni_core.session.timers import Deadlines
from omni_core.types import PeerId
from omni_core.wire.inband import ControlKind, ControlMessage
from omni_core.wire.interest import Interest, decode_interest, encode_interest

FIRST_RETRY: Final = 0.5  # s, doubled up to
LAST_RETRY: Final = 8.0
AT_ONCE: Final = 1.0  # s in which two peers that are newly up tell each other
_RESTART: Final = 1024  # generations; one that is so much older is of another run, which began anywhere


class _Side:
    """One peer, while it is up."""

    def __init__(self, peer: Peer, now: float) -> None:
        self.peer = peer
        self.began = self.sent = now
        self.delay = FIRST_RETRY
        self.interest: Interest | None = None
        self.generation = 0  # of ``interest``


class InterestExchange:
    """``send(peer, kind, now, token, body)``. ``generation``: where ours begin."""

    def __init__(self, generation: int, send: Callable[[Peer, ControlKind, float, int, bytes], None]) -> None:
        self._generation = generation
        self._send = send
        self._ours = Interest()
        self._sides: dict[PeerId, _Side] = {}
        self._retries: Deadlines[PeerId] = Deadlines()
        self.told: dict[PeerId, Interest] = {}  # by peers that have

    @property
    def ours(self) -> Interest:
        """As it was told."""
        return self._ours

    def change(self, interest: Interest, now: float) -> None:
        self._ours = interest
        self._generation = (self._generation + 1) & 0xFFFFFFFF
        for side in self._sides.values():
            self._tell(side, now)

    def begin(self, peer: Peer, now: float) -> None:
        """The peer is up. For it we may have been all the time (an adoption, a restart that it did not notice), so it
        is asked until it has told."""
        side = self._sides[peer.id] = _Side(peer, now)
        self.told.pop(peer.id, None)
        self._tell(side, now)

    def again(self, peer: Peer, now: float) -> None:
        """The peer is back after a silence: what it has not acknowledged comes at once."""
        side = self._sides.get(peer.id)
        if side is not None and self._retries.get(peer.id) is not None:
            self._tell(side, now)

    def end(self, peer_id: PeerId) -> None:
        self._sides.pop(peer_id, None)
        self.told.pop(peer_id, None)
        self._retries.set(peer_id, None)

    def heard(self, peer: Peer, message: ControlMessage, now: float) -> Interest | None:
        """An INTEREST: what is new, else None; with ``ask`` when it really has to be told. Raises RemoteViolation."""
        interest = decode_interest(message.body)
        side = self._sides.get(peer.id)
        if side is None:
            return None
        self._send(peer, ControlKind.INTEREST_ACK, now, message.token, b"")
        if side.interest is not None and not _is_newer(message.token, side.generation):
            return None
        side.interest, side.generation = interest, message.token
        self.told[peer.id] = interest
        if not interest.ask or now < side.began + AT_ONCE:
            return replace(interest, ask=False)  # both began together: it is on its way
        if now >= side.sent + FIRST_RETRY:
            self._tell(side, now)
        return interest

    def acknowledged(self, peer: Peer, generation: int) -> None:
        if generation == self._generation:
            self._retries.set(peer.id, None)

    def next_timer(self) -> float | None:
        return self._retries.next()

    def handle_timer(self, now: float) -> None:
        for peer_id in self._retries.pop_due(now):
            side = self._sides[peer_id]
            delay = min(2 * side.delay, LAST_RETRY)
            self._tell(side, now, delay)

    def _tell(self, side: _Side, now: float, delay: float = FIRST_RETRY) -> None:
        side.delay, side.sent = delay, now
        self._retries.set(side.peer.id, now + delay)
        body = encode_interest(replace(self._ours, ask=side.interest is None))
        self._send(side.peer, ControlKind.INTEREST, now, self._generation, body)


def _is_newer(generation: int, known: int) -> bool:
    """Generations wrap (RFC 1982), and a new run of the peer's Ganglion over the same session begins anywhere."""
    ahead = (generation - known) & 0xFFFFFFFF
    return 0 < ahead < 1 << 31 or 1 << 31 <= ahead < (1 << 32) - _RESTART
