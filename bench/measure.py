"""One cell: one measurement of one subject. Commands run in the lab; values are numbers with their unit in the name."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import NamedTuple

from bench.compiling import Tools
from bench.framing import tcp_limit
from bench.load import LoadMeter
from bench.shaping import shaped
from bench.subjects import Addresses
from omni_core.constants import ETHERNET_HEADER, IPV4_HEADER, UDP_HEADER
from tools.netlab import Host, LabError, wait_for

ECHO_PORT = 7007
COUNT_PORT = 7008
CONTROL_PORT = 7009
IPERF_PORT = 5201
PACKET = 64  # bytes of UDP payload of a round trip
SMALLEST_FRAME = 60  # bytes of the shortest Ethernet frame (64) without its FCS
SMALLEST_PAYLOAD = SMALLEST_FRAME - ETHERNET_HEADER - IPV4_HEADER - UDP_HEADER  # 18
CONTROL_PERIOD = 1000  # µs
BULK_STARTED = 1_000_000  # bytes on the underlay after which the stream beside the control loop is taken to run

Values = dict[str, float]


@dataclass(frozen=True)
class Pair:
    """The two hosts of a subject, joined by it, with the servers running on ``b``."""

    a: Host
    b: Host
    addresses: Addresses
    tools: Tools
    mtu: int  # of the interface that applications see

    def run(self, command: list[str], seconds: float) -> Values:
        values: Values = json.loads(self.a.run(command, timeout=seconds + 30).stdout)
        return values


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


def connect(a: Host, b: Host, addresses: Addresses, tools: Tools) -> Pair:
    """Starts the servers. They listen on every address. Raises LabError."""
    b.start(["iperf3", "--server", "--port", str(IPERF_PORT)], name="iperf3")
    b.start([tools.echo, "serve", str(ECHO_PORT)], name="echo")
    b.start([tools.echo, "serve-realtime", str(CONTROL_PORT)], name="echo-realtime")
    b.start([tools.frames, "count", str(COUNT_PORT)], name="frames")
    b.wait_listening(IPERF_PORT, "tcp")
    b.wait_listening(ECHO_PORT, "udp")
    b.wait_listening(CONTROL_PORT, "udp")
    b.wait_listening(COUNT_PORT, "udp")
    return Pair(a, b, addresses, tools, _mtu(a, addresses.a))


def _mtu(host: Host, address: str) -> int:
    for interface in json.loads(host.ip("-json address")):
        if any(entry.get("local") == address for entry in interface["addr_info"]):
            return int(interface["mtu"])
    raise LabError(f"{host.name} has no interface with the address {address}")


def _iperf(pair: Pair, seconds: float) -> list[str]:
    """cubic by name: BBR's pacing would hide what is measured. Whole seconds, as iperf3 wants them; 0 would not end."""
    command = ["iperf3", "--client", pair.addresses.b, "--port", str(IPERF_PORT), "--congestion", "cubic"]
    return [*command, "--time", str(math.ceil(seconds))]


def round_trip(pair: Pair, seconds: float) -> Values:
    command = [str(pair.tools.echo), "measure", pair.addresses.b, str(ECHO_PORT), str(seconds), str(PACKET)]
    return pair.run(command, seconds)


def frames(pair: Pair, seconds: float) -> Values:
    """The highest rate of the shortest frames, one way, of which at most 1 % are lost."""
    size = str(SMALLEST_PAYLOAD)
    command = [str(pair.tools.frames), "search", pair.addresses.b, str(COUNT_PORT), size, str(seconds)]
    return pair.run(command, seconds)


def tcp(pair: Pair, seconds: float) -> Values:
    """Goodput of one TCP stream, as the receiver counts it."""
    return _tcp(pair, seconds, 1)


def tcp_four(pair: Pair, seconds: float) -> Values:
    """The same of four together."""
    return _tcp(pair, seconds, 4)


def _tcp(pair: Pair, seconds: float, streams: int) -> Values:
    command = [*_iperf(pair, seconds), "--parallel", str(streams), "--json"]
    end = json.loads(pair.a.run(command, timeout=seconds + 30).stdout)["end"]
    received = end["sum_received"]
    return {
        "goodput_mbit_s": received["bits_per_second"] / 1e6,
        "bytes": received["bytes"],
        "retransmits": end["sum_sent"].get("retransmits", 0),
    }


