"""Three real Ganglia whose frames the kernel moves, XDP in driver mode: what crosses, unchanged, and who carried it.

 robot1 ---- robot2 ---- robot3     overlay 10.77.0.0/24, every robot with every other
----+-----------+-----------+----   underlay
"""

from __future__ import annotations

import hashlib
import random
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from support.fleet import Fleet, Robot, carry_frames, conversations
from support.frame_tool import MARK
from support.kernel_fleet import (
    BROADCAST,
    FRAME_TOOL,
    RECEIVE_DATAGRAMS,
    RECEIVE_FILE,
    SEGMENTS,
    SEND_FILE,
    UDP_TOOL,
    compile_packets,
    end,
    every_kind,
    frame,
    ipv4_udp,
    opened,
    sealed,
    send_packets,
    start_all,
    udp,
    ways,
)

from omni_core.constants import FDB_MAX_LOCAL, FDB_MAX_PER_PEER
from tools.netlab import Lab, read_pcap, unavailable, wait_for

pytestmark = [pytest.mark.netns, pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))]

HEADERS = 14 + 20 + 8  # of the underlay
GROUP = "239.255.0.1"  # where DDS participants announce themselves


@pytest.fixture(scope="module")
def fleet():
    with Lab("kernel") as lab:
        fleet = Fleet(lab)
        fleet.start_nucleus()
        robots = [fleet.robot() for _ in range(3)]
        start_all(robots, *[{"engine": "kernel"}] * 3)
        fleet.connected()
        yield fleet


@pytest.fixture
def pair(fleet) -> tuple[Robot, Robot]:
    return fleet.robots[0], fleet.robots[1]


@pytest.fixture(scope="module")
def packets(fleet) -> Path:
    return compile_packets(fleet.files)


def grown(robot: Robot, before: Counter[str]) -> Counter[str]:
    return ways(robot) - before


def test_xdp_runs_in_driver_mode(fleet):
    for robot in fleet.robots:
        assert robot.status()["engine"] == "kernel"
        assert "xdp" in robot.host.ip("link show eth0") and "xdpgeneric" not in robot.host.ip("link show eth0")


@pytest.mark.parametrize("version", ["vip4", "vip6"])
def test_a_flood_of_pings_is_answered(pair, version):
    a, b = pair
    before = ways(a), ways(b)
    answer = a.host.run(["ping", "-q", "-f", "-c", "3000", "-W", "2", getattr(b, version)]).stdout
    assert " 3000 received" in answer
    for robot, earlier in zip(pair, before, strict=True):
        counted = grown(robot, earlier)
        assert counted["tx_sealed"] >= 3000 and counted["out_sent"] >= 3000 and counted["rx_delivered"] >= 3000
        assert counted["tx_send"] == 0, "frames left through the socket"


@pytest.mark.parametrize("version", ["vip4", "vip6"])
def test_a_tcp_transfer_is_byte_identical_and_nothing_of_it_is_in_clear(fleet, pair, version, seed):
    """With sendfile, segmentation offload and unfinished checksums at the sender, as usual."""
    a, b = pair
    marker = b"PLAINTEXT-MARKER-" + str(seed).encode()
    content = (random.Random(seed).randbytes(8000) + marker) * 2500
    path = fleet.files / "content"
    path.write_bytes(content)
    before = ways(a), ways(b)
    capture = fleet.lab.capture()
    address = getattr(b, version)
    receiver = b.host.start([sys.executable, "-c", RECEIVE_FILE, address], name=f"tcp-{version}")
    b.host.wait_listening(7000)
    a.host.run([sys.executable, "-c", SEND_FILE, address, path], timeout=60)
    assert receiver.wait_log("^[0-9a-f]{64}$", 60).group() == hashlib.sha256(content).hexdigest()
    least = len(content) // 1400
    sent, received = grown(a, before[0]), grown(b, before[1])
    assert sealed(sent) >= least and opened(received) >= least
    result = capture.stop()
    seen = 0
    for captured in read_pcap(result.path):
        seen += (len(captured.data) - HEADERS) // 1000  # of the bulk lane several in one: a real interface cuts them
        assert marker[:20] not in captured.data
    assert seen + result.kernel_drops >= least


