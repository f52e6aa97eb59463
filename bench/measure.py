"""One cell: one measurement of one subject. Commands run in the lab; values are numbers with their unit in the name."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.load import LoadMeter
from bench.subjects import Addresses
from tools.netlab import Host

ECHO = Path(__file__).with_name("echo.py")
ECHO_PORT = 7007
IPERF_PORT = 5201
PACKET = 64  # bytes of UDP payload of a round trip

Values = dict[str, float]


@dataclass(frozen=True)
class Cell:
    subject: str
    measurement: str
    repetition: int
    values: Values
    elapsed_s: float
    busy_cpu_s: float
    steal_s: float
    foreign_cpu_s: float

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def start_servers(b: Host) -> None:
    """One server of each kind serves all subjects: it listens on every address."""
    b.start(["iperf3", "--server", "--port", str(IPERF_PORT)], name="iperf3")
    b.start([sys.executable, "-B", ECHO, "serve", str(ECHO_PORT)], name="echo")
    b.wait_listening(IPERF_PORT, "tcp")
    b.wait_listening(ECHO_PORT, "udp")


def tcp(a: Host, addresses: Addresses, seconds: float) -> Values:
    """Goodput of one TCP stream, as the receiver counts it. cubic by name: BBR's pacing would hide what is measured."""
    command = ["iperf3", "--client", addresses.b, "--port", str(IPERF_PORT), "--json", "--congestion", "cubic"]
    result = a.run([*command, "--time", str(math.ceil(seconds))], timeout=seconds + 30)  # whole seconds; 0 has no end
    end = json.loads(result.stdout)["end"]
    received = end["sum_received"]
    return {
        "goodput_mbit_s": received["bits_per_second"] / 1e6,
        "bytes": received["bytes"],
        "retransmits": end["sum_sent"].get("retransmits", 0),
    }


def round_trip(a: Host, addresses: Addresses, seconds: float) -> Values:
    command = [sys.executable, "-B", str(ECHO), "measure", addresses.b, str(ECHO_PORT), str(seconds), str(PACKET)]
    values: Values = json.loads(a.run(command, timeout=seconds + 30).stdout)
    return values


MEASUREMENTS: dict[str, Callable[[Host, Addresses, float], Values]] = {"tcp": tcp, "round_trip": round_trip}


def run_cell(
    subject: str, measurement: str, repetition: int, a: Host, b: Host, addresses: Addresses, seconds: float
) -> Cell:
    """Raises LabError when the tool fails."""
    inodes = {os.stat(f"/run/netns/{host.namespace}").st_ino for host in (a, b, a.lab.internet)}
    meter = LoadMeter(inodes)
    values = MEASUREMENTS[measurement](a, addresses, seconds)
    load = meter.stop()
    if measurement == "tcp":
        values["cpu_s_per_gb"] = load.own / (values["bytes"] / 1e9)
    return Cell(subject, measurement, repetition, values, load.elapsed, load.busy, load.steal, load.foreign)
