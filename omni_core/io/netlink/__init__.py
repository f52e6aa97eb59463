"""The kernel's interfaces, addresses, routes, and what hangs on them. The only package that knows pyroute2."""

from __future__ import annotations

from omni_core.io.netlink.changes import NO_CHANGES, Changes, ChangeSocket
from omni_core.io.netlink.hooks import QueueLimits
from omni_core.io.netlink.records import Address, AnyInterface, Link, Route, SetAddress, XdpMode
from omni_core.io.netlink.route_lookup import RouteInfo, RouteLookup
from omni_core.io.netlink.rtnetlink import Netlink, VethEnd

__all__ = [
    "NO_CHANGES",
    "Address",
    "AnyInterface",
    "ChangeSocket",
    "Changes",
    "Link",
    "Netlink",
    "QueueLimits",
    "Route",
    "RouteInfo",
    "RouteLookup",
    "SetAddress",
    "VethEnd",
    "XdpMode",
]
