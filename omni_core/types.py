"""Value types shared by every layer: endpoints, MAC addresses, VIPs, and the random source.

Hot paths carry plain ``bytes`` and tuples; the helpers here parse and print them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

PublicKey: TypeAlias = bytes  # 32 bytes, Ed25519: the identity of an edge or of a Nucleus
Mac: TypeAlias = bytes  # 6 bytes, network order
Vip: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
PeerId: TypeAlias = int  # small integer that the Ganglion gives each peer; an index in BPF maps
RandomBytes: TypeAlias = Callable[[int], bytes]  # os.urandom, or a seeded source in the simulator

BROADCAST: Mac = b"\xff" * 6
KEY_SHOWN = 8  # characters of a public key, as text, that tell the edges of a fleet apart

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_HOST_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


class Endpoint(NamedTuple):
    """An underlay UDP address. Equal (and hashed alike) to the plain ``(host, port)`` tuple."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.host

    @classmethod
    def parse(cls, text: str, default_port: int | None = None) -> Endpoint:
        """``"10.0.0.1:51820"``, ``"[fd00::1]:51820"`` or a bare address with ``default_port``.

        Raises ValueError, with the reason, when the text is neither.
        """
        host, port_text = text, ""
        if text.startswith("["):
            host, bracket, rest = text[1:].partition("]")
            if not bracket or (rest and not rest.startswith(":")):
                raise ValueError(f"{text!r}: expected [IPv6]:port")
            port_text = rest[1:]
        elif text.count(":") == 1:
            host, _, port_text = text.partition(":")
        if port_text:
            if not port_text.isdigit() or not 1 <= int(port_text) <= 65535:
                raise ValueError(f"{text!r}: the port must be 1..65535")
            port = int(port_text)
        elif default_port is not None:
            port = default_port
        else:
            raise ValueError(f"{text!r}: a port is missing")
        if not host:
            raise ValueError(f"{text!r}: the host is missing")
        return cls(host, port)


class NucleusPlace(NamedTuple):
    endpoint: Endpoint  # the host may be a DNS name, which stands for all addresses of one Nucleus
    public_key: PublicKey


def nucleus_places(endpoints: Sequence[Endpoint], keys: Sequence[PublicKey]) -> tuple[NucleusPlace, ...]:
    """``keys``: one for all, or one for each in the same order. Raises ValueError, with the reason."""
    if len(keys) not in (1, len(endpoints)):
        count = f"{len(endpoints)} Nuclei" if len(endpoints) != 1 else "one Nucleus"
        raise ValueError(f"there are {len(keys)} keys for {count}")
    if len(set(endpoints)) < len(endpoints):
        raise ValueError("a Nucleus is there twice")
    return tuple(map(NucleusPlace, endpoints, keys if len(keys) > 1 else [keys[0]] * len(endpoints)))


def random_fraction(random: RandomBytes) -> float:
    """0 <= x < 1, one of 65536 steps."""
    return int.from_bytes(random(2), "little") / 65536


def is_host_ipv4(address: ipaddress.IPv4Address) -> bool:
    """True for an address that a host can have."""
    return not (address.is_multicast or address.is_loopback or address.is_unspecified or address.is_reserved)


def names_network(interface: ipaddress.IPv4Interface) -> bool:
    """True for the network or broadcast address of its network; a /31 has neither (RFC 3021)."""
    network = interface.network
    return network.prefixlen < 31 and interface.ip in (network.network_address, network.broadcast_address)


def format_mac(mac: Mac) -> str:
    return mac.hex(":")


def parse_mac(text: str) -> Mac:
    """``"02:00:00:00:00:01"`` -> 6 bytes. Raises ValueError when the text is not a MAC address."""
    parts = text.replace("-", ":").split(":")
    if len(parts) != 6 or any(len(p) != 2 for p in parts):
        raise ValueError(f"{text!r} is not a MAC address such as 02:00:00:00:00:01")
    try:
        return bytes(int(p, 16) for p in parts)
    except ValueError:
        raise ValueError(f"{text!r} is not a MAC address such as 02:00:00:00:00:01") from None


def is_group(mac: Mac) -> bool:
    """True for multicast and broadcast addresses (IEEE 802 I/G bit)."""
    return bool(mac[0] & 1)


def is_name(text: str) -> bool:
    """True for what a cluster or a robot may be called: 1..63 of letters, digits, '.', '_' and '-'."""
    return _NAME.fullmatch(text) is not None


def is_host(text: str) -> bool:
    """True for an IP address or what may be a DNS name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        labels = text.removesuffix(".").split(".")
        # An all-numeric last label is a mistyped IPv4 address, not a name (RFC 3696 section 2).
        return len(text) <= 253 and all(map(_HOST_LABEL.fullmatch, labels)) and not labels[-1].isdigit()
    return True
