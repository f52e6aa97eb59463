"""The devices of one overlay interface when the kernel moves its frames.

    omni0 == omni0-syn    a veth pair: frames of the local port arrive at omni0-syn, where synapse_tx is
    omni0-tap             a persistent TAP to and from the Ganglion; it outlives the process, and so does its index
    omni0-blk             a persistent TAP of many queues, with virtio-net headers: super-frames, to and from the native
                          engine. synapse_split at omni0 fills it; synapse_land leads what the engine writes into omni0

omni0 is as ever (overlay.py gives it MAC, MTU, VIPs, a bridge). The others are nobody's to use: no address, no ARP, no
IPv6, and whatever arrives there and is not ours is dropped. Blocking (netlink): call from a worker thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from omni_core.config.values import INTERFACE_NAME_MAX
from omni_core.constants import ETHERNET_HEADER
from omni_core.errors import ConfigError, SystemRefused
from omni_core.io import ethtool
from omni_core.io.journal import Journal, MadeLink
from omni_core.io.native.queues import TapQueues
from omni_core.io.netlink import Link, Netlink, QueueLimits, VethEnd, XdpMode
from omni_core.io.overlay import PortPlan, quiet_ipv6
from omni_core.io.synapse import abi
from omni_core.io.synapse.loader import Loaded
from omni_core.io.synapse.patch_cable import patch_program
from omni_core.io.tap import Tap
from omni_core.types import Mac, format_mac

SYN: Final = "-syn"
TAP: Final = "-tap"
BULK: Final = "-blk"
NAME_MAX: Final = INTERFACE_NAME_MAX - max(len(SYN), len(TAP), len(BULK))

_SYN_MAC_BYTE, _TAP_MAC_BYTE, _BULK_MAC_BYTE = 0xFA, 0xF6, 0xF2  # first byte; the rest is omni0's. Locally administered
_VLAN_TAGS = 8
_SPARE = 100
# What the MTU does not count: the sealed form (the longer of the two) and the prefix. XDP redirects look at the MTU.
_ROOM = ETHERNET_HEADER + _VLAN_TAGS + abi.PREFIX_SIZE + _SPARE

# XDP must see whole frames: finished checksums, VLAN tags inside. Segmentation offload falls with the checksums; TCP
# still makes super-frames (generic segmentation offload), which are cut behind synapse_split, in front of the veth.
# GRO gives omni0 the NAPI context that a redirect to its other end needs.
_PORT_FEATURES = {
    "tx-checksum-ip-generic": False,
    "tx-checksum-sctp": False,
    "tx-vlan-hw-insert": False,
    "tx-vlan-stag-hw-insert": False,
    "rx-gro": True,
}
# Between synapse_tx and the NIC nothing is to be gained by merging. XDP in driver mode switches it on.
_SYN_FEATURES = {"rx-gro": False}

# A veth tells its sender to wait only when that has a queue. Long enough that a burst waits; with fair queueing the
# echo of a control loop overtakes a bulk flow, which loses packets only when it keeps the queue long for good.
_QUEUE_PACKETS = 10_000
_FAIR = QueueLimits(packets=_QUEUE_PACKETS, target=0.05, interval=0.5)
_TAP_QUEUE_PACKETS = 2_000
# Super-frames, of each queue; what is too much is lost, and TCP slows down. 4 MB: 30 ms at 1 Gbit/s.
_BULK_QUEUE_PACKETS = 64
# By flow: a control loop does not stand behind a bulk transfer, in a queue that is served where that one is sent.
_QUEUES = 8

_ANOTHER_ENGINE = "see dmesg, or use the engine python"


@dataclass
class SynapseDevices:
    """A port maker's result. ``tap`` carries packets with a prefix."""

    name: str
    mtu: int
    tap: Tap
    port_index: int
    syn_index: int
    tap_index: int
    bulk_index: int

    def close(self) -> None:
        """Idempotent. The devices stay: undoing the journal removes them."""
        self.tap.close()


