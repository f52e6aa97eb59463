"""Keys that an administrator has shut out, of every cluster."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from omni_core.types import PublicKey

FOREVER = math.inf
DENIAL_REASON_MAX = 120  # bytes of UTF-8; with the rest of the sentence it fits an answer
DENIALS_MAX = 65536


class Denial(NamedTuple):
    key: PublicKey
    until: float  # s, of the caller's clock; FOREVER: until it is allowed again
    reason: str  # "": none was given


class DenyList:
    """In memory. Those that are over are left out, and removed when one is added."""

    __slots__ = ("_by_key",)

    def __init__(self) -> None:
        self._by_key: dict[PublicKey, Denial] = {}

    def put(self, denial: Denial, now: float) -> None:
        """In place of an earlier one of the key."""
        self._by_key = {each.key: each for each in self.all(now)}
        self._by_key[denial.key] = denial

    def remove(self, key: PublicKey) -> None:
        self._by_key.pop(key, None)

    def get(self, key: PublicKey, now: float) -> Denial | None:
        denial = self._by_key.get(key)
        return denial if denial is not None and now < denial.until else None

    def all(self, now: float) -> Iterator[Denial]:
        return (denial for denial in list(self._by_key.values()) if now < denial.until)
