"""The kernel's interfaces, addresses and routes. The only file that knows pyroute2.

Calls block for milliseconds and pyroute2 (0.9) runs an event loop of its own inside: never call from a thread whose
event loop is running, use a worker thread. Refusals become SystemRefused here.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeAlias

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from omni_core.errors import SystemRefused
from omni_core.io.capability import no_capability
from omni_core.types import Mac, format_mac, parse_mac

AnyInterface: TypeAlias = "ipaddress.IPv4Interface | ipaddress.IPv6Interface"

# linux/if.h, linux/if_addr.h, linux/rtnetlink.h
_IFF_UP = 0x1
_IFF_LOOPBACK = 0x8
_IFF_RUNNING = 0x40
_IFA_F_NODAD = 0x02
_IFA_F_UNUSABLE = 0x08 | 0x20 | 0x40  # DADFAILED, DEPRECATED, TENTATIVE
_IFA_F_PERMANENT = 0x80
_IFA_F_SETTABLE = 0x02 | 0x10 | 0x200  # NODAD, HOMEADDRESS, NOPREFIXROUTE
_RT_SCOPE_UNIVERSE = 0
_RT_TABLE_MAIN = 254
_RTN_UNICAST = 1
_RTPROT_KERNEL = 2
_RTPROT_RA = 9
_RTM_GROUPS = 0x1 | 0x10 | 0x100  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR

# Bits of a bridge's group_fwd_mask: let 01-80-C2-00-00-0E pass (IEEE 1588 peer delay), which 802.1D keeps on the link.
_FORWARD_PEER_DELAY = 1 << 0xE


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
    alias: str  # a remark for people (ip link); "" for none


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


class Netlink:
    """One rtnetlink socket. A context manager; every method raises SystemRefused when the kernel says no."""

    def __init__(self) -> None:
        with _translated("network", "open a netlink socket"):
            self._ip: Any = IPRoute()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ip.close()

    # --- links --------------------------------------------------------------------------------------------------

    def links(self) -> list[Link]:
        with _translated("network", "list the interfaces"):
            return [_link(message) for message in self._ip.get_links()]

    def find(self, name: str) -> Link | None:
        return next((link for link in self.links() if link.name == name), None)

    def change(
        self,
        link: Link,
        *,
        mac: Mac | None = None,
        mtu: int | None = None,
        up: bool | None = None,
        master: int | None = None,
        alias: str | None = None,
    ) -> None:
        """Set what is given; ``master`` 0 takes a port out of its bridge."""
        wanted: dict[str, object] = {}
        if mac is not None:
            wanted["address"] = format_mac(mac)
        if mtu is not None:
            wanted["mtu"] = mtu
        if master is not None:
            wanted["master"] = master
        if alias is not None:
            wanted["ifalias"] = alias
        if up is not None:
            wanted["state"] = "up" if up else "down"
        with _translated(link.name, f"set {', '.join(wanted)}"):
            self._ip.link("set", index=link.index, **wanted)

    def add_bridge(self, name: str, mac: Mac) -> Link:
        """A bridge that forwards at once and floods group addresses; still down. Raises SystemRefused when taken."""
        with _translated(name, "make a bridge"):
            self._ip.link(
                "add",
                ifname=name,
                kind="bridge",
                address=format_mac(mac),
                br_stp_state=0,
                br_forward_delay=0,
                br_mcast_snooping=0,
                br_group_fwd_mask=_FORWARD_PEER_DELAY,
            )
        link = self.find(name)
        if link is None:
            raise SystemRefused(name, "the bridge vanished", "see dmesg")
        return link

    def delete(self, link: Link) -> None:
        """No error when it is gone already."""
        with _translated(link.name, "remove the interface", ignore=(errno.ENODEV,)):
            self._ip.link("del", index=link.index)

    # --- addresses and routes -----------------------------------------------------------------------------------

    def addresses(self, link: Link | None = None) -> list[Address]:
        with _translated("network", "list the addresses"):
            filters = {} if link is None else {"index": link.index}
            return [_address(message) for message in self._ip.get_addr(**filters)]

    def add_address(self, link: Link, interface: AnyInterface) -> None:
        """Usable at once (no duplicate address detection). No error when it is there already."""
        broadcast = None
        if interface.version == 4 and interface.network.prefixlen < 31:
            broadcast = str(interface.network.broadcast_address)
        self.put_address(link, SetAddress(str(interface), broadcast, None, 0))

    def put_address(self, link: Link, wanted: SetAddress) -> None:
        """As ``add_address``, with all that it had. A label that does not fit the link is left out."""
        interface = ipaddress.ip_interface(wanted.address)
        extra: dict[str, object] = {}
        if wanted.broadcast is not None:
            extra["broadcast"] = wanted.broadcast
        if wanted.label is not None and wanted.label.startswith(link.name):  # the kernel does not mind, ifconfig does
            extra["label"] = wanted.label
        flags = wanted.flags | (_IFA_F_NODAD if interface.version == 6 else 0)
        if flags:
            extra["flags"] = flags
        with _translated(link.name, f"add the address {interface}", ignore=(errno.EEXIST,)):
            self._ip.addr(
                "add", index=link.index, address=str(interface.ip), prefixlen=interface.network.prefixlen, **extra
            )

    def delete_address(self, link: Link, interface: AnyInterface) -> None:
        """No error when it is gone already."""
        with _translated(link.name, f"remove the address {interface}", ignore=(errno.EADDRNOTAVAIL, errno.ENODEV)):
            self._ip.addr("del", index=link.index, address=str(interface.ip), prefixlen=interface.network.prefixlen)

    def routes(self, link: Link) -> list[Route]:
        """Unicast routes out of a link that somebody set: not the kernel's own, not those of router advertisements."""
        with _translated(link.name, "list the routes"):
            found = []
            for family in (socket.AF_INET, socket.AF_INET6):
                for message in self._ip.get_routes(family=family):
                    attributes = dict(message["attrs"])
                    own = message["proto"] not in (_RTPROT_KERNEL, _RTPROT_RA) and message["type"] == _RTN_UNICAST
                    if own and attributes.get("RTA_OIF") == link.index:
                        found.append(_route(message, attributes, family))
            return found

    def add_route(self, link: Link, route: Route) -> None:
        """No error when it is there already."""
        self._route("add", link, route, errno.EEXIST)

    def delete_route(self, link: Link, route: Route) -> None:
        """No error when it is gone already."""
        self._route("del", link, route, errno.ESRCH)

    def _route(self, action: str, link: Link, route: Route, ignore: int) -> None:
        extra: dict[str, object] = {
            key: value
            for key, value in (("gateway", route.gateway), ("prefsrc", route.source), ("priority", route.priority))
            if value is not None
        }
        with _translated(link.name, f"{action} the route to {route.destination}", ignore=(ignore,)):
            self._ip.route(
                action,
                dst=route.destination,
                oif=link.index,
                table=route.table,
                proto=route.protocol,
                scope=route.scope,
                **extra,
            )

    def mtu_towards(self, host: str) -> tuple[int, int] | None:
        """(index of the link, MTU) of the way to an IP address; None when there is none, or it ends on this machine."""
        try:
            with _translated("network", f"look up the route to {host}"):
                messages = list(self._ip.route("get", dst=host))
        except SystemRefused:
            return None  # unreachable now; later is as good
        for message in messages:
            index = message.get_attr("RTA_OIF")
            link = next((link for link in self.links() if link.index == index), None)
            if link is not None and not link.loopback:
                metrics = message.get_attr("RTA_METRICS")
                mtu = metrics.get_attr("RTAX_MTU") if metrics is not None else None
                return link.index, min(link.mtu, mtu) if mtu else link.mtu
        return None


class ChangeSocket:
    """Readable when an address or a link changed. What changed is to be asked from Netlink."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        try:
            self._socket.bind((0, _RTM_GROUPS))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> None:
        for _ in range(256):
            try:
                self._socket.recv(65536)
            except BlockingIOError:
                return
            except OSError:  # ENOBUFS: messages were lost, which is news too
                continue

    def close(self) -> None:
        self._socket.close()


@contextmanager
def _translated(what: str, action: str, ignore: tuple[int, ...] = ()) -> Iterator[None]:
    try:
        yield
    except (NetlinkError, OSError) as error:
        code = getattr(error, "code", None) or getattr(error, "errno", None) or 0
        if code in ignore:
            return
        if code in (errno.EPERM, errno.EACCES):
            raise no_capability(f"cannot {action} of {what}") from None
        reason = errno.errorcode.get(code, str(error))
        raise SystemRefused(what, f"the kernel refused to {action} ({reason})", "see dmesg and `ip link`") from None


def _link(message: Any) -> Link:
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
        alias=attributes.get("IFLA_IFALIAS") or "",
    )


def _address(message: Any) -> Address:
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


def _route(message: Any, attributes: dict[str, Any], family: int) -> Route:
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
