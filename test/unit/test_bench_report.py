"""The benchmark's arithmetic: percentiles, medians, ratios, processor time, and what the table says of the noise."""

from __future__ import annotations

import os
import time

import pytest
from rich.console import Console

from bench.echo import percentile
from bench.load import LoadMeter, processors
from bench.measure import Cell
from bench.report import document, noise_line, summarize, table


def cell(subject: str, repetition: int, goodput: float, foreign: float = 0.0, steal: float = 0.0) -> Cell:
    values = {"goodput_mbit_s": goodput, "cpu_s_per_gb": 8000 / goodput}
    return Cell(subject, "tcp", repetition, values, 1.0, 1.0, steal, foreign)


CELLS = [cell("raw", 0, 900), cell("python", 0, 90), cell("raw", 1, 1100), cell("python", 1, 80), cell("raw", 2, 1000)]


def test_summary_has_median_spread_and_ratio_to_raw():
    summary = summarize(CELLS)
    raw, python = summary["raw"]["tcp"], summary["python"]["tcp"]
    assert (raw.median, raw.minimum, raw.maximum, raw.values) == (1000, 900, 1100, [900, 1100, 1000])
    assert raw.ratio is None
    assert (python.median, python.ratio) == (85, 0.085)
    assert "rtt_p50" not in summary["raw"]


def test_ratios_need_raw():
    assert summarize([cell("python", 0, 90)])["python"]["tcp"].ratio is None


def test_table_shows_every_subject_and_a_dash_for_what_was_not_measured():
    console = Console(width=160, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(table(summarize(CELLS), CELLS))
    text = console.export_text()
    assert "python" in text and "85  x0.085" in text and "80–90" in text and " - " in text


@pytest.mark.parametrize(("foreign", "steal", "marked"), [(0.0, 0.0, False), (0.2, 0.0, True), (0.0, 0.2, True)])
def test_noise_is_said(monkeypatch, foreign, steal, marked):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    line = noise_line([cell("raw", 0, 900), cell("raw", 1, 900, foreign, steal)])
    assert ("1 of 2 cells" in line) is marked
    assert f"hypervisor took {steal / 2:.1%} and other programs {foreign / 2:.1%}" in line


def test_document_names_machine_settings_and_what_was_skipped():
    written = document(CELLS, summarize(CELLS), {"seconds": 1}, {"kernel": "no bcc"}, "2026-01-01T00:00:00+00:00")
    assert written["schema"] == 1 and written["skipped"] == {"kernel": "no bcc"}
    assert written["machine"]["processors"] == os.cpu_count()
    assert written["cells"][1]["subject"] == "python" and written["summary"]["python"]["tcp"]["ratio"] == 0.085


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 51), (0.99, 100), (1.0, 100)])
def test_percentile_is_the_nearest_rank(share, expected):
    assert percentile(list(range(1, 101)), share) == expected


def test_percentile_of_one_value():
    assert percentile([7], 0.99) == 7


def test_load_counts_our_work_and_calls_others_foreign():
    busy, _ = processors()
    meter = LoadMeter(namespaces=set())
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    load = meter.stop()
    assert processors()[0] - busy >= 5  # ticks of 10 ms
    assert load.elapsed >= 0.1 and load.busy >= 0.05 and 0 <= load.own <= load.busy