def control(pair: Pair, seconds: float) -> Values:
    """Requests at 1 kHz beside one TCP stream that takes what it gets (``bulk_mbit_s``, as the underlay counts)."""
    return _control(pair, seconds, [])


def control_beside_100m(pair: Pair, seconds: float) -> Values:
    """The same beside one that its sender holds to 100 Mbit/s: the same work for all."""
    return _control(pair, seconds, ["--bitrate", "100M"])


def control_beside_500m(pair: Pair, seconds: float) -> Values:
    """The same beside 500 Mbit/s, more than most subjects carry."""
    return _control(pair, seconds, ["--bitrate", "500M"])


def round_trip_beside_500m(pair: Pair, seconds: float) -> Values:
    with _bulk(pair, seconds, ["--bitrate", "500M"]) as stream:
        values = round_trip(pair, seconds)
    return {**values, **stream}


def _control(pair: Pair, seconds: float, bulk_options: list[str]) -> Values:
    target = [pair.addresses.b, str(CONTROL_PORT), str(seconds), str(PACKET), str(CONTROL_PERIOD)]
    with _bulk(pair, seconds, bulk_options) as stream:
        values = pair.run([str(pair.tools.control), *target], seconds)
    values["missed_percent"] = 100 * values["missed"] / values["cycles"]
    return {**values, **stream}


@contextmanager
def _bulk(pair: Pair, seconds: float, options: list[str]) -> Iterator[Values]:
    """One TCP stream from before the body until after it, which takes ``seconds``. Yields what gets ``bulk_mbit_s``."""
    stream: Values = {}
    began = pair.a.counters("eth0")["tx_bytes"]
    bulk = pair.a.start([*_iperf(pair, seconds + 60), *options], name="bulk")
    try:

        def is_running() -> bool:
            if not bulk.running:
                raise LabError(f"the stream beside the control loop ended\n{bulk.log_text()}")
            return pair.a.counters("eth0")["tx_bytes"] > began + BULK_STARTED

        wait_for(is_running, 30.0, "the stream beside the control loop")
        before = pair.a.counters("eth0")["tx_bytes"]
        yield stream
        stream["bulk_mbit_s"] = 8 * (pair.a.counters("eth0")["tx_bytes"] - before) / 1e6 / seconds
    finally:
        bulk.stop()


class Measurement(NamedTuple):
    run: Callable[[Pair, float], Values]
    rate_mbit_s: float | None = None  # of the underlay; None: as fast as the machine
    is_control_loop: bool = False  # has a duration of its own
    on_demand: bool = False  # only when it is named: to compare our own data planes


MEASUREMENTS = {
    "round_trip": Measurement(round_trip),
    "frames": Measurement(frames),
    "tcp": Measurement(tcp),
    "tcp_four": Measurement(tcp_four),
    "tcp_1g": Measurement(tcp, 1000.0),
    "tcp_100m": Measurement(tcp, 100.0),
    "control": Measurement(control, is_control_loop=True),
    "control_100m": Measurement(control_beside_100m, is_control_loop=True),
    "control_500m": Measurement(control_beside_500m, is_control_loop=True, on_demand=True),
    "round_trip_500m": Measurement(round_trip_beside_500m, on_demand=True),
}
STANDARD = [name for name, measurement in MEASUREMENTS.items() if not measurement.on_demand]


def run_cell(subject: str, name: str, repetition: int, pair: Pair, seconds: float) -> Cell:
    """Raises LabError when the tool fails."""
    measurement = MEASUREMENTS[name]
    inodes = {os.stat(f"/run/netns/{host.namespace}").st_ino for host in (pair.a, pair.b, pair.a.lab.internet)}
    with shaped((pair.a, pair.b), measurement.rate_mbit_s):
        meter = LoadMeter(inodes)
        values = measurement.run(pair, seconds)
        load = meter.stop()
    if "bytes" in values:
        values["cpu_s_per_gb"] = load.own / (values["bytes"] / 1e9)
    if measurement.rate_mbit_s is not None:
        limit = tcp_limit(measurement.rate_mbit_s, pair.mtu)
        values["framing_limit_mbit_s"] = limit
        values["share_of_framing"] = values["goodput_mbit_s"] / limit
    return Cell(subject, name, repetition, values, load.elapsed, load.busy, load.steal, load.foreign)
