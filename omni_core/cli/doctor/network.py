"""The underlay, the port, the overlay interface and multicast.

What comes from omni_core.io is handed in: the packages behind it may be missing.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from omni_core.cli.doctor.finding import Finding, Machine, note, ok, problem, refused, warning
from omni_core.config.ganglion import IPV4_COST, MIN_MTU
from omni_core.errors import OmniError

ROUTE_PROBES = ("198.51.100.1", "2001:db8::1")  # RFC 5737, RFC 3849: looked up in the routing table, never sent to
SPDP_GROUP = "239.255.0.1"  # DDS discovery (DDSI-RTPS 9.6.1.4.1)
IFF_MULTICAST = 0x1000  # linux/if.h


def underlay_mtu(
    mtu_towards: Callable[[str], tuple[int, int] | None],
    hosts: Sequence[str],
    link_mtus: Sequence[int] = (),
    wanted: int = 0,
) -> Finding:
    """``mtu_towards``: of Netlink. ``hosts``: IP addresses of the Nuclei. ``link_mtus``: of all interfaces that are up,
    for a machine without a default route. ``wanted``: MTU of the overlay, 0: auto.
    """
    ways = [way[1] for host in (*hosts, *ROUTE_PROBES) if (way := mtu_towards(host)) is not None]
    mtu = next(iter(ways), min(link_mtus, default=None))
    if mtu is not None:
        overlay = mtu - IPV4_COST
        if overlay < MIN_MTU:
            return warning(
                "underlay MTU", f"{mtu}: the overlay needs {MIN_MTU}, so that full frames leave in two fragments",
                f"raise the underlay's MTU to {MIN_MTU + IPV4_COST} or more if the network takes it",
            )  # fmt: skip
        if wanted > overlay:
            return warning(
                "underlay MTU", f"{mtu}: only {overlay} fits, so that frames of mtu {wanted} leave in fragments",
                f"set mtu to 0 (follow the underlay) or {overlay}",
            )  # fmt: skip
        return ok("underlay MTU", f"{mtu}, so {overlay} on the overlay")
    return note("underlay MTU", "no interface is up; known when the underlay is")


def udp_port(port: int, bind: Callable[[], Sequence[socket.socket]], ganglion_runs: bool) -> Finding:
    """``bind``: opens the sockets as a Ganglion would, raises OmniError."""
    name = f"UDP port {port or '(any)'}"
    if ganglion_runs:
        return ok(name, "a Ganglion is running")
    try:
        sockets = bind()
    except OmniError as error:
        return refused(name, error)
    for sock in sockets:
        sock.close()
    families = sorted({"IPv6" if sock.family == socket.AF_INET6 else "IPv4" for sock in sockets})
    return ok(name, f"free ({' and '.join(families)})")


def overlay_interface(machine: Machine, name: str, ganglion_runs: bool) -> Finding:
    directory = f"/sys/class/net/{name}"
    flags = machine.read(f"{directory}/flags")
    if flags is None:
        if ganglion_runs:
            return problem(name, "is gone although a Ganglion is running", "restart it")
        return ok(name, "the name is free")
    if ganglion_runs:
        if not int(flags, 16) & IFF_MULTICAST:
            return warning(name, "does not carry multicast: DDS discovery fails", f"ip link set {name} multicast on")
        return ok(name, f"up, MTU {machine.read(f'{directory}/mtu')}")
    if (machine.read(f"{directory}/ifalias") or "").startswith("omni_ros2 "):
        return note(name, "was left by a Ganglion that was killed; the next start cleans it up")
    return problem(
        name, "exists and is not omni's", f"set interface to another name, or remove it (ip link del {name})"
    )


def multicast_route(interface: str, source_towards: Callable[[str], str | None] | None = None) -> Finding:
    """DDS names an interface with each multicast, so that a route is only needed by programs that do not."""
    source = (source_towards or source_address_towards)(SPDP_GROUP)
    if source is None:
        return note(
            "multicast route", "none; DDS names its interface itself, other programs need one",
            f"ip route add 239.0.0.0/8 dev {interface}",
        )  # fmt: skip
    return ok("multicast route", f"from {source}, for programs that do not name an interface (DDS does)")


def source_address_towards(group: str) -> str | None:
    """The address that the kernel would send from. Connecting a UDP socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((group, 7400))
        except OSError:
            return None
        return str(probe.getsockname()[0])


def ipv6_enabled(machine: Machine) -> Finding:
    value = machine.read("/proc/sys/net/ipv6/conf/all/disable_ipv6")
    if value == "0":
        return ok("IPv6", "enabled: peers are reachable at their VIP6")
    state = "not in this kernel" if value is None else "disabled by sysctl"
    return warning(
        "IPv6", f"{state}: no VIP6 on the overlay, only vip4", "sysctl -w net.ipv6.conf.all.disable_ipv6=0, or set vip4"
    )


def host_name(name: str, resolves: Callable[[str], bool]) -> Finding:
    """Of a Nucleus that is not given by address."""
    if resolves(name):
        return ok(name, "resolves")
    return warning(name, "does not resolve: the Nucleus is not found", "check DNS, or give the Nucleus by address")


def resolves(name: str) -> bool:
    try:
        return bool(socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM))
    except (OSError, UnicodeError):
        return False
