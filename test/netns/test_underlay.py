"""What a Ganglion sees of the underlay: the MTU of its way, the addresses it can be reached at, and their changes."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import subprocess
from pathlib import Path

import pytest
from support.machine import ip, open_files
from support.own_network import own_network

from omni_core.config.ganglion import IPV4_COST, IPV6_COST
from omni_core.io import overlay
from omni_core.io.journal import Journal
from omni_core.io.netlink import NO_CHANGES, Changes, Netlink
from omni_core.io.overlay import OverlayPlan
from omni_core.io.underlay import ChangeWatch, look_around, overlay_mtu
from omni_core.types import Endpoint
from tools.netlab import wait_for

pytestmark = pytest.mark.netns

BOTH = (socket.AF_INET, socket.AF_INET6)


@pytest.fixture(autouse=True)
def network():
    """eth0 with MTU 1500 and the default routes, wlan0 with MTU 1400 and its own network, lte0 without a carrier."""
    with own_network():
        for scope in ("all", "default"):
            Path(f"/proc/sys/net/ipv6/conf/{scope}/accept_dad").write_text("0")
        for name in ("eth0", "wlan0"):
            ip(f"link add {name} type veth peer name far-{name}")
            ip(f"link set far-{name} up")
            ip(f"link set {name} up")
        ip("link add lte0 type veth peer name far-lte0")
        ip("link set lte0 up")
        ip("link set wlan0 mtu 1400")
        ip("address add 192.0.2.5/24 dev eth0")
        ip("address add 2001:db8::5/64 dev eth0 nodad")
        ip("address add 198.51.100.5/24 dev wlan0")
        ip("address add 203.0.113.5/24 dev lte0")
        ip("route add default via 192.0.2.1")
        ip("-6 route add default via 2001:db8::1")
        wait_for(
            lambda: ip("link show eth0").count("state UP") and ip("link show wlan0").count("state UP"), 5, "carriers"
        )
        yield


def mtu_towards(*hosts: str) -> int:
    with Netlink() as netlink:
        return overlay_mtu([Endpoint(host, 51820) for host in hosts], netlink)


def test_the_mtu_is_that_of_the_way_less_the_overhead():
    assert mtu_towards("8.8.8.8") == 1500 - IPV4_COST == 1418
    assert mtu_towards("2001:db8:77::1") == 1500 - IPV6_COST == 1398
    assert mtu_towards("198.51.100.9") == 1400 - IPV4_COST
    assert mtu_towards("198.51.100.9", "8.8.8.8") == 1400 - IPV4_COST  # the first counts


def test_a_route_may_have_an_mtu_of_its_own():
    ip("route add 8.8.8.0/24 via 192.0.2.1 mtu 1380")
    assert mtu_towards("8.8.8.8") == 1380 - IPV4_COST


def test_the_overlay_never_falls_below_what_ipv6_needs():
    ip("route add 8.8.8.0/24 via 192.0.2.1 mtu 1300")
    assert mtu_towards("8.8.8.8") == 1280


def test_without_a_way_the_smallest_interface_counts():
    ip("route del default")
    ip("-6 route del default")
    assert mtu_towards("8.8.8.8") == 1400 - IPV4_COST
    assert mtu_towards("2001:db8:77::1") == 1400 - IPV6_COST
    assert mtu_towards() == 1400 - IPV4_COST
    assert mtu_towards("8.8.8.8", "198.51.100.9") == 1400 - IPV4_COST


def test_without_any_interface():
    for name in ("eth0", "wlan0", "lte0", "far-eth0", "far-wlan0"):
        ip(f"link set {name} down")
    assert mtu_towards("8.8.8.8") == 1500 - IPV4_COST


def endpoints(families=BOTH, listen=(), inside=()) -> list[str]:
    with Netlink() as netlink:
        return [str(endpoint) for endpoint in look_around(7, inside, families, netlink, listen).endpoints]


def test_only_what_a_peer_can_reach_is_a_candidate():
    """Neither loopback nor link-local addresses, nor those of an interface without a carrier."""
    assert endpoints() == ["192.0.2.5:7", "198.51.100.5:7", "[2001:db8::5]:7"]
    assert endpoints(families=[socket.AF_INET6]) == ["[2001:db8::5]:7"]
    assert endpoints(listen=["198.51.100.5"]) == ["198.51.100.5:7"]


@pytest.mark.parametrize("bridge", ["", "wlan0"])
def test_the_overlay_is_no_candidate(tmp_path, bridge):
    vips = (ipaddress.IPv4Interface("10.77.0.1/24"), ipaddress.IPv6Interface("fd6f:6d6e::1/32"))
    plan = OverlayPlan("omni0", b"\x02\0\0\0\0\x01", 1400, vips, bridge)
    with Netlink() as netlink:
        device = overlay.create(plan, Journal(str(tmp_path / "omni0.json")), netlink, overlay.tap_port)
        inside = overlay.overlay_indices("omni0", netlink)
        assert overlay.overlay_indices("omni9", netlink) == frozenset()
    wait_for(lambda: ip("link show omni0").count("LOWER_UP"), 5, "omni0")
    assert endpoints(inside=inside) == ["192.0.2.5:7", *([] if bridge else ["198.51.100.5:7"]), "[2001:db8::5]:7"]
    device.close()


async def test_a_change_is_told_once_it_has_settled():
    files, calls, called = open_files(), 0, asyncio.Event()

    seen = NO_CHANGES

    def changed(what: Changes) -> None:
        nonlocal calls, seen
        calls += 1
        seen |= what
        called.set()

    watch = ChangeWatch(changed)
    both = Changes.LINKS | Changes.ROUTES  # the kernel makes routes to what an address reaches
    for command, expected in (
        ("address add 192.0.2.6/24 dev eth0", both),
        ("address del 192.0.2.6/24 dev eth0", both),
        ("route add 198.18.7.0/24 dev eth0", Changes.ROUTES),
        ("rule add to 198.18.7.0/24 lookup main", Changes.ROUTES),
        ("-6 rule add to 2001:db8:5::/48 lookup main", Changes.ROUTES),
        ("link set wlan0 alias x", Changes.LINKS),
    ):
        called.clear()
        before, seen = calls, NO_CHANGES
        await asyncio.to_thread(ip, command)
        await asyncio.wait_for(called.wait(), 5)
        assert calls >= before + 1 and seen == expected, command
    called.clear()
    before = calls
    batch = "; ".join(f"ip address add 192.0.2.{i}/24 dev eth0" for i in range(10, 40))
    await asyncio.to_thread(subprocess.run, ["sh", "-c", batch], check=True)
    await asyncio.wait_for(called.wait(), 5)
    assert 1 <= calls - before < 10
    watch.close()
    watch.close()
    assert open_files() == files


def test_netlink_leaves_no_file_open():
    files = open_files()
    for _ in range(20):
        with Netlink() as netlink:
            assert netlink.find("eth0") is not None and netlink.find("eth9") is None
    assert open_files() == files
