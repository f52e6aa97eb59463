"""Alert rules, documentation and the systemd unit say what the Nucleus has."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from omni_core.constants import DRAIN_TIME
from omni_core.engines.nucleus_status import ClusterStatus, NucleusStatus, StoreStatus
from omni_core.io.meter import LAG_BOUNDS, Histogram, Traffic
from omni_core.io.nucleus_metrics import render
from omni_core.io.nucleus_snapshot import Snapshot
from omni_core.signaling.messages import Status

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "config/systemd/omni-nucleus.service"
NAME = re.compile(r"\bomni_nucleus_\w+")


@pytest.fixture(scope="module")
def samples() -> dict[str, set[str]]:
    """Name -> labels, of all that there can be."""
    cluster = ClusterStatus("fleet", False)
    cluster.count_refusal(Status.DENIED)
    status = NucleusStatus("key", "1", 0, [cluster], {"rate_limited": 1}, store=StoreStatus("redis", lag_s=1.0))
    _, body = render(Snapshot(status, True, Traffic(), Histogram(LAG_BOUNDS)), "")
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_alerts_use_metrics_and_labels_that_there_are(samples: dict[str, set[str]]) -> None:
    (group,) = yaml.safe_load((ROOT / "config/prometheus/omni_nucleus.rules.yml").read_text())["groups"]
    assert len(group["rules"]) >= 6
    for rule in group["rules"]:
        # The name of the job is the user's own; the other identifiers with this prefix are metrics.
        names = set(NAME.findall(rule["expr"])) - {"omni_nucleus"}
        assert names <= samples.keys(), names - samples.keys()
        has = set().union(*(samples[name] for name in names)) | {"instance"}
        for labels in re.findall(r"by \(([^)]*)\)", rule["expr"]):
            assert {label.strip() for label in labels.split(",")} <= has, rule["alert"]
        for label in re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())):
            assert label in has, (rule["alert"], label)
        assert rule["labels"]["severity"] in ("warning", "critical") and rule["annotations"]["description"]
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_every_metric_is_documented_and_no_other(samples: dict[str, set[str]]) -> None:
    text = (ROOT / "docs/nucleus.md").read_text()
    documented = set(NAME.findall(text)) - {"omni_nucleus_build"}
    documented |= {f"omni_nucleus_{counter}_total" for counter in re.findall(r"`_(\w+)_total`", text)}
    ours = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in samples if name.startswith("omni_nucleus_")}
    documented = {name for name in documented if f"docs/{name}" not in text and name != "omni_nucleus_rules"}
    assert ours <= documented, ours - documented
    assert documented <= ours, documented - ours


def test_the_unit_lets_a_drain_end() -> None:
    text = UNIT.read_text()
    stop = int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)[1])  # type: ignore[index]
    assert stop > DRAIN_TIME
    assert "Type=notify" in text and "WatchdogSec=" in text and "CapabilityBoundingSet=\n" in text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
@pytest.mark.parametrize("unit", ["omni-nucleus.service", "omni-ganglion.service"])
def test_systemd_understands_the_units(unit: str, tmp_path: Path) -> None:
    file = tmp_path / unit
    text = (ROOT / "config/systemd" / unit).read_text()
    file.write_text(text.replace("/usr/local/bin/omni", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True, timeout=60)
    assert unit not in done.stderr, done.stderr
