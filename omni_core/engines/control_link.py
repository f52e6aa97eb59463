"""In-session control with one peer: what is sent, and what PINGs measure. Part of the Ganglion engine."""

from __future__ import annotations

from collections.abc import Callable

from omni_core.dataplane.port import DataPlane
from omni_core.engines.peers import Peer
from omni_core.types import Mac
from omni_core.wire.inband import NO_TIMES, ControlKind, ControlMessage, PingTimes, encode_control


class ControlLink:
    """``wall_ns(now)``: the wall clock, ns since 1970; None where there is none, then no times are told."""

    def __init__(self, plane: DataPlane, mac: Mac, wall_ns: Callable[[float], int] | None) -> None:
        self._plane = plane
        self._mac = mac
        self._wall_ns = wall_ns

    def send(self, peer: Peer, kind: ControlKind, now: float, token: int = 0, body: bytes = b"") -> None:
        self._plane.frames_to_peer(peer.id, [encode_control(kind, self._mac, token, body)], now)

    def ping(self, peer: Peer, now: float, token: int = 0) -> None:
        peer.liveness.pinged(now)
        peer.ping_token = token
        peer.clock.sent = self._wall(now)
        frame = encode_control(ControlKind.PING, self._mac, token, times=PingTimes(peer.clock.sent))
        self._plane.frames_to_peer(peer.id, [frame], now)

    def pong(self, peer: Peer, ping: ControlMessage, now: float) -> None:
        received = self._wall(now)
        times = PingTimes(ping.times.sent, received, self._wall(now)) if received and ping.times.sent else NO_TIMES
        frame = encode_control(ControlKind.PONG, self._mac, ping.token, times=times)
        self._plane.frames_to_peer(peer.id, [frame], now)

    def got_pong(self, peer: Peer, pong: ControlMessage, now: float) -> None:
        if peer.ping_token == pong.token and peer.liveness.last_ping:
            peer.rtt = now - peer.liveness.last_ping
        if self._wall_ns is not None:
            peer.clock.answered(pong.times, self._wall_ns(now), now)

    def _wall(self, now: float) -> int:
        """0 also for a clock that no message can carry: before 1970, after 2554."""
        wall = self._wall_ns(now) if self._wall_ns is not None else 0
        return wall if 0 < wall < 1 << 64 else 0
