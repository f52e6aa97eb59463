"""The overlay interface on a machine of the test's own: made, bridged, refused, undone without a trace."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.machine import ip, machine, open_files
from support.own_network import interfaces, own_network

from omni_core.errors import ConfigError, SystemRefused
from omni_core.io import overlay, tap
from omni_core.io.journal import Journal, MadeLink
from omni_core.io.netlink import Netlink
from omni_core.io.overlay import OverlayPlan
from omni_core.io.tap import Tap
from omni_core.io.undo import undo as undo_journal
from tools.netlab import wait_for

pytestmark = pytest.mark.netns

MAC = bytes.fromhex("0211223344aa")
VIP4 = ipaddress.IPv4Interface("10.77.0.1/24")
VIP6 = ipaddress.IPv6Interface("fd6f:6d6e:1::1/32")
ETH_P_ALL = 3


@pytest.fixture(autouse=True)
def network():
    """eth0 with an address and a default route, eth1 with addresses and a route of its own, br0 with eth2."""
    with own_network():
        for scope in ("all", "default"):
            Path(f"/proc/sys/net/ipv6/conf/{scope}/accept_dad").write_text("0")
        for number in range(3):
            ip(f"link add eth{number} type veth peer name far{number}")
            ip(f"link set eth{number} up")
            ip(f"link set far{number} up")
        ip("address add 192.168.0.5/24 dev eth0")
        ip("route add default via 192.168.0.1")
        ip("address add 10.1.0.5/24 brd + dev eth1")
        ip("address add 10.1.9.5/24 dev eth1 label eth1:9 noprefixroute")
        ip("address add 2001:db8:1::5/64 dev eth1 nodad")
        ip("address add 2001:db8:2::5/64 dev eth1 nodad noprefixroute")
        ip("route add 10.9.0.0/16 via 10.1.0.1 metric 50")
        ip("-6 route add 2001:db8:9::/48 via 2001:db8:1::1 metric 60")
        ip("link add br0 type bridge stp_state 0 forward_delay 0")
        ip("link set eth2 master br0")
        ip("address add 10.2.0.5/24 dev br0")
        ip("link set br0 up")
        wait_for(settled, 5, "carriers and link-local addresses")
        yield


def settled() -> bool:
    shown = ip("address")
    return shown.count("state UP") == shown.count(" fe80::") == 7 and "tentative" not in shown


@pytest.fixture
def journal(tmp_path):
    return Journal(str(tmp_path / "omni0.json"))


def plan(**changes) -> OverlayPlan:
    values = {"name": "omni0", "mac": MAC, "mtu": 1418, "addresses": (VIP4, VIP6), "bridge": "", **changes}
    return OverlayPlan(**values)


def create(journal: Journal, **changes) -> Tap:
    with Netlink() as netlink:
        return overlay.create(plan(**changes), journal, netlink, overlay.tap_port)


def undo(journal: Journal) -> None:
    with Netlink() as netlink:
        undo_journal(journal, netlink)


def test_made_and_gone(journal):
    before, files = machine(), open_files()
    device = create(journal)
    with Netlink() as netlink:
        link = netlink.find("omni0")
        addresses = {address.interface for address in netlink.addresses(link) if address.usable}
    assert (link.mac, link.mtu, link.up, link.kind) == (MAC, 1418, True, "tun")
    assert {VIP4, VIP6} <= addresses
    device.close()
    device.close()
    undo(journal)
    assert machine() == before and open_files() == files and not os.path.exists(journal.path)


def test_both_vips_can_be_bound_at_once(journal):
    device = create(journal)
    for family, vip in ((socket.AF_INET, VIP4), (socket.AF_INET6, VIP6)):
        with socket.socket(family, socket.SOCK_DGRAM) as bound:
            bound.bind((str(vip.ip), 0))
    device.close()


def test_frames_cross_both_ways(journal):
    device = create(journal)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as host:
        host.bind(("omni0", ETH_P_ALL))
        host.settimeout(2)
        outgoing = [MAC[:5] + bytes([i]) + MAC + b"\x88\xb6" + bytes([i]) * 1000 for i in range(100)]
        for frame in outgoing:
            host.send(frame)
        read: list[bytes] = []

        def drained() -> bool:
            read.extend(device.read_batch(64))
            return len([frame for frame in read if frame[12:14] == b"\x88\xb6"]) >= len(outgoing)

        wait_for(drained, 5, "the frames")
        assert [frame for frame in read if frame[12:14] == b"\x88\xb6"] == outgoing
        assert device.read_batch(64) == []
        incoming = b"\xff" * 6 + b"\x02" * 6 + b"\x88\xb6" + b"hello" * 10
        assert device.write_batch([incoming, b"short", incoming]) == 2 and device.write_failures == 1
        received = [host.recvfrom(2000) for _ in range(2)]
        assert [data for data, address in received if address[2] != socket.PACKET_OUTGOING][-1] == incoming
    ip("link set omni0 down")
    assert device.write_batch([incoming]) == 0  # and no exception
    ip("link del omni0")
    with pytest.raises(OSError, match="bad state"):
        device.read_batch(1)
    device.close()


def test_a_name_that_is_taken(journal):
    for other in ("link add omni0 type bridge", "link add omni0 type veth peer name x0", "tuntap add omni0 mode tap"):
        ip(other)
        before = machine()
        with pytest.raises(ConfigError, match="omni0 exists already") as caught:
            create(journal)
        assert caught.value.field == "interface"
        undo(journal)
        assert machine() == before
        ip("link del omni0")


def test_names_that_the_kernel_does_not_take(journal):
    before = machine()
    for name in ("omni" * 5, "", "a/b", "a b", "."):
        with pytest.raises(ConfigError) as caught:
            create(journal, name=name)
        assert caught.value.field == "interface"
        undo(journal)
        assert machine() == before


def test_no_tun_device(journal, monkeypatch):
    before = machine()
    for path, problem in (("/dev/net/missing", "modprobe tun"), ("/proc/self/mem/x", "cannot be opened")):
        monkeypatch.setattr(tap, "DEVICE", path)
        with pytest.raises(SystemRefused, match=problem) as caught:
            create(journal)
        assert caught.value.exit_code == 3
        undo(journal)
    assert machine() == before


WITHOUT_CAPABILITY = """
import sys
from omni_core.errors import SystemRefused
from omni_core.io.netlink import Netlink
from omni_core.io.tap import Tap
def refused(action):
    try:
        action()
    except SystemRefused as error:
        assert error.what == "CAP_NET_ADMIN" and "run as root" in error.fix, error
        return
    sys.exit("it was allowed")
