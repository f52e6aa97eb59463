"""From cells to a summary, its table, the lines below it, and the file with everything."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from bench.columns import COLUMNS, Column, value_of
from bench.measure import Cell

SCHEMA = 2
NOISY = 0.1  # share of the processors that others may take before a figure is marked
WIDTH = 132  # characters that the table takes


@dataclass(frozen=True)
class Figure:
    """One value of the table: over the repetitions of a subject."""

    median: float
    minimum: float
    maximum: float
    relation: float | None  # median over the repetitions of the ratio to raw, or of what is added to it
    share_of_framing: float | None
    values: list[float]


Summary = dict[str, dict[str, Figure]]  # subject -> column key -> figure


def summarize(cells: Sequence[Cell]) -> Summary:
    by_place = {(cell.subject, cell.measurement, cell.repetition): cell.values for cell in cells}
    repetitions = sorted({cell.repetition for cell in cells})
    summary: Summary = {}
    for subject in dict.fromkeys(cell.subject for cell in cells):
        for column in COLUMNS:
            rows = {n: by_place[place] for n in repetitions if (place := (subject, column.measurement, n)) in by_place}
            if not rows:
                continue
            values = [value_of(column, row) for row in rows.values()]
            relations = [
                related
                for n, row in rows.items()
                if subject != "raw"
                and (raw := by_place.get(("raw", column.measurement, n))) is not None
                and (related := _relation(column, value_of(column, row), value_of(column, raw))) is not None
            ]
            shares = [row[column.share] for row in rows.values()] if column.share else []
            summary.setdefault(subject, {})[column.key] = Figure(
                statistics.median(values),
                min(values),
                max(values),
                statistics.median(relations) if relations else None,
                statistics.median(shares) if shares else None,
                values,
            )
    return summary


def _relation(column: Column, value: float, raw: float) -> float | None:
    if column.relation == "added":
        return value - raw
    return value / raw if column.relation == "ratio" and raw else None


def table(summary: Summary, cells: Sequence[Cell]) -> Table:
    repetitions = 1 + max(cell.repetition for cell in cells)
    view = Table(
        title=f"median of {repetitions}; next to raw in the same turn (+ added, x ratio); lowest–highest; % of framing",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
        pad_edge=False,
    )
    view.add_column("subject", no_wrap=True)
    shown = [column for column in COLUMNS if any(column.key in figures for figures in summary.values())]
    for column in shown:
        view.add_column(f"{column.short}\n{column.unit}", justify="right", no_wrap=True)
    for subject, figures in summary.items():
        row = [_figure_text(figures[column.key], column) if column.key in figures else "-" for column in shown]
        view.add_row(subject, *row)
    return view


def _figure_text(figure: Figure, column: Column) -> str:
    median = f"{figure.median:,.{column.digits}f}"
    spread = f"{_short(figure.minimum)}–{_short(figure.maximum)}" if len(figure.values) > 1 else None
    share = None if figure.share_of_framing is None else f"{figure.share_of_framing:.1%}"
    return "\n".join(filter(None, (median, relation_text(figure, column), share, spread)))


def _short(value: float) -> str:
    """Three digits that count, and no more than five characters."""
    if value >= 9995:
        return f"{value / 1000:.3g}k"
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def relation_text(figure: Figure, column: Column) -> str:
    """Empty when there is none."""
    if figure.relation is None:
        return ""
    return f"{figure.relation:+,.{column.digits}f}" if column.relation == "added" else f"x{figure.relation:.3g}"


def verdict(summary: Summary, kinds: Mapping[str, str]) -> list[str]:
    """Where a peer is ahead of ours, by medians, and where none is; one line per column."""
    lines = []
    for column in COLUMNS:
        medians = {name: figures[column.key].median for name, figures in summary.items() if column.key in figures}
        ours = {name: median for name, median in medians.items() if kinds[name] == "ours"}
        peers = {name: median for name, median in medians.items() if kinds[name] == "peer"}
        if not ours or not peers:
            continue
        sign = -1 if column.more_is_better else 1
        best = min(ours, key=lambda name: sign * ours[name])
        ahead = sorted((n for n in peers if sign * peers[n] < sign * ours[best]), key=lambda n: sign * peers[n])
        held = f"{best} {ours[best]:,.{column.digits}f} {column.unit}"
        if ahead:
            names = ", ".join(f"{name} {peers[name]:,.{column.digits}f}" for name in ahead)
            lines.append(f"{column.title}: AHEAD OF OURS: {names} (our best: {held})")
        else:
            nearest = min(peers, key=lambda name: sign * peers[name])
            lines.append(
                f"{column.title}: no peer ahead of ours ({held}; best peer: {nearest} "
                f"{peers[nearest]:,.{column.digits}f})"
            )
    return lines


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
    cells: Sequence[Cell],
    summary: Summary,
    subjects: Mapping[str, Mapping[str, object]],
    settings: Mapping[str, object],
    skipped: Mapping[str, str],
    failed: Sequence[Mapping[str, object]],
    started: str,
) -> dict[str, object]:
    """The JSON file. ``subjects``: what each is; ``skipped``: subject -> reason; ``failed``: cells without a value."""
    return {
        "schema": SCHEMA,
        "started": started,
        "machine": machine(),
        "settings": settings,
        "subjects": subjects,
        "skipped": skipped,
        "failed": failed,
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
