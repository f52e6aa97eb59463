"""Which edges use a Nucleus, rather than another one of their list, and the drain that empties it. Part of the Nucleus
engine, which says who comes and goes; drain.py says whom to tell, and when it is over.
"""

from __future__ import annotations

from collections.abc import Callable

from omni_core.engines.drain import Drain
from omni_core.engines.nucleus_events import DrainChanged
from omni_core.types import PublicKey


class Users:
    def __init__(self, *, tell: Callable[[PublicKey], None], emit: Callable[[DrainChanged], None]) -> None:
        """``tell``: that it is to go to another Nucleus."""
        self.keys: set[PublicKey] = set()  # registered, and not with another Nucleus as their last heartbeat said
        self._tell = tell
        self._emit = emit
        self._drain: Drain | None = None
        self._told_drained = False

    @property
    def draining(self) -> bool:
        """Also when it is over."""
        return self._drain is not None

    @property
    def drained(self) -> bool:
        return self._drain is not None and self._drain.done

    def uses_us(self, key: PublicKey, now: float) -> None:
        self.keys.add(key)
        if self._drain is not None:
            self._drain.stays(key, now)
            self._follow()

    def left_us(self, key: PublicKey, now: float) -> None:
        self.keys.discard(key)
        if self._drain is not None:
            self._drain.left(key, now)
            self._follow()

    def drain(self, now: float, time: float) -> None:
        """Idempotent. ``time``: s that it may take."""
        if self._drain is None:
            self._drain = Drain(self.keys, now, time)
            self._emit(DrainChanged(False, len(self.keys)))
            self._follow()

    def next_timer(self) -> float | None:
        return self._drain.next_timer() if self._drain is not None else None

    def handle_timer(self, now: float) -> None:
        if self._drain is not None and not self._drain.done:
            for key in self._drain.to_tell(now):
                self._tell(key)
            self._follow()

    def _follow(self) -> None:
        if self.drained and not self._told_drained:
            self._told_drained = True
            self._emit(DrainChanged(True, len(self.keys)))