with Netlink() as netlink:
    refused(lambda: Tap.open("omni0"))
    refused(lambda: netlink.add_bridge("br9", bytes.fromhex("020000000001")))
    refused(lambda: netlink.change(netlink.find("eth0"), mtu=1300))
"""


def test_without_the_capability():
    before = machine()
    command = [
        "setpriv",
        "--bounding-set=-net_admin",
        "--inh-caps=-net_admin",
        sys.executable,
        "-c",
        WITHOUT_CAPABILITY,
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert machine() == before


# --- bridging ---------------------------------------------------------------------------------------------------------


def test_an_existing_bridge_gets_a_port_and_the_vips(journal):
    before = machine()
    device = create(journal, bridge="br0")
    with Netlink() as netlink:
        bridge, port = netlink.find("br0"), netlink.find("omni0")
        assert port.master == bridge.index and bridge.mtu == port.mtu == 1500
        assert f"link/ether {bridge.mac.hex(':')}" in " ".join(before["links"])  # keeps its MAC
        assert {VIP4, VIP6} <= {address.interface for address in netlink.addresses(bridge)}
        assert netlink.addresses(port) == []
        assert overlay.overlay_indices("omni0", netlink) == {bridge.index, port.index, netlink.find("eth2").index}
    device.close()
    undo(journal)
    assert machine() == before


def test_a_vip_that_the_bridge_has_already_stays(journal):
    ip("address add 10.77.0.1/24 dev br0")
    before = machine()
    device = create(journal, bridge="br0")
    device.close()
    undo(journal)
    assert machine() == before


def test_an_ordinary_interface_gets_a_bridge_that_takes_its_place(journal):
    before = machine()
    device = create(journal, bridge="eth1")
    with Netlink() as netlink:
        bridge, port, lan = netlink.find("br-omni0"), netlink.find("omni0"), netlink.find("eth1")
        assert port.master == lan.master == bridge.index
        assert bridge.mac == MAC and bridge.mtu == 1418 and port.mtu == lan.mtu == 1500
        assert port.mac != MAC
        found = {str(address.interface) for address in netlink.addresses(bridge)}
        assert {"10.1.0.5/24", "2001:db8:1::5/64", str(VIP4), str(VIP6)} <= found
        assert "10.1.0.5" not in ip("address show dev eth1")
    assert "10.9.0.0/16 via 10.1.0.1 dev br-omni0 metric 50" in " ".join(ip("route").split())
    assert "2001:db8:9::/48 via 2001:db8:1::1 dev br-omni0 metric 60" in " ".join(ip("-6 route").split())
    assert "forwarding" in ip("-d link show eth1")
    device.close()
    undo(journal)
    assert machine() == before


def test_an_interface_that_is_down_goes_down_again(journal):
    ip("link set eth1 down")
    ip("address flush dev eth1")
    before = machine()
    device = create(journal, bridge="eth1")
    with Netlink() as netlink:
        assert netlink.find("eth1").up
    device.close()
    undo(journal)
    assert machine() == before


def test_an_mtu_that_the_user_gave_is_kept(journal):
    device = create(journal, bridge="eth1", mtu=1300, mtu_fixed=True)
    with Netlink() as netlink:
        assert netlink.find("omni0").mtu == 1300
    device.close()


def test_frames_pass_the_bridge(journal):
    """From the cable behind eth1 to the TAP and back, also what 802.1D keeps on one link: PTP peer delay."""
    device = create(journal, bridge="eth1")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as station:
        station.bind(("far1", ETH_P_ALL))
        station.setblocking(False)
        for group in ("0180c200000e", "011b19000000", "010ecf000000", "ffffffffffff", "01005e0000fb"):
            frame = bytes.fromhex(group) + b"\x02\0\0\0\0\x09" + b"\x88\xf7" + os.urandom(1486)
            station.send(frame)
            wait_for(lambda frame=frame: frame in device.read_batch(64), 2, f"{group} at the TAP")
            back = frame[:6] + b"\x02\0\0\0\0\x0a" + frame[12:]
            device.write_batch([back])
            wait_for(lambda back=back: back in received(station), 2, f"{group} on the cable")
    device.close()


def received(sock: socket.socket) -> list[bytes]:
    frames = []
    try:
        while True:
            frames.append(sock.recv(65536))
    except BlockingIOError:
        return frames


def test_a_bridge_that_cannot_be(journal):
    before = machine()
    problems = {
        "eth9": "there is no interface eth9",
        "lo": "is not an Ethernet interface",
        "eth2": "is a port of a bridge already",
    }
    for bridge, problem in problems.items():
        with pytest.raises(ConfigError, match=problem) as caught:
            create(journal, bridge=bridge)
        assert caught.value.field == "bridge"
        undo(journal)
        assert machine() == before


def test_the_name_of_its_bridge_is_taken(journal):
    ip("link add br-omni0 type bridge")
    before = machine()
    with pytest.raises(ConfigError, match="br-omni0 of its bridge is taken"):
        create(journal, bridge="eth1")
    undo(journal)
    assert machine() == before


# --- undoing ----------------------------------------------------------------------------------------------------------


class Saboteur:
    """Counts the calls that change something, and refuses one of them."""

    def __init__(self, patch: pytest.MonkeyPatch, refused: int) -> None:
        self.calls = 0
        self._refused = refused
        for name in ("change", "add_bridge", "put_address", "delete_address", "add_route", "delete_route"):
            patch.setattr(Netlink, name, self._wrap(getattr(Netlink, name)))

    def _wrap(self, real):
        def wrapped(*arguments, **named):
            self.calls += 1
            if self.calls == self._refused:
                raise SystemRefused("saboteur", f"{real.__name__} refused", "nothing")
            return real(*arguments, **named)

        return wrapped


@pytest.mark.parametrize("bridge", ["", "br0", "eth1"])
def test_whatever_fails_is_undone(journal, bridge):
    """Every netlink call in turn is refused."""
    before, files = machine(), open_files()
    refused = 0
    while True:
        refused += 1
        with pytest.MonkeyPatch.context() as patch:
            saboteur = Saboteur(patch, refused)
            try:
                create(journal, bridge=bridge).close()
            except SystemRefused as error:
                if error.what != "saboteur":
                    raise
        undo(journal)
        assert machine() == before, f"call {refused} was refused"
        if saboteur.calls < refused:
            break
    assert refused > 3 and open_files() == files and not os.path.exists(journal.path)


@pytest.mark.parametrize("bridge", ["", "br0", "eth1"])
def test_what_a_killed_process_left_is_undone_by_the_next(journal, bridge):
    before = machine()
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(readable)
        create(journal, bridge=bridge)
        os.write(writable, b"x")
        time.sleep(60)
        os._exit(1)
    os.close(writable)
    assert os.read(readable, 1) == b"x"
    os.close(readable)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if bridge:
        assert machine() != before
    successor = Journal(journal.path)
    assert successor.load()
    undo(successor)
    assert machine() == before and not os.path.exists(journal.path)


def test_somebody_elses_device_of_that_name_is_left_alone(journal):
    ip("link add br-omni0 type bridge")
    ip("tuntap add omni0 mode tap")
    before = machine()
    journal.add(MadeLink("omni0", "02:11:22:33:44:aa"), MadeLink("br-omni0", "02:11:22:33:44:aa"))
    undo(journal)
    assert machine() == before and journal.steps == []


def test_what_is_gone_already_is_no_error(journal):
    device = create(journal, bridge="eth1")
    ip("link del eth1")
    ip("link del br-omni0")
    device.close()
    undo(journal)
    assert journal.steps == [] and interfaces().isdisjoint({"omni0", "br-omni0", "eth1"})


def test_what_is_refused_is_kept_for_the_next_time(journal, monkeypatch, caplog):
    device = create(journal, bridge="br0")

    def refused(*_arguments, **_named):
        raise SystemRefused("CAP_NET_ADMIN", "no", "root")

    with monkeypatch.context() as patch:
        patch.setattr(Netlink, "delete_address", refused)
        device.close()
        undo(journal)
    assert {step.address for step in journal.steps} == {str(VIP4), str(VIP6)}
    assert "could not undo" in caplog.text
    undo(journal)
    assert journal.steps == []
