"""What a profile is made from: one overlay interface and its addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omni_core.dds.sizes import MTU_MIN, message_size
from omni_core.errors import ConfigError


@dataclass(frozen=True)
class Overlay:
    """``vip4`` and ``vip6`` are None where the robot has none. Raises ConfigError when it is made with nonsense."""

    interface: str
    vip4: ipaddress.IPv4Address | None
    vip6: ipaddress.IPv6Address | None
    mtu: int = MTU_MIN  # bytes; that of the interface. The default fits into every one
    ipv6: bool = False  # DDS over VIP6, although there is a VIP4

    def __post_init__(self) -> None:
        if not self.interface or any(c in '<>&"/' or c.isspace() for c in self.interface):
            raise ConfigError("interface", f"{self.interface!r} is no interface name", "use a name such as omni0")
        if self.uses_ipv6 and self.vip6 is None and self.vip4 is not None:
            raise ConfigError("vip6", "is not known", "give it, or leave DDS on IPv4")
        message_size(self.mtu, ipv6=self.uses_ipv6)

    @property
    def uses_ipv6(self) -> bool:
        """DDS runs on one IP version: both together would double its discovery traffic."""
        return self.ipv6 or (self.vip4 is None and self.vip6 is not None)

    @property
    def message_size(self) -> int:
        return message_size(self.mtu, ipv6=self.uses_ipv6)

    @classmethod
    def of_status(cls, status: Mapping[str, Any], *, ipv6: bool = False) -> Overlay:
        """From the answer of the admin socket to ``status``. Raises ConfigError where it says too little."""
        try:
            interface, mtu = str(status["interface"]), int(status["interface_mtu"])
            vip4, vip6 = str(status["vip4"]), str(status["vip6"])
        except (KeyError, ValueError) as error:
            raise ConfigError(
                "status", f"is no status of a Ganglion ({error})", "pass what the admin socket answers to status"
            ) from None
        return cls(interface, read_vip4(vip4), read_vip6(vip6), mtu or MTU_MIN, ipv6)


def read_vip4(text: str) -> ipaddress.IPv4Address | None:
    """With or without prefix length; "" is None. Raises ConfigError("vip4")."""
    try:
        return ipaddress.IPv4Interface(text).ip if text else None
    except ValueError:
        raise ConfigError("vip4", f"{text!r} is no IPv4 address", "give one such as 10.77.0.1") from None


def read_vip6(text: str) -> ipaddress.IPv6Address | None:
    """The same of IPv6. Raises ConfigError("vip6")."""
    try:
        return ipaddress.IPv6Interface(text).ip if text else None
    except ValueError:
        raise ConfigError("vip6", f"{text!r} is no IPv6 address", "give the VIP6 that omni status shows") from None