def test_datagrams_of_every_size(pair):
    """Alone in a packet up to MTU - 28, and fragmented inside up to 20,000 bytes."""
    a, b = pair
    mtu = a.status()["interface_mtu"]
    echo = udp(b.host, "echo", "echo", b.vip4, 7001)
    for first, last, step in ((1, mtu - 28, 1), (mtu - 27, 20_000, 97)):
        a.host.run([sys.executable, UDP_TOOL, "sizes", b.vip4, "7001", str(first), str(last), str(step)])
    end(echo)
    echo = udp(b.host, "echo", "echo", b.vip6, 7001)
    a.host.run([sys.executable, UDP_TOOL, "sizes", b.vip6, "7001", "1", str(mtu - 48), "13"])
    end(echo)


def test_every_kind_of_frame_is_byte_identical(pair, seed):
    a, b = pair
    mtu = a.status()["interface_mtu"]
    before = ways(a), ways(b)
    draw = random.Random(seed)
    frames = every_kind(b.identity.mac, mtu, draw)
    assert conversations(carry_frames(a.host, b.host, frames)) == conversations(frames)
    too_long = frame(b.identity.mac, "8100", bytes.fromhex("000a0800") + draw.randbytes(mtu))
    assert carry_frames(a.host, b.host, [too_long]) == [too_long], "4 bytes more than the path takes in one packet"
    groups = sum(each[0] & 1 for each in frames)
    counted, arrived = grown(a, before[0]), grown(b, before[1])
    assert counted["tx_flooded"] >= groups and counted["out_cloned"] >= 2 * groups
    assert counted["tx_send"] == 1, "the socket has fragmented the long one"
    assert arrived["rx_delivered"] >= len(frames)


def test_frames_of_every_length(pair, seed):
    a, b = pair
    draw = random.Random(seed)
    mtu = a.status()["interface_mtu"]
    frames = [frame(b.identity.mac, "88b6", draw.randbytes(size)) for size in range(mtu + 1)]
    before = ways(a)
    assert conversations(carry_frames(a.host, b.host, frames)) == conversations(frames)
    assert grown(a, before)["tx_sealed"] >= len(frames)


def test_segments_of_a_udp_super_datagram_arrive_one_by_one(fleet, pair, seed):
    a, b = pair
    size, count = 1200, 50
    content = random.Random(seed).randbytes(size * count - 100)
    path = fleet.files / "segments"
    path.write_bytes(content)
    before = ways(a), ways(b)
    receiver = b.host.start([sys.executable, "-c", RECEIVE_DATAGRAMS, str(count)], name="segments")
    receiver.wait_log("^ready$", 5)
    a.host.run([sys.executable, "-c", SEGMENTS, b.vip4, str(size), path])
    assert receiver.wait(15) == 0, (len(receiver.log_text().splitlines()), grown(a, before[0]), grown(b, before[1]))
    received = [bytes.fromhex(line) for line in receiver.log_text().splitlines()[1:]]
    assert received == [content[at : at + size] for at in range(0, len(content), size)]


def test_a_wrong_checksum_inside_stays_wrong(pair):
    """Nobody on the way repairs what the sender got wrong: a receiver must be able to tell."""
    a, b = pair
    frames = [
        frame(b.identity.mac, "0800", ipv4_udp(a.vip4, b.vip4, 7003, payload, spoil))
        for payload, spoil in ((b"wrong" * 20, 1), (b"right" * 20, 0))
    ]
    receiver = b.host.start([sys.executable, "-c", RECEIVE_DATAGRAMS, "1"], name="checksum")
    receiver.wait_log("^ready$", 5)
    assert conversations(carry_frames(a.host, b.host, frames)) == conversations(frames)
    assert receiver.wait(15) == 0
    assert receiver.log_text().split() == ["ready", (b"right" * 20).hex()]


def test_multicast_reaches_every_other_robot_once(fleet):
    """As DDS discovery does. The kernel clones; the Ganglion sees none of it."""
    before = [ways(robot) for robot in fleet.robots]
    listeners = [udp(robot.host, "join", "join", GROUP, 7400, "omni0") for robot in fleet.robots]
    for robot in fleet.robots:
        robot.host.run([sys.executable, UDP_TOOL, "say", GROUP, "7400", "omni0", robot.host.name, "50"])
    for robot, listener in zip(fleet.robots, listeners, strict=True):
        others = [other.host.name for other in fleet.robots if other is not robot]
        expected = {f"heard {name} {number}" for name in others for number in range(50)}
        wait_for(lambda e=expected, it=listener: e <= set(it.log_text().splitlines()), 5, "every announcement")
        listener.stop()
        assert "again" not in listener.log_text()
    for robot, earlier in zip(fleet.robots, before, strict=True):
        counted = grown(robot, earlier)
        assert counted["tx_flooded"] >= 50 and counted["out_cloned"] >= 100
        assert counted["tx_group"] < 10, "announcements went to the Ganglion"


