"""A Nucleus and two robots, each in a namespace with an underlay address of its own, run by the command line.

 nucleus            robot1 ---- overlay 10.77.0.0/24, fd6f:6d6e::/32 ---- robot2
    |                  |                                                    |
----+------------------+------------------ underlay ------------------------+----
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import sys

import pytest
from support.fleet import Fleet, carry_frames, conversations
from support.frame_tool import MARK

from omni_core.constants import DEFAULT_PORT
from tools.netlab import Lab, read_pcap, unavailable

pytestmark = [pytest.mark.netns, pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))]

BROADCAST = b"\xff" * 6
SEND_FILE = """
import socket, sys
with socket.create_connection((sys.argv[1], 7000)) as connection:
    connection.sendfile(open(sys.argv[2], "rb"))
"""
RECEIVE_FILE = """
import hashlib, socket
listener = socket.create_server(("10.77.0.2", 7000))
connection, _ = listener.accept()
digest = hashlib.sha256()
while data := connection.recv(65536):
    digest.update(data)
print(digest.hexdigest(), flush=True)
"""
ECHO_UDP = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("10.77.0.2", 7001))
print("bound", flush=True)
while True:
    data, source = s.recvfrom(65536)
    s.sendto(data, source)
"""
ASK_UDP = """
import os, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
for size in (1, 1390, 1391, 8000, 65000):
    data = os.urandom(size)
    s.sendto(data, ("10.77.0.2", 7001))
    assert s.recv(65536) == data, size
"""
SEND_FRAME = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("omni0", 0))
s.send(bytes.fromhex(sys.argv[1]))
"""


@pytest.fixture(scope="module", params=["python", "kernel", "native"])
def fleet(request):
    with Lab("fleet") as lab:
        fleet = Fleet(lab)
        fleet.start_nucleus()
        for _ in range(2):
            fleet.robot().start(engine=request.param)
        fleet.connected()
        yield fleet


def test_ping_over_both_vips_in_both_directions(fleet):
    a, b = fleet.robots
    for source, address in ((a, b.vip4), (a, b.vip6), (b, a.vip4), (b, a.vip6)):
        assert "5 received" in source.ping(address, 5)


def test_a_tcp_transfer_is_byte_identical(fleet, seed):
    a, b = fleet.robots
    content = random.Random(seed).randbytes(10 << 20)
    path = fleet.files / "content"
    path.write_bytes(content)
    receiver = b.host.start([sys.executable, "-c", RECEIVE_FILE], name="tcp")
    b.host.wait_listening(7000)
    a.host.run([sys.executable, "-c", SEND_FILE, b.vip4, path], timeout=60)
    assert receiver.wait_log("^[0-9a-f]{64}$", 60).group() == hashlib.sha256(content).hexdigest()


def test_large_datagrams_are_fragmented_inside_and_come_back(fleet):
    a, b = fleet.robots
    echo = b.host.start([sys.executable, "-c", ECHO_UDP], name="udp")
    echo.wait_log("bound", 5)
    a.host.run([sys.executable, "-c", ASK_UDP])
    echo.kill()


def test_the_mtu_fits_the_underlay_exactly(fleet):
    """A full frame leaves as one unfragmented packet; a longer one is refused on the robot itself."""
    a, b = fleet.robots
    mtu = a.status()["interface_mtu"]
    capture = fleet.lab.capture()
    assert "1 received" in a.ping(b.vip4, 1, "-M", "do", "-s", str(mtu - 28))
    lengths = {frame.length for frame in read_pcap(capture.stop().path)}
    assert max(lengths) == 1500 + 14
    assert (
        "message too long"
        in a.host.run(["sh", "-c", f"ping -c 1 -W 1 -M do -s {mtu - 27} {b.vip4} 2>&1"], check=False).stdout.lower()
    )


def test_arp_finds_the_neighbour_by_broadcast(fleet):
    a, b = fleet.robots
    a.host.ip("neigh flush dev omni0")
    assert "1 received" in a.ping(b.vip4)
    assert b.identity.mac.hex(":") in a.host.ip("neigh show dev omni0")


def frame(destination: bytes, ethertype: str, payload: bytes, source: bytes = MARK + b"\0\0\1") -> bytes:
    return destination + source + bytes.fromhex(ethertype) + payload


def test_every_kind_of_frame_is_byte_identical(fleet, seed):
    """What industrial Ethernet, PTP, VLANs and discovery put on a wire, to the peer, to groups and to everyone."""
    a, b = fleet.robots
    rng = random.Random(seed)
    mtu = a.status()["interface_mtu"]
    to_peer = b.identity.mac
    frames = [
        frame(to_peer, "88a4", rng.randbytes(46)),  # EtherCAT
        frame(BROADCAST, "88a4", rng.randbytes(1200)),
        frame(bytes.fromhex("010105010000"), "88a4", rng.randbytes(60)),
        frame(to_peer, "8892", rng.randbytes(40)),  # PROFINET
        frame(bytes.fromhex("010ecf000000"), "8892", rng.randbytes(1400)),
        frame(bytes.fromhex("011b19000000"), "88f7", rng.randbytes(44)),  # PTP
        frame(bytes.fromhex("0180c200000e"), "88f7", rng.randbytes(54)),  # PTP peer delay
        frame(bytes.fromhex("0180c200000e"), "88cc", rng.randbytes(70)),  # LLDP
        frame(to_peer, "8100", bytes.fromhex("600a88a4") + rng.randbytes(100)),  # VLAN 10, priority 3
        frame(BROADCAST, "8100", bytes.fromhex("0fff0800") + rng.randbytes(100)),
        frame(to_peer, "88a8", bytes.fromhex("00648100000a0800") + rng.randbytes(100)),  # 802.1ad: two tags
        frame(to_peer, "8100", bytes.fromhex("000a0800") + rng.randbytes(mtu)),  # the longest, tagged
        frame(to_peer, "88b6", b""),  # nothing but a header
        frame(to_peer, "88b6", bytes(mtu)),  # the longest
        frame(to_peer, "88b6", b"\xff" * mtu),
        frame(to_peer, "0100", rng.randbytes(60)),  # 802.3 with a length field
        frame(bytes.fromhex("01005e0000fb"), "0800", rng.randbytes(100)),  # IPv4 multicast
        frame(bytes.fromhex("3333000000fb"), "86dd", rng.randbytes(100)),  # IPv6 multicast
    ]
    frames += [frame(to_peer, "88b6", rng.randbytes(rng.randint(0, mtu))) for _ in range(300)]
    received = carry_frames(a.host, b.host, frames)
    assert sorted(received) == sorted(frames)
    # With its tag the longest does not fit the path: it is fragmented, which takes its time.
    short = [[frame for frame in each if len(frame) <= 14 + mtu] for each in (received, frames)]
    assert conversations(short[0]) == conversations(short[1])


def test_the_reserved_control_address_does_not_cross(fleet):
    a = fleet.robots[0]
    before = a.status()["drops"].get("reserved_destination", 0)
    reserved = frame(bytes.fromhex("036f6d6e6900"), "88b5", b"forged" * 20)
    a.host.run([sys.executable, "-c", SEND_FRAME, reserved.hex()])
    assert a.status()["drops"]["reserved_destination"] == before + 1


def test_nothing_but_our_packets_is_on_the_underlay(fleet, seed):
    a, b = fleet.robots
    marker = b"PLAINTEXT-MARKER-" + str(seed).encode()
    capture = fleet.lab.capture()
    assert carry_frames(a.host, b.host, [frame(b.identity.mac, "88b6", marker * 10)] * 20)
    a.ping(b.vip4, 3, "-p", marker[:16].hex())
    result = capture.stop()
    seen = list(read_pcap(result.path))
    assert result.kernel_drops == 0 and len(seen) > 20
    for captured in seen:
        assert marker[:16] not in captured.data and not re.search(b"\x0a\x4d\x00[\x01\x02]", captured.data[:34])
        if captured.data[12:14] == b"\x08\x00" and captured.data[23] == 17:
            assert int.from_bytes(captured.data[34:36], "big") == DEFAULT_PORT


def test_status_counts_what_passed(fleet):
    a, b = fleet.robots
    before = a.status()
    a.ping(b.vip4, 10)
    after = a.status()
    assert after["tx_frames"] >= before["tx_frames"] + 10 and after["rx_frames"] >= before["rx_frames"] + 10
    peer = next(peer for peer in after["peers"] if peer["name"] == "robot2")
    assert peer["state"] == "up" and peer["vip4"] == b.vip4 and peer["endpoint"] == f"{b.host.ipv4}:{DEFAULT_PORT}"
    assert after["nucleus_state"] == "registered" and after["observed_endpoint"] == f"{a.host.ipv4}:{DEFAULT_PORT}"


def test_omni_ping_and_wait(fleet):
    a, b = fleet.robots
    assert "3 received" in a.omni("ping", "-c", "3", "-i", "0.05", b.vip4)
    assert "1 peer up: robot2" in a.omni("wait", "--peers", "1", "--timeout", "5")


def test_an_orderly_end_leaves_nothing_and_the_peer_knows_at_once(fleet):
    """Last in this file: robot 2 is gone afterwards."""
    a, b = fleet.robots
    assert b.process.stop(grace=10) == 0
    assert set(b.host.interfaces()) == {"lo", "eth0"}
    assert b.host.run(["ls", "/run/omni"]).stdout.split() == []
    assert all(peer["state"] != "up" for peer in a.status()["peers"])
    assert os.listdir(fleet.files)  # configuration and keys are the user's
