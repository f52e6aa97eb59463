"""What a Ganglion is asked through its admin socket: a handler for each command (see admin.py)."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omni_core.errors import ConfigError
from omni_core.io.admin import Handler
from omni_core.types import Mac, Vip, parse_mac

if TYPE_CHECKING:
    from omni_core.io.ganglion_driver import GanglionDriver

PING_TIMEOUT = 3.0  # s
WAIT_TIMEOUT = 30.0  # s
REQUEST_TIMEOUT_MAX = 3600.0  # s; what a client may ask for


class GanglionRequests:
    """Of one driver. Each handler takes the request and gives the result, or raises OmniError."""

    def __init__(self, driver: GanglionDriver) -> None:
        self._driver = driver

    def handlers(self) -> dict[str, Handler]:
        return {
            "status": self._on_status,
            "ping": self._on_ping,
            "wait": self._on_wait,
            "stop": self._on_stop,
            "engine": self._on_engine,
        }

    async def _on_status(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "lifecycle": self._driver.state.value,
            "interface": self._driver.interface,
            "port": self._driver.port,
            "pid": os.getpid(),
            **self._driver.status().as_dict(),
        }

    async def _on_ping(self, request: Mapping[str, Any]) -> dict[str, Any]:
        result = await self._driver.ping(_address(request.get("address")), _seconds(request, "timeout", PING_TIMEOUT))
        return {"rtt_s": result.rtt, "text": result.text}

    async def _on_wait(self, request: Mapping[str, Any]) -> dict[str, Any]:
        count = request.get("peers")
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise ConfigError("peers", "is not a number of peers", "give 1 or more")
        vip4 = request.get("vip4") is True
        up = await self._driver.wait_for_peers(count, _seconds(request, "timeout", WAIT_TIMEOUT), vip4=vip4)
        return {"peers": up, "reached": up >= count and (self._driver.has_vip4 or not vip4)}

    async def _on_engine(self, request: Mapping[str, Any]) -> dict[str, Any]:
        await self._driver.switch_engine(str(request.get("engine")))
        status = self._driver.status()
        return {"engine": status.engine, "engine_reason": status.engine_reason}

    async def _on_stop(self, request: Mapping[str, Any]) -> dict[str, Any]:
        keep = request.get("keep", False)
        if keep and not self._driver.outlives:
            raise ConfigError(
                "keep", "the engine python ends with its process", "stop without it, or use engine kernel or native"
            )
        self._driver.request_stop(keep=bool(keep))
        return {"pid": os.getpid()}


def _address(value: object) -> Vip | Mac:
    text = value if isinstance(value, str) else ""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        pass
    try:
        return parse_mac(text)
    except ValueError:
        raise ConfigError(
            "address", f"{text!r} is neither a VIP nor a MAC address", "give one that `omni peers` shows"
        ) from None


def _seconds(request: Mapping[str, Any], key: str, default: float) -> float:
    value = request.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= REQUEST_TIMEOUT_MAX:
        raise ConfigError(key, "is not a time in seconds", f"give 0 to {REQUEST_TIMEOUT_MAX:g}")
    return float(value)
