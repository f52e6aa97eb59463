"""The benchmark of discovery runs, and its file has what it printed. Nothing here looks at how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from tools.netlab import unavailable

pytestmark = [
    pytest.mark.alone,
    pytest.mark.netns,
    pytest.mark.ros,
    pytest.mark.skipif(unavailable() is not None, reason="no labs here"),
]

REPO = Path(__file__).resolve().parents[2]


def test_times_of_every_subject(tmp_path: Path) -> None:
    out = tmp_path / "discovery.json"
    options = ["--parts", "pair,late", "--repetitions", "1", "--engine", "native", "--out", str(out)]
    command = [sys.executable, "-B", "-m", "bench.discovery", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=REPO)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert list(found["times"]) == ["raw", "without", "with"]
    for name, times in found["times"].items():
        assert [len(times[part]) for part in ("pair", "late")] == [1, 1], name
        assert f"| `{name}` | {times['pair'][0]:.2f} (" in done.stdout
    assert 0 <= found["times_load"]["steal"] <= 1
