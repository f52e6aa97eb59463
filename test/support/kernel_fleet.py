"""Fleets whose robots move frames in the kernel, and what their counters say."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from support import frame_tool, udp_tool
from support.fleet import UP, Robot
from support.frame_tool import MARK

from tools.netlab import Host, LabProcess

UDP_TOOL = Path(udp_tool.__file__)
FRAME_TOOL = Path(frame_tool.__file__)
PACKETS = Path(__file__).with_name("packets.c")
BROADCAST = b"\xff" * 6

SEND_FILE = """
import socket, sys
with socket.create_connection((sys.argv[1], 7000)) as connection:
    connection.sendfile(open(sys.argv[2], "rb"))
"""
RECEIVE_FILE = """
import hashlib, socket, sys
listener = socket.create_server((sys.argv[1], 7000), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
connection, _ = listener.accept()
digest = hashlib.sha256()
while data := connection.recv(65536):
    digest.update(data)
print(digest.hexdigest(), flush=True)
"""

SEGMENTS = """
import socket, sys
UDP_SEGMENT = 103
host = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
host.connect((sys.argv[1], 7003))
host.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, int(sys.argv[2]))
host.send(open(sys.argv[3], "rb").read())
"""
RECEIVE_DATAGRAMS = """
import socket, sys
host = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
host.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)
host.bind(("0.0.0.0", 7003))
host.settimeout(10)
print("ready", flush=True)
for _ in range(int(sys.argv[1])):
    print(host.recv(65536).hex(), flush=True)
"""


def start_all(robots: Iterable[Robot], *changes: dict[str, object]) -> None:
    """Together, as each compiles for seconds; the n-th with the n-th changes of its configuration."""
    robots = list(robots)
    for robot, each in zip(robots, changes, strict=True):
        robot.launch(**each)
    for robot in robots:
        robot.process.wait_log("omni0 is up", 2 * UP)


def ways(robot: Robot) -> Counter[str]:
    """What the robot's programs did and what was dropped, by name in lower case, such as rx_delivered or bad_tag."""
    status = robot.status()
    return Counter(status["ways"]) + Counter(status["drops"])


def sealed(counted: Counter[str]) -> int:
    """Frames, on either lane."""
    return counted["tx_sealed"] + counted["native_tx_sealed"]


def opened(counted: Counter[str]) -> int:
    return counted["rx_delivered"] + counted["native_rx_opened"]


def udp(host: Host, name: str, *words: object) -> LabProcess:
    """udp_tool.py, started and ready."""
    number = sum(1 for _ in host.lab.logs.glob(f"{host.name}-{name}*"))
    process = host.start([sys.executable, UDP_TOOL, *map(str, words)], name=f"{name}{number}")
    process.wait_log("^ready$", 10)
    return process


def end(process: LabProcess) -> dict:
    """What udp_tool.py has to say at its end."""
    process.stop(grace=10)
    return json.loads(process.wait_log(r"^\{.*\}$", 1).group())


def compile_packets(directory: Path) -> Path:
    program = directory / "packets"
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", PACKETS, "-o", program], check=True)
    return program


def send_packets(program: Path, host: Host, interface: str, packets: Iterable[bytes], repeat: int = 1) -> dict:
    """As fast as the machine can. Returns {"sent": count, "seconds": time}."""
    path = host.lab.logs / f"{host.name}-packets"
    path.write_bytes(b"".join(len(packet).to_bytes(2, sys.byteorder) + packet for packet in packets))
    return json.loads(host.run([program, interface, path, str(repeat)], timeout=60).stdout)


def frame(destination: bytes, ethertype: str, payload: bytes, source: bytes = MARK + b"\0\0\1") -> bytes:
    return destination + source + bytes.fromhex(ethertype) + payload


def every_kind(destination: bytes, mtu: int, draw: random.Random) -> list[bytes]:
    """What industrial Ethernet, PTP, VLANs and discovery put on a wire, to one station, to groups and to everyone."""
    kinds = [
        (destination, "88a4", draw.randbytes(46)),  # EtherCAT
        (BROADCAST, "88a4", draw.randbytes(1200)),
        (bytes.fromhex("010105010000"), "88a4", draw.randbytes(60)),
        (destination, "8892", draw.randbytes(40)),  # PROFINET
        (bytes.fromhex("010ecf000000"), "8892", draw.randbytes(1240)),
        (bytes.fromhex("011b19000000"), "88f7", draw.randbytes(44)),  # PTP
        (bytes.fromhex("0180c200000e"), "88f7", draw.randbytes(54)),  # PTP peer delay
        (bytes.fromhex("0180c200000e"), "88cc", draw.randbytes(70)),  # LLDP
        (destination, "8100", bytes.fromhex("600a88a4") + draw.randbytes(100)),  # VLAN 10, priority 3
        (destination, "8100", bytes.fromhex("a00088a4") + draw.randbytes(46)),  # priority-tagged: VLAN 0
        (BROADCAST, "8100", bytes.fromhex("0fff0800") + draw.randbytes(100)),
        (destination, "88a8", bytes.fromhex("00648100000a0800") + draw.randbytes(100)),  # 802.1ad: two tags
        (BROADCAST, "88a8", bytes.fromhex("00648100000a88a4") + draw.randbytes(100)),
        (destination, "8100", bytes.fromhex("000a0800") + draw.randbytes(mtu - 4)),  # fills the path exactly
        (destination, "88b6", b""),  # nothing but a header
        (destination, "0100", draw.randbytes(60)),  # 802.3 with a length field
        (bytes.fromhex("01005e0000fb"), "0800", draw.randbytes(100)),  # IPv4 multicast
        (bytes.fromhex("3333000000fb"), "86dd", draw.randbytes(100)),  # IPv6 multicast
    ]
    return [frame(*kind) for kind in kinds]


def ipv4_udp(source: str, destination: str, port: int, payload: bytes, spoil: int = 0) -> bytes:
    """An IPv4 packet with a UDP datagram whose checksum is off by ``spoil``."""
    pack = lambda host: bytes(map(int, host.split(".")))  # noqa: E731
    length = 8 + len(payload)
    pseudo = pack(source) + pack(destination) + bytes([0, 17]) + length.to_bytes(2, "big")
    ports = port.to_bytes(2, "big") * 2 + length.to_bytes(2, "big")
    checksum = (_checksum(pseudo + ports + bytes(2) + payload) + spoil) & 0xFFFF
    head = bytes.fromhex("4500") + (20 + length).to_bytes(2, "big") + bytes.fromhex("000040004011")
    addresses = pack(source) + pack(destination)
    head += _checksum(head + bytes(2) + addresses).to_bytes(2, "big") + addresses
    return head + ports + checksum.to_bytes(2, "big") + payload


def _checksum(data: bytes) -> int:
    total = sum(int.from_bytes(data[i : i + 2].ljust(2, b"\0"), "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
