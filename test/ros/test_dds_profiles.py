"""DDS profiles with the real thing: Fast DDS of this distribution (rclpy), and Cyclone DDS (PyPI's cyclonedds).

What counts: messages of 4 MB arrive, no IP packet is cut, nothing of DDS is on the underlay, nobody complains.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from support.dds_pair import CYCLONE_NODE, NODE, DdsPair, complaints, fragments, groups, heard

from tools.netlab import Lab, LabProcess, unavailable
from tools.netlab.pcap import read_pcap

pytestmark = [pytest.mark.netns, pytest.mark.ros, pytest.mark.skipif(unavailable() is not None, reason="no labs here")]

LARGE = 4_000_000  # bytes
TIMEOUT = 30.0  # s
CYCLONE = pytest.param(
    "rmw_cyclonedds_cpp", CYCLONE_NODE,
    marks=[
        pytest.mark.skipif(importlib.util.find_spec("cyclonedds") is None, reason="pip install cyclonedds"),
        pytest.mark.skipif(os.environ.get("ROS_DISTRO") == "jazzy", reason="has nothing of ROS in it: once is enough"),
    ],
)  # fmt: skip
# Cyclone DDS with messages as large as Fast DDS makes them.
WITHOUT_LIMIT = (
    '<General><Interfaces><NetworkInterface name="omni0"/></Interfaces>'
    "<MaxMessageSize>60000 B</MaxMessageSize><FragmentSize>50000 B</FragmentSize></General>"
)
FAST = pytest.param("rmw_fastrtps_cpp", NODE)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab("dds") as lab:
        yield lab


def rtps_frames(path: Path) -> int:
    return sum(b"RTPS" in frame.data[:100] for frame in read_pcap(path))


def exchange(pair: DdsPair, rmw: str, program: Path, *, ipv6: bool = False, times: int = 2) -> list[LabProcess]:
    """A talker on a, a listener on b, until large messages have arrived."""
    nodes = [
        pair.node(host, role, pair.environment(host, rmw, ipv6=ipv6), size=LARGE, program=program)
        for host, role in ((pair.b, "listen"), (pair.a, "talk"))
    ]
    heard(nodes[0], LARGE, times, TIMEOUT)
    return nodes


@pytest.mark.parametrize(("rmw", "program"), [FAST, CYCLONE])
def test_large_messages_cross_the_overlay_alone_and_whole(lab: Lab, rmw: str, program: Path) -> None:
    pair = DdsPair(lab)
    capture = lab.capture()
    nodes = exchange(pair, rmw, program)
    assert groups(pair.a) == groups(pair.b) == {"lo", "omni0"}
    assert (fragments(pair.a), fragments(pair.b)) == (0, 0)
    assert complaints(nodes) == []
    capture.stop()
    assert rtps_frames(capture.path) == 0


@pytest.mark.parametrize(("rmw", "program"), [FAST, CYCLONE])
def test_without_the_profile_packets_are_cut_and_the_underlay_is_used(lab: Lab, rmw: str, program: Path) -> None:
    """What the tests here would see if they saw nothing."""
    pair = DdsPair(lab)
    capture = lab.capture()
    nodes = [
        pair.node(host, role, pair.environment(host), size=LARGE, program=program)
        for host, role in ((pair.b, "listen"), (pair.a, "talk"))
    ]
    heard(nodes[0], LARGE, 1, TIMEOUT)
    assert fragments(pair.a) > 1000
    capture.stop()
    assert rtps_frames(capture.path) > 0


@pytest.mark.parametrize(("rmw", "program"), [FAST, CYCLONE])
def test_robots_without_the_profile_are_understood(lab: Lab, rmw: str, program: Path) -> None:
    """Their messages are larger than what we send: with <maxMessageSize> of Fast DDS's transport they would be lost."""
    pair = DdsPair(lab)
    listener = pair.node(pair.b, "listen", pair.environment(pair.b, rmw), program=program)
    bare = {**pair.environment(pair.a), "CYCLONEDDS_URI": WITHOUT_LIMIT}
    pair.node(pair.a, "talk", bare, size=40_000, program=program)
    heard(listener, 40_000, 1, TIMEOUT)
    assert fragments(pair.a) > 0


@pytest.mark.parametrize(("rmw", "program"), [FAST, CYCLONE])
def test_over_ipv6(lab: Lab, rmw: str, program: Path) -> None:
    pair = DdsPair(lab)
    for host in (pair.a, pair.b):
        host.ip(f"address del {pair.vip4(host)}/24 dev omni0")
    nodes = exchange(pair, rmw, program, ipv6=True)
    assert (fragments(pair.a), fragments(pair.b)) == (0, 0)
    assert complaints(nodes) == []


@pytest.mark.parametrize(("rmw", "program"), [FAST, CYCLONE])
def test_nodes_of_one_machine_work_before_the_overlay_is_there_and_need_a_restart_for_it(
    lab: Lab, rmw: str, program: Path
) -> None:
    pair = DdsPair(lab, link=False)
    environment = pair.environment(pair.a, rmw)
    listener = pair.node(pair.a, "listen", environment, program=program)
    early = pair.node(pair.a, "talk", environment, program=program)
    heard(listener, 1000, 1, TIMEOUT)
    pair.connect()
    far = pair.node(pair.b, "listen", pair.environment(pair.b, rmw), program=program)
    far.wait_log("started", TIMEOUT)
    if program == NODE:
        early_ones = pair.a.run(
            ["python3", "-c", "from omni_core.io.dds_facts import *; print(*local_only_processes(0), sep='\\n')"],
            cwd=Path(__file__).parents[2],
        ).stdout
        assert f"({early.pid})" in early_ones and f"({listener.pid})" in early_ones
    heard(listener, 1000, 4, TIMEOUT)
    assert "got" not in far.log_text()  # 1.5 s of messages
    early.stop()
    again = pair.node(pair.a, "talk", environment, program=program)
    heard(far, 1000, 1, TIMEOUT)
    assert again.running


# What rmw_cyclonedds_cpp puts before CYCLONEDDS_URI under ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET.
RMW_PREFIX = (
    "<CycloneDDS><Domain><Discovery><ParticipantIndex>auto</ParticipantIndex>"
    "<MaxAutoParticipantIndex>32</MaxAutoParticipantIndex></Discovery></Domain></CycloneDDS>,"
)
OCCUPY = """
import socket, time
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(110)]
for index, opened in enumerate(sockets):
    opened.bind(("", 7410 + 2 * index))
print("ready", flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize(("rmw", "program"), [FAST, CYCLONE])
def test_a_hundred_and_ten_participants_leave_room_for_more(lab: Lab, rmw: str, program: Path) -> None:
    """The ports of the first 110 are taken. Cyclone DDS under ROS would end at 33."""
    pair = DdsPair(lab)
    taken = pair.a.start([sys.executable, "-c", OCCUPY], "occupy")
    taken.wait_log("ready", TIMEOUT)
    tuned = pair.environment(pair.a, rmw)
    tuned["CYCLONEDDS_URI"] = RMW_PREFIX + (tuned["CYCLONEDDS_URI"] or "")
    listener = pair.node(pair.b, "listen", pair.environment(pair.b, rmw), program=program)
    pair.node(pair.a, "talk", tuned, program=program)
    heard(listener, 1000, 1, TIMEOUT)
    if program == CYCLONE_NODE:
        bare = {**pair.environment(pair.a), "CYCLONEDDS_URI": RMW_PREFIX}
        assert pair.node(pair.a, "talk", bare, program=program).wait(TIMEOUT) != 0
