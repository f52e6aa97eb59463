"""Texts of a configuration that mean more than text: addresses, keys, names, paths.

Each parser raises ValueError with the problem as a sentence; `schema` adds the field and the fix.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final, Literal, NamedTuple

from omni_core.constants import DEFAULT_PORT
from omni_core.types import Endpoint, Mac, PublicKey, is_group, is_host, is_host_ipv4, is_name, names_network, parse_mac

INTERFACE_NAME_MAX = 15  # IFNAMSIZ of Linux, with its final zero, is 16
UNIX_PATH_MAX = 107  # sun_path of Linux, with its final zero, is 108
XDP_MODES = ("auto", "driver", "generic")
VIP4_AUTO: Final = "auto"
VLAN_MAX = 4094  # IEEE 802.1Q; 4095 is reserved


class StaticPeer(NamedTuple):
    """A peer that is known without a Nucleus. The endpoint's host may be a DNS name."""

    public_key: PublicKey
    endpoint: Endpoint


class StaticMac(NamedTuple):
    """A MAC address that is pinned to a peer, or to the local port (``public_key`` None)."""

    mac: Mac
    vlan: int | None  # None: on every VLAN
    public_key: PublicKey | None


class XdpChoice(NamedTuple):
    interface: str  # "": all that are not named
    mode: str


class ClusterFile(NamedTuple):
    cluster: str
    path: str


def parse_public_key(text: str) -> PublicKey:
    # Imported here: the tables are to be readable (help, doctor, documentation) where PyNaCl is missing.
    from omni_core.crypto.identity import parse_key_text

    try:
        return parse_key_text(text)
    except ValueError as error:
        raise ValueError(f"{_shown(text)} {error}") from None


def parse_public_keys(text: str) -> tuple[PublicKey, ...]:
    """Several with commas between."""
    return tuple(parse_public_key(part.strip()) for part in text.split(","))


def parse_host_port(text: str) -> Endpoint:
    """``host:port`` where the host may be a DNS name; without a port, the default one."""
    endpoint = Endpoint.parse(text, DEFAULT_PORT)
    if not is_host(endpoint.host):
        raise ValueError(f"{_shown(text)}: {_shown(endpoint.host)} is neither an IP address nor a host name")
    return endpoint


def parse_static_peer(text: str) -> StaticPeer:
    key, at, endpoint = text.partition("@")
    if not at:
        raise ValueError(f"{_shown(text)} is not key@host:port")
    return StaticPeer(parse_public_key(key), parse_host_port(endpoint))


def parse_static_mac(text: str) -> StaticMac:
    """``mac=key``, ``mac/vlan=key`` or ``...=local`` for the port on this machine."""
    target, equals, key = text.partition("=")
    if not equals:
        raise ValueError(f"{_shown(text)} is not mac=key, mac/vlan=key or mac=local")
    mac_text, slash, vlan_text = target.partition("/")
    mac = parse_mac(mac_text)
    if is_group(mac):
        raise ValueError(f"{mac_text} is a group address; only a station's own address can be pinned")
    if slash and not (vlan_text.isascii() and vlan_text.isdigit() and 1 <= int(vlan_text) <= VLAN_MAX):
        raise ValueError(f"{_shown(vlan_text)} is not a VLAN number (1..{VLAN_MAX})")
    return StaticMac(mac, int(vlan_text) if slash else None, None if key == "local" else parse_public_key(key))


def parse_vip4(text: str) -> ipaddress.IPv4Interface:
    """``10.77.0.1/24``: a host's address with the length of its prefix."""
    address, slash, _ = text.partition("/")
    if not slash:
        raise ValueError(f"{_shown(text)} has no prefix length")
    try:
        vip = ipaddress.IPv4Interface(text)
    except ValueError:
        raise ValueError(f"{_shown(text)} is not an IPv4 address with a prefix length") from None
    network = vip.network
    if not is_host_ipv4(vip.ip):
        raise ValueError(f"{address} is not an address that a host can have")
    if network.prefixlen == 0:
        raise ValueError(f"{_shown(text)} would take the whole IPv4 internet into the overlay")
    if names_network(vip):
        raise ValueError(f"{address} is the network or broadcast address of {network}")
    return vip


def parse_vip4_or_auto(text: str) -> ipaddress.IPv4Interface | Literal["auto"]:
    return VIP4_AUTO if text == VIP4_AUTO else parse_vip4(text)


def parse_listen_address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"{_shown(text)} is not an IP address") from None
    if address.is_multicast:
        raise ValueError(f"{text} is a multicast address")
    return str(address)


def parse_interface_name(text: str) -> str:
    """A name that Linux takes for a network interface (dev_valid_name, and no pattern such as ``omni%d``)."""
    if len(text.encode()) > INTERFACE_NAME_MAX:
        raise ValueError(f"{_shown(text)} has {len(text.encode())} characters, Linux allows {INTERFACE_NAME_MAX}")
    if not re.fullmatch(r"[A-Za-z0-9._-]+", text) or text in (".", ".."):
        raise ValueError(f"{_shown(text)} is not a name for an interface (letters, digits, '.', '_' and '-')")
    return text


def parse_xdp_mode(text: str) -> XdpChoice:
    """``mode``, or ``interface=mode``."""
    interface, equals, mode = text.rpartition("=")
    if mode not in XDP_MODES:
        raise ValueError(f"{_shown(mode)} is not one of {', '.join(XDP_MODES)}")
    return XdpChoice(parse_interface_name(interface) if equals else "", mode)


def parse_cluster(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"{_shown(text)} is not a cluster name (1..63 of letters, digits, '.', '_' and '-')")
    return text


def parse_name(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"{_shown(text)} is not a name for a robot (1..63 of letters, digits, '.', '_' and '-')")
    return text


def parse_path(text: str) -> str:
    """An absolute path: a service has no useful current directory. The text is not repeated (it may be a secret)."""
    if not text.startswith("/"):
        raise ValueError("is not an absolute path")
    if "\0" in text:
        raise ValueError("has a zero byte in it")
    return text


def parse_cluster_file(text: str) -> ClusterFile:
    cluster, equals, path = text.partition("=")
    if not equals:
        raise ValueError("is not cluster=path")
    checked_path = parse_path(path)  # first: a secret with a "=" in it is not to be shown as a cluster name
    return ClusterFile(parse_cluster(cluster), checked_path)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
