"""What an administrator asks of a Nucleus through its admin socket: `omni nucleus admin`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from omni_core.crypto.identity import key_start, key_text
from omni_core.engines.nucleus import NucleusEngine
from omni_core.engines.nucleus_edges import denial_rows, find_key, lease_rows
from omni_core.errors import ConfigError
from omni_core.io.admin import Handler
from omni_core.io.clock import monotonic
from omni_core.signaling.denials import DENIAL_REASON_MAX, FOREVER, Denial
from omni_core.types import PublicKey

if TYPE_CHECKING:
    from omni_core.io.nucleus_driver import NucleusDriver

logger = logging.getLogger(__name__)

DENY_TIME_MAX = 10 * 365 * 86400.0  # s


class NucleusAdmin:
    """Of one driver. Each handler takes the request and gives the result, or raises OmniError."""

    def __init__(self, driver: NucleusDriver) -> None:
        self._driver = driver

    def handlers(self) -> dict[str, Handler]:
        return {"edges": self._on_edges, "kick": self._on_kick, "deny": self._on_deny, "allow": self._on_allow}

    async def _on_edges(self, request: Mapping[str, Any]) -> dict[str, Any]:
        engine, now = self._driver.engine, monotonic()
        clusters = self._clusters(request)
        answer: dict[str, Any] = {"edges": [asdict(row) for row in engine.admin.edges(clusters, now)]}
        if request.get("leases"):
            answer["leases"] = [asdict(row) for row in lease_rows(engine.store, clusters, now)]
        if request.get("denied"):
            answer["denied"] = [asdict(row) for row in denial_rows(engine.store, now)]
        return answer

    async def _on_kick(self, request: Mapping[str, Any]) -> dict[str, Any]:
        engine, now = self._driver.engine, monotonic()
        key, name = self._edge(engine, request, now)
        was_there = engine.store.get(key) is not None
        engine.admin.kick(key, now)
        self._driver.flush()
        logger.info("kicked %s by an administrator", _shown(key, name))
        return {"public_key": key_text(key), "name": name, "was_there": was_there}

    async def _on_deny(self, request: Mapping[str, Any]) -> dict[str, Any]:
        engine, now = self._driver.engine, monotonic()
        key, name = self._edge(engine, request, now)
        lasts, reason = _lasts(request.get("for")), _reason(request.get("reason", ""))
        was_there = engine.store.get(key) is not None
        engine.admin.deny(Denial(key, FOREVER if lasts is None else now + lasts, reason), now)
        self._driver.flush()
        logger.info("shut out %s by an administrator%s", _shown(key, name), f": {reason}" if reason else "")
        await self._driver.save_state()
        return {"public_key": key_text(key), "name": name, "was_there": was_there, "for_s": lasts}

    async def _on_allow(self, request: Mapping[str, Any]) -> dict[str, Any]:
        engine, now = self._driver.engine, monotonic()
        key, name = self._edge(engine, request, now)
        was_denied = engine.store.denied(key, now) is not None
        engine.admin.undeny(key, now)
        self._driver.flush()
        if was_denied:
            logger.info("allowed %s again by an administrator", _shown(key, name))
        await self._driver.save_state()
        return {"public_key": key_text(key), "name": name, "was_denied": was_denied}

    def _edge(self, engine: NucleusEngine, request: Mapping[str, Any], now: float) -> tuple[PublicKey, str]:
        """Its key, and its name where it is there."""
        text = request.get("edge")
        if not isinstance(text, str) or not text:
            raise ConfigError("edge", "is not given", "give a public key, or the name or VIP of an edge")
        key = find_key(engine.store, self._clusters(request), text, now)
        edge = engine.store.get(key)
        return key, edge.name if edge is not None else ""

    def _clusters(self, request: Mapping[str, Any]) -> Sequence[str]:
        served, wanted = self._driver.config.clusters, request.get("cluster")
        if wanted is None:
            return served
        if wanted not in served:
            raise ConfigError(
                "cluster", f"this Nucleus serves no {str(wanted)[:63]!r}", f"give one of {', '.join(served)}"
            )
        return (str(wanted),)


def _lasts(value: object) -> float | None:
    """s; None: for ever."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= DENY_TIME_MAX:
        raise ConfigError("for", "is not a time in seconds", f"give up to {DENY_TIME_MAX:g}, or none: for ever")
    return float(value)


def _reason(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or len(value.encode()) > DENIAL_REASON_MAX:
        raise ConfigError(
            "reason", f"is not one line of at most {DENIAL_REASON_MAX} bytes", "say it shorter, or leave it out"
        )
    return value


def _shown(key: PublicKey, name: str) -> str:
    return f"{name or 'key'} ({key_start(key)})"
