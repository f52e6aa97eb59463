"""The same with the engines that need no BPF; those with the engine kernel are in the other modules."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")

from tools.dds_fleet import DdsFleet
from tools.dds_fleet.packets import captured, data_packets, rtps_in_clear
from tools.netlab import Lab, unavailable, wait_for

pytestmark = [
    pytest.mark.alone,
    pytest.mark.netns,
    pytest.mark.ros,
    pytest.mark.skipif(unavailable() is not None, reason="no labs here"),
]

SOON = 20.0  # s


@pytest.mark.parametrize("engine", ["native", "python"])
def test_discovery_large_messages_and_a_late_joiner(engine: str) -> None:
    size = 4_000_000
    with Lab(engine) as lab:
        fleet = DdsFleet(lab, 2, engine=engine)
        capture = lab.capture()
        fleet.start()
        one, two = fleet.robots
        here, there = fleet.participants(one), fleet.participants(two, "cyclone")
        here.ready().talk("alice", "chatter")
        there.ready().listen("bob", "chatter")
        there.wait_heard("bob", "alice", count=5, timeout=SOON)
        here.listen("carol", "large")
        there.talk("dave", "large", period=1.0, size=size)
        assert here.wait_heard("carol", "dave", timeout=60)[0].size == size
        there.end("dave")
        wait_for(lambda: one.status()["discovery"]["remote_participants"] >= 1, SOON, "the cache to have heard of bob")
        replayed = one.status()["discovery"]["replayed"]
        there.talk("erin", "latched", period=0)
        there.wait_for_event("made", "erin")
        here.listen("late", "latched")
        heard = here.wait_heard("late", "erin", timeout=SOON)
        print(f"engine {engine}: a late joiner heard {heard[0].at - here.began('late'):.2f} s after its beginning")
        wait_for(lambda: one.status()["discovery"]["replayed"] > replayed, SOON, "the cache to answer it")
        for robot in fleet.robots:
            assert robot.status()["engine"] == engine
        assert one.peer(two.name)["rx_bytes"] > size, "its Ganglion carried what dave said"
        path = captured(capture)  # without the overlay, what is meant for it would take the default route
        fleet.stop()
        assert rtps_in_clear(path) == 0
        names = {str(robot.host.ipv4): robot.name for robot in fleet.robots}
        assert set(data_packets(path, names)) == {(one.name, two.name), (two.name, one.name)}
