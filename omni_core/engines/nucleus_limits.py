"""How often a Nucleus lets edges register. Who asks for more is not answered, and counted; nothing else changes.

Asked after the cluster's secret and the allow list, so that strangers use up nobody's share, and before the record's
signature is checked and the store is changed, which is what costs.
"""

from __future__ import annotations

from omni_core.constants import (
    REGISTER_BURST,
    REGISTER_KEYS_MAX,
    REGISTER_SOURCES_MAX,
    REGISTERS_PER_SECOND,
    SOURCE_REGISTER_BURST,
    SOURCE_REGISTERS_PER_SECOND,
)
from omni_core.drops import DropReason
from omni_core.errors import RemoteViolation
from omni_core.session.limits import Buckets, Rate, site
from omni_core.types import PublicKey

_OF_ONE_KEY = Rate(REGISTERS_PER_SECOND, REGISTER_BURST, REGISTER_KEYS_MAX)
_OF_ONE_SITE = Rate(SOURCE_REGISTERS_PER_SECOND, SOURCE_REGISTER_BURST, REGISTER_SOURCES_MAX)


class RegisterLimits:
    """Of one Nucleus. Each key by itself, and new keys by where they come from."""

    def __init__(self, key: Rate = _OF_ONE_KEY, source: Rate = _OF_ONE_SITE) -> None:
        self._keys: Buckets[PublicKey] = Buckets(key)
        self._sources: Buckets[bytes] = Buckets(source)

    def check(self, key: PublicKey, host: str, *, new: bool, now: float) -> None:
        """A registration that changes something; ``new``: of a key that is not registered. Raises RemoteViolation."""
        if not self._keys.take(key, now):
            raise RemoteViolation(DropReason.REGISTERS_TOO_OFTEN)
        if new and not self._sources.take(site(host), now):
            raise RemoteViolation(DropReason.SOURCE_REGISTERS_TOO_OFTEN)
