"""The benchmark runs, and its file has what later runs are compared by. Nothing here looks at how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.report import COLUMNS
from bench.subjects import find
from tools.netlab import unavailable

pytestmark = [pytest.mark.netns, pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))]
BENCH = Path(__file__).resolve().parents[2] / "bench" / "run.py"
PNG = b"\x89PNG\r\n\x1a\n"


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-B", BENCH, *arguments], capture_output=True, text=True, timeout=180)


def test_smoke(tmp_path: Path):
    pytest.importorskip("matplotlib")
    result = bench("--repetitions", "1", "--seconds", "0.5", "--out", str(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["schema"] == 1 and written["settings"]["congestion_control"] == "cubic"
    assert {"kernel", "processor", "processors", "python", "iperf3"} <= written["machine"].keys()
    subjects = [name for name in find() if name not in written["skipped"]]
    assert {"raw", "python"} <= set(subjects), written["skipped"]
    assert [(c["subject"], c["measurement"]) for c in written["cells"]] == [
        (subject, measurement) for measurement in ("tcp", "round_trip") for subject in subjects
    ]
    for cell in written["cells"]:
        assert {"elapsed_s", "busy_cpu_s", "steal_s", "foreign_cpu_s", "repetition"} <= cell.keys()
        assert all(value >= 0 for value in cell["values"].values())
    for subject in subjects:
        for column in COLUMNS:
            figure = written["summary"][subject][column.key]
            assert 0 < figure["minimum"] <= figure["median"] <= figure["maximum"]
            assert column.short in result.stdout
    for column in COLUMNS:
        assert (tmp_path / f"{column.key}.png").read_bytes().startswith(PNG)


def test_a_subject_that_does_not_come_up_is_skipped_with_its_reason(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("OMNI_TOKEN_FILE", str(tmp_path / "no such token"))
    result = bench("--repetitions", "1", "--seconds", "0.5", "--engine", "python", "--out", str(tmp_path))
    assert result.returncode == 0
    skipped = json.loads((tmp_path / "result.json").read_text())["skipped"]
    assert "token_file" in skipped["python"] and "skipped" in result.stdout


def test_an_unknown_subject_is_named(tmp_path: Path):
    result = bench("--subjects", "raw,warp", "--out", str(tmp_path))
    assert result.returncode == 1 and "no such subject: warp. There are raw" in result.stdout


@pytest.mark.parametrize("arguments", [["--repetitions", "0"], ["--seconds", "0"], ["--seconds", "x"]])
def test_senseless_settings_are_refused(arguments):
    assert bench(*arguments).returncode == 2
