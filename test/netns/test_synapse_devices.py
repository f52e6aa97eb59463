"""The devices of the engine kernel on a machine of the test's own: made, adopted, undone without a trace."""

from __future__ import annotations

import ipaddress
import json
import socket
import subprocess
from pathlib import Path

import pytest
from support.machine import ip, machine, open_files
from support.own_network import interfaces, own_network
from support.small_program import XDP_DROP, small_program

from omni_core.errors import ConfigError, SystemRefused
from omni_core.io import ethtool, overlay
from omni_core.io.journal import Journal
from omni_core.io.netlink import Link, Netlink
from omni_core.io.overlay import OverlayPlan
from omni_core.io.synapse import devices
from omni_core.io.synapse.devices import SynapseDevices
from omni_core.io.undo import undo as undo_journal
from tools.netlab import wait_for

pytestmark = pytest.mark.netns

MAC = bytes.fromhex("0211223344aa")
VIP4 = ipaddress.IPv4Interface("10.77.0.1/24")


@pytest.fixture(autouse=True)
def network():
    with own_network():
        for scope in ("all", "default"):
            Path(f"/proc/sys/net/ipv6/conf/{scope}/accept_dad").write_text("0")
        for number in range(3):
            ip(f"link add eth{number} type veth peer name far{number}")
            ip(f"link set far{number} up")
            ip(f"link set eth{number} up")
        ip("link add br0 type bridge stp_state 0 forward_delay 0")
        ip("link set eth2 master br0")
        ip("link set br0 up")
        ip("address add 192.0.2.5/24 dev eth0")
        wait_for(lambda: ip("address").count(" fe80::") == 7, 5, "link-local addresses")
        yield


@pytest.fixture
def journal(tmp_path):
    return Journal(str(tmp_path / "omni0.json"))


def create(journal: Journal, **changes) -> SynapseDevices:
    values = {"name": "omni0", "mac": MAC, "mtu": 1418, "addresses": (VIP4,), **changes}
    with Netlink() as netlink:
        return overlay.create(OverlayPlan(**values), journal, netlink, devices.make_devices)


def indices(made: SynapseDevices) -> tuple[int, ...]:
    return made.port_index, made.syn_index, made.tap_index, made.bulk_index


def undo(journal: Journal) -> None:
    with Netlink() as netlink:
        undo_journal(journal, netlink)


def link(name: str) -> Link:
    with Netlink() as netlink:
        found = netlink.find(name)
    assert found is not None
    return found


def offloads(name: str) -> dict[str, bool]:
    shown = subprocess.run(["ethtool", "-k", name], check=True, capture_output=True, text=True).stdout
    rows = (line.strip().partition(": ") for line in shown.splitlines()[1:])
    return {key: value.startswith("on") for key, _, value in rows}


def test_made_and_gone(journal):
    before, files = machine(), open_files()
    made = create(journal)
    port, syn, tap, bulk = (link(name) for name in ("omni0", "omni0-syn", "omni0-tap", "omni0-blk"))
    assert (port.index, syn.index, tap.index, bulk.index) == indices(made)
    assert (port.kind, port.mac, port.mtu, port.up, port.peer) == ("veth", MAC, 1418, True, syn.index)
    assert "10.77.0.1/24" in ip("address show dev omni0")
    for name in ("omni0-syn", "omni0-tap"):
        shown = ip(f"address show dev {name}")
        assert "inet" not in shown and "NOARP" in shown and link(name).up
        assert link(name).mtu >= 1418 + 14 + 8 + 48 + 100 and link(name).alias == link("omni0").alias
    shown = ip("address show dev omni0-blk")
    assert "inet" not in shown and "NOARP" in shown and bulk.alias == port.alias
    assert not bulk.up, "until there is a program"
    kept = offloads("omni0")
    assert not kept["tx-checksumming"] and not kept["tx-tcp-segmentation"] and not kept["tx-vlan-offload"]
    assert kept["generic-receive-offload"] and kept["generic-segmentation-offload"]
    queue = subprocess.run(["tc", "qdisc", "show", "dev", "omni0"], check=True, capture_output=True, text=True).stdout
    assert "noqueue" not in queue
    made.close()
    made.close()
    assert {"omni0", "omni0-syn", "omni0-tap", "omni0-blk"} <= interfaces()  # until undone
    undo(journal)
    assert machine() == before and open_files() == files


