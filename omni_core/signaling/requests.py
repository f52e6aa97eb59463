"""Requests under way: numbered, repeated with growing pauses, given up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from omni_core.constants import REQUEST_RETRY, REQUEST_RETRY_MAX
from omni_core.session.timers import Deadlines

S = TypeVar("S")

_JITTER = 0.2  # of a pause, so that edges that began together do not stay together
_NUMBER_MASK = (1 << 32) - 1


@dataclass
class Request(Generic[S]):
    number: int  # never 0
    subject: S
    attempts: int  # sendings still allowed, this one included
    pause: float
    pause_max: float


class Requests(Generic[S]):
    """``S``: what a request is about, as its owner names it."""

    def __init__(self, fraction: Callable[[], float]) -> None:
        """``fraction``: random numbers 0 <= x < 1."""
        self._fraction = fraction
        self._requests: dict[int, Request[S]] = {}
        self._deadlines: Deadlines[int] = Deadlines()
        self._last = 0

    def open(self, subject: S, attempts: int, now: float, *, pause_max: float = REQUEST_RETRY_MAX) -> Request[S]:
        """A new request; the caller sends it now."""
        self._last = self._last + 1 & _NUMBER_MASK or 1
        request = Request(self._last, subject, attempts, REQUEST_RETRY, pause_max)
        self._requests[request.number] = request
        self._arm(request, now)
        return request

    def subject(self, number: int) -> S | None:
        """None when the request is not open."""
        request = self._requests.get(number)
        return request.subject if request else None

    def close(self, number: int) -> None:
        self._deadlines.set(number, None)
        self._requests.pop(number, None)

    def __len__(self) -> int:
        """Open requests."""
        return len(self._requests)

    def clear(self) -> None:
        for number in list(self._requests):
            self.close(number)

    def due(self, now: float) -> list[tuple[Request[S], bool]]:
        """Requests without an answer in time: with True to send it again; with False it is given up, and closed."""
        result: list[tuple[Request[S], bool]] = []
        for number in self._deadlines.pop_due(now):
            request = self._requests[number]
            request.attempts -= 1
            request.pause = min(2 * request.pause, request.pause_max)
            if request.attempts:
                self._arm(request, now)
            else:
                del self._requests[number]
            result.append((request, bool(request.attempts)))
        return result

    def next_timer(self) -> float | None:
        return self._deadlines.next()

    def _arm(self, request: Request[S], now: float) -> None:
        self._deadlines.set(request.number, now + request.pause * (1 + _JITTER * self._fraction()))
