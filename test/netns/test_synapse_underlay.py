"""An underlay that is IPv6 only and takes 9000 bytes: jumbo frames inside. Too long for XDP in driver mode on a veth.

 robot1 ---- robot2     overlay 10.77.0.0/24, MTU 8898
----+-----------+----   underlay 2001:db8::/64
"""

from __future__ import annotations

import hashlib
import random
import sys

import pytest
from support.fleet import Fleet, Robot, carry_frames, conversations
from support.kernel_fleet import RECEIVE_FILE, SEND_FILE, UDP_TOOL, end, every_kind, frame, sealed, start_all, udp, ways

from omni_core.constants import ETHERNET_HEADER, IPV6_OVERHEAD
from tools.netlab import Lab, read_pcap, unavailable

pytestmark = [pytest.mark.netns, pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))]

UNDERLAY_MTU = 9000


@pytest.fixture(scope="module")
def fleet():
    with Lab("jumbo") as lab:
        fleet = Fleet(lab, ipv6=True, mtu=UNDERLAY_MTU)
        fleet.start_nucleus()
        start_all([fleet.robot(), fleet.robot()], {"engine": "kernel"}, {"engine": "kernel"})
        fleet.connected()
        yield fleet


@pytest.fixture
def pair(fleet) -> tuple[Robot, Robot]:
    return fleet.robots[0], fleet.robots[1]


def test_the_mode_is_generic_and_says_why(pair):
    for robot in pair:
        status = robot.status()
        assert (
            status["engine"] == "kernel" and status["interface_mtu"] == UNDERLAY_MTU - IPV6_OVERHEAD - ETHERNET_HEADER
        )
        (eth0,) = status["underlay"]
        assert eth0["xdp_mode"] == "generic" and "driver mode" in eth0["reason"]
        assert status["peers"][0]["endpoint"].startswith("[2001:db8::")


def test_full_frames_fill_the_underlay(fleet, pair):
    a, b = pair
    mtu = a.status()["interface_mtu"]
    capture = fleet.lab.capture()
    before = ways(a), ways(b)
    for address, headers in ((b.vip4, 28), (b.vip6, 48)):
        assert "3 received" in a.ping(address, 3, "-M", "do", "-s", str(mtu - headers))
    assert " 500 received" in a.host.run(["ping", "-q", "-f", "-c", "500", "-W", "2", b.vip6]).stdout
    assert (ways(a) - before[0])["tx_sealed"] > 500 and (ways(b) - before[1])["rx_delivered"] > 500
    frames = list(read_pcap(capture.stop().path))
    assert max(len(captured.data) for captured in frames) == UNDERLAY_MTU + ETHERNET_HEADER
    assert b.vip4.encode() not in b"".join(captured.data for captured in frames)


def test_a_tcp_transfer_is_byte_identical(fleet, pair, seed):
    a, b = pair
    content = random.Random(seed).randbytes(20 << 20)
    path = fleet.files / "content"
    path.write_bytes(content)
    for source, target in ((a, b), (b, a)):
        receiver = target.host.start([sys.executable, "-c", RECEIVE_FILE, target.vip4], name="tcp")
        target.host.wait_listening(7000)
        before = ways(source)
        source.host.run([sys.executable, "-c", SEND_FILE, target.vip4, path], timeout=60)
        assert receiver.wait_log("^[0-9a-f]{64}$", 60).group() == hashlib.sha256(content).hexdigest()
        frames = sealed(ways(source) - before)
        assert len(content) / 8900 < frames < len(content) / 4000, "segments are not as long as the MTU allows"


def test_datagrams_and_frames_of_many_sizes(pair, seed):
    a, b = pair
    draw = random.Random(seed)
    mtu = a.status()["interface_mtu"]
    echo = udp(b.host, "echo", "echo", b.vip4, 7001)
    for first, last, step in ((1, mtu - 28, 37), (mtu - 27, 20_000, 997)):
        a.host.run([sys.executable, UDP_TOOL, "sizes", b.vip4, "7001", str(first), str(last), str(step)])
    end(echo)
    frames = every_kind(b.identity.mac, mtu, draw)
    frames += [frame(b.identity.mac, "88b6", draw.randbytes(size)) for size in range(0, mtu + 1, 53)]
    frames += [frame(b.identity.mac, "88b6", draw.randbytes(size)) for size in range(mtu - 20, mtu + 1)]
    assert conversations(carry_frames(a.host, b.host, frames)) == conversations(frames)