def check_name(name: str) -> None:
    """Raises ConfigError("interface") when the names of the other devices would not fit."""
    if len(name) > NAME_MAX:
        raise ConfigError(
            "interface",
            f"{name!r} has {len(name)} characters, and with the engine kernel {NAME_MAX} are allowed: there are also "
            f"{name}{SYN}, {name}{TAP} and {name}{BULK}",
            "choose a shorter name such as omni0, or set engine to python",
        )


def make_devices(plan: PortPlan, journal: Journal, netlink: Netlink) -> SynapseDevices:
    """A port maker for overlay.create. Raises ConfigError or SystemRefused; the caller undoes the journal's steps."""
    check_name(plan.name)
    syn, tap_name, bulk = plan.name + SYN, plan.name + TAP, plan.name + BULK
    for taken in (syn, tap_name, bulk):
        if netlink.find(taken) is not None:
            raise ConfigError(
                "interface", f"{taken} exists already", f"choose another name, or remove it (ip link del {taken})"
            )
    far_end = VethEnd(syn, _mac(_SYN_MAC_BYTE, plan.mac), plan.mtu + _ROOM)
    netlink.add_veth(VethEnd(plan.name, plan.mac, plan.mtu), far_end, _QUEUES)
    port = _found(plan.name, netlink)
    _set_features(plan.name, _PORT_FEATURES)
    netlink.change(port, queue=_QUEUE_PACKETS)
    netlink.set_fair_queues(port, _FAIR, _QUEUES)
    tap_mac = _mac(_TAP_MAC_BYTE, plan.mac)
    journal.add(MadeLink(tap_name, format_mac(tap_mac)))
    tap = Tap.open(tap_name)
    try:
        netlink.change(_found(tap_name, netlink), mac=tap_mac, queue=_TAP_QUEUE_PACKETS)
        tap.persist()
        for name in (syn, tap_name):
            link = _found(name, netlink)
            quiet_ipv6(name, port=True)
            netlink.change(link, alias=plan.alias, mtu=plan.mtu + _ROOM, arp=False)
            netlink.change(link, up=True)
        _make_bulk(bulk, plan, journal, netlink)
        return _devices(plan.name, tap, netlink)
    except BaseException:
        tap.close()
        raise


def _make_bulk(name: str, plan: PortPlan, journal: Journal, netlink: Netlink) -> None:
    """Down, until synapse_land is there."""
    mac = _mac(_BULK_MAC_BYTE, plan.mac)
    journal.add(MadeLink(name, format_mac(mac)))
    TapQueues.open(name, 1).close()  # the engine joins, with as many queues as it has workers
    link = _found(name, netlink)
    quiet_ipv6(name, port=True)
    netlink.change(link, mac=mac, queue=_BULK_QUEUE_PACKETS, alias=plan.alias, mtu=plan.mtu, arp=False)


def adopt_devices(name: str, netlink: Netlink) -> SynapseDevices:
    """Open those that an earlier process left. Raises SystemRefused when they are not all there."""
    port, syn, tap_link, bulk = (_found(each, netlink) for each in (name, name + SYN, name + TAP, name + BULK))
    if not (port.kind == syn.kind == "veth" and port.peer == syn.index and tap_link.kind == bulk.kind == "tun"):
        raise SystemRefused(name, "somebody put another interface in its place", "remove it")
    down = next((link.name for link in (syn, tap_link, bulk) if not link.up), None)
    if down is not None:
        raise SystemRefused(name, f"{down} is down", f"ip link set {down} up")
    tap = Tap.join(name + TAP)
    try:
        return _devices(name, tap, netlink)
    except BaseException:
        tap.close()
        raise


def missing_device(devices: SynapseDevices, netlink: Netlink) -> str:
    """Name of one that somebody has removed; "" when all are there."""
    there = {link.index for link in netlink.links()}
    wanted = {"": devices.port_index, SYN: devices.syn_index, TAP: devices.tap_index, BULK: devices.bulk_index}
    return next((devices.name + suffix for suffix, index in wanted.items() if index not in there), "")


