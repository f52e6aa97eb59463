"""The kernel's interfaces, addresses and routes.

Calls block for milliseconds and pyroute2 (0.9) runs an event loop of its own inside: never call from a thread whose
event loop is running, use a worker thread. Refusals become SystemRefused here.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from types import TracebackType
from typing import Any, NamedTuple

from pyroute2 import IPRoute

from omni_core.errors import SystemRefused
from omni_core.io.netlink.hooks import Hooks
from omni_core.io.netlink.records import Address, AnyInterface, Link, Route, SetAddress, address_of, link_of, route_of
from omni_core.io.netlink.refusals import translated
from omni_core.types import Mac, format_mac

# linux/if.h, linux/if_addr.h, linux/rtnetlink.h
_IFF_NOARP = 0x80
_IFA_F_NODAD = 0x02
_RTN_UNICAST = 1
_RTPROT_KERNEL = 2
_RTPROT_RA = 9

# Bits of a bridge's group_fwd_mask: let 01-80-C2-00-00-0E pass (IEEE 1588 peer delay), which 802.1D keeps on the link.
_FORWARD_PEER_DELAY = 1 << 0xE


class VethEnd(NamedTuple):
    name: str
    mac: Mac
    mtu: int


class Netlink(Hooks):
    """One rtnetlink socket. A context manager; every method raises SystemRefused when the kernel says no."""

    def __init__(self) -> None:
        super().__init__()
        try:
            with translated("network", "open a netlink socket"):
                self._ip: Any = IPRoute(ext_ack=True)
        except BaseException:
            self._raw.close()
            raise

    def __enter__(self) -> Netlink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ip.close()
        self._raw.close()

    # --- links --------------------------------------------------------------------------------------------------

    def links(self) -> list[Link]:
        with translated("network", "list the interfaces"):
            return [link_of(message) for message in self._ip.get_links()]

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
        arp: bool | None = None,
        queue: int | None = None,
    ) -> None:
        """Set what is given; ``master`` 0 takes a port out of its bridge, ``queue`` is in packets."""
        wanted: dict[str, object] = {}
        if mac is not None:
            wanted["address"] = format_mac(mac)
        if mtu is not None:
            wanted["mtu"] = mtu
        if master is not None:
            wanted["master"] = master
        if alias is not None:
            wanted["ifalias"] = alias
        if arp is not None:
            wanted["arp"] = arp
        if queue is not None:
            wanted["txqlen"] = queue
        if up is not None:
            wanted["state"] = "up" if up else "down"
        with translated(link.name, f"set {', '.join(wanted)}"):
            self._ip.link("set", index=link.index, **wanted)

    def add_bridge(self, name: str, mac: Mac) -> Link:
        """A bridge that forwards at once and floods group addresses; still down. Raises SystemRefused when taken."""
        with translated(name, "make a bridge"):
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

    def add_veth(self, end: VethEnd, other: VethEnd, queues: int = 1) -> None:
        """A pair, both ends still down, with so many queues each way. Raises SystemRefused when a name is taken."""
        ends = [
            {
                "ifname": each.name,
                "address": format_mac(each.mac),
                "mtu": each.mtu,
                "num_tx_queues": queues,
                "num_rx_queues": queues,
            }
            for each in (end, other)
        ]
        with translated(end.name, "make a veth pair"):
            self._ip.link("add", kind="veth", **ends[0], peer=ends[1])

    def delete(self, link: Link) -> None:
        """No error when it is gone already."""
        with translated(link.name, "remove the interface", ignore=(errno.ENODEV,)):
            self._ip.link("del", index=link.index)

    # --- addresses and routes -----------------------------------------------------------------------------------

    def addresses(self, link: Link | None = None) -> list[Address]:
        with translated("network", "list the addresses"):
            filters = {} if link is None else {"index": link.index}
            return [address_of(message) for message in self._ip.get_addr(**filters)]

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
        with translated(link.name, f"add the address {interface}", ignore=(errno.EEXIST,)):
            self._ip.addr(
                "add", index=link.index, address=str(interface.ip), prefixlen=interface.network.prefixlen, **extra
            )

    def delete_address(self, link: Link, interface: AnyInterface) -> None:
        """No error when it is gone already."""
        with translated(link.name, f"remove the address {interface}", ignore=(errno.EADDRNOTAVAIL, errno.ENODEV)):
            self._ip.addr("del", index=link.index, address=str(interface.ip), prefixlen=interface.network.prefixlen)

    def routes(self, link: Link) -> list[Route]:
        """Unicast routes out of a link that somebody set: not the kernel's own, not those of router advertisements."""
        with translated(link.name, "list the routes"):
            found = []
            for family in (socket.AF_INET, socket.AF_INET6):
                for message in self._ip.get_routes(family=family):
                    attributes = dict(message["attrs"])
                    own = message["proto"] not in (_RTPROT_KERNEL, _RTPROT_RA) and message["type"] == _RTN_UNICAST
                    if own and attributes.get("RTA_OIF") == link.index:
                        found.append(route_of(message, attributes, family))
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
        with translated(link.name, f"{action} the route to {route.destination}", ignore=(ignore,)):
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
            with translated("network", f"look up the route to {host}"):
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
