"""What crossed: data packets of the overlay on the underlay, and RTPS on an interface, from captures."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import NamedTuple

from omni_core.constants import DEFAULT_PORT
from tools.dds_fleet.robots import DdsRobot
from tools.netlab import Capture, CapturedFrame, Host, LabError, read_pcap
from tools.netlab import capture as capture_program

IPV4, IPV6 = 0x0800, 0x86DD
UDP, FRAGMENT_HEADER = 17, 44
FIRST_DATA_BYTE = 0x10  # of data packets; below: control messages
RTPS = b"RTPS\x02"  # magic and major version; DDSI-RTPS 2.5, section 9.4.4
PORT_BASE, DOMAIN_GAIN = 7400, 250  # section 9.6.2.3
DATA_HEADER, TAG, INNER_HEADER = 24, 16, 14


class Datagram(NamedTuple):
    source: str
    destination: str
    group: bool  # the frame is for a group
    fragment: bool  # a part of an IP packet, not the first or not the last
    source_port: int
    destination_port: int
    payload: bytes  # of UDP; empty where it is no UDP, or a later fragment


def datagrams(frames: Iterable[CapturedFrame]) -> Iterator[Datagram]:
    """The IPv4 and IPv6 packets among them, without VLAN tags."""
    for frame in frames:
        data, kind = frame.data, int.from_bytes(frame.data[12:14], "big")
        if kind == IPV4 and len(data) >= 34:
            at, protocol = 14 + 4 * (data[14] & 15), data[23]
            place = int.from_bytes(data[20:22], "big")
            fragment, later = bool(place & 0x3FFF), bool(place & 0x1FFF)
            source, destination = str(IPv4Address(data[26:30])), str(IPv4Address(data[30:34]))
        elif kind == IPV6 and len(data) >= 54:
            at, protocol = 54, data[20]
            fragment = later = protocol == FRAGMENT_HEADER
            source, destination = str(IPv6Address(data[22:38])), str(IPv6Address(data[38:54]))
        else:
            continue
        ports, payload = (0, 0), b""
        if protocol == UDP and not later and len(data) >= at + 8:
            ports = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 4], "big")
            payload = data[at + 8 :]
        yield Datagram(source, destination, bool(data[0] & 1), fragment, *ports, payload)


Times = tuple[int, int]  # Unix, ns
ALWAYS: Times = (0, 1 << 63)


def read_between(path: Path, times: Times) -> Iterator[CapturedFrame]:
    return (frame for frame in read_pcap(path) if times[0] <= frame.time_ns < times[1])


def data_packets(path: Path, names: Mapping[str, str], times: Times = ALWAYS) -> Counter[tuple[str, str]]:
    """By (from, to): packets of the overlay with a frame inside. ``names``: underlay address -> name."""
    return Counter(
        (names[each.source], names[each.destination])
        for each in datagrams(read_between(path, times))
        if each.destination_port == DEFAULT_PORT
        and each.payload[:1] >= bytes([FIRST_DATA_BYTE])
        and each.source in names
        and each.destination in names
    )


def rtps_in_clear(path: Path) -> int:
    """Frames with an RTPS header anywhere in them."""
    return sum(RTPS in frame.data for frame in read_pcap(path))


def multicast_domains(path: Path) -> Counter[int]:
    """By domain: RTPS frames to groups."""
    return Counter(
        (each.destination_port - PORT_BASE) // DOMAIN_GAIN
        for each in datagrams(read_pcap(path))
        if each.group and each.payload.startswith(RTPS)
    )


def unicast_sources(path: Path, times: Times = ALWAYS) -> Counter[str]:
    """By IP address of the sender: packets to this host alone."""
    return Counter(each.source for each in datagrams(read_between(path, times)) if not each.group)


def fragments(path: Path) -> int:
    return sum(each.fragment for each in datagrams(read_pcap(path)))


def fragments_made(host: Host) -> int:
    """IP packets that the host has cut into fragments so far, IPv4 and IPv6 (/proc/net/snmp)."""
    rows = host.run(["cat", "/proc/net/snmp", "/proc/net/snmp6"], check=False).stdout.splitlines()
    names, values = (row.split()[1:] for row in rows if row.startswith("Ip:"))
    six = [int(row.split()[1]) for row in rows if row.startswith("Ip6FragCreates")]
    return int(dict(zip(names, values, strict=True))["FragCreates"]) + sum(six)


def capture_incoming(host: Host, interface: str, label: str) -> Capture:
    """What arrives on one interface of a host, into a file of the lab."""
    path = host.lab.logs / f"{host.name}-{label}.pcap"
    command = [sys.executable, "-B", capture_program.__file__, path, interface]
    return Capture(host.start(command, name=label), path)


def captured(capture: Capture) -> Path:
    """Ends it. Raises LabError when it has holes: they prove nothing."""
    result = capture.stop()
    if result.kernel_drops:
        raise LabError(f"{result.path}: {result.kernel_drops} frames are missing")
    return result.path


def while_capturing(start: Callable[[], Capture], meanwhile: Callable[[], object]) -> Path:
    """What ``meanwhile()`` caused."""
    capture = start()
    try:
        meanwhile()
    finally:
        path = captured(capture)
    return path


class Crossed(NamedTuple):
    """By (from, to): packets of the overlay on the underlay."""

    group: Counter[tuple[str, str]]  # group frames, and in-session control in their place
    unicast: Counter[tuple[str, str]]

    @property
    def both(self) -> Counter[tuple[str, str]]:
        return self.group + self.unicast


def crossing(robots: Sequence[DdsRobot], meanwhile: Callable[[], object], label: str) -> Crossed:
    """What crossed between robots. A packet is sealed, so which of them are unicast is counted where they come out."""
    lab = robots[0].host.lab
    underlay = {address: r.name for r in robots for address in (r.host.ipv4, r.host.ipv6) if address}
    vips = {robot.vip4: robot.name for robot in robots}
    captures = {robot.name: capture_incoming(robot.host, "omni0", label) for robot in robots}
    began = ended = 0

    def timed() -> None:
        nonlocal began, ended
        began = time.time_ns()
        meanwhile()
        ended = time.time_ns()

    path = while_capturing(lab.capture, timed)
    times = (began, ended)  # none of the captures begins or ends at the same time as another
    total = data_packets(path, underlay, times)
    unicast: Counter[tuple[str, str]] = Counter()
    for name, capture in captures.items():
        for source, count in unicast_sources(captured(capture), times).items():
            if source in vips:
                unicast[vips[source], name] += count
    return Crossed(total - unicast, unicast)
