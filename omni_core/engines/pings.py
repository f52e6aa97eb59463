"""Pings that somebody asked for: round trips inside the session with a peer. Part of the Ganglion engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from omni_core.engines.ganglion_events import GanglionEvent, PingResult
from omni_core.engines.peers import Peer
from omni_core.types import Mac, RandomBytes, Vip


@dataclass
class _Ping:
    address: Vip | Mac
    sent: float | None
    deadline: float


class Pings:
    """``send(peer, token, now)`` sends a PING; ``find(address)`` is the peer that has it; ``why(address)`` says why
    there was none to send it to. Each ping ends with one PingResult."""

    def __init__(
        self,
        random: RandomBytes,
        *,
        emit: Callable[[GanglionEvent], None],
        send: Callable[[Peer, int, float], None],
        find: Callable[[Vip | Mac], Peer | None],
        why: Callable[[Vip | Mac], str],
    ) -> None:
        self._random = random
        self._emit = emit
        self._send = send
        self._find = find
        self._why = why
        self._pings: dict[int, _Ping] = {}

    def begin(self, address: Vip | Mac, deadline: float) -> int:
        """Returns its token. It goes out with ``send``, or once ``usable`` is called for its peer."""
        token = int.from_bytes(self._random(4), "little")
        self._pings[token] = _Ping(address, None, deadline)
        return token

    def send(self, token: int, peer: Peer, now: float) -> None:
        self._pings[token].sent = now
        self._send(peer, token, now)

    def usable(self, peer: Peer, now: float) -> None:
        """There is a session with the peer: what waits for it goes out."""
        for token, ping in self._pings.items():
            if ping.sent is None and self._find(ping.address) is peer:
                self.send(token, peer, now)

    def answered(self, token: int, now: float) -> None:
        ping = self._pings.get(token)
        if ping is not None and ping.sent is not None:
            self.end(token, now - ping.sent, "")

    def end(self, token: int, rtt: float | None, text: str) -> None:
        del self._pings[token]
        self._emit(PingResult(token, rtt, text))

    def end_all(self, reason: str) -> None:
        for token in list(self._pings):
            self.end(token, None, reason)

    def next_timer(self) -> float | None:
        return min((ping.deadline for ping in self._pings.values()), default=None)

    def handle_timer(self, now: float) -> None:
        for token, ping in list(self._pings.items()):
            if ping.deadline <= now:
                self.end(token, None, "no answer" if ping.sent is not None else self._why(ping.address))
