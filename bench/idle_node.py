"""CPU of a Ganglion node that has nothing to do, with many peers that have nothing to say.

    python -m bench.idle_node [--peers 50] [--seconds 30] [--settle 10] [--engine python] [--subscribers]
                              [--profile FILE]

The node runs as `ros2 run` starts it, active, with status and diagnostics at their default periods, in a network
namespace of its own. Its peers are engines of the product in this process, each with a socket on the loopback interface
and a session that is kept. What is given is user and system time of the node's whole process (all threads) over the
time after all sessions are up and the node has settled. ``--subscribers``: somebody listens to all topics, as rqt does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from omni_core.crypto.identity import Identity, encode_key_file, key_text
from omni_core.dataplane.userspace import UserspaceDataPlane
from omni_core.engines.ganglion import GanglionEngine
from omni_core.engines.settings import GanglionSettings, StaticPeerSettings
from omni_core.types import Endpoint

NODE_PORT, FIRST_PORT = 51820, 52001
UP_TIMEOUT = 60.0  # s
CLUSTER = "idle"
_START = "import sys; from omni_ros2.ganglion_node import main; sys.exit(main())"
_PROFILED = """
import cProfile, pstats, sys
from omni_core.io.driver_thread import DriverThread
from omni_ros2 import run
from omni_ros2.ganglion_node import main

file, profiles = sys.argv.pop(1), {}

def profiled(name, function):
    def wrapper(*args):
        return profiles.setdefault(name, cProfile.Profile()).runcall(function, *args)
    return wrapper

DriverThread._run = profiled("driver", DriverThread._run)
run.SingleThreadedExecutor.spin = profiled("executor", run.SingleThreadedExecutor.spin)
code = main()
for name, profile in profiles.items():
    with open(f"{file}.{name}", "w") as out:
        pstats.Stats(profile, stream=out).sort_stats("tottime").print_stats(50)
sys.exit(code)
"""


class Peer:
    """One edge of the fleet: an engine and its socket."""

    def __init__(self, number: int, node_key: bytes) -> None:
        self.identity = Identity.generate(os.urandom)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", FIRST_PORT + number))
        self.socket.setblocking(False)
        settings = GanglionSettings(
            cluster=CLUSTER,
            name=f"robot{number + 1}",
            static_peers=(StaticPeerSettings(node_key, (Endpoint("127.0.0.1", NODE_PORT),)),),
            local_endpoints=(Endpoint("127.0.0.1", FIRST_PORT + number),),
        )
        plane = UserspaceDataPlane(self.identity.mac)
        self.engine = GanglionEngine(
            settings, self.identity, plane, random=os.urandom, unix_ns=lambda now: time.time_ns()
        )

    @property
    def as_static_peer(self) -> str:
        return f"{key_text(self.identity.public_key)}@127.0.0.1:{self.socket.getsockname()[1]}"

    @property
    def is_up(self) -> bool:
        return any(peer.state == "up" for peer in self.engine.status(time.monotonic()).peers)

    def flush(self) -> None:
        for data, destination in self.engine.take_datagrams():
            with contextlib.suppress(ConnectionRefusedError):  # the node has not opened its port yet
                self.socket.sendto(data, tuple(destination))
        self.engine.take_frames()
        self.engine.take_events()

    def receive(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            while True:
                data, source = self.socket.recvfrom(65535)
                self.engine.receive_datagrams([(data, Endpoint(*source))], time.monotonic())


def pump(peers: list[Peer], selector: selectors.BaseSelector, until: float) -> None:
    """Run all engines until the time (monotonic), at most."""
    while (now := time.monotonic()) < until:
        timers = [timer for peer in peers if (timer := peer.engine.next_timer()) is not None]
        for key, _ in selector.select(max(0.0, min([until, *timers]) - now)):
            key.data.receive()
            key.data.flush()
        now = time.monotonic()
        for peer in peers:
            if (timer := peer.engine.next_timer()) is not None and timer <= now:
                peer.engine.handle_timer(now)
                peer.flush()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all threads, to the nanosecond.

    The kernel's ticks in /proc/PID/stat miss most of what wakes, works for less than a tick and sleeps again.
    """
    return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3): CPUCLOCK_SCHED of the process


