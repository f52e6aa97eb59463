"""/diagnostics and ~/data_plane of real nodes: names, hardware id, what is STALE when, thresholds that are live."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import qos_profile_sensor_data
from support.managed_node import Remote, managed, wait_until

from omni_core.crypto.identity import Identity, encode_key_file, key_text
from omni_ros2.ganglion_node import GanglionNode
from omni_ros2.msg import DataPlaneStatus, NucleusStatus
from omni_ros2.nucleus_node import NucleusNode

pytestmark = [pytest.mark.ros, pytest.mark.netns, pytest.mark.usefixtures("robot_network")]

Parameters = dict[str, object]
QUICK = {"diagnostics_period": 0.1, "status_period": 0.1}
FIXED = {"state", "identity", "Nucleus link", "data plane drops", "DDS set-up", "clock offset"}


@contextlib.contextmanager
def diagnosing(remote: Remote) -> Iterator[Callable[[], dict[str, DiagnosticStatus]]]:
    """Yields what gives the next message's statuses by name: of a message that is sent after the call."""
    received: list[DiagnosticArray] = []

    def receive(message: DiagnosticArray) -> None:
        if message.status[0].name.startswith(f"{remote.name}: "):  # all nodes share the topic
            received.append(message)

    subscription = remote.node.create_subscription(DiagnosticArray, "/diagnostics", receive, 10)

    def following() -> dict[str, DiagnosticStatus]:
        seen = len(received)
        wait_until(lambda: len(received) > seen + 1, "diagnostics")
        assert received[-1].header.stamp.sec > 0
        return {status.name: status for status in received[-1].status}

    try:
        yield following
    finally:
        remote.node.destroy_subscription(subscription)


def levels(statuses: dict[str, DiagnosticStatus]) -> dict[str, int]:
    return {name.partition(": ")[2]: status.level[0] for name, status in statuses.items()}


OK, WARN, ERROR, STALE = range(4)


def test_a_ganglion_through_its_life(ganglion_parameters: Parameters) -> None:
    peer = ganglion_parameters["nucleus_key"]
    alone = {"nucleus": [""], "nucleus_key": "", "static_peers": [f"{peer}@127.0.0.1:9"], "dds_sysctls": "off"}
    with managed(GanglionNode, {**ganglion_parameters, **alone, **QUICK}, namespace="/robot1") as (_, remote):
        with diagnosing(remote) as following:
            statuses = following()
            assert {name.partition(": ")[0] for name in statuses} == {"robot1/ganglion"}
            assert {status.hardware_id for status in statuses.values()} == {"none"}
            assert levels(statuses) == dict.fromkeys(FIXED, STALE) | {"state": WARN}

            assert remote.change("configure")
            statuses = following()
            name = f"peer unnamed {str(peer)[:8]}"
            assert levels(statuses) == dict.fromkeys(FIXED, STALE) | {
                "state": WARN,
                "identity": OK,
                "DDS set-up": OK,
            }
            assert "this machine alone" in statuses["robot1/ganglion: DDS set-up"].message  # the tests' own setting
            (key,) = {status.hardware_id for status in statuses.values()}
            values = {value.key: value.value for value in statuses["robot1/ganglion: identity"].values}
            assert values["public key"] == key and values["interface"] == "omni0"

            assert remote.change("activate")
            found = levels(following())
            assert (found["state"], found["Nucleus link"], found["clock offset"]) == (OK, OK, OK)
            assert found[name] in (WARN, ERROR)  # there is nobody

            assert remote.set("hardware_id", "serial 7").successful
            wait_until(
                lambda: {status.hardware_id for status in following().values()} == {"serial 7"}, "the hardware id"
            )
            assert remote.change("deactivate")
            assert levels(following())[name] == STALE
            assert remote.change("cleanup")
            found = levels(following())
            assert found == dict.fromkeys({*FIXED, name}, STALE) | {"state": WARN}


def test_why_a_node_does_not_start_is_in_the_diagnostics(ganglion_parameters: Parameters, tmp_path: Path) -> None:
    key_file = tmp_path / "ganglion.key"
    key_file.touch(0o600)
    key_file.write_text("no key\n")
    with managed(GanglionNode, {**ganglion_parameters, **QUICK}) as (_, remote), diagnosing(remote) as following:
        assert not remote.change("configure")
        state = following()["ganglion: state"]
        assert state.level[0] == ERROR
        assert "configure failed: key_file" in state.message and "Fix: " in state.message
        key_file.unlink()
        assert remote.change("configure")
        assert levels(following())["state"] == WARN


