"""Two robots whose internal networks are one segment with the overlay: hosts behind them meet.

plc1 --lan0-- robot1 ===== overlay ===== robot2 --lan0-- plc2        10.77.0.0/24 everywhere
"""

from __future__ import annotations

import random

import pytest
from support.fleet import Fleet, carry_frames, conversations
from support.frame_tool import MARK

from tools.netlab import Host, Lab, unavailable, wait_for

pytestmark = [pytest.mark.netns, pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))]


class Plant(Fleet):
    """``kinds``: what each robot's ``bridge`` parameter names, the interface itself or a bridge of the user's."""

    def __init__(self, lab: Lab, kinds: tuple[str, str], engine: str) -> None:
        super().__init__(lab)
        self.engine = engine
        self.start_nucleus()
        self.inner: list[Host] = []
        self.before: list[str] = []
        for number, kind in enumerate(kinds, start=1):
            robot = self.robot()
            self.inner.append(lab.inner_host(robot.host, f"plc{number}", f"10.77.0.10{number}/24"))
            if kind == "br0":
                robot.host.ip("link add br0 type bridge forward_delay 0")
                robot.host.ip("link set lan0 master br0")
                robot.host.ip("link set br0 up")
                wait_for(lambda host=robot.host: "state UP" in host.ip("link show br0"), 5, "br0 to have a carrier")
            else:
                robot.host.ip(f"address add 192.168.{number}.1/24 dev lan0")
            self.before.append(self.machine(robot.host))
            robot.start(bridge=kind, engine=engine)
        self.connected()

    @staticmethod
    def machine(host: Host) -> str:
        lines = host.ip("-o address").splitlines() + host.ip("route").splitlines() + host.ip("-br link").splitlines()
        return "\n".join(sorted(line.partition("\\")[0] for line in lines if "fe80" not in line))


@pytest.fixture(scope="module", params=["python", "kernel", "native"])
def plant(request):
    with Lab("bridge") as lab:
        yield Plant(lab, ("lan0", "br0"), request.param)


def reaches(host: Host, address: str, *options: str) -> bool:
    result = host.run(["ping", "-c", "1", "-W", "2", *options, address], check=False)
    return "1 received" in result.stdout


def test_hosts_behind_robots_reach_each_other(plant):
    one, two = plant.inner
    wait_for(lambda: reaches(one, "10.77.0.102"), 10, "plc1 to reach plc2")
    assert reaches(two, "10.77.0.101")


def test_full_frames_of_the_inner_network_cross(plant):
    """1500 bytes do not fit one packet of the underlay: the underlay fragments, the inner network notices nothing."""
    one, _ = plant.inner
    assert reaches(one, "10.77.0.102", "-M", "do", "-s", "1472")


def test_robots_are_on_the_same_segment(plant):
    a, b = plant.robots
    one, two = plant.inner
    assert a.reaches(b.vip4) and b.reaches(a.vip6)
    assert a.reaches("10.77.0.101") and a.reaches("10.77.0.102")
    assert reaches(one, a.vip4) and reaches(one, b.vip4) and reaches(two, a.vip4)


def test_what_the_interface_had_still_works(plant):
    one = plant.inner[0]
    one.ip("address add 192.168.1.9/24 dev eth0")
    assert reaches(one, "192.168.1.1")


def test_frames_from_cable_to_cable_are_byte_identical(plant, seed):
    rng = random.Random(seed)
    one, two = plant.inner
    source = MARK + b"\0\0\7"
    frames = [
        b"\xff" * 6 + source + bytes.fromhex("88a4") + rng.randbytes(1498),  # EtherCAT is a broadcast
        bytes.fromhex("010ecf000000") + source + bytes.fromhex("8892") + rng.randbytes(60),
        bytes.fromhex("011b19000000") + source + bytes.fromhex("88f7") + rng.randbytes(60),
        b"\xff" * 6 + source + bytes.fromhex("8100000a88a4") + rng.randbytes(1498),
    ]
    # Those that fill a cable's 1,500 bytes are fragmented on the underlay and may be overtaken.
    assert sorted(carry_frames(one, two, frames, "eth0", "eth0")) == sorted(frames)
    assert sorted(carry_frames(two, one, frames, "eth0", "eth0")) == sorted(frames)


def test_a_frame_crosses_once(plant):
    """No loop, no copy: what plc1 broadcasts arrives once at plc2 and never comes back."""
    one, two = plant.inner
    before = one.counters("eth0")["rx_packets"], two.counters("eth0")["rx_packets"]
    frames = [b"\xff" * 6 + MARK + b"\0\0\x08" + bytes.fromhex("88b6") + bytes([i]) * 60 for i in range(50)]
    assert conversations(carry_frames(one, two, frames, "eth0", "eth0")) == conversations(frames)
    after = one.counters("eth0")["rx_packets"], two.counters("eth0")["rx_packets"]
    assert after[1] - before[1] < 50 + 10 and after[0] - before[0] < 10  # the rest is neighbour discovery


@pytest.mark.parametrize("number", [0, 1])
def test_killed_and_started_again_and_ended(plant, number):
    """A killed Ganglion's bridge is undone by the next; an orderly end puts everything back."""
    robot, kind = plant.robots[number], ("lan0", "br0")[number]
    one = plant.inner[0]
    if plant.engine != "python":
        robot.kill()
        assert plant.machine(robot.host) != plant.before[number]
        assert reaches(one, "10.77.0.102")  # the engine goes on
        robot.start(bridge=kind, engine="python")
        plant.connected()
        wait_for(lambda: reaches(one, "10.77.0.102"), 10, "plc1 to reach plc2 through the process")
    robot.kill()
    wait_for(lambda: "omni0" not in robot.host.interfaces(), 5, "the kernel to remove the TAP")
    assert plant.machine(robot.host) != plant.before[number]
    robot.start(bridge=kind, engine=plant.engine)
    plant.connected()
    wait_for(lambda: reaches(one, "10.77.0.102"), 10, "plc1 to reach plc2 again")
    if number == 1:
        for robot, before in zip(plant.robots, plant.before, strict=True):
            assert robot.process.stop(grace=10) == 0
            assert plant.machine(robot.host) == before
            assert robot.host.run(["ls", "/run/omni"]).stdout.split() == []
