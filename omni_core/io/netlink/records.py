"""Links, addresses and routes as the rest of the program sees them, and how they are read from netlink messages."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from omni_core.types import Mac, parse_mac

AnyInterface: TypeAlias = "ipaddress.IPv4Interface | ipaddress.IPv6Interface"
XdpMode: TypeAlias = Literal["driver", "generic", "offload"]

# linux/if.h, linux/if_arp.h, linux/if_addr.h, linux/rtnetlink.h
_ARPHRD_ETHER = 1
_IFF_UP = 0x1
_IFF_LOOPBACK = 0x8
_IFF_RUNNING = 0x40
_IFA_F_UNUSABLE = 0x08 | 0x20 | 0x40  # DADFAILED, DEPRECATED, TENTATIVE
_IFA_F_PERMANENT = 0x80
_IFA_F_SETTABLE = 0x02 | 0x10 | 0x200  # NODAD, HOMEADDRESS, NOPREFIXROUTE
_RT_SCOPE_UNIVERSE = 0
_RT_TABLE_MAIN = 254
_XDP_MODES: Final[dict[str, XdpMode]] = {"DRV": "driver", "SKB": "generic", "HW": "offload"}


@dataclass(frozen=True)
class Link:
    index: int
    name: str
    kind: str  # "tun", "bridge", "veth" ...; "" for hardware
    mtu: int
    mac: Mac  # b"" where there is none
    up: bool  # as the administrator set it
    running: bool  # has a carrier too
    loopback: bool
    master: int  # index of the bridge or bond it is a port of; 0: none
    peer: int  # index of the other end (veth), or of the device below (VLAN); 0: none
    alias: str  # a remark for people (ip link); "" for none
    ethernet: bool  # its packets begin with an Ethernet header
    xdp: tuple[tuple[XdpMode, int], ...]  # (mode, id) of each XDP program on it


@dataclass(frozen=True)
class SetAddress:
    """What is needed to put an address back that somebody set. IPv4 has broadcast and label, IPv6 has neither."""

    address: str  # with prefix length
    broadcast: str | None
    label: str | None
    flags: int


@dataclass(frozen=True)
class Address:
    index: int  # of the link
    interface: AnyInterface
    usable: bool  # neither tentative, failed nor deprecated
    permanent: bool  # set by an administrator, not learned with a lifetime
    universe: bool  # global scope: not link-local, not host
    as_set: SetAddress


@dataclass(frozen=True)
class Route:
    """What is needed to put a unicast route back."""

    destination: str  # "10.0.0.0/8"
    gateway: str | None
    source: str | None
    table: int
    protocol: int
    scope: int
    priority: int | None


def link_of(message: Any) -> Link:
    attributes = dict(message["attrs"])
    info = attributes.get("IFLA_LINKINFO")
    kind = info.get_attr("IFLA_INFO_KIND") if info is not None else None
    flags = message["flags"]
    mac = attributes.get("IFLA_ADDRESS") or ""
    return Link(
        index=message["index"],
        name=attributes["IFLA_IFNAME"],
        kind=kind or "",
        mtu=attributes.get("IFLA_MTU", 0),
        mac=parse_mac(mac) if len(mac) == 17 else b"",
        up=bool(flags & _IFF_UP),
        running=bool(flags & _IFF_UP and flags & _IFF_RUNNING),
        loopback=bool(flags & _IFF_LOOPBACK),
        master=attributes.get("IFLA_MASTER") or 0,
        peer=attributes.get("IFLA_LINK") or 0,
        alias=attributes.get("IFLA_IFALIAS") or "",
        ethernet=message["ifi_type"] == _ARPHRD_ETHER,
        xdp=_xdp_of(attributes.get("IFLA_XDP")),
    )


def _xdp_of(xdp: Any) -> tuple[tuple[XdpMode, int], ...]:
    if xdp is None:
        return ()
    ids = ((mode, xdp.get_attr(f"IFLA_XDP_{key}_PROG_ID")) for key, mode in _XDP_MODES.items())
    return tuple((mode, number) for mode, number in ids if number)


def address_of(message: Any) -> Address:
    attributes = dict(message["attrs"])
    text = attributes.get("IFA_LOCAL") or attributes["IFA_ADDRESS"]  # point-to-point: IFA_ADDRESS is the other end
    flags = attributes.get("IFA_FLAGS", message["flags"])
    as_set = SetAddress(
        f"{text}/{message['prefixlen']}",
        attributes.get("IFA_BROADCAST"),
        attributes.get("IFA_LABEL"),
        flags & _IFA_F_SETTABLE,
    )
    return Address(
        index=message["index"],
        interface=ipaddress.ip_interface(f"{text}/{message['prefixlen']}"),
        usable=not flags & _IFA_F_UNUSABLE,
        permanent=bool(flags & _IFA_F_PERMANENT),
        universe=message["scope"] == _RT_SCOPE_UNIVERSE,
        as_set=as_set,
    )


def route_of(message: Any, attributes: dict[str, Any], family: int) -> Route:
    nowhere = "0.0.0.0" if family == socket.AF_INET else "::"
    return Route(
        destination=f"{attributes.get('RTA_DST', nowhere)}/{message['dst_len']}",
        gateway=attributes.get("RTA_GATEWAY"),
        source=attributes.get("RTA_PREFSRC"),
        table=attributes.get("RTA_TABLE", _RT_TABLE_MAIN),
        protocol=message["proto"],
        scope=message["scope"],
        priority=attributes.get("RTA_PRIORITY"),
    )
