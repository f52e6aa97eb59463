"""A million packets that are not what they claim to be, as fast as a machine can, at a robot that has work to do.

 robot1 ---- robot2         overlay
----+-----------+----       underlay
          attacker          it has heard everything that robots 1 and 2 sent each other, and takes any source address
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from typing import NamedTuple

import pytest
from support.fleet import Fleet, Robot
from support.kernel_fleet import compile_packets, end, send_packets, start_all, udp, ways
from support.outer import packet

from omni_core.constants import DEFAULT_PORT
from omni_core.types import Endpoint
from tools.netlab import Capture, Host, Lab, read_pcap, unavailable, wait_for

pytestmark = [pytest.mark.netns, pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))]

TOTAL = 1_000_000
DIFFERENT = 4000  # packets in the sender's file, sent over and over
TO_GANGLION = 40  # of these the programs let pass, as only the Ganglion can tell: control messages without a mac1
WATCH = """
import signal, socket
host = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
host.setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING
host.bind(("eth0", 3))
print("ready", flush=True)
while True:
    print(host.recv(65536)[:80].hex(), flush=True)
"""


class Siege(NamedTuple):
    fleet: Fleet
    attacker: Host
    initiation: bytes  # that robot 1 has sent to robot 2


@pytest.fixture(scope="module")
def siege():
    with Lab("junk") as lab:
        fleet = Fleet(lab)
        fleet.start_nucleus()
        robots = [fleet.robot(), fleet.robot()]
        attacker = lab.host("attacker")
        capture = lab.capture()
        start_all(robots, {"engine": "kernel"}, {"engine": "kernel"})
        fleet.connected()
        for robot, other in zip(robots, reversed(robots), strict=True):
            robot.ping(other.vip4)
        heard = payloads(capture)
        target = next(
            number for number in (1, 0) if any(each[0] == 1 for each in heard.get(address_of(robots[number]), []))
        )
        fleet.robots.sort(key=lambda robot: robot is robots[target])
        initiation = next(each for each in heard[address_of(robots[target])] if each[0] == 1)
        yield Siege(fleet, attacker, initiation)


def address_of(robot: Robot) -> bytes:
    return bytes(map(int, robot.host.ipv4.split(".")))


def payloads(capture: Capture) -> dict[bytes, list[bytes]]:
    """IPv4 destination -> what came in UDP."""
    found: dict[bytes, list[bytes]] = {}
    for captured in read_pcap(capture.stop().path):
        data = captured.data
        if data[12:14] == b"\x08\x00" and data[23] == 17:
            found.setdefault(data[30:34], []).append(data[42 : 42 - 8 + int.from_bytes(data[38:40], "big")])
    return found


def overheard(fleet: Fleet) -> list[bytes]:
    """Data packets from robot 1 to robot 2, of the session that is in use."""
    source, target = fleet.robots
    capture = fleet.lab.capture()
    source.ping(target.vip4, 60)
    found = [payload for payload in payloads(capture)[address_of(target)] if payload[0] >= 0x10]
    session = Counter(payload[:8] for payload in found).most_common(1)[0][0]
    return [payload for payload in found if payload[:8] == session]


def forge(heard: list[bytes], draw: random.Random) -> tuple[str, bytes]:
    """A UDP payload, and the counter that has to move."""
    genuine = draw.choice(heard)
    session, sequence = genuine[:8], draw.getrandbits(40) | 1 << 39
    numbers = sequence.to_bytes(8, "little") * 2
    noise = draw.randbytes(draw.randint(30, 1400))
    kinds = [
        ("replayed", genuine),
        ("replayed", genuine[:24] + noise),
        ("bad_tag", session + numbers + noise),
        ("bad_tag", session + numbers + genuine[24:]),
        ("bad_nonce", session + numbers[:8] + draw.randbytes(8) + noise),
        ("unknown_session", bytes([draw.randint(0x10, 0xFF)]) + draw.randbytes(23) + noise),
        ("unknown_session", bytes([session[0] ^ 0x40 | 0x10]) + genuine[1:]),
        ("too_short", genuine[: draw.randint(1, 53)]),
        ("unknown_type", bytes([draw.choice([0, *range(5, 16)])]) + noise),
        ("bad_mac1", b"\x01" + draw.randbytes(479)),
        ("bad_mac1", b"\x02" + draw.randbytes(287)),
        ("too_short", b"\x01" + draw.randbytes(draw.randint(0, 478))),
        ("too_long", b"\x02" + draw.randbytes(288 + draw.randint(0, 900))),
    ]
    name, payload = draw.choice(kinds)
    if name == "bad_nonce" and payload[8:16] == payload[16:24]:
        name = "bad_tag"
    if name == "unknown_session" and payload[16:23] != payload[8:15]:
        name = "bad_nonce"
    return name, payload


def make_junk(siege: Siege, draw: random.Random) -> tuple[list[bytes], Counter[str]]:
    """Packets for robot 2, and how often each counter moves when all have been sent once."""
    attacker, (source, target) = siege.attacker, siege.fleet.robots
    heard = overheard(siege.fleet)
    ethernet = bytes.fromhex("".join(address(host) for host in (target.host, attacker)))
    expected: Counter[str] = Counter()
    junk = []
    for number in range(DIFFERENT):
        if number == 0:
            name, payload = "rx_handshake", siege.initiation
        elif number % (DIFFERENT // TO_GANGLION) == 0:
            name, payload = draw.choice(
                [("rx_handshake", b"\x03" + draw.randbytes(63)), ("rx_signaling", b"\x04" + draw.randbytes(200))]
            )
        else:
            name, payload = forge(heard, draw)
        host = draw.choice([attacker.ipv4, attacker.ipv6, source.host.ipv4])
        to = target.host.ipv6 if ":" in host else target.host.ipv4
        ends = Endpoint(host, draw.choice([DEFAULT_PORT, 40000])), Endpoint(to, DEFAULT_PORT)
        junk.append(packet(payload, *ends, ethernet=ethernet))
        expected[name] += 1
    return junk, expected


def address(host: Host) -> str:
    return host.run(["cat", "/sys/class/net/eth0/address"]).stdout.strip().replace(":", "")


class Counted(NamedTuple):
    rx_packets: int
    tx_packets: int
    ways: Counter[str]


def counted(robot: Robot) -> Counted:
    """Of one moment: between two looks at the device in which nothing came."""

    def look() -> Counted | None:
        before = robot.host.counters("eth0")
        seen = ways(robot)
        after = robot.host.counters("eth0")
        same = all(before[name] == after[name] for name in ("rx_packets", "tx_packets"))
        return Counted(after["rx_packets"], after["tx_packets"], seen) if same else None

    return wait_for(look, 10, "a moment of silence")


def test_a_million_forged_packets(siege, seed):
    """Traffic goes on; every packet is in the counter that it belongs to; none is answered."""
    a, b = siege.fleet.robots
    junk, once = make_junk(siege, random.Random(seed))
    program = compile_packets(siege.fleet.files)
    watch = siege.attacker.start([sys.executable, "-c", WATCH], name="watch")
    watch.wait_log("^ready$", 5)
    before = counted(b)
    echo, ask = udp(b.host, "echo", "echo", b.vip4, 7001), udp(a.host, "ask", "ask", b.vip4, 7001, 500, 64)
    result = send_packets(program, siege.attacker, "eth0", junk, TOTAL // DIFFERENT)
    report = end(ask)
    end(echo)
    after = counted(b)
    print(result, report, after.ways - before.ways)

    assert result["sent"] == TOTAL
    assert report["unique"] > 0.95 * report["sent"] and report["gap_s"] < 1, "the traffic of others stood still"

    moved = after.ways - before.ways
    received = sum(moved[name] for name in {*once, "rx_delivered", "rx_control", "rx_foreign"})
    assert received == after.rx_packets - before.rx_packets, "a packet that came in was not counted, or twice"
    expected = Counter({name: count * (TOTAL // DIFFERENT) for name, count in once.items()})
    lost = TOTAL - sum(min(moved[name], expected[name]) for name in expected)
    assert 0 <= lost < TOTAL // 10, "the devices before the robot lost more than a tenth"
    own = {"rx_handshake": 5, "rx_signaling": 10}  # of the robot's own conversations
    for name in expected:
        assert expected[name] - lost <= moved[name] <= expected[name] + own.get(name, 0), name
    if lost == 0:
        assert moved["handshake_replayed"] == TOTAL // DIFFERENT

    answers = [line for line in watch.log_text().split()[1:] if not is_neighbour_discovery(bytes.fromhex(line))]
    assert answers == []
    assert after.tx_packets - before.tx_packets <= moved["out_sent"] + 20, "the robot said more than its echo"


def is_neighbour_discovery(frame: bytes) -> bool:
    """ARP, or ICMPv6 133 to 137 (RFC 4861), or membership reports (143); group frames of others go everywhere."""
    if frame[12:14] == b"\x08\x06":
        return True
    return frame[12:14] == b"\x86\xdd" and frame[20] in (0, 58) and (frame[0] & 1 or 133 <= frame[54] <= 137)