def attach_programs(devices: SynapseDevices, loaded: Loaded, netlink: Netlink) -> tuple[XdpMode, str]:
    """Hang the programs on the devices; the maps are filled by then. Returns the mode on omni0-syn, and why not driver.

    Raises SystemRefused.
    """
    syn, tap = _found(devices.name + SYN, netlink), _found(devices.name + TAP, netlink)
    transmit, out = loaded.programs["synapse_tx"], loaded.programs["synapse_out"]
    for link in (syn, tap):
        netlink.attach_tc_ingress(link, out.fd, out.name)
    mode: XdpMode = "driver"
    reason = ""
    try:
        netlink.attach_xdp(syn, transmit.fd, mode)
    except SystemRefused as error:
        mode, reason = "generic", error.problem
        netlink.attach_xdp(syn, transmit.fd, mode)
    netlink.attach_xdp(tap, transmit.fd, "generic")
    _set_features(syn.name, _SYN_FEATURES)
    _attach_bulk(devices, loaded, netlink)
    netlink.change(_found(devices.name + BULK, netlink), up=True)
    return mode, reason


def _attach_bulk(devices: SynapseDevices, loaded: Loaded, netlink: Netlink) -> None:
    split, land = loaded.programs["synapse_split"], loaded.programs["synapse_land"]
    netlink.attach_tc_ingress(_found(devices.name + BULK, netlink), land.fd, land.name)
    netlink.attach_tc_egress(_found(devices.name, netlink), split.fd, split.name)


def check_programs(devices: SynapseDevices, loaded: Loaded, netlink: Netlink) -> None:
    """Raises SystemRefused when ``attach_programs`` has not been here, or somebody has undone it."""
    transmit, out = loaded.programs["synapse_tx"], loaded.programs["synapse_out"]
    for link in (_found(devices.name + SYN, netlink), _found(devices.name + TAP, netlink)):
        if [number for _, number in link.xdp] != [transmit.id]:
            raise SystemRefused(link.name, "its XDP program is not the one that was there", "make it anew")
        netlink.attach_tc_ingress(link, out.fd, out.name)  # takes the place of itself
    _attach_bulk(devices, loaded, netlink)


def patch_through(devices: SynapseDevices, loaded: Loaded, netlink: Netlink) -> None:
    """Take synapse_tx off, and lead what arrives at one device out of the other. Raises SystemRefused.

    At no moment does a frame reach the host's stack: until synapse_tx has gone it drops all.
    """
    syn, tap = _found(devices.name + SYN, netlink), _found(devices.name + TAP, netlink)
    for link, other in ((syn, tap), (tap, syn)):
        with patch_program(other.index) as program:
            netlink.attach_tc_ingress(link, program.fd, program.name)
    for link in (syn, tap):
        for mode, number in link.xdp:
            if number == loaded.programs["synapse_tx"].id:
                netlink.detach_xdp(link, loaded.programs["synapse_tx"].fd, mode)


def _devices(name: str, tap: Tap, netlink: Netlink) -> SynapseDevices:
    port, syn, tap_link, bulk = (_found(each, netlink) for each in (name, name + SYN, name + TAP, name + BULK))
    tap.set_mtu(port.mtu, room=_ROOM)
    return SynapseDevices(name, port.mtu, tap, port.index, syn.index, tap_link.index, bulk.index)


def _found(name: str, netlink: Netlink) -> Link:
    link = netlink.find(name)
    if link is None:
        raise SystemRefused(name, "the interface is not there", "do not remove it while the Ganglion runs")
    return link


def _set_features(name: str, wanted: dict[str, bool]) -> None:
    unchanged = ethtool.set_features(name, wanted)
    if unchanged:
        raise SystemRefused(name, f"the kernel does not let {', '.join(unchanged)} be switched", _ANOTHER_ENGINE)


def _mac(first: int, mac: Mac) -> Mac:
    return bytes([first]) + mac[1:]