def test_a_threshold_is_live(ganglion_parameters: Parameters) -> None:
    with managed(GanglionNode, {**ganglion_parameters, **QUICK}) as (_, remote), diagnosing(remote) as following:
        remote.change("configure")
        remote.change("activate")
        assert levels(following())["Nucleus link"] == WARN  # there is none
        assert remote.set("diagnostics_nucleus_timeout", 0.0).successful
        wait_until(lambda: levels(following())["Nucleus link"] == ERROR, "the error")
        assert remote.set("diagnostics_nucleus_timeout", 60.0).successful
        wait_until(lambda: levels(following())["Nucleus link"] == WARN, "the warning")


def test_the_data_plane_for_who_listens(ganglion_parameters: Parameters) -> None:
    with managed(GanglionNode, {**ganglion_parameters, **QUICK}) as (_, remote):
        received: list[DataPlaneStatus] = []
        remote.node.create_subscription(
            DataPlaneStatus, "/ganglion/data_plane", received.append, qos_profile_sensor_data
        )
        remote.change("configure")
        wait_until(lambda: len(received) > 1, "statistics")
        status = received[-1]
        assert (status.engine, status.interface) == (DataPlaneStatus.ENGINE_PYTHON, "omni0")
        assert status.bulk_lane == DataPlaneStatus.BULK_LANE_NONE
        assert status.header.stamp.sec > 0
        assert status.dropped == sum(drop.count for drop in status.drops)


def test_a_nucleus_and_an_edge_that_comes(
    ganglion_parameters: Parameters, nucleus_parameters: Parameters, tmp_path: Path
) -> None:
    """Its status says so at once, long before the period is over."""
    identity = Identity.from_seed(bytes(range(32)))
    key_file = tmp_path / "nucleus.key"
    key_file.touch(0o600)
    key_file.write_text(encode_key_file(identity))
    server = {**nucleus_parameters, "listen_port": 51821, "status_period": 3600.0, "diagnostics_period": 0.1}
    edge: dict[str, Any] = {"nucleus": ["127.0.0.1:51821"], "nucleus_key": key_text(identity.public_key)}
    with managed(NucleusNode, server) as (_, nucleus):
        with diagnosing(nucleus) as following, nucleus.listening(NucleusStatus) as received:
            assert nucleus.change("configure")
            found = levels(following())
            stale = dict.fromkeys(["store", "data plane drops", "cluster warehouse"], STALE)
            assert found == {"state": WARN, "identity": OK, **stale}
            assert nucleus.change("activate")
            assert set(levels(following()).values()) == {OK}
            with managed(GanglionNode, {**ganglion_parameters, **edge, "diagnostics_period": 3600.0}) as (_, ganglion):
                ganglion.change("configure")
                ganglion.change("activate")
                wait_until(lambda: received[-1].edges == 1, "the edge in the status")
                statuses = following()
                assert statuses["nucleus: cluster warehouse"].message == "1 edges"
                ganglion.change("deactivate")
                wait_until(lambda: received[-1].edges == 0, "its departure")


def test_a_nucleus_that_is_gone(
    ganglion_parameters: Parameters, nucleus_parameters: Parameters, tmp_path: Path
) -> None:
    """The Ganglion says goodbye to nobody, is active again, and warns."""
    identity = Identity.from_seed(bytes(range(32)))
    key_file = tmp_path / "nucleus.key"
    key_file.touch(0o600)
    key_file.write_text(encode_key_file(identity))
    server = {**nucleus_parameters, "listen_port": 51821, "heartbeat_interval": 1.0}
    edge: dict[str, Any] = {"nucleus": ["127.0.0.1:51821"], "nucleus_key": key_text(identity.public_key)}
    with managed(NucleusNode, server) as (_, nucleus):
        assert nucleus.change("configure") and nucleus.change("activate")
        with managed(GanglionNode, {**ganglion_parameters, **edge, **QUICK}) as (_, remote):
            assert remote.change("configure") and remote.change("activate")
            with diagnosing(remote) as following:
                wait_until(lambda: levels(following())["Nucleus link"] == OK, "registration")
                assert nucleus.change("deactivate") and nucleus.change("cleanup")
                assert remote.state() == "active"
                assert remote.change("deactivate") and remote.change("activate")
                wait_until(lambda: levels(following())["Nucleus link"] == WARN, "the warning")
                assert remote.state() == "active"
