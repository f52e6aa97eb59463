"""Verdicts for /diagnostics: levels at their thresholds, names, what is not known, rates, the DDS set-up."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from omni_core.config.node_parameters import GANGLION_FIELDS, NUCLEUS_FIELDS, Limits, read_limits
from omni_core.dds.settings import SETTINGS
from omni_core.engines import nucleus_status
from omni_core.engines.status import GanglionStatus, NucleusLink, PeerStatus
from omni_core.errors import ConfigError
from omni_ros2 import diagnostics
from omni_ros2.diagnostics import DropRate, Level, Verdict
from omni_ros2.diagnostics_dds import DdsFacts, dds_setup, look

ROOT = Path(__file__).parents[2]
LIMITS = read_limits(GANGLION_FIELDS, {})
NUCLEUS_LIMITS = read_limits(NUCLEUS_FIELDS, {})


def make_peer(**changes: Any) -> PeerStatus:
    base = PeerStatus(
        public_key="K" * 43, name="robot2", vip4="10.77.0.2", vip6="fd00::2", mac="02:00:00:00:00:02", state="up",
        endpoint="192.0.2.7:51820", rtt_s=0.01, session_age_s=3.0, last_rx_age_s=1.0,
        tx_frames=1, tx_bytes=100, rx_frames=1, rx_bytes=100, waiting_frames=0,
    )  # fmt: skip
    return replace(base, **changes)


def make_status(**changes: Any) -> GanglionStatus:
    base = GanglionStatus(
        state="running", engine="kernel", cluster="warehouse", name="robot1", public_key="A" * 43, vip4="10.77.0.1/24",
        vip6="fd00::1", mac="02:00:00:00:00:01", interface_mtu=1418, nucleus_state="registered", nucleus_reason="",
        observed_endpoint="198.51.100.1:51820", cluster_size=2, on_demand=False, fdb_entries=2, waiting_frames=0,
        tx_frames=10, tx_bytes=1000, rx_frames=10, rx_bytes=1000, peers=[make_peer()], drops={},
    )  # fmt: skip
    return replace(base, **changes)


@pytest.mark.parametrize(
    ("changes", "level", "said"),
    [
        ({}, Level.OK, "up, round trip 10.0 ms"),
        ({"rtt_s": None}, Level.OK, "not measured"),
        ({"rtt_s": LIMITS.rtt_warn}, Level.OK, "up"),
        ({"rtt_s": LIMITS.rtt_warn + 0.001}, Level.WARN, "round trip 301.0 ms"),
        ({"rtt_s": LIMITS.rtt_error + 0.001}, Level.ERROR, "round trip"),
        ({"loss": LIMITS.loss_warn}, Level.OK, "up"),
        ({"loss": 0.06}, Level.WARN, "loss 6.0 %"),
        ({"loss": 0.5}, Level.ERROR, "loss 50.0 %"),
        ({"loss": 0.5, "rtt_s": 0.4}, Level.ERROR, "loss 50.0 %, round trip 400.0 ms"),
        ({"state": "idle", "rtt_s": 9.0}, Level.OK, "idle"),
        ({"state": "handshaking"}, Level.WARN, "handshake"),
        ({"state": "lost"}, Level.ERROR, "does not answer"),
    ],
)
def test_peer(changes: dict[str, Any], level: Level, said: str) -> None:
    verdict = diagnostics.peer("peer robot2", make_peer(**changes), LIMITS)
    assert (verdict.name, verdict.level) == ("peer robot2", level)
    assert said in verdict.message


def test_names_of_peers_are_never_the_same() -> None:
    peers = [
        make_peer(public_key=letter * 43, name=name)
        for letter, name in (("A", "robot2"), ("B", "robot3"), ("C", "robot3"), ("D", ""), ("E", ""))
    ]
    names = diagnostics.peer_names(peers)
    assert len(set(names.values())) == len(peers)
    assert names["A" * 43] == "peer robot2"
    assert names["B" * 43] == "peer robot3 BBBBBBBB"


@pytest.mark.parametrize(
    ("state", "reason", "since", "level", "said"),
    [
        ("none", "", 0.0, Level.OK, "no Nucleus"),
        ("registered", "", 5.0, Level.OK, "2 edges"),
        ("refused", "the secret is wrong", 0.0, Level.ERROR, "the secret is wrong"),
        ("connecting", "", 29.0, Level.WARN, "29 s"),
        ("connecting", "no answer from 192.0.2.1:51820", 30.0, Level.ERROR, "no answer from"),
        ("idle", "", 1.0, Level.WARN, "not registered"),
    ],
)
def test_nucleus_link(state: str, reason: str, since: float, level: Level, said: str) -> None:
    verdict = diagnostics.nucleus_link(make_status(nucleus_state=state, nucleus_reason=reason), since, LIMITS)
    assert verdict.level == level and said in verdict.message


@pytest.mark.parametrize(
    ("offset", "error", "level"),
    [
        (None, None, Level.OK),
        (0.019, 0.001, Level.OK),
        (-0.03, 0.001, Level.WARN),
        (0.03, 0.02, Level.OK),  # it may be 10 ms only
        (3600.0, 0.001, Level.ERROR),
    ],
)
def test_clock_offset(offset: float | None, error: float | None, level: Level) -> None:
    good = make_peer(public_key="G" * 43, name="good", clock_offset_s=0.0, clock_error_s=0.0)
    peers = [good, make_peer(clock_offset_s=offset, clock_error_s=error)]
    verdict = diagnostics.clock_offset(diagnostics.peer_names(peers), peers, LIMITS)
    assert verdict.level == level
    assert ("peer robot2" in verdict.message) == (level != Level.OK)


def test_the_clock_of_a_peer_that_is_down_is_not_judged() -> None:
    peers = [make_peer(state="lost", clock_offset_s=9.0, clock_error_s=0.0)]
    assert "no peer" in diagnostics.clock_offset(diagnostics.peer_names(peers), peers, LIMITS).message


def test_drop_rate_is_the_mean_of_the_window() -> None:
    rate = DropRate()
    assert rate.judge({"bad_tag": 5000}, 0.0, LIMITS).level == Level.OK  # what was before is no rate
    for second in range(1, 11):
        verdict = rate.judge({"bad_tag": 5000 + 20 * second}, float(second), LIMITS)
        assert verdict.level == Level.WARN
        assert verdict.message == "20.0 drops/s: bad_tag 20.0/s"
    for second in range(11, 31):
        verdict = rate.judge({"bad_tag": 5200}, float(second), LIMITS)
    assert verdict.level == Level.OK and verdict.message == "0.0 drops/s"
    assert ("bad_tag", "5200") in verdict.values
    verdict = rate.judge({"bad_tag": 5200, "no_path": 100_000}, 31.0, LIMITS)
    assert verdict.level == Level.ERROR and "no_path" in verdict.message


def test_counters_that_begin_anew_are_no_negative_rate() -> None:
    rate = DropRate()
    rate.judge({"bad_tag": 100}, 0.0, LIMITS)
    assert rate.judge({"bad_tag": 3}, 1.0, LIMITS).message == "0.0 drops/s"
    assert rate.judge({"bad_tag": 33}, 2.0, LIMITS).message == "30.0 drops/s: bad_tag 30.0/s"


def test_the_drop_window_is_bounded() -> None:
    rate = DropRate()
    for step in range(10_000):
        rate.judge({}, 0.1 * step, LIMITS)
    assert len(rate._seen) <= LIMITS.window / 0.1 + 2


def test_state_and_identity() -> None:
    assert diagnostics.state("active", "").level == Level.OK
    assert diagnostics.state("inactive", "").level == diagnostics.state("unconfigured", "").level == Level.WARN
    failed = diagnostics.state("unconfigured", "configure failed: key_file: is missing. Fix: omni keygen")
    assert failed.level == Level.ERROR and "Fix: omni keygen" in failed.message
    assert diagnostics.identity(make_status(), "omni0", "").level == Level.OK
    assert diagnostics.identity(make_status(), "omni0", "two robots have 10.77.0.1").level == Level.WARN


def good_settings() -> dict[str, int]:
    return {setting.key: setting.wanted for setting in SETTINGS}


DDS_ENVIRONMENTS: list[tuple[dict[str, str], str, dict[str, str], Level, str]] = [
    ({}, "rmw_fastrtps_cpp", {}, Level.OK, "not bound"),
    ({"FASTDDS_DEFAULT_PROFILES_FILE": "/p"}, "rmw_fastrtps_cpp",
     {"/p": '<allowlist><interface name="omni0"/></allowlist>'}, Level.OK, "bound to omni0"),
    ({"FASTRTPS_DEFAULT_PROFILES_FILE": "/p", "ROS_DISTRO": "jazzy"}, "rmw_fastrtps_cpp",
     {"/p": "<interfaceWhiteList><address>10.77.0.1</address></interfaceWhiteList>"}, Level.OK, "bound to omni0"),
    ({"FASTDDS_DEFAULT_PROFILES_FILE": "/p"}, "rmw_fastrtps_cpp",
     {"/p": '<allowlist><interface name="omni01"/></allowlist>'}, Level.WARN, "leaves omni0 out"),
    ({"FASTDDS_DEFAULT_PROFILES_FILE": "/gone"}, "rmw_fastrtps_cpp", {}, Level.WARN, "cannot be read"),
    ({"CYCLONEDDS_URI": "file:///p"}, "rmw_cyclonedds_cpp",
     {"/p": '<NetworkInterface name="omni0"/>'}, Level.OK, "bound to omni0"),
    ({"CYCLONEDDS_URI": '<CycloneDDS><NetworkInterface name="wlan0"/></CycloneDDS>'}, "rmw_cyclonedds_cpp", {},
     Level.WARN, "leaves omni0 out"),
    ({"CYCLONEDDS_URI": '<NetworkInterface name="wlan0"/>'}, "rmw_fastrtps_cpp", {}, Level.OK, "not bound"),
    ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, "rmw_fastrtps_cpp", {}, Level.OK, "this machine alone"),
    ({"ROS_LOCALHOST_ONLY": "1"}, "rmw_fastrtps_cpp", {}, Level.OK, "this machine alone"),
    ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}, "rmw_fastrtps_cpp", {}, Level.WARN, "RANGE=OFF: this process"),
    ({"ROS_LOCALHOST_ONLY": "0", "ROS_DOMAIN_ID": "7"}, "rmw_zenoh_cpp", {}, Level.OK, "domain 7"),
    ({"ROS_DOMAIN_ID": "300"}, "rmw_fastrtps_cpp", {}, Level.WARN, "ROS_DOMAIN_ID"),
]  # fmt: skip


@pytest.mark.parametrize(("environment", "rmw", "files", "level", "said"), DDS_ENVIRONMENTS)
def test_dds_setup(environment: dict[str, str], rmw: str, files: dict[str, str], level: Level, said: str) -> None:
    facts = look(environment, rmw, files.get)
    verdict = dds_setup(facts, "omni0", ("10.77.0.1", "fd00::1"), [0], judges_settings=True)
    assert verdict.level == level and said in verdict.message
    assert ("RMW implementation", rmw) in verdict.values


def test_kernel_settings_of_dds() -> None:
    low = {setting.key: setting.wanted - 1 if setting.at_least else setting.wanted + 1 for setting in SETTINGS}
    for key, value in low.items():
        facts = DdsFacts("rmw_fastrtps_cpp", 0, settings={**good_settings(), key: value})
        verdict = dds_setup(facts, "omni0", (), [], judges_settings=True)
        assert verdict.level == Level.WARN and f"{key} is {value}" in verdict.message
        assert dds_setup(facts, "omni0", (), [], judges_settings=False).level == Level.OK
    read = look({}, "rmw_fastrtps_cpp", {setting.path: f"{setting.wanted}\n" for setting in SETTINGS}.get)
    assert read.settings == good_settings()
    assert look({}, "rmw_fastrtps_cpp", lambda path: None).settings == {}


def test_thresholds_come_in_pairs() -> None:
    assert read_limits(NUCLEUS_FIELDS, {}) == Limits(
        drop_rate_warn=10.0, drop_rate_error=1000.0, window=10.0, refusal_rate_warn=1.0, pool_warn=0.9
    )
    with pytest.raises(ConfigError, match=r"diagnostics_loss_warn: 0.3 is above diagnostics_loss_error"):
        read_limits(GANGLION_FIELDS, {"diagnostics_loss_warn": 0.3})
    for name in (field.name for field in GANGLION_FIELDS if field.name.endswith("_warn")):
        assert name.removesuffix("_warn") + "_error" in {field.name for field in GANGLION_FIELDS}


@pytest.mark.parametrize(
    ("refusals", "leases", "pool", "level", "said"),
    [
        (0.0, 0, 0, Level.OK, "7 edges"),
        (1.0, 90, 100, Level.OK, "7 edges"),
        (1.1, 0, 0, Level.WARN, "1.1 registrations/s are refused"),
        (0.0, 91, 100, Level.WARN, "91 of the 100 VIP4s of the pool are leased"),
    ],
)
def test_a_cluster_of_a_nucleus(refusals: float, leases: int, pool: int, level: Level, said: str) -> None:
    status = nucleus_status.ClusterStatus("warehouse", open=True, edges=7, leases=leases, pool=pool)
    status.refused = {"address_taken": 3}
    verdict = diagnostics.cluster(status, refusals, NUCLEUS_LIMITS)
    assert verdict.level == level and said in verdict.message
    assert ("refused: address_taken", "3") in verdict.values


def test_a_store_that_is_away_and_a_nucleus_that_drains() -> None:
    assert diagnostics.store(nucleus_status.StoreStatus()).level == Level.OK
    away = nucleus_status.StoreStatus("redis", "redis://h:6379/0", False, "connection refused", 12.0, 13.5)
    verdict = diagnostics.store(away)
    assert verdict.level == Level.WARN and "from memory: connection refused" in verdict.message
    status = nucleus_status.NucleusStatus("A", "0", 0, users=3)
    assert diagnostics.nucleus_identity(status, 51820).level == Level.OK
    status.draining = True
    drains = diagnostics.nucleus_identity(status, 51820)
    assert drains.level == Level.WARN and "3 are still here" in drains.message


def link(role: str, state: str) -> NucleusLink:
    return NucleusLink("192.0.2.1:51820", "AAAA", role, state, "", None, None, 0.012, draining=False)


def test_a_robot_whose_other_nuclei_are_silent() -> None:
    used, warm, silent = link("active", "registered"), link("standby", "standby"), link("standby", "connecting")
    later = LIMITS.nucleus_timeout

    def level(nuclei: list[NucleusLink], since: float) -> Level:
        return diagnostics.nucleus_link(make_status(nuclei=nuclei), since, LIMITS).level

    assert level([used], later) == level([used, warm], later) == level([used, silent], later - 1) == Level.OK
    assert level([used, silent], later) == Level.WARN
    values = dict(diagnostics.nucleus_link(make_status(nuclei=[used]), 0.0, LIMITS).values)
    assert values["Nucleus 192.0.2.1:51820"] == "active, registered, 12.0 ms"


def all_tasks() -> list[str]:
    verdicts = [
        diagnostics.state("active", ""),
        diagnostics.identity(make_status(), "omni0", ""),
        diagnostics.nucleus_link(make_status(), 0.0, LIMITS),
        diagnostics.peer("peer robot2", make_peer(), LIMITS),
        diagnostics.clock_offset({}, [], LIMITS),
        DropRate().judge({}, 0.0, LIMITS),
        dds_setup(DdsFacts("rmw_fastrtps_cpp", 0), "omni0", (), [], judges_settings=True),
    ]
    return [verdict.name for verdict in verdicts]


def nucleus_tasks() -> list[str]:
    verdicts: list[Verdict] = [
        diagnostics.state("active", ""),
        diagnostics.nucleus_identity(nucleus_status.NucleusStatus("A", "0", 0), 51820),
        diagnostics.cluster(nucleus_status.ClusterStatus("warehouse", open=True), 0.0, NUCLEUS_LIMITS),
        diagnostics.store(nucleus_status.StoreStatus()),
        DropRate().judge({}, 0.0, LIMITS),
    ]
    return [verdict.name for verdict in verdicts]


def test_the_aggregator_has_one_place_for_each_task() -> None:
    tree = yaml.safe_load((ROOT / "config/diagnostics_aggregator.yaml").read_text())
    analyzers = tree["/**"]["ros__parameters"]["overlay"]["analyzers"]
    patterns = [pattern for analyzer in analyzers.values() for pattern in analyzer["regex"]]
    names = [f"{prefix}ganglion: {task}" for task in all_tasks() for prefix in ("", "robot1/", "fleet/robot1/")]
    names += [f"{prefix}nucleus: {task}" for task in nucleus_tasks() for prefix in ("", "server/")]
    for name in names:
        assert sum(bool(re.fullmatch(pattern, name)) for pattern in patterns) == 1, name


def test_every_task_and_threshold_is_documented() -> None:
    text = (ROOT / "docs/diagnostics.md").read_text()
    for task in {*all_tasks(), *nucleus_tasks()}:
        shown = task.replace("robot2", "NAME").replace("warehouse", "NAME")
        assert f"`{shown}`" in text, task
    for field in (*GANGLION_FIELDS, *NUCLEUS_FIELDS):
        if field.name not in ("autostart",):
            assert f"`{field.name}`" in text, field.name
