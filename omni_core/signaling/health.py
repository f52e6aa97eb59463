"""How well one Nucleus answers: what the choice among several is made by."""

from __future__ import annotations

from collections.abc import Callable

_SMOOTHING = 1 / 8  # weight of a new sample (RFC 6298)


class Health:
    """``faultless_since``: every request since then was answered; None: it does not answer, or never did."""

    __slots__ = ("_sent", "draining", "faultless_since", "last_answer", "reason", "rtt", "unanswered")

    def __init__(self) -> None:
        self.rtt: float | None = None  # s
        self.last_answer: float | None = None
        self.faultless_since: float | None = None
        self.draining = False  # it said so last
        self.reason = ""  # why it is not used, or does not answer; "" when it does
        self.unanswered = 0  # sendings of the request that is open
        self._sent: tuple[int, float] | None = None

    def sent(self, request: int, now: float) -> None:
        """An answer to a request that was repeated tells no round trip: to which sending is it? (Karn)"""
        again = self.unanswered > 0
        self.unanswered += 1
        self._sent = None if again else (request, now)

    def heard(self, now: float) -> None:
        self.last_answer = now

    def answered(self, request: int, draining: bool, now: float) -> None:
        if self._sent is not None and self._sent[0] == request:
            sample = now - self._sent[1]
            self.rtt = sample if self.rtt is None else self.rtt + _SMOOTHING * (sample - self.rtt)
        self.unanswered, self._sent = 0, None
        self.draining = draining
        if self.faultless_since is None:
            self.faultless_since = now
            self.reason = ""

    def given_up(self) -> None:
        """The open request is of no interest any more."""
        self.unanswered, self._sent = 0, None

    def fault(self, reason: str) -> None:
        self.given_up()
        self.faultless_since = None
        self.draining = False
        self.reason = reason


class Backoff:
    """Pauses between two looks at a Nucleus that nobody waits for."""

    __slots__ = ("_fraction", "_max", "_min", "_pause")

    def __init__(self, shortest: float, longest: float, fraction: Callable[[], float]) -> None:
        self._min, self._max, self._fraction = shortest, longest, fraction
        self._pause = shortest

    def next(self) -> float:
        pause, self._pause = self._pause, min(2 * self._pause, self._max)
        return pause * (1 - self._fraction() / 2)

    def reset(self) -> None:
        self._pause = self._min
