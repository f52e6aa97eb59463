"""Parameters: declared as the configuration's tables say, wrong values refused at run time, never the process's end."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from support.managed_node import managed
from support.own_network import interfaces

from omni_core.config import ganglion, node_parameters, nucleus
from omni_core.config.schema import Field
from omni_ros2.ganglion_node import GanglionNode
from omni_ros2.nucleus_node import NucleusNode

pytestmark = [pytest.mark.ros, pytest.mark.netns, pytest.mark.usefixtures("robot_network")]

Parameters = dict[str, object]


@pytest.mark.parametrize(
    ("node_class", "fields"),
    [
        (GanglionNode, (*ganglion.FIELDS, *node_parameters.GANGLION_FIELDS)),
        (NucleusNode, (*nucleus.FIELDS, *node_parameters.NUCLEUS_FIELDS)),
    ],
    ids=["ganglion", "nucleus"],
)
def test_every_field_is_declared_as_its_table_says(node_class: Callable[..., Any], fields: Sequence[Field]) -> None:
    with managed(node_class, {}) as (_, remote):
        described = remote.describe()
        for field in fields:
            descriptor = described[field.name]
            assert descriptor.description == field.description
            assert descriptor.read_only == field.read_only
            if field.minimum is not None:
                (limits,) = [*descriptor.integer_range, *descriptor.floating_point_range]
                assert (limits.from_value, limits.to_value) == (field.minimum, field.maximum)
            if field.type != "string_array":
                assert remote.get(field.name) == field.default
        # Nothing else is declared, but what rclpy declares itself.
        assert set(described) - {field.name for field in fields} <= {"use_sim_time", "start_type_description_service"}


REFUSED_AT_RUN_TIME = [
    ("listen_port", 65536),
    ("listen_port", -1),
    ("listen_port", "51820"),
    ("mtu", 100),  # in the declared range, but between 0 and what IPv6 needs
    ("mtu", 1e3),
    ("fdb_ageing", 0.0),
    ("fdb_ageing", float("nan")),
    ("engine", "quantum"),
    ("cluster", "ware house"),
    ("nucleus", ["10.0.0.1:99999"]),
    ("static_peers", ["nobody@10.0.0.1:1"]),
    ("vip4", "10.77.0.300/24"),
    ("nucleus_key", "short"),
    ("interface", "omni1"),  # read-only
    ("status_period", -1.0),
    ("diagnostics_period", 0.0),
    ("diagnostics_loss_warn", 1.1),
    ("diagnostics_loss_warn", 0.5),  # above diagnostics_loss_error
    ("diagnostics_rtt_error", 0.1),  # below diagnostics_rtt_warn
    ("diagnostics_window", 10),
    ("autostart", True),  # read-only
]


@pytest.mark.parametrize(("name", "value"), REFUSED_AT_RUN_TIME, ids=lambda value: str(value)[:20])
def test_a_wrong_value_is_refused_and_nothing_changes(name: str, value: Any, ganglion_parameters: Parameters) -> None:
    with managed(GanglionNode, ganglion_parameters) as (_, remote):
        before = remote.get(name)
        result = remote.set(name, value)
        assert not result.successful
        assert result.reason
        assert remote.get(name) == before
        assert remote.change("configure")


def test_only_live_parameters_change_while_configured(ganglion_parameters: Parameters) -> None:
    with managed(GanglionNode, ganglion_parameters) as (_, remote):
        assert remote.set("mesh_limit", 64).successful
        remote.change("configure")
        result = remote.set("mesh_limit", 32)
        assert not result.successful
        assert "mesh_limit" in result.reason and "clean the node up" in result.reason
        assert remote.set("status_period", 2.0).successful
        remote.change("cleanup")
        assert remote.set("mesh_limit", 32).successful


def test_an_atomic_request_applies_whole_or_not_at_all(ganglion_parameters: Parameters) -> None:
    with managed(GanglionNode, ganglion_parameters) as (_, remote):
        remote.change("configure")
        for wrong in (
            {"status_period": -1.0},
            {"mesh_limit": 1},
            {"interface": "omni1"},
            {"diagnostics_rtt_warn": 9.0},
        ):
            result = remote.set_atomically({"diagnostics_rtt_error": 2.0, "diagnostics_window": 5.0, **wrong})
            assert not result.successful and result.reason, wrong
            assert remote.get("diagnostics_rtt_error") == 1.0 and remote.get("diagnostics_window") == 10.0
        # Each alone is wrong, the warning first: above the error that is now.
        assert not remote.set("diagnostics_rtt_warn", 3.0).successful
        assert remote.set_atomically({"diagnostics_rtt_warn": 3.0, "diagnostics_rtt_error": 6.0}).successful
        assert remote.get("diagnostics_rtt_warn") == 3.0 and remote.get("diagnostics_rtt_error") == 6.0


def test_a_pair_that_was_wrong_at_the_start_is_mended_by_either(ganglion_parameters: Parameters) -> None:
    for name, value in (("diagnostics_loss_warn", 0.1), ("diagnostics_loss_error", 0.9)):
        with managed(GanglionNode, {**ganglion_parameters, "diagnostics_loss_warn": 0.5}) as (_, remote):
            assert not remote.change("configure")
            assert remote.set("status_period", 2.0).successful  # what has nothing to do with it
            assert not remote.change("configure")
            assert remote.set(name, value).successful
            assert remote.change("configure")


# Name and value as a launch file would give them; what the log must name; the value that mends it.
WRONG_AT_THE_START = [
    ("listen_port", 70000, "listen_port", 0),
    ("listen_port", "many", "listen_port", 0),
    ("interface", "a-name-that-is-too-long", "interface", "omni0"),
    ("vip4", "10.77.0.1", "vip4", "10.77.0.1/24"),
    ("nucleus", ["nucleus:port"], "nucleus", ["127.0.0.1:9"]),
    ("autostart", "perhaps", "autostart", False),
    ("diagnostics_rtt_warn", 5.0, "diagnostics_rtt_warn", 0.5),
    ("cluster", "", "cluster", "warehouse"),
]


@pytest.mark.parametrize(("name", "value", "named", "right"), WRONG_AT_THE_START, ids=lambda value: str(value)[:20])
def test_a_wrong_value_in_a_launch_file_fails_configure_until_it_is_set_right(
    name: str, value: Any, named: str, right: Any, ganglion_parameters: Parameters, capfd: pytest.CaptureFixture[str]
) -> None:
    with managed(GanglionNode, {**ganglion_parameters, name: value}) as (_, remote):
        assert not remote.change("configure")
        assert remote.state() == "unconfigured"
        errors = [line for line in capfd.readouterr().err.splitlines() if "[ERROR]" in line]
        assert len(errors) == 1, errors
        assert f"configure failed: {named}: " in errors[0]
        assert "Fix: " in errors[0]
        assert interfaces() == set()
        assert remote.set(name, right).successful
        assert remote.change("configure")


def test_an_unknown_name_is_pointed_out(ganglion_parameters: Parameters, capfd: pytest.CaptureFixture[str]) -> None:
    with managed(GanglionNode, {**ganglion_parameters, "lisen_port": 1}) as (_, remote):
        assert remote.change("configure")
    assert "does not have: lisen_port" in capfd.readouterr().err


def open_key(parameters: Parameters) -> Callable[[], None]:
    path = Path(str(parameters["key_file"]))
    path.write_text("a key")
    path.chmod(0o644)
    return path.unlink


def corrupt_key(parameters: Parameters) -> Callable[[], None]:
    path = Path(str(parameters["key_file"]))
    path.touch(0o600)
    path.write_text("no key\n")
    return path.unlink


def directory_as_key(parameters: Parameters) -> Callable[[], None]:
    path = Path(str(parameters["key_file"]))
    path.mkdir()
    return path.rmdir


def taken_port(parameters: Parameters) -> Callable[[], None]:
    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    other.bind(("0.0.0.0", 51820))
    return other.close


def taken_interface(parameters: Parameters) -> Callable[[], None]:
    subprocess.run(["ip", "link", "add", "omni0", "type", "veth", "peer", "name", "other"], check=True)
    return lambda: subprocess.run(["ip", "link", "delete", "omni0"], check=True) and None


def missing_secret(parameters: Parameters) -> Callable[[], None]:
    path = Path(str(parameters["key_file"])).parent / "secret"
    parameters["secret_file"] = str(path)

    def mend() -> None:
        path.touch(0o600)
        path.write_text("correct horse battery staple\n")

    return mend


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (open_key, "key_file"),
        (corrupt_key, "key_file"),
        (directory_as_key, "key_file"),
        (taken_port, "listen_port"),
        (taken_interface, "interface"),
        (missing_secret, "secret_file"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_fault_of_the_machine_fails_configure_until_it_is_mended(
    fault: Callable[[Parameters], Callable[[], None]],
    named: str,
    ganglion_parameters: Parameters,
    run_dir: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    mend = fault(ganglion_parameters)
    with managed(GanglionNode, ganglion_parameters) as (_, remote):
        before = interfaces()
        assert not remote.change("configure")
        assert remote.state() == "unconfigured"
        errors = [line for line in capfd.readouterr().err.splitlines() if "[ERROR]" in line]
        assert len(errors) == 1, errors
        assert f"configure failed: {named}: " in errors[0]
        assert "Fix: " in errors[0]
        assert interfaces() == before
        assert {path.suffix for path in run_dir.iterdir()} <= {".lock"}
        mend()
        assert remote.change("configure")
        assert remote.change("activate")


def test_two_ganglia_of_one_interface(ganglion_parameters: Parameters, tmp_path: Path) -> None:
    with managed(GanglionNode, ganglion_parameters) as (_, first):
        assert first.change("configure")
        other = {**ganglion_parameters, "key_file": str(tmp_path / "other.key"), "listen_port": 0}
        os.environ["ROS_DOMAIN_ID"] = str(int(os.environ["ROS_DOMAIN_ID"]) + 1)  # both are /ganglion
        with managed(GanglionNode, other) as (_, second):
            assert not second.change("configure")
            assert "omni0" in interfaces()
            assert first.change("cleanup")
            assert second.change("configure")
