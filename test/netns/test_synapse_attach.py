"""synapse_rx on the interfaces of the underlay: which, how, beside whom, and gone again. A small program stands in."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import struct
from pathlib import Path

import pytest
from support.machine import ip, machine, open_files
from support.own_network import own_network
from support.small_program import small_program

from omni_core.io.netlink import Link, Netlink, RouteInfo, RouteLookup
from omni_core.io.synapse.attachments import Attachment, Attachments, detach_programs
from omni_core.io.underlay import look_around
from omni_core.types import Endpoint
from tools.netlab import wait_for

pytestmark = pytest.mark.netns

NO_NATIVE = (
    "driver mode: the kernel refused to change its XDP program (Underlying driver does not support XDP in native mode)"
)


@pytest.fixture(autouse=True)
def network():
    """eth0 and wlan0 with addresses, eth1 without one, a bridge br0 and a tunnel tun0 with addresses."""
    with own_network():
        for scope in ("all", "default"):
            Path(f"/proc/sys/net/ipv6/conf/{scope}/accept_dad").write_text("0")
        for name in ("eth0", "eth1", "wlan0"):
            make(name)
        ip("address add 192.0.2.5/24 dev eth0")
        ip("address add 198.51.100.5/24 dev wlan0")
        ip("link add br0 type bridge")
        ip("link set far-eth1 master br0")
        ip("link set br0 up")
        ip("address add 10.2.0.5/24 dev br0")
        wait_for(lambda: all(link(name).running for name in ("eth0", "wlan0", "br0")), 5, "carriers")
        yield


def make(name: str) -> None:
    ip(f"link add {name} type veth peer name far-{name}")
    ip(f"link set far-{name} up")
    ip(f"link set {name} up")


def link(name: str) -> Link:
    with Netlink() as netlink:
        found = netlink.find(name)
    assert found is not None
    return found


@pytest.fixture
def program():
    with small_program(name="synapse_rx") as loaded:
        yield loaded


@pytest.fixture
def foreign():
    with small_program() as loaded:
        yield loaded


def update(attachments: Attachments) -> list[Attachment]:
    with Netlink() as netlink:
        seen = look_around(51820, (), (2, 10), netlink)
        attachments.update(seen.links, netlink)
    return attachments.status()


def detach(*ids: int) -> None:
    with Netlink() as netlink:
        detach_programs(ids, netlink)


def test_on_every_ethernet_interface_with_an_address(program, caplog):
    caplog.set_level(logging.INFO, "omni_core")
    before, files = machine(), open_files()
    attachments = Attachments(program, {})
    for _ in range(3):
        found = update(attachments)
    assert found == [
        Attachment("br0", "generic", NO_NATIVE),
        Attachment("eth0", "driver", ""),
        Attachment("wlan0", "driver", ""),
    ]
    assert link("eth0").xdp == (("driver", program.id),) and link("br0").xdp == (("generic", program.id),)
    assert link("eth1").xdp == link("lo").xdp == ()
    said = [record.getMessage() for record in caplog.records]
    assert sorted(said) == [
        f"br0: XDP in generic mode ({NO_NATIVE})",
        "eth0: XDP in driver mode",
        "wlan0: XDP in driver mode",
    ]  # once each
    detach(program.id)
    detach(program.id)
    assert machine() == before and open_files() == files


def test_the_mode_that_was_asked_for(program):
    attachments = Attachments(program, {"": "driver", "eth0": "generic"})
    assert update(attachments) == [
        Attachment("br0", None, NO_NATIVE),
        Attachment("eth0", "generic", ""),
        Attachment("wlan0", "driver", ""),
    ]
    detach(program.id)


@pytest.mark.parametrize("mode", ["driver", "generic"])
def test_somebody_elses_program_stays(program, foreign, caplog, mode):
    with Netlink() as netlink:
        netlink.attach_xdp(link("eth0"), foreign.fd, mode)
    attachments = Attachments(program, {})
    for _ in range(2):
        found = {attachment.interface: attachment for attachment in update(attachments)}
    reason = f"another XDP program is there: somebody_else (id {foreign.id})"
    assert found["eth0"] == Attachment("eth0", None, reason)
    assert found["wlan0"].mode == "driver"
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [f"eth0 runs without XDP, slower: {reason}"]
    assert link("eth0").xdp == ((mode, foreign.id),)
    detach(program.id)
    assert link("eth0").xdp == ((mode, foreign.id),) and link("wlan0").xdp == ()
    with Netlink() as netlink:
        netlink.detach_xdp(link("eth0"), program.fd, mode)  # not ours to take
        assert link("eth0").xdp == ((mode, foreign.id),)
        netlink.detach_xdp(link("eth0"), foreign.fd, mode)
    assert {a.interface: a.mode for a in update(attachments)}["eth0"] == "driver"  # as soon as the other one has gone
    detach(program.id)


def test_an_interface_that_vanishes_and_returns(program):
    attachments = Attachments(program, {})
    update(attachments)
    ip("link del wlan0")
    assert [attachment.interface for attachment in update(attachments)] == ["br0", "eth0"]
    make("wlan0")
    ip("address add 198.51.100.5/24 dev wlan0")
    make("lte0")
    ip("address add 203.0.113.5/24 dev lte0")
    wait_for(lambda: link("wlan0").running and link("lte0").running, 5, "carriers")
    assert [attachment.interface for attachment in update(attachments)] == ["br0", "eth0", "lte0", "wlan0"]
    assert link("wlan0").xdp == (("driver", program.id),)
    detach(program.id)
    assert update(Attachments(program, {"": "driver"}))[1:] == [
        Attachment(name, "driver", "") for name in ("eth0", "lte0", "wlan0")
    ]
    detach(program.id)


def test_what_hangs_there_already_is_known_again(program):
    update(Attachments(program, {}))
    index = link("eth0").index
    again = Attachments(program, {"": "driver"})
    found = update(again)
    assert [(a.interface, a.mode) for a in found] == [("br0", "generic"), ("eth0", "driver"), ("wlan0", "driver")]
    assert link("eth0").index == index
    detach(program.id)


def test_a_device_without_ethernet_header(program):
    ip("tuntap add tun0 mode tun")
    ip("link set tun0 up")
    ip("address add 10.3.0.5/24 dev tun0")
    device = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", b"tun0", 0x1001))
        wait_for(lambda: link("tun0").running, 5, "tun0")
        found = {attachment.interface: attachment for attachment in update(Attachments(program, {}))}
        assert found["tun0"] == Attachment("tun0", None, "no Ethernet interface")
    finally:
        os.close(device)
        detach(program.id)


# --- routes -----------------------------------------------------------------------------------------------------------


def test_the_way_to_an_endpoint():
    ip("address add 2001:db8::5/64 dev eth0 nodad")
    ip("route add 203.0.113.0/24 via 198.51.100.1 mtu 1300")
    ip("route add 203.0.113.77/32 via 192.0.2.1")
    ip("route add prohibit 203.0.113.78/32")
    eth0, wlan0 = link("eth0").index, link("wlan0").index
    expected = {
        "192.0.2.9": RouteInfo(eth0, "192.0.2.5", 1500),
        "203.0.113.5": RouteInfo(wlan0, "198.51.100.5", 1300),
        "203.0.113.77": RouteInfo(eth0, "192.0.2.5", 1500),
        "2001:db8::9": RouteInfo(eth0, "2001:db8::5", 1500),
        "203.0.113.78": None,  # prohibited
        "8.8.8.8": None,  # no route
        "192.0.2.5": None,  # ourselves
        "127.0.0.1": None,
        "::1": None,
        "2001:db8:77::1": None,
        "not an address": None,
    }
    files = open_files()
    with RouteLookup(51820) as routes:
        assert {host: routes.route_to(Endpoint(host, 51820)) for host in expected} == expected
        ip("link set eth0 down")
        assert routes.route_to(Endpoint("192.0.2.9", 51820)) is None
    assert open_files() == files


def test_rules_by_port_and_protocol_count():
    ip("route add default via 192.0.2.1")
    ip("route add default via 198.51.100.1 table 77")
    ip("rule add ipproto 17 sport 51820 dport 9999 lookup 77")  # UDP; the name needs /etc/protocols
    with RouteLookup(51820) as routes, RouteLookup(51821) as others:
        assert routes.route_to(Endpoint("8.8.8.8", 51820)) == RouteInfo(link("eth0").index, "192.0.2.5", 1500)
        assert routes.route_to(Endpoint("8.8.8.8", 9999)) == RouteInfo(link("wlan0").index, "198.51.100.5", 1500)
        assert others.route_to(Endpoint("8.8.8.8", 9999)) == RouteInfo(link("eth0").index, "192.0.2.5", 1500)


def test_sockets_bound_to_one_address():
    ip("route add default via 192.0.2.1")
    ip("route add default via 198.51.100.1 table 77")
    ip("rule add from 198.51.100.5 lookup 77")
    with RouteLookup(51820, ["198.51.100.5"]) as routes:
        assert routes.route_to(Endpoint("8.8.8.8", 51820)) == RouteInfo(link("wlan0").index, "198.51.100.5", 1500)
        assert routes.route_to(Endpoint("2001:db8::9", 51820)) is None


def test_a_path_mtu_that_icmp_told_is_known():
    """A router says that our packet is too long (RFC 1191). Any socket on the port will do for the kernel to listen."""
    ip("route add 203.0.113.0/24 via 192.0.2.1")
    ip("neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev eth0")
    far_away = Endpoint("203.0.113.77", 51820)
    with (
        RouteLookup(51820) as routes,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as router,
    ):
        ours.bind(("", 51820))
        router.bind(("far-eth0", 0))
        found = routes.route_to(far_away)
        assert found is not None and found.mtu == 1500
        here, gateway, there = (socket.inet_aton(host) for host in ("192.0.2.5", "192.0.2.1", "203.0.113.77"))
        offending = ipv4(17, here, there, struct.pack("!HHHH", 51820, 51820, 1480, 0))
        message = checked(struct.pack("!BBHHH", 3, 4, 0, 0, 1300) + offending, 2)
        frame = link("eth0").mac + bytes.fromhex("020000000001") + b"\x08\x00" + ipv4(1, gateway, here, message)
        router.send(frame)
        wait_for(lambda: routes.route_to(far_away) == found._replace(mtu=1300), 5, "the path's MTU")


def ipv4(protocol: int, source: bytes, destination: bytes, payload: bytes) -> bytes:
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, 0) + source + destination
    return checked(header, 10) + payload


def checked(data: bytes, at: int) -> bytes:
    """With its checksum (RFC 1071) at that place."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return data[:at] + struct.pack("!H", ~total & 0xFFFF) + data[at + 2 :]
