"""Sliding window against replayed sequence numbers (RFC 6479: a ring of blocks, so that moving on shifts nothing).

Two steps, because the window may only change for a packet that has been authenticated: ``check`` before the AEAD,
``update`` after it.
"""

from __future__ import annotations

from omni_core.constants import REJECT_AFTER_MESSAGES, REPLAY_WINDOW

_BLOCK_SHIFT = 6
_BLOCK_BITS = 1 << _BLOCK_SHIFT
_BIT_MASK = _BLOCK_BITS - 1
_BLOCKS = REPLAY_WINDOW // _BLOCK_BITS + 1  # one block of slack: the newest is never full of old sequences
_RING_MASK = _BLOCKS - 1
assert REPLAY_WINDOW % _BLOCK_BITS == 0 and _BLOCKS & _RING_MASK == 0, "the ring index is a mask"


class ReplayWindow:
    """Sequences seen in one sequence space. Accepts ``highest - REPLAY_WINDOW`` and everything newer, each once."""

    __slots__ = ("_ring", "highest")

    def __init__(self) -> None:
        self.highest = -1  # the newest sequence so far; -1: none. Read-only for others
        self._ring = [0]  # grows with the sequences up to _BLOCKS: most sessions with a Nucleus see a few packets

    def check(self, sequence: int) -> bool:
        """True when ``sequence`` (>= 0) may be accepted. Changes nothing."""
        highest = self.highest
        if sequence > highest:
            return sequence < REJECT_AFTER_MESSAGES
        if highest - sequence > REPLAY_WINDOW:
            return False
        return not self._ring[(sequence >> _BLOCK_SHIFT) & _RING_MASK] >> (sequence & _BIT_MASK) & 1

    def update(self, sequence: int) -> None:
        """Mark ``sequence``, for which ``check`` said True, as seen."""
        ring = self._ring
        block = sequence >> _BLOCK_SHIFT
        highest = self.highest
        if sequence > highest:
            newest = highest >> _BLOCK_SHIFT  # -1 before the first
            if block > newest:
                missing = min(block + 1, _BLOCKS) - len(ring)
                if missing > 0:
                    ring += [0] * missing
                for stale in range(max(newest + 1, block - _RING_MASK), block + 1):
                    ring[stale & _RING_MASK] = 0
            self.highest = sequence
        ring[block & _RING_MASK] |= 1 << (sequence & _BIT_MASK)
