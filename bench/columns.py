"""The columns of the table: which value of which measurement, and what it is held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

Relation: TypeAlias = Literal["ratio", "added", "none"]


class Column(NamedTuple):
    key: str
    title: str
    short: str  # title in the table, which has to be narrow
    unit: str
    measurement: str
    value: str
    more_is_better: bool
    digits: int
    relation: Relation = "ratio"  # to raw, in the same repetition
    share: str | None = None  # another value of the cell: share of what the framing allows
    scale: float = 1.0  # of the unit


COLUMNS = (
    Column("rtt_p50", "64-byte UDP round trip, p50", "RTT p50", "µs", "round_trip", "p50_us", False, 1, "added"),
    Column("rtt_p99", "64-byte UDP round trip, p99", "RTT p99", "µs", "round_trip", "p99_us", False, 1, "added"),
    Column(
        "frames", "64-byte frames, one way, at most 1 % lost", "64 B", "1000/s", "frames", "frames_per_s", True, 1,
        scale=1e-3,
    ),
    Column(
        "control", "1 kHz control loop beside bulk TCP: cycles missed", "late", "%", "control", "missed_percent",
        False, 2, "none",
    ),
    Column(
        "control_100m", "1 kHz control loop beside 100 Mbit/s of TCP: cycles missed", "late 100M", "%", "control_100m",
        "missed_percent", False, 2, "none",
    ),
    Column("tcp", "TCP goodput, one stream", "TCP", "Mbit/s", "tcp", "goodput_mbit_s", True, 0),
    Column("cpu", "CPU per GB of TCP", "CPU", "s/GB", "tcp", "cpu_s_per_gb", False, 2),
    Column("tcp_four", "TCP goodput, four streams", "TCP x4", "Mbit/s", "tcp_four", "goodput_mbit_s", True, 0),
    Column(
        "tcp_1g", "TCP goodput at 1 Gbit/s", "TCP 1G", "Mbit/s", "tcp_1g", "goodput_mbit_s", True, 1,
        share="share_of_framing",
    ),
    Column("cpu_1g", "CPU per GB of TCP at 1 Gbit/s", "CPU 1G", "s/GB", "tcp_1g", "cpu_s_per_gb", False, 2),
    Column(
        "tcp_100m", "TCP goodput at 100 Mbit/s", "TCP 100M", "Mbit/s", "tcp_100m", "goodput_mbit_s", True, 2,
        share="share_of_framing",
    ),
    Column(
        "control_500m", "1 kHz control loop beside 500 Mbit/s of TCP: cycles missed", "late 500M", "%", "control_500m",
        "missed_percent", False, 2, "none",
    ),
    Column(
        "rtt_500m_p50", "64-byte UDP round trip beside 500 Mbit/s of TCP, p50", "p50 500M", "µs", "round_trip_500m",
        "p50_us", False, 1, "added",
    ),
    Column(
        "rtt_500m_p99", "64-byte UDP round trip beside 500 Mbit/s of TCP, p99", "p99 500M", "µs", "round_trip_500m",
        "p99_us", False, 1, "added",
    ),
)  # fmt: skip


def value_of(column: Column, values: Mapping[str, float]) -> float:
    return values[column.value] * column.scale
