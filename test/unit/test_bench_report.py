"""The benchmark's arithmetic: medians, what they are held against, framing, processor time, lines below the table."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from bench.columns import COLUMNS
from bench.framing import WIRE_BYTES, tcp_limit, tcp_payload
from bench.load import LoadMeter, processors
from bench.measure import STANDARD, Cell
from bench.report import WIDTH, document, noise_line, summarize, table, verdict
from omni_core.constants import ETHERNET_HEADER, IPV4_OVERHEAD

KINDS = {"raw": "reference", "python": "ours", "kernel": "ours", "fastd": "peer", "tinc": "peer"}


def cell(subject: str, repetition: int, goodput: float, foreign: float = 0.0, steal: float = 0.0) -> Cell:
    values = {"goodput_mbit_s": goodput, "cpu_s_per_gb": 8000 / goodput}
    return Cell(subject, "tcp", repetition, values, 1.0, 1.0, steal, foreign)


CELLS = [
    cell("raw", 0, 900), cell("python", 0, 90), cell("raw", 1, 1100), cell("python", 1, 88), cell("raw", 2, 1000),
]  # fmt: skip


def text_of(cells: Sequence[Cell], width: int = 160) -> str:
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(table(summarize(cells), cells))
    return console.export_text()


def test_summary_has_median_spread_and_ratio_to_raw_of_the_same_turn():
    summary = summarize(CELLS)
    raw, python = summary["raw"]["tcp"], summary["python"]["tcp"]
    assert (raw.median, raw.minimum, raw.maximum, raw.values) == (1000, 900, 1100, [900, 1100, 1000])
    assert raw.relation is None
    assert python.median == 89
    assert python.relation == pytest.approx((90 / 900 + 88 / 1100) / 2)
    assert "rtt_p50" not in summary["raw"]


def test_a_round_trip_is_held_against_raw_by_what_it_adds():
    rows = [("raw", 0, 20.0), ("python", 0, 120.0), ("raw", 1, 40.0), ("python", 1, 150.0)]
    cells = [Cell(s, "round_trip", n, {"p50_us": p50, "p99_us": 2 * p50}, 1, 1, 0, 0) for s, n, p50 in rows]
    figure = summarize(cells)["python"]["rtt_p50"]
    assert (figure.median, figure.relation) == (135, 105)
    assert "+105.0" in text_of(cells)


def test_relations_need_raw():
    assert summarize([cell("python", 0, 90)])["python"]["tcp"].relation is None


def test_framing_of_our_overlay_and_of_raw():
    mtu = 1500 - IPV4_OVERHEAD - ETHERNET_HEADER
    assert (mtu, tcp_payload(mtu), WIRE_BYTES) == (1418, 1366, 1538)
    assert round(tcp_limit(1000, mtu)) == 888
    assert round(tcp_limit(1000, 1500), 1) == 941.5


def test_table_shows_every_subject_and_a_dash_for_what_was_not_measured():
    raw_only = Cell("raw", "round_trip", 0, {"p50_us": 20.0, "p99_us": 30.0}, 1, 1, 0, 0)
    text = text_of([*CELLS, raw_only])
    assert "python" in text and "x0.09" in text and "88.0–90.0" in text and " - " in text
    assert "RTT p50" in text and "TCP 1G" not in text, "nobody has measured it"


def test_table_is_never_cut():
    values = {column.value: 987.6 for column in COLUMNS} | {column.share: 0.9876 for column in COLUMNS if column.share}
    values |= {"missed_percent": 50.0, "frames_per_s": 987_654.3}
    cells = [
        Cell(subject, measurement, repetition, {k: v * (1 + repetition) for k, v in values.items()}, 1, 1, 0, 0)
        for subject in ("raw", "wireguard-go")
        for measurement in STANDARD
        for repetition in (0, 1)
    ]
    text = text_of(cells, WIDTH)
    assert "wireguard-go" in text and "…" not in text


def test_verdict_says_where_a_peer_is_ahead_and_where_none_is():
    rates = {"raw": 900, "python": 50, "kernel": 90, "fastd": 95, "tinc": 80}
    cells = [cell(subject, 0, rate) for subject, rate in rates.items()]
    goodput, cpu = verdict(summarize(cells), KINDS)
    assert goodput == "TCP goodput, one stream: AHEAD OF OURS: fastd 95 (our best: kernel 90 Mbit/s)"
    assert cpu.startswith("CPU per GB of TCP: AHEAD OF OURS: fastd 84.21 (our best")
    slower = [replace(c, values=cell("fastd", 0, 60).values) if c.subject == "fastd" else c for c in cells]
    goodput, _ = verdict(summarize(slower), KINDS)
    assert goodput == "TCP goodput, one stream: no peer ahead of ours (kernel 90 Mbit/s; best peer: tinc 80)"


def test_verdict_without_peers_says_nothing():
    assert verdict(summarize(CELLS), KINDS) == []


@pytest.mark.parametrize(("foreign", "steal", "marked"), [(0.0, 0.0, False), (0.2, 0.0, True), (0.0, 0.2, True)])
def test_noise_is_said(monkeypatch, foreign, steal, marked):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    line = noise_line([cell("raw", 0, 900), cell("raw", 1, 900, foreign, steal)])
    assert ("1 of 2 cells" in line) is marked
    assert f"hypervisor took {steal / 2:.1%} and other programs {foreign / 2:.1%}" in line


def test_document_names_machine_settings_and_what_was_skipped():
    subjects: Mapping[str, Mapping[str, object]] = {"raw": {"kind": "reference"}}
    failed = [{"subject": "tinc", "measurement": "tcp", "repetition": 0, "why": "broken pipe"}]
    written = document(CELLS, summarize(CELLS), subjects, {"seconds": 1}, {"kernel": "no bcc"}, failed, "2026-01-01")
    assert written["schema"] == 2 and written["skipped"] == {"kernel": "no bcc"} and written["failed"] == failed
    assert written["machine"]["processors"] == os.cpu_count() and written["subjects"] == subjects
    assert written["cells"][1]["subject"] == "python"
    assert written["summary"]["python"]["tcp"]["relation"] == pytest.approx(0.09)


def test_load_counts_our_work_and_calls_others_foreign():
    busy, _ = processors()
    meter = LoadMeter(namespaces=set())
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    load = meter.stop()
    assert processors()[0] - busy >= 5  # ticks of 10 ms
    assert load.elapsed >= 0.1 and load.busy >= 0.05 and 0 <= load.own <= load.busy