@contextlib.contextmanager
def node(directory: Path, peers: list[Peer], arguments: argparse.Namespace) -> Iterator[subprocess.Popen[bytes]]:
    parameters = {
        "interface": "omni0",
        "key_file": str(directory / "key"),
        "cluster": CLUSTER,
        "vip4": "10.77.0.200/24",
        "engine": arguments.engine,
        "run_dir": str(directory),
        "bpf_dir": str(directory / "bpf"),
        "static_peers": [peer.as_static_peer for peer in peers],
        "autostart": True,
    }
    file = directory / "parameters.yaml"
    file.write_text(json.dumps({"/**": {"ros__parameters": parameters}}))  # JSON is YAML
    start = ["-c", _PROFILED, arguments.profile] if arguments.profile else ["-c", _START]
    options = ["--ros-args", "--log-level", "warn", "--params-file", str(file)]
    process = subprocess.Popen([sys.executable, *start, *options])
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def subscribers() -> Iterator[None]:
    """A process that listens to all that the node publishes."""
    listen = (
        "import rclpy; from rclpy.qos import qos_profile_sensor_data as q;"
        "from omni_ros2.msg import GanglionStatus as G, DataPlaneStatus as D;"
        "from diagnostic_msgs.msg import DiagnosticArray as A;"
        "rclpy.init(); n=rclpy.create_node('listener');"
        "s=[n.create_subscription(*t, lambda m: None, q) for t in"
        " ((G,'/ganglion/status'),(D,'/ganglion/data_plane'),(A,'/diagnostics'))]; rclpy.spin(n)"
    )
    process = subprocess.Popen([sys.executable, "-c", listen])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measure(arguments: argparse.Namespace) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as name, selectors.DefaultSelector() as selector:
        directory = Path(name)
        identity = Identity.generate(os.urandom)
        (directory / "key").touch(0o600)
        (directory / "key").write_text(encode_key_file(identity))
        peers = [Peer(number, identity.public_key) for number in range(arguments.peers)]
        for peer in peers:
            selector.register(peer.socket, selectors.EVENT_READ, peer)
            peer.engine.start(time.monotonic())
            peer.flush()
        listening = subscribers() if arguments.subscribers else contextlib.nullcontext()
        with node(directory, peers, arguments) as process, listening:
            end = time.monotonic() + UP_TIMEOUT
            while (up := sum(peer.is_up for peer in peers)) < len(peers):
                if time.monotonic() > end:
                    sys.exit(f"only {up} of {len(peers)} sessions after {UP_TIMEOUT:g} s")
                pump(peers, selector, time.monotonic() + 0.5)
            pump(peers, selector, time.monotonic() + arguments.settle)
            before, began = cpu_seconds(process.pid), time.monotonic()
            pump(peers, selector, began + arguments.seconds)
            used, took = cpu_seconds(process.pid) - before, time.monotonic() - began
            share = 100 * used / took
            print(f"{len(peers)} peers, engine {arguments.engine}, {took:.0f} s idle: {share:.2f} % of one core")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--settle", type=float, default=10.0, help="s between the last session and the measurement")
    parser.add_argument("--engine", default="python", choices=["python", "kernel", "native", "auto"])
    parser.add_argument("--subscribers", action="store_true", help="with a listener on every topic")
    parser.add_argument(
        "--profile", default="", help="write profiles of the node's two threads to FILE.executor, FILE.driver"
    )
    arguments = parser.parse_args()
    if os.environ.get("OMNI_IDLE_NODE") != "inside":
        environment = {**os.environ, "OMNI_IDLE_NODE": "inside", "ROS_DOMAIN_ID": "0"}
        shell = 'mount -t tmpfs tmpfs /dev/shm && exec "$@"'  # Fast DDS of other namespaces is not to be met there
        again = ["unshare", "--net", "--mount", "sh", "-c", shell, "sh", sys.executable, "-m", "bench.idle_node"]
        os.execvpe("unshare", [*again, *sys.argv[1:]], environment)
    measure(arguments)


if __name__ == "__main__":
    main()
