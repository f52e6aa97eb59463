"""Drain, backup and restore, as an administrator asks for them through the admin socket."""

from __future__ import annotations

import ipaddress
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from omni_core.crypto.identity import key_text
from omni_core.errors import ConfigError
from omni_core.io.admin import Handler
from omni_core.io.clock import monotonic
from omni_core.io.nucleus_state import (
    NucleusState,
    SavedLease,
    decode_state,
    encode_state,
    restore_state,
    take_state,
)
from omni_core.signaling.store import Store

if TYPE_CHECKING:
    from omni_core.io.nucleus_driver import NucleusDriver

DRAIN_MAX = 600.0  # s
HELD_SHOWN = 20  # leases that are named because another has their address


class NucleusUpkeep:
    """Of one driver. Each handler takes the request and gives the result, or raises OmniError."""

    def __init__(self, driver: NucleusDriver) -> None:
        self._driver = driver

    def handlers(self) -> dict[str, Handler]:
        return {"drain": self._on_drain, "backup": self._on_backup, "restore": self._on_restore}

    async def _on_drain(self, request: Mapping[str, Any]) -> dict[str, Any]:
        lasts = request.get("time", self._driver.config.drain_time)
        if isinstance(lasts, bool) or not isinstance(lasts, (int, float)) or not 0 <= lasts <= DRAIN_MAX:
            raise ConfigError("time", "is not a time in seconds", f"give 0 to {DRAIN_MAX:g}")
        began = monotonic()
        edges = self._driver.engine.users
        left = await self._driver.drain(float(lasts))
        return {"edges": edges, "left": left, "took_s": monotonic() - began}

    async def _on_backup(self, request: Mapping[str, Any]) -> dict[str, Any]:
        clusters = self._driver.config.clusters
        state = take_state(self._driver.engine.store, clusters, monotonic(), time.time())
        counts = {cluster: len(leases) for cluster, leases in state.leases.items()}
        return {"state": encode_state(state), "leases": counts, "denied": len(state.denied)}

    async def _on_restore(self, request: Mapping[str, Any]) -> dict[str, Any]:
        text = request.get("state")
        if not isinstance(text, str):
            raise ConfigError("state", "is not given", "give what backup gave")
        store, clusters = self._driver.engine.store, self._driver.config.clusters
        now, wall = monotonic(), time.time()
        sorted_out = sort_out(decode_state(text, "the request"), store, clusters, wall)
        restored = restore_state(sorted_out.fit, store, clusters, now, wall)
        for denial in sorted_out.fit.denied:
            self._driver.engine.admin.kick(denial.key, now)
        self._driver.flush()
        await self._driver.save_state()
        return {
            "restored": restored,
            "denied": len(sorted_out.fit.denied),
            "there": sorted_out.there,
            "expired": sorted_out.expired,
            "unknown_clusters": dict(sorted_out.unknown_clusters),
            "held": len(sorted_out.held),
            "held_leases": [
                {"cluster": cluster, "vip4": str(ipaddress.IPv4Address(lease.vip4)), "public_key": key_text(lease.key)}
                for cluster, lease in sorted_out.held[:HELD_SHOWN]
            ],
        }


@dataclass
class SortedOut:
    fit: NucleusState
    there: int = 0  # leases that are as they were saved
    expired: int = 0
    unknown_clusters: Counter[str] = field(default_factory=Counter)  # -> leases
    held: list[tuple[str, SavedLease]] = field(default_factory=list)  # their address, or key, is held otherwise now


def sort_out(state: NucleusState, store: Store, clusters: tuple[str, ...], wall: float) -> SortedOut:
    """Which leases of a backup can be had again."""
    fit: dict[str, list[SavedLease]] = {}
    result = SortedOut(NucleusState(fit, [denial for denial in state.denied if denial.until > wall]))
    for cluster, leases in state.leases.items():
        if cluster not in clusters:
            result.unknown_clusters[cluster] += len(leases)
            continue
        by_address = {lease.address: lease.key for lease in store.leases(cluster)}
        by_key = {key: address for address, key in by_address.items()}
        for lease in leases:
            user = store.find(cluster, lease.vip4)
            if by_address.get(lease.vip4) == lease.key:
                result.there += 1
            elif lease.vip4 in by_address or lease.key in by_key or (user is not None and user.key != lease.key):
                result.held.append((cluster, lease))
            elif lease.until <= wall:
                result.expired += 1
            else:
                fit.setdefault(cluster, []).append(lease)
    return result
