"""From cells to a summary, its table, and the file with everything."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table

from bench.measure import Cell

SCHEMA = 1
NOISY = 0.1  # share of the processors that others may take before a figure is marked


class Column(NamedTuple):
    key: str
    title: str
    short: str  # title in the table, which has to fit 80 characters
    unit: str
    measurement: str
    value: str
    more_is_better: bool
    digits: int


COLUMNS = (
    Column("tcp", "TCP goodput", "TCP", "Mbit/s", "tcp", "goodput_mbit_s", True, 0),
    Column("rtt_p50", "64-byte round trip p50", "64 B RTT p50", "µs", "round_trip", "p50_us", False, 1),
    Column("rtt_p99", "64-byte round trip p99", "64 B RTT p99", "µs", "round_trip", "p99_us", False, 1),
    Column("cpu", "CPU per GB of TCP", "CPU", "s/GB", "tcp", "cpu_s_per_gb", False, 2),
)


@dataclass(frozen=True)
class Figure:
    """One value of the table: over the repetitions of a subject."""

    median: float
    minimum: float
    maximum: float
    ratio: float | None  # median by that of raw; None without raw
    values: list[float]


Summary = dict[str, dict[str, Figure]]  # subject -> column key -> figure


def summarize(cells: Sequence[Cell]) -> Summary:
    summary: Summary = {}
    for subject in dict.fromkeys(cell.subject for cell in cells):
        for column in COLUMNS:
            values = [
                c.values[column.value] for c in cells if (c.subject, c.measurement) == (subject, column.measurement)
            ]
            if not values:
                continue
            median = statistics.median(values)
            raw = summary.get("raw", {}).get(column.key)
            ratio = median / raw.median if raw and raw.median else None
            figure = Figure(median, min(values), max(values), ratio, values)
            summary.setdefault(subject, {})[column.key] = figure
    return summary


def table(summary: Summary, cells: Sequence[Cell]) -> Table:
    repetitions = 1 + max(cell.repetition for cell in cells)
    view = Table(
        title=f"median of {repetitions}, its ratio to raw, lowest–highest", title_justify="left", box=SIMPLE_HEAD
    )
    view.add_column("subject", no_wrap=True)
    for column in COLUMNS:
        view.add_column(f"{column.short}\n{column.unit}", justify="right", no_wrap=True)
    for subject, figures in summary.items():
        row = [_figure_text(figures[column.key], column) if column.key in figures else "-" for column in COLUMNS]
        view.add_row(subject, *row)
    return view


def _figure_text(figure: Figure, column: Column) -> str:
    median, low, high = (f"{value:,.{column.digits}f}" for value in (figure.median, figure.minimum, figure.maximum))
    ratio = "" if figure.ratio is None else f"  x{figure.ratio:.3g}"
    return f"{median}{ratio}\n{low}–{high}"


def noise_line(cells: Sequence[Cell]) -> str:
    """How far the machine was ours while it was measured."""
    cpus = os.cpu_count() or 1
    elapsed = sum(cell.elapsed_s for cell in cells) * cpus
    steal = sum(cell.steal_s for cell in cells) / elapsed
    foreign = sum(cell.foreign_cpu_s for cell in cells) / elapsed
    noisy = [c for c in cells if c.steal_s + c.foreign_cpu_s > NOISY * c.elapsed_s * cpus]
    text = f"of {cpus} processors, the hypervisor took {steal:.1%} and other programs {foreign:.1%}"
    if noisy:
        text += (
            f"; {len(noisy)} of {len(cells)} cells had more than {NOISY:.0%} of it: see the cells before you trust them"
        )
    return text


def document(
    cells: Sequence[Cell], summary: Summary, settings: dict[str, object], skipped: dict[str, str], started: str
) -> dict[str, object]:
    """The JSON file. ``skipped``: subject -> reason."""
    return {
        "schema": SCHEMA,
        "started": started,
        "machine": machine(),
        "settings": settings,
        "skipped": skipped,
        "columns": [column._asdict() for column in COLUMNS],
        "summary": {subject: {key: asdict(f) for key, f in figures.items()} for subject, figures in summary.items()},
        "cells": [cell.as_dict() for cell in cells],
    }


def machine() -> dict[str, object]:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith(("model name", "Model"))
    ]
    iperf = subprocess.run(["iperf3", "--version"], capture_output=True, text=True).stdout.partition("\n")[0]
    return {
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "processor": models[0] if models else "unknown",
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "iperf3": iperf,
    }
