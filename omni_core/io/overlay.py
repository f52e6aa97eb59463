"""The overlay interface on this machine: made, given its addresses, bridged if wanted.

    no bridge            VIPs on omni0
    bridge: br0          omni0 becomes a port of the existing bridge br0, VIPs go on br0
    bridge: eth1         a bridge br-omni0 of our own with ports omni0 and eth1; VIPs and what eth1 had go on br-omni0

omni0 is what the port maker makes: a TAP (``tap_port``), or a veth for the engine in the kernel (synapse/devices.py).
Blocking (netlink): call from a worker thread. Every step is in the journal before it is made, so that undo.py puts
things back after an orderly end and after a kill alike.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from ipaddress import IPv4Interface
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

from omni_core.config.values import INTERFACE_NAME_MAX
from omni_core.errors import ConfigError, SystemRefused
from omni_core.io.journal import (
    AddedAddress,
    Journal,
    MadeLink,
    MadePort,
    MovedAddress,
    MovedRoute,
    NativeRuns,
    Step,
    SynapseRuns,
)
from omni_core.io.netlink import AnyInterface, Link, Netlink
from omni_core.io.tap import Tap
from omni_core.types import Mac, format_mac

logger = logging.getLogger(__name__)

_PORT_MAC_BYTE = 0xFE  # as libvirt does


@dataclass(frozen=True)
class OverlayPlan:
    """What is wanted. ``addresses``: the VIPs with their prefix lengths; ``bridge`` "": none.

    ``mtu`` is what fits the underlay, or what the user said (``mtu_fixed``).
    """

    name: str
    mac: Mac
    mtu: int
    addresses: tuple[AnyInterface, ...]
    bridge: str = ""
    mtu_fixed: bool = False


class Port(Protocol):
    """The device ``plan.name`` and whoever holds its other side."""

    def close(self) -> None: ...


P = TypeVar("P", bound=Port)
PortMaker: TypeAlias = "Callable[[PortPlan, Journal, Netlink], P]"


class PortPlan(NamedTuple):
    """``mac``, ``mtu`` and ``alias`` are set by ``create`` where the maker has not done it already."""

    name: str
    mac: Mac
    mtu: int
    alias: str


def tap_port(plan: PortPlan, journal: Journal, netlink: Netlink) -> Tap:
    """A port maker. The device lives as long as the Tap."""
    tap = Tap.open(plan.name)
    tap.set_mtu(plan.mtu)
    return tap


def create(plan: OverlayPlan, journal: Journal, netlink: Netlink, make_port: PortMaker[P]) -> P:
    """Make it all. Raises ConfigError or SystemRefused; then the caller undoes the journal's steps."""
    bridged = _bridge_target(plan, netlink)
    if netlink.find(plan.name) is not None:
        raise ConfigError(
            "interface", f"{plan.name} exists already", f"choose another name, or remove it (ip link del {plan.name})"
        )
    # In a bridge omni0's own MAC is never used: it gets a high one, so that no bridge takes the lowest of its ports'.
    mac = plan.mac if bridged is None else bytes([_PORT_MAC_BYTE]) + plan.mac[1:]
    # Stations behind a bridge know its MTU only: what is too long for the underlay is fragmented there.
    mtu = plan.mtu if bridged is None or plan.mtu_fixed else max(plan.mtu, bridged.mtu)
    alias = alias_of(journal)
    journal.add(MadeLink(plan.name, format_mac(mac)))
    port = make_port(PortPlan(plan.name, mac, mtu, alias), journal, netlink)
    try:
        link = _must_find(plan.name, netlink)
        netlink.change(link, alias=alias)
        quiet_ipv6(plan.name, port=bridged is not None)
        netlink.change(link, mac=mac, mtu=mtu)
        netlink.change(link, up=True)
        if bridged is None:
            _add_vips(plan, link, netlink)
        elif bridged.kind == "bridge":
            _join_bridge(plan, link, bridged, journal, netlink)
        else:
            _make_bridge(plan, link, bridged, journal, netlink)
    except BaseException:
        port.close()
        raise
    return port


def change_vip4(
    name: str, before: IPv4Interface | None, wanted: IPv4Interface | None, journal: Journal, netlink: Netlink
) -> None:
    """Another VIP4 on what ``create`` made, the one before removed. The journal follows, also what a later process has
    to agree with. Raises ConfigError or SystemRefused; then it may be called again.
    """
    link = _must_find(name, netlink)
    if link.master:
        link = next(each for each in netlink.links() if each.index == link.master)
    ours = any(isinstance(step, MadeLink) and step.name == link.name for step in journal.steps)
    added = {step.address for step in journal.steps if isinstance(step, AddedAddress) and step.device == link.name}
    # The old one first: the kernel removes with an address those that came later in its network.
    if before is not None and (ours or str(before) in added):
        netlink.delete_address(link, before)
        gone = AddedAddress(link.name, str(before))
        journal.update(lambda steps: [step for step in steps if step != gone])
    if wanted is not None:
        if not ours and wanted not in {address.interface for address in netlink.addresses(link)}:
            journal.add(AddedAddress(link.name, str(wanted)))
        netlink.add_address(link, wanted)
    journal.update(lambda steps: [_with_vip4(step, before, wanted) for step in steps])


