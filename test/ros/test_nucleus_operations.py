"""A Nucleus's node says of itself what the command says: store, pool, drain, metrics; its end is a drain, too."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.request
from typing import Any

import pytest

pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time
from support.managed_node import managed, wait_until

from omni_core.engines import nucleus_status
from omni_core.engines.nucleus_status import StoreStatus as StoreSnapshot
from omni_core.engines.status import NucleusLink as LinkSnapshot
from omni_core.io.admin import request
from omni_core.signaling.messages import Status
from omni_ros2 import messages
from omni_ros2.msg import NucleusLink, NucleusStatus, StoreStatus
from omni_ros2.nucleus_node import NucleusNode

pytestmark = [pytest.mark.ros, pytest.mark.netns, pytest.mark.usefixtures("robot_network")]

Parameters = dict[str, object]


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_status_metrics_and_health(nucleus_parameters: Parameters) -> None:
    pool = {"vip4_pools": ["warehouse=10.77.0.0/24"], "http_listen": "127.0.0.1:0", "log_format": "json"}
    with managed(NucleusNode, {**nucleus_parameters, **pool}) as (_, remote), remote.listening(NucleusStatus) as heard:
        assert remote.change("configure")
        wait_until(lambda: heard and heard[-1].http, "the address")
        url = f"http://{heard[-1].http}"
        assert get(f"{url}/healthz")[0] == 200
        code, text = get(f"{url}/readyz")
        assert code == 503 and "not active" in json.loads(text)["reason"]
        assert remote.change("activate")
        assert get(f"{url}/readyz")[0] == 200
        assert 'omni_nucleus_pool_size{cluster="warehouse"} 254.0' in get(f"{url}/metrics")[1]
        wait_until(lambda: heard[-1].state == NucleusStatus.STATE_ACTIVE, "active")
        status = heard[-1]
        assert status.store.kind == StoreStatus.KIND_MEMORY and status.store.available
        assert math.isnan(status.store.lag) and not status.draining and status.users == status.denied == 0
        assert (status.clusters[0].leases, status.clusters[0].pool) == (0, 254)
        assert request(f"{nucleus_parameters['run_dir']}/nucleus.sock", "drain", 10.0, time=5.0)["left"] == 0
        wait_until(lambda: heard[-1].draining, "the status of a drain")
        assert get(f"{url}/readyz")[0] == 503
        assert remote.change("deactivate") and remote.change("activate")  # a new life, which does not drain
        assert get(f"{url}/readyz")[0] == 200
        assert remote.change("deactivate") and remote.change("cleanup")
        with pytest.raises(urllib.error.URLError):
            get(f"{url}/healthz")


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [("http_listen", "localhost", "http_listen"), ("store", "mysql://h", "store"), ("drain_time", -1.0, "drain_time")],
)
def test_wrong_parameters_name_their_field(
    nucleus_parameters: Parameters, name: str, value: Any, field: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with managed(NucleusNode, {**nucleus_parameters, name: value}) as (_, remote):
        assert not remote.change("configure")
        assert f"{field}: " in capfd.readouterr().err


def test_what_a_snapshot_becomes() -> None:
    cluster = nucleus_status.ClusterStatus("fleet", False, edges=2, leases=3, pool=10)
    cluster.count_refusal(Status.DENIED)
    store = StoreSnapshot("redis", "redis://h:6379/0", False, "silent", 3.0, 4.5)
    snapshot = nucleus_status.NucleusStatus(
        "key", "1", 2, [cluster], users=1, handshakes=5, requests={"query": 7}, draining=True, store=store, denied=1
    )
    message = messages.nucleus_message(snapshot, True, Time())
    assert (message.store.kind, message.store.available, message.store.lag) == (StoreStatus.KIND_REDIS, False, 4.5)
    assert message.draining and (message.users, message.denied, message.handshakes) == (1, 1, 5)
    assert [(count.name, count.count) for count in message.clusters[0].refused] == [("denied", 1)]
    assert (message.clusters[0].leases, message.clusters[0].pool) == (3, 10)
    assert [(count.name, count.count) for count in message.requests] == [("query", 7)]


def test_a_link_with_a_nucleus() -> None:
    link = LinkSnapshot("192.0.2.1:51820", "key", "standby", "connecting", "no answer", None, None, 0.5, draining=True)
    message = messages._link_message(link)
    assert (message.role, message.state) == (NucleusLink.ROLE_STANDBY, NucleusLink.STATE_CONNECTING)
    assert math.isnan(message.registered) and message.rtt == 0.5 and message.draining
