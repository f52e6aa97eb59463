"""Every pair of engines: both lanes with XDP in driver mode and in generic mode, the kernel without the bulk lane, the
native engine alone, python. Sessions come on demand: each pair begins with a flow that nobody has made a way for.

 driver ---- generic ---- one-lane ---- native ---- python     overlay 10.77.0.0/24
----+-----------+-------------+-----------+-----------+----    underlay
"""

from __future__ import annotations

import hashlib
import itertools
import random
import sys

import pytest
from support.fleet import Fleet, Robot, carry_frames, conversations
from support.kernel_fleet import (
    RECEIVE_FILE,
    SEND_FILE,
    UDP_TOOL,
    end,
    every_kind,
    frame,
    opened,
    sealed,
    start_all,
    udp,
    ways,
)

from tools.netlab import Lab, unavailable, wait_for

pytestmark = [pytest.mark.netns, pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))]

ENGINES = {
    "driver": {"engine": "kernel", "xdp_mode": ["driver"]},
    "generic": {"engine": "kernel", "xdp_mode": ["auto", "eth0=generic"]},
    "one-lane": {"engine": "kernel", "bulk_lane": "off"},
    "native": {"engine": "native"},
    "python": {"engine": "python"},
}
ONCE = list(itertools.combinations(ENGINES, 2))
PAIRS = [*ONCE, *itertools.combinations(reversed(ENGINES), 2)]
RATE = 500  # datagrams a second


@pytest.fixture(scope="module")
def fleet():
    with Lab("mixed") as lab:
        fleet = Fleet(lab)
        fleet.start_nucleus()
        robots = [fleet.robot(name) for name in ENGINES]
        start_all(robots, *[{**changes, "mesh_limit": 0} for changes in ENGINES.values()])
        for robot in robots:
            wait_for(lambda it=robot: it.status()["nucleus_state"] == "registered", 10, "the Nucleus")
        yield fleet


@pytest.fixture
def pair(fleet, names) -> tuple[Robot, Robot]:
    by_name = dict(zip(ENGINES, fleet.robots, strict=True))
    return by_name[names[0]], by_name[names[1]]


def test_the_modes_are_as_asked(fleet):
    driver, generic, one_lane, native, python = (robot.status() for robot in fleet.robots)
    assert {each["engine"] for each in (driver, generic, one_lane)} == {"kernel"}
    assert (native["engine"], python["engine"]) == ("native", "python")
    assert (driver["bulk_lane"], generic["bulk_lane"], native["bulk_lane"]) == ("on", "on", "")
    assert one_lane["bulk_lane"].startswith("off")
    assert [(each["interface"], each["xdp_mode"]) for each in driver["underlay"]] == [("eth0", "driver")]
    assert [(each["interface"], each["xdp_mode"]) for each in generic["underlay"]] == [("eth0", "generic")]
    assert python["underlay"] == [] and python["ways"] == {}


def connected(robot: Robot, other: Robot) -> bool:
    return any(peer["name"] == other.host.name and peer["state"] == "up" for peer in robot.status()["peers"])


@pytest.mark.parametrize("names", ONCE, ids="-".join)
def test_a_flow_that_begins_before_the_session_is_whole_and_in_order(pair):
    """The first frames wait for the handshake. When the flow moves to the fast path, order may break once."""
    a, b = pair
    assert not connected(a, b)
    for robot, other in ((a, b), (b, a)):  # ARP would make the session before the first datagram leaves
        robot.host.ip(f"neigh replace {other.vip4} lladdr {other.identity.mac.hex(':')} dev omni0 nud permanent")
    receiver = udp(b.host, "receive", "receive", b.vip4, 7000)
    sender = udp(a.host, "send", "send", b.vip4, 7000, RATE, 200)
    wait_for(lambda: connected(a, b) and connected(b, a), 10, "the session")
    sent, received = end(sender), end(receiver)
    assert received["unique"] == sent["sent"] > 0 and sent["refused"] == 0, (sent, received)
    assert received["duplicates"] == 0 and received["setbacks"] <= 1, received
    for robot, other in ((a, b), (b, a)):
        robot.host.ip(f"neigh del {other.vip4} dev omni0")


@pytest.mark.parametrize("names", PAIRS, ids="-".join)
def test_traffic_of_every_kind(fleet, pair, seed):
    a, b = pair
    draw = random.Random(seed)
    before = ways(a), ways(b)
    assert " 300 received" in a.host.run(["ping", "-q", "-f", "-c", "300", "-W", "2", b.vip4]).stdout
    assert " 50 received" in a.host.run(["ping", "-q", "-f", "-c", "50", "-W", "2", b.vip6]).stdout
    content = draw.randbytes(3 << 20)
    path = fleet.files / "content"
    path.write_bytes(content)
    receiver = b.host.start([sys.executable, "-c", RECEIVE_FILE, b.vip4], name=f"tcp-{a.host.name}")
    b.host.wait_listening(7000)
    a.host.run([sys.executable, "-c", SEND_FILE, b.vip4, path], timeout=60)
    assert receiver.wait_log("^[0-9a-f]{64}$", 60).group() == hashlib.sha256(content).hexdigest()
    echo = udp(b.host, "echo", "echo", b.vip4, 7001)
    for first, last, step in ((1, 1390, 11), (1391, 20_000, 977)):
        a.host.run([sys.executable, UDP_TOOL, "sizes", b.vip4, "7001", str(first), str(last), str(step)])
    end(echo)
    mtu = a.status()["interface_mtu"]
    frames = every_kind(b.identity.mac, mtu, draw)
    frames += [frame(b.identity.mac, "88b6", draw.randbytes(draw.randint(0, mtu))) for _ in range(100)]
    arrived = carry_frames(a.host, b.host, frames)
    if a.host.name in ("native", "python") and b.host.name == "generic":
        # These engines hand the kernel several datagrams in one; XDP in generic mode sees them so, and lets the
        # socket have them, while single ones go the fast way.
        assert sorted(arrived) == sorted(frames)
    else:
        assert conversations(arrived) == conversations(frames)
    sent, received = ways(a) - before[0], ways(b) - before[1]
    if a.status()["engine"] == "kernel":
        assert sealed(sent) > 2000 and sent["tx_send"] == 0
    if b.status()["engine"] == "kernel":
        assert opened(received) > 2000
