"""Two real Ganglia: what a program joins is known to the peer, and only that crosses; DDS announcements are kept.

 robot1 ---- robot2     overlay 10.77.0.0/24
----+-----------+----   underlay
"""

from __future__ import annotations

import socket
import struct
import sys

import pytest
from support.fleet import REPO
from support.group_frames import group_mac
from support.machine import ip
from support.own_network import own_network
from support.two_robots import TwoRobots

from omni_core.io.multicast_groups import joined_groups
from tools.netlab import Host, Lab, LabProcess, unavailable, wait_for

pytestmark = [pytest.mark.netns, pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))]

UDP_TOOL = REPO / "test/support/udp_tool.py"
ANNOUNCE = REPO / "test/support/announce_tool.py"
JOINED, OTHER = "239.1.2.3", "239.1.2.4"
JOINED_6 = "ff15::7:3"
PORT = 5000
SOON = 10.0


@pytest.fixture(params=["python", "native", "kernel"])
def pair(request, tmp_path):
    with Lab("discovery") as lab:
        pair = TwoRobots(lab)
        pair.start({"engine": request.param, "bulk_lane": "off"})
        yield pair
        pair.stop()


def listen(host: Host, group: str) -> LabProcess:
    process = host.start([sys.executable, str(UDP_TOOL), "join", group, str(PORT), "omni0"], name=f"join-{group[-1]}")
    process.wait_log("^ready$", SOON)
    return process


def say(host: Host, group: str, text: str, count: int = 3) -> None:
    host.run([sys.executable, str(UDP_TOOL), "say", group, str(PORT), "omni0", text, str(count)])


def peer_of(pair: TwoRobots, number: int) -> dict:
    return pair.ends[number].status()["peers"][0]


def sent(pair: TwoRobots, number: int) -> int:
    return int(peer_of(pair, number)["tx_frames"])


def test_groups_and_announcements(pair: TwoRobots) -> None:
    one, two = (end.host for end in pair.ends)
    wait_for(lambda: peer_of(pair, 0)["multicast"] == "learned" == peer_of(pair, 1)["multicast"], SOON, "INTEREST")
    wait_for(lambda: peer_of(pair, 0)["clock_offset_s"] is not None, SOON, "a PONG with times")
    assert abs(peer_of(pair, 0)["clock_offset_s"]) <= peer_of(pair, 0)["clock_error_s"] + 1e-3, "one machine, one clock"

    # Nobody on robot2 listens to OTHER; what has joined JOINED is known there at once, by its report.
    listeners = [listen(two, JOINED), listen(two, JOINED_6)]
    for listener, group in zip(listeners, (JOINED, JOINED_6), strict=True):

        def heard(listener: LabProcess = listener, group: str = group) -> bool:
            say(one, group, "news")
            return "heard news 2" in listener.log_text()

        wait_for(heard, SOON, f"a datagram to {group}")
    wait_for(lambda: peer_of(pair, 0)["groups"] >= 2, SOON, "what robot2 listens to")
    before = sent(pair, 0)
    say(one, OTHER, "nobody cares", 120)
    assert sent(pair, 0) - before < 40, "of 120 datagrams to a group without listeners none crosses"

    # robot1 listens, in whatever domain; a participant that comes later hears of the first from its own Ganglion.
    listeners.append(listen(one, "239.255.0.1"))
    first = participant(two, 1)
    wait_for(lambda: pair.ends[0].status()["discovery"]["remote_participants"] == 1, SOON, "the announcement")
    late = participant(one, 2)
    late.wait_log("^heard 1$", SOON)
    first.wait_log("^heard 2$", SOON)
    wait_for(lambda: peer_of(pair, 0)["domains"] == [3] == peer_of(pair, 1)["domains"], SOON, "domains")
    first.wait_log("^said 30$", 2 * SOON)
    counted = pair.ends[1].status()["discovery"]
    assert counted["suppressed"] >= 20 and counted["told"] < 5 and counted["local_participants"] == 1, counted
    first.stop()
    late.wait_log("^left 1$", SOON)


def participant(host: Host, number: int) -> LabProcess:
    process = host.start([sys.executable, str(ANNOUNCE), "omni0", str(number), "3"], name=f"participant{number}")
    process.wait_log("^ready$", SOON)
    return process


def test_the_kernels_table_has_a_group_as_soon_as_it_is_joined() -> None:
    """Also one that is joined on a device on top of the interface."""
    with own_network(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four:
        ip("link add omni0 type veth peer name far0")
        ip("link add link omni0 name top0 type macvlan")
        for name in ("far0", "omni0", "top0"):
            ip(f"link set {name} up")
        ip("address add 10.0.0.1/24 dev omni0")
        ip("address add 10.0.1.1/24 dev top0")
        before = joined_groups("omni0")
        assert before is not None and joined_groups("top0") and joined_groups("none") == frozenset()
        for group, address in ((JOINED, "10.0.0.1"), (OTHER, "10.0.1.1")):
            request = socket.inet_aton(group) + socket.inet_aton(address)
            four.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        assert joined_groups("omni0") == before | {group_mac(JOINED), group_mac(OTHER)}
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six:
            request = socket.inet_pton(socket.AF_INET6, JOINED_6) + struct.pack("@I", socket.if_nametoindex("omni0"))
            six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
            now = joined_groups("omni0")
            assert now is not None and group_mac(JOINED_6) in now
        assert joined_groups("omni0") == before | {group_mac(JOINED), group_mac(OTHER)}
