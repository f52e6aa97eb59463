"""One direction of a link: what happens to each packet, drawn from the network's seeded generator."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

WIRE_OVERHEAD = 28  # bytes of IPv4 and UDP header that a datagram costs on a link with a bandwidth


@dataclass(frozen=True)
class LinkQuality:
    """Times in seconds, probabilities per packet. The effects are independent of each other.

    Jitter alone never reorders: the link is a queue. ``reorder`` is the share of packets that leave it, held back by
    up to ``reorder_delay`` while later ones pass.
    """

    latency: float = 0.01
    jitter: float = 0.0  # latency is uniform in latency ± jitter, never below zero
    loss: float = 0.0
    duplicate: float = 0.0  # probability of one extra copy, which takes a delay of its own
    reorder: float = 0.0
    reorder_delay: float = 0.05
    bandwidth: float = 0.0  # bytes per second; 0: unlimited
    queue: int = 256 * 1024  # bytes waiting for the bandwidth before the tail is dropped

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "reorder"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is a probability, not {getattr(self, name)}")
        for name in ("latency", "jitter", "reorder_delay", "bandwidth", "queue"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} cannot be negative")


class Link:
    """One direction between two nodes of a segment."""

    __slots__ = ("_busy_until", "_last_arrival", "cut", "quality")

    def __init__(self, quality: LinkQuality) -> None:
        self.quality = quality
        self.cut = False
        self._busy_until = 0.0
        self._last_arrival = 0.0

    def arrivals(self, size: int, now: float, rng: Random) -> tuple[float, ...] | str:
        """When the copies of a packet of ``size`` bytes sent at ``now`` arrive, or why none does."""
        quality = self.quality
        if self.cut:
            return "cut"
        departure = now
        if quality.bandwidth:
            waiting = max(self._busy_until - now, 0.0) * quality.bandwidth
            if waiting > quality.queue:
                return "link queue full"
            departure = max(self._busy_until, now) + (size + WIRE_OVERHEAD) / quality.bandwidth
            self._busy_until = departure
        if quality.loss and rng.random() < quality.loss:
            return "lost"
        first = self._arrival(departure, rng)
        if quality.duplicate and rng.random() < quality.duplicate:
            return first, self._arrival(departure, rng)
        return (first,)

    def _arrival(self, departure: float, rng: Random) -> float:
        quality = self.quality
        arrival = departure + quality.latency
        if quality.jitter:
            arrival = max(departure, arrival + rng.uniform(-quality.jitter, quality.jitter))
        if quality.reorder and rng.random() < quality.reorder:
            return max(arrival, self._last_arrival) + rng.uniform(0.0, quality.reorder_delay)
        self._last_arrival = arrival = max(arrival, self._last_arrival)
        return arrival