def _with_vip4(step: Step, before: IPv4Interface | None, wanted: IPv4Interface | None) -> Step:
    """As if it had been made with this VIP4."""
    if not isinstance(step, (SynapseRuns, NativeRuns)):
        return step
    others = [address for address in step.addresses if address != str(before)]
    return replace(step, addresses=[*([str(wanted)] if wanted is not None else []), *others])


def overlay_indices(name: str, netlink: Netlink) -> frozenset[int]:
    """Interfaces that are part of the overlay: the TAP, its bridge, and every port of that. Never an underlay."""
    links = netlink.links()
    tap = next((link for link in links if link.name == name), None)
    if tap is None:
        return frozenset()
    if not tap.master:
        return frozenset({tap.index})
    return frozenset({tap.master} | {link.index for link in links if link.master == tap.master})


def own_bridge_name(name: str) -> str:
    return f"br-{name}"[:INTERFACE_NAME_MAX]


def _bridge_target(plan: OverlayPlan, netlink: Netlink) -> Link | None:
    if not plan.bridge:
        return None
    target = netlink.find(plan.bridge)
    if target is None:
        raise ConfigError(
            "bridge", f"there is no interface {plan.bridge}", "see `ip link` for the interfaces there are"
        )
    if target.loopback or (not target.mac and target.kind != "bridge"):
        raise ConfigError("bridge", f"{plan.bridge} is not an Ethernet interface", "name an Ethernet interface")
    if target.master:
        raise ConfigError("bridge", f"{plan.bridge} is a port of a bridge already", "name that bridge instead")
    if target.kind != "bridge" and netlink.find(own_bridge_name(plan.name)) is not None:
        raise ConfigError(
            "interface",
            f"the name {own_bridge_name(plan.name)} of its bridge is taken",
            f"choose another interface name, or remove {own_bridge_name(plan.name)}",
        )
    return target


def alias_of(journal: Journal) -> str:
    """Tells people, and `omni doctor`, whose it is."""
    return f"omni_ros2 {journal.path}"


def _must_find(name: str, netlink: Netlink) -> Link:
    link = netlink.find(name)
    if link is None:
        raise SystemRefused(name, "the interface vanished", "see dmesg")
    return link


def _add_vips(plan: OverlayPlan, link: Link, netlink: Netlink) -> None:
    for address in plan.addresses:
        try:
            netlink.add_address(link, address)
        except SystemRefused as error:
            if address.version == 4:
                raise
            # A kernel without IPv6 (or with it forbidden) still carries frames and the VIP4.
            logger.warning("no VIP6 on %s: %s", link.name, error.problem)


def _join_bridge(plan: OverlayPlan, link: Link, bridge: Link, journal: Journal, netlink: Netlink) -> None:
    netlink.change(link, master=bridge.index)
    present = {address.interface for address in netlink.addresses(bridge)}
    journal.add(*(AddedAddress(bridge.name, str(address)) for address in plan.addresses if address not in present))
    _add_vips(plan, bridge, netlink)


def _make_bridge(plan: OverlayPlan, link: Link, port: Link, journal: Journal, netlink: Netlink) -> None:
    name = own_bridge_name(plan.name)
    addresses = [
        address.as_set
        for address in netlink.addresses(port)
        if address.permanent and (address.universe or address.interface.version == 4)
    ]
    routes = netlink.routes(port)
    # In the order in which, reversed, they can be undone: bridge, port, addresses, routes.
    journal.add(
        *(MovedRoute(port.name, **asdict(route)) for route in routes),
        *(MovedAddress(port.name, **asdict(address)) for address in addresses),
        MadePort(port.name, name, port.up),
        MadeLink(name, format_mac(plan.mac)),
    )
    bridge = netlink.add_bridge(name, plan.mac)
    netlink.change(bridge, alias=alias_of(journal))
    quiet_ipv6(name, port=False)
    netlink.change(link, master=bridge.index)
    netlink.change(bridge, mtu=plan.mtu)  # the robot's own traffic fits the underlay unfragmented
    netlink.change(bridge, up=True)
    _add_vips(plan, bridge, netlink)
    # An address on a port is deaf: the bridge takes the frames. So what the interface had goes up with them.
    for route in routes:
        netlink.delete_route(port, route)
    for address in addresses:
        netlink.delete_address(port, ipaddress.ip_interface(address.address))
        netlink.put_address(bridge, address)
    netlink.change(port, master=bridge.index)
    netlink.change(port, up=True)
    for route in routes:
        netlink.add_route(bridge, route)


def quiet_ipv6(name: str, *, port: bool) -> None:
    """Link-local addresses usable at once; no routes from router advertisements, which would come through the overlay.

    A port of a bridge needs no IPv6 of its own. A kernel without IPv6 has no such files, a container may forbid them.
    """
    settings = {"disable_ipv6": "1"} if port else {"accept_dad": "0", "accept_ra": "0"}
    for key, value in settings.items():
        with contextlib.suppress(OSError):
            with open(f"/proc/sys/net/ipv6/conf/{name}/{key}", "w", encoding="ascii") as file:
                file.write(value)
