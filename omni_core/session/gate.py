"""What an initiation has to show before it costs us a curve operation."""

from __future__ import annotations

from collections.abc import Callable

from omni_core.crypto.cookies import CookieChecker
from omni_core.drops import DropReason
from omni_core.errors import RemoteViolation
from omni_core.session.limits import HandshakeLimits
from omni_core.types import Endpoint, RandomBytes
from omni_core.wire.control import Initiation


class Gate:
    """mac1 always; under load also a cookie that proves the source address, and then a bounded rate from there."""

    def __init__(self, exchange_public: bytes, limits: HandshakeLimits, random: RandomBytes) -> None:
        """``exchange_public``: our own X25519 key."""
        self._checker = CookieChecker(exchange_public, random)
        self._limits = limits

    def check(self, initiation: Initiation, source: Endpoint, now: float, answer: Callable[[bytes], None]) -> None:
        """``answer`` gets the cookie reply, where there is to be one. Raises RemoteViolation: it does not pass."""
        if not self._checker.check_mac1(initiation.covered, initiation.mac1):
            raise RemoteViolation(DropReason.BAD_MAC1)
        if not self._limits.loaded(now):
            return
        if not self._checker.check_mac2(initiation.covered + initiation.mac1, initiation.mac2, source, now):
            answer(self._checker.make_reply(initiation.sender_index, initiation.mac1, source, now))
            raise RemoteViolation(DropReason.BAD_MAC2)
        if not self._limits.allow(source.host, now):
            raise RemoteViolation(DropReason.RATE_LIMITED)