def arrives_only_at(source: Robot, destination: bytes, place: Robot, elsewhere: Robot) -> None:
    """A frame to a MAC address; then one to all, by which the others know that nothing is on its way any more."""
    watchers = []
    for robot, count in ((place, 2), (elsewhere, 1)):
        number = sum(1 for _ in robot.host.lab.logs.glob(f"{robot.host.name}-watch*"))
        command = [sys.executable, FRAME_TOOL, "receive", "omni0", str(count)]
        watchers.append(robot.host.start(command, name=f"watch{number}"))
        watchers[-1].wait_log("^ready$", 5)
    probe, last = frame(destination, "88b6", b"probe"), frame(BROADCAST, "88b6", b"last")
    path = source.host.lab.logs / f"{source.host.name}-probe"
    path.write_text(f"{probe.hex()}\n{last.hex()}\n")
    source.host.run(["sh", "-c", f"exec {sys.executable} {FRAME_TOOL} send omni0 < {path}"])
    for watcher, expected in zip(watchers, ([probe, last], [last]), strict=True):
        watcher.wait(20)
        assert [line for line in watcher.log_text().split() if line != "ready"] == [each.hex() for each in expected]


def test_a_mac_address_that_moves_is_followed(fleet):
    a, b, c = fleet.robots
    station = MARK + b"\x07\0\1"
    for place, elsewhere in ((a, b), (b, a), (a, b)):
        hello = [frame(BROADCAST, "88b6", b"hello" + place.vip4.encode(), station)]
        assert carry_frames(place.host, c.host, hello) == hello
        arrives_only_at(c, station, place, elsewhere)


def test_a_frame_to_nobody_goes_no_further_than_the_others(fleet, pair):
    """Unknown unicast is for the Ganglion to decide: it floods, and whoever has the address learns of it."""
    a, b = pair
    before = ways(a)
    unknown = [frame(MARK + b"\x08\0\1", "88b6", b"anybody?" + bytes([i])) for i in range(5)]
    assert carry_frames(a.host, b.host, unknown) == unknown
    assert grown(a, before)["tx_unknown"] == 5


def resident(robot: Robot) -> int:
    """KiB of the Ganglion."""
    text = Path(f"/proc/{robot.status()['pid']}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text).group(1))


def test_a_peer_with_200000_mac_addresses_evicts_only_its_own(fleet, packets):
    """Last in this file: tables are full afterwards."""
    a, b, c = fleet.robots
    stations = [MARK + b"\x09\0" + bytes([i]) for i in range(50)]
    hello = [frame(BROADCAST, "88b6", b"hello", station) for station in stations]
    assert carry_frames(c.host, b.host, hello) == hello
    before, memory = ways(b), (resident(a), resident(b))
    echo, ask = udp(b.host, "echo", "echo", b.vip4, 7005), udp(c.host, "ask", "ask", b.vip4, 7005, 200, 64)
    first = 0x100000
    flood = [frame(b.identity.mac, "88b6", b"", MARK + (first + i).to_bytes(3, "big")) for i in range(200_000)]
    print(send_packets(packets, a.host, "omni0", flood))
    report = end(ask)
    end(echo)
    assert report["unique"] > 0.98 * report["sent"] and report["gap_s"] < 1, report
    wait_for(lambda: b.status()["fdb_entries"] <= FDB_MAX_PER_PEER + 200, 10, "the table to shrink")
    assert a.status()["fdb_entries"] <= FDB_MAX_LOCAL + 200
    assert resident(a) - memory[0] < 16 << 10 and resident(b) - memory[1] < 16 << 10
    arrives_only_at(b, stations[0], c, a)
    arrives_only_at(b, stations[-1], c, a)
    counted = grown(b, before)
    print(counted)
    assert counted["tx_unknown"] == 0
    assert counted["rx_delivered"] > 100_000