@pytest.mark.parametrize("bridge", ["eth1", "br0"])
def test_in_a_bridge(journal, bridge):
    ip("address add 10.1.0.5/24 dev eth1")
    before = machine()
    made = create(journal, bridge=bridge)
    master = link("br0" if bridge == "br0" else "br-omni0")
    assert link("omni0").master == master.index and link("omni0-syn").master == 0
    assert made.mtu == 1500 and link("omni0").mac[0] == 0xFE
    made.close()
    undo(journal)
    wait_for(lambda: machine() == before, 5, "the machine as before")


def test_names_that_do_not_fit_or_are_taken(journal):
    before = machine()
    with pytest.raises(ConfigError, match=r"also .*-syn, .*-tap and .*-blk") as caught:
        create(journal, name="twelve-chars")
    assert caught.value.field == "interface"
    undo(journal)
    made = create(journal, name="eleven-char")
    made.close()
    undo(journal)
    for taken in ("omni0-syn", "omni0-tap", "omni0-blk"):
        ip(f"link add {taken} type bridge")
        with pytest.raises(ConfigError, match=f"{taken} exists already"):
            create(journal)
        undo(journal)
        assert taken in interfaces()
        ip(f"link del {taken}")
    assert machine() == before


def test_another_process_opens_what_is_there(journal):
    made = create(journal)
    made.close()
    with Netlink() as netlink:
        ip("link set omni0-blk up")
        again = devices.adopt_devices("omni0", netlink)
        assert again == SynapseDevices("omni0", 1418, again.tap, *indices(made))
        with pytest.raises(ConfigError, match="exists already"):
            devices.adopt_devices("omni0", netlink)  # somebody has it
        again.close()
        ip("link set omni0-syn down")
        with pytest.raises(SystemRefused, match="is down"):
            devices.adopt_devices("omni0", netlink)
        ip("link del omni0-tap")
        with pytest.raises(SystemRefused, match="omni0-tap: the interface is not there"):
            devices.adopt_devices("omni0", netlink)
        ip("link del omni0")
        ip("link add omni0 type bridge")
        ip("link add omni0-syn type bridge")
        ip("link add omni0-tap type bridge")
        ip("link set omni0-blk up")
        with pytest.raises(SystemRefused, match="another interface in its place"):
            devices.adopt_devices("omni0", netlink)


def test_a_foreign_interface_of_that_name_is_not_removed(journal):
    made = create(journal)
    made.close()
    ip("link del omni0")
    ip("link del omni0-tap")
    ip("link add omni0 type bridge")
    undo(journal)
    assert "omni0" in interfaces()


def test_an_interface_whose_mac_somebody_changed_is_removed(journal):
    before = machine()
    made = create(journal)
    made.close()
    ip("link set omni0 address 02:00:00:00:00:99")
    undo(journal)
    assert machine() == before


def test_a_burst_waits_for_the_other_end(journal):
    """10,000 frames in one go: what the ring of the veth cannot take at once waits in the sender's queue."""
    made = create(journal)
    with small_program(XDP_DROP) as program, Netlink() as netlink:
        netlink.attach_xdp(link("omni0-syn"), program.fd, "driver")
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind(("omni0", 0))
            frame = MAC + MAC + b"\x88\xb6" + bytes(50)
            seen = packets("omni0-syn", "rx_packets")
            for _ in range(10_000):
                sender.send(frame)
        wait_for(lambda: packets("omni0-syn", "rx_packets") - seen >= 10_000, 5, "every frame at the other end")
        assert packets("omni0", "tx_dropped") == packets("omni0-syn", "rx_dropped") == 0
    made.close()
    undo(journal)


def packets(name: str, counter: str) -> int:
    direction, _, field = counter.partition("_")
    shown = json.loads(ip(f"-j -s link show dev {name}"))[0]["stats64"]
    return shown[direction][field]


def test_an_interface_that_is_not_there_has_no_offloads():
    with pytest.raises(SystemRefused, match="nothere0"):
        ethtool.set_features("nothere0", {"rx-gro": False})
    assert ethtool.set_features("eth0", {"no-such-offload": True, "rx-gro": True}) == ["no-such-offload"]
