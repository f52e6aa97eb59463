"""The benchmark runs, and its file has what later runs are compared by. Nothing here looks at how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import compiling, framing
from bench.columns import COLUMNS
from bench.measure import MEASUREMENTS, STANDARD, connect, round_trip
from bench.subjects import KINDS, find
from tools.netlab import Host, Lab, read_pcap, unavailable

MISSING = unavailable() or compiling.unavailable()
pytestmark = [pytest.mark.alone, pytest.mark.netns, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]
BENCH = Path(__file__).resolve().parents[2] / "bench" / "run.py"
PNG = b"\x89PNG\r\n\x1a\n"
QUICK = ("--repetitions", "1", "--seconds", "0.3", "--control-seconds", "0.2")
PEERS = [name for name, subject in find().items() if subject.kind == "peer"]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-B", BENCH, *arguments], capture_output=True, text=True, timeout=180)


def test_every_measurement_of_raw_and_ours(tmp_path: Path):
    pytest.importorskip("matplotlib")
    result = bench(*QUICK, "--subjects", "raw,python", "--out", str(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["schema"] == 2 and written["settings"]["congestion_control"] == "cubic"
    assert {"kernel", "processor", "processors", "python", "iperf3"} <= written["machine"].keys()
    assert written["skipped"] == {} and written["failed"] == []
    assert {name: (s["kind"], s["mtu"]) for name, s in written["subjects"].items()} == {
        "raw": ("reference", 1500),
        "python": ("ours", 1418),
    }
    assert [(c["subject"], c["measurement"]) for c in written["cells"]] == [
        (subject, measurement) for measurement in STANDARD for subject in ("raw", "python")
    ]
    for cell in written["cells"]:
        assert {"elapsed_s", "busy_cpu_s", "steal_s", "foreign_cpu_s", "repetition"} <= cell.keys()
        assert all(value >= 0 for value in cell["values"].values()), cell
    values = {(c["subject"], c["measurement"]): c["values"] for c in written["cells"]}
    for (subject, measurement), found in values.items():
        if (rate := MEASUREMENTS[measurement].rate_mbit_s) is not None:
            limit = framing.tcp_limit(rate, written["subjects"][subject]["mtu"])
            assert found["framing_limit_mbit_s"] == pytest.approx(limit)
            assert found["goodput_mbit_s"] < 1.05 * limit, "the shaped link carries more than its rate"
        if MEASUREMENTS[measurement].is_control_loop:
            assert found["cycles"] == 200 and found["missed"] <= 200 and found["bulk_mbit_s"] > 0
    assert values["raw", "frames"]["frames_per_s"] > 0 and values["raw", "frames"]["loss"] <= 0.01
    table = (tmp_path / "table.txt").read_text()
    for column in (each for each in COLUMNS if each.measurement in STANDARD):
        for subject in ("raw", "python"):
            figure = written["summary"][subject][column.key]
            assert 0 <= figure["minimum"] <= figure["median"] <= figure["maximum"]
        assert column.short in result.stdout and column.short in table
        assert (tmp_path / f"{column.key}.png").read_bytes().startswith(PNG)


def test_a_subject_that_does_not_come_up_is_skipped_with_its_reason(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("OMNI_TOKEN_FILE", str(tmp_path / "no such token"))
    result = bench(*QUICK, "--engine", "python", "--measurements", "round_trip", "--out", str(tmp_path))
    assert result.returncode == 0
    written = json.loads((tmp_path / "result.json").read_text())
    assert "token_file" in written["skipped"]["python"] and "python: skipped" in result.stdout
    assert list(written["subjects"]) == ["raw"]


def test_an_unknown_subject_is_named(tmp_path: Path):
    result = bench("--subjects", "raw,warp", "--out", str(tmp_path))
    assert result.returncode == 1 and "no such subject: warp. There are raw" in result.stdout


@pytest.mark.parametrize(
    "arguments", [["--repetitions", "0"], ["--seconds", "0"], ["--seconds", "x"], ["--measurements", "speed"]]
)
def test_senseless_settings_are_refused(arguments):
    assert bench(*arguments).returncode == 2


def test_packages_to_install_are_those_of_the_peers_asked_for():
    missing = {package for name in PEERS for package in find()[name].missing_packages()}
    assert set(bench("--missing-packages").stdout.split()) == missing
    assert bench("--missing-packages", "--no-peers").stdout.split() == []


def test_subjects_come_in_order():
    subjects = list(find().values())
    assert subjects[0].name == "raw" and {"python", "kernel"} <= {s.name for s in subjects if s.kind == "ours"}
    assert [KINDS.index(s.kind) for s in subjects] == sorted(KINDS.index(s.kind) for s in subjects)


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_comes_up_and_fills_the_underlay_without_fragments(name: str):
    subject = find()[name]
    if (reason := subject.unavailable()) is not None:
        pytest.skip(f"{name}: {reason}")
    with Lab("peer") as lab:
        a, b = lab.host("a"), lab.host("b")
        try:
            pair = connect(a, b, subject.up(lab, a, b), compiling.build(lab.logs))
            assert round_trip(pair, 0.1)["count"] > 0
            ping = ["ping", "-c", "3", "-i", "0.01", "-M", "do", "-s", str(pair.mtu - 28), pair.addresses.b]
            capture = lab.capture()
            a.run(ping)
            sizes = [len(frame.data) - 14 for frame in read_pcap(capture.stop().path)]
            assert 1500 - 16 <= max(sizes) <= 1500  # a cipher may pad to whole blocks
            assert "3 received" in a.run(ping).stdout
            assert fragments(a) == fragments(b) == 0
        finally:
            subject.down()


def fragments(host: Host) -> int:
    """IPv4 fragments that the host has made."""
    names, values = (line.split() for line in host.run(["grep", "^Ip:", "/proc/net/snmp"]).stdout.splitlines())
    return int(values[names.index("FragCreates")])
