"""The lab itself: what it makes, and that nothing of it is left, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tools.netlab import Lab, LabError, LabTimeout, clean_stale, read_pcap, unavailable, wait_for
from tools.netlab.ownership import NETNS_DIRECTORY, RECORDS

pytestmark = [pytest.mark.netns, pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))]
REPO = Path(__file__).resolve().parents[2]

SEND_UDP = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
socket.socket(family, socket.SOCK_DGRAM).sendto(sys.argv[2].encode(), (sys.argv[1], 9))
"""

# A lab of two hosts with a process that ignores SIGTERM, in a process of its own, so that it can be killed.
CHILD = """
import signal, sys
from tools.netlab import Lab
with Lab("victim") as lab:
    host = lab.host("a")
    lab.host("b")
    stubborn = host.start(["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1000; done"], name="stubborn")
    stubborn.wait_log("deaf", timeout=10)
    print(lab.name, stubborn.pid, lab.logs, flush=True)
    signal.pause()
"""


def own_interfaces() -> set[str]:
    return set(os.listdir("/sys/class/net"))


def left_of(lab: str) -> list[str]:
    places = [path for directory in (NETNS_DIRECTORY, RECORDS) if directory.is_dir() for path in directory.iterdir()]
    return [str(path) for path in places if path.name.startswith(lab)]


def start_victim() -> tuple[subprocess.Popen[str], str, int, Path]:
    child = subprocess.Popen(
        [sys.executable, "-B", "-c", CHILD], cwd=REPO, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert child.stdout is not None
    name, pid, logs = child.stdout.readline().split()
    assert len(left_of(name)) == 4  # three namespaces and the record
    return child, name, int(pid), Path(logs)


def test_hosts_reach_each_other_and_the_capture_sees_each_frame_once():
    before = own_interfaces()
    with Lab("pair") as lab:
        a, b = lab.host("a"), lab.host("b")
        capture = lab.capture()
        for address in (b.ipv4, b.ipv6):
            if address is not None:
                a.run([sys.executable, "-c", SEND_UDP, address, f"to {address}"])
        result = capture.stop()
        frames = [frame.data for frame in read_pcap(result.path)]
        mac_of_a = bytes.fromhex(a.ip("-br link show eth0").split()[2].replace(":", ""))
        for address in (b.ipv4, b.ipv6):
            if address is not None:
                assert sum(f"to {address}".encode() in data and data[6:12] == mac_of_a for data in frames) == 1
        assert result.frames == len(frames) and result.kernel_drops == 0
        assert own_interfaces() == before
        logs = lab.logs
    assert left_of(lab.name) == [] and own_interfaces() == before and not logs.exists()


def test_inner_host_is_seen_by_its_robot_only():
    with Lab("inner") as lab:
        robot = lab.host("robot")
        lab.inner_host(robot, "plc", "10.77.0.50/24")
        lab.inner_host(robot, "camera")
        assert robot.lan_ports == ["lan0", "lan1"]
        assert set(robot.interfaces()) == {"lo", "eth0", "lan0", "lan1"}
        robot.ip("address add 10.77.0.1/24 dev lan0")
        capture = lab.capture()
        lab.hosts["plc"].run([sys.executable, "-c", SEND_UDP, "10.77.0.1", "hello"])
        assert robot.counters("lan0")["rx_packets"] > 0
        assert not any(b"hello" in frame.data for frame in read_pcap(capture.stop().path))


def test_each_host_has_its_own_shared_memory_and_run():
    with Lab("mounts") as lab:
        a, b = lab.host("a"), lab.host("b")
        name = f"{lab.name}.mark"
        for place in ("/dev/shm", "/run"):
            a.run(["touch", f"{place}/{name}"])
            assert a.run(["ls", f"{place}/{name}"]).returncode == 0  # the same in another process of the host
            assert b.run(["ls", f"{place}/{name}"], check=False).returncode != 0
            assert not Path(place, name).exists()


def test_each_host_is_another_machine_to_its_programs():
    with Lab("machines") as lab:
        hosts = [lab.host(name) for name in ("a", "b")]
        assert [host.run(["uname", "-n"]).stdout.strip() for host in hosts] == ["a", "b"]
        if Path("/etc/machine-id").exists():
            ids = [host.run(["cat", "/etc/machine-id"]).stdout for host in hosts]
            assert len({*ids, Path("/etc/machine-id").read_text()}) == 3


def test_a_pulled_cable_takes_the_carrier():
    with Lab("cable") as lab:
        host = lab.host("a")
        host.cut()
        wait_for(lambda: "NO-CARRIER" in host.ip("link show eth0"), 5, "carrier loss")
        host.mend()
        wait_for(lambda: "LOWER_UP" in host.ip("link show eth0"), 5, "carrier")


def test_shaping_limits_what_a_host_sends():
    with Lab("shape") as lab:
        host = lab.host("a", rate="8mbit")
        assert "rate 8Mbit" in host.run(["tc", "qdisc", "show", "dev", "eth0"]).stdout


def test_failures_say_what_failed():
    with Lab("failures") as lab:
        host = lab.host("a")
        with pytest.raises(LabError, match="exit status 3\nwhy"):
            host.run(["sh", "-c", "echo why; exit 3"])
        with pytest.raises(LabError, match=r"ended with 4 before it said 'ready'[^~]*no such device"):
            host.start(["sh", "-c", "echo no such device; exit 4"], name="driver").wait_log("ready", 5)
        with pytest.raises(LabTimeout, match=r"waited 0.1 s for sleeper to say 'ready'"):
            lab._spawn(["sleep", "100"], "sleeper", {}).wait_log("ready", 0.1)
        with pytest.raises(LabError, match="has a host a already"):
            lab.host("a")
        with pytest.raises(LabError, match="no interface omni0"):
            host.counters("omni0")


def test_an_exception_leaves_nothing():
    lab = Lab("broken")
    started = []

    def fail() -> None:
        with lab:
            started.append(lab.host("a").start(["sleep", "1000"]))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert left_of(lab.name) == [] and not started[0].running


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing(number):
    child, name, stubborn, logs = start_victim()
    child.send_signal(number)
    child.wait(20)
    assert left_of(name) == [] and not Path(f"/proc/{stubborn}").exists() and not logs.exists()


def test_records_that_are_not_ours_are_left_alone():
    with Lab("records"):
        foreign = RECORDS / f"test-{os.getpid()}.json"
        for content in ("not json", "{}", '{"owner": [1, 2], "namespaces": 7, "directory": null}'):
            foreign.write_text(content)
            clean_stale()
            assert foreign.read_text() == content
        foreign.unlink()


def test_what_a_killed_lab_left_is_cleaned_and_a_living_lab_is_not():
    with Lab("neighbour") as neighbour:
        host = neighbour.host("a")
        child, name, stubborn, logs = start_victim()
        child.kill()
        child.wait()
        assert left_of(name)
        clean_stale()  # or another lab that starts on this machine just now
        assert left_of(name) == [] and not logs.exists()
        wait_for(lambda: not Path(f"/proc/{stubborn}").exists(), 5, "its process to end")
        assert host.run(["true"]).returncode == 0
