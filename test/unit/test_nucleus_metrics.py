"""Metrics and health of a Nucleus: what they say, in Prometheus's format, and that nobody who asks can do harm."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from omni_core.engines.nucleus_status import ClusterStatus, NucleusStatus, StoreStatus
from omni_core.errors import ConfigError, SystemRefused
from omni_core.io import http_port, nucleus_http
from omni_core.io.http_port import HttpPort, Response, is_local, listen, text_response
from omni_core.io.meter import LAG_BOUNDS, Histogram, LoopLag, Traffic
from omni_core.io.nucleus_http import NucleusHttp
from omni_core.io.nucleus_metrics import render
from omni_core.io.nucleus_snapshot import Readiness, Snapshot
from omni_core.signaling.messages import Status
from omni_core.types import Endpoint

ANY = Endpoint("127.0.0.1", 0)


def snapshot(**changes: Any) -> Snapshot:
    fleet = ClusterStatus("fleet", False, edges=3, joins=5, moves=2, leaves=1, departures=1, leases=2, pool=100)
    for status in (Status.ADDRESS_TAKEN, Status.ADDRESS_TAKEN, Status.DENIED):
        fleet.count_refusal(status)
    status = NucleusStatus(
        "key", "1", 4, [fleet, ClusterStatus('od"d\\name', True)], {"rate_limited": 7}, users=3, handshakes=9,
        requests={"register": 5, "heartbeat": 100}, **changes,
    )  # fmt: skip
    traffic = Traffic()
    traffic.received, traffic.received_bytes, traffic.sent, traffic.sent_bytes = 10, 1000, 9, 900
    traffic.batches.observe(0.0002)
    traffic.batches.observe(5.0)
    return Snapshot(status, True, traffic, Histogram(LAG_BOUNDS))


def samples(given: Snapshot) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    _, body = render(given, "")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_everything_is_there() -> None:
    found = samples(snapshot())

    def value(name: str, **labels: str) -> float:
        return found[f"omni_nucleus_{name}", tuple(sorted(labels.items()))]

    assert value("edges", cluster="fleet") == 3 and value("edges", cluster='od"d\\name') == 0
    assert value("joins_total", cluster="fleet") == 5 and value("departures_total", cluster="fleet") == 1
    assert value("refusals_total", cluster="fleet", status="address_taken") == 2
    assert value("refusals_total", cluster="fleet", status="denied") == 1
    assert value("leases", cluster="fleet") == 2 and value("pool_size", cluster="fleet") == 100
    assert value("drops_total", reason="rate_limited") == 7
    assert value("requests_total", kind="heartbeat") == 100 and value("requests_total", kind="query") == 0
    assert value("sessions") == 4 and value("handshakes_total") == 9 and value("users") == 3
    assert value("bytes_total", direction="received") == 1000 and value("datagrams_total", direction="sent") == 9
    assert value("batch_seconds_count") == 2 and value("batch_seconds_bucket", le="0.00025") == 1
    assert value("batch_seconds_bucket", le="+Inf") == 2 and value("loop_lag_seconds_count") == 0
    assert value("active") == 1 and value("draining") == 0 and value("store_up") == 1
    assert not [name for name, _ in found if name == "omni_nucleus_store_lag_seconds"]  # nobody to be heard
    assert {"process_resident_memory_bytes", "process_open_fds", "python_info"} <= {name for name, _ in found}
    assert [labels for name, labels in found if name == "omni_nucleus_build_info"]


def test_a_store_that_is_away() -> None:
    found = samples(snapshot(store=StoreStatus("redis", "redis://h:1/0", False, "silent", 3.0, 4.5), draining=True))
    assert found["omni_nucleus_store_up", ()] == 0 and found["omni_nucleus_store_lag_seconds", ()] == 4.5
    assert found["omni_nucleus_draining", ()] == 1


def test_openmetrics_for_who_asks_for_it() -> None:
    content_type, body = render(snapshot(), "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    names = {family.name for family in openmetrics_families(body.decode())}
    assert {"omni_nucleus_joins", "omni_nucleus_edges", "omni_nucleus_batch_seconds"} <= names


def test_labels_do_not_grow_with_the_edges() -> None:
    one = snapshot()
    one.status.clusters[0].edges = one.status.clusters[0].joins = one.status.sessions = 10_000
    assert samples(one).keys() == samples(snapshot()).keys()


def test_histogram() -> None:
    histogram = Histogram([1.0, 2.0])
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.observe(value)
    assert histogram.counts == [2, 1, 1] and histogram.total == 12.0
    copy = histogram.copy()
    histogram.observe(0.1)
    assert copy.counts == [2, 1, 1]


async def test_a_late_loop_is_measured() -> None:
    lag = LoopLag()
    lag.start()
    lag._look(asyncio.get_running_loop().time() - 0.3)
    lag.stop()
    lag.stop()
    assert sum(lag.lags.counts) == 1 and lag.lags.total >= 0.3


# --- HTTP ------------------------------------------------------------------------------------------------------------


def get(address: Endpoint, path: str, accept: str = "") -> tuple[int, str]:
    request = urllib.request.Request(f"http://{address}{path}", headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def fetch(address: Endpoint, path: str) -> tuple[int, str]:
    return await asyncio.get_running_loop().run_in_executor(None, get, address, path)


@contextlib.asynccontextmanager
async def served(readiness: Readiness | None = None) -> AsyncIterator[NucleusHttp]:
    there = readiness or Readiness("", "active", False, {"kind": "memory", "available": True})
    http = NucleusHttp(ANY, snapshot, lambda: there)
    http.start()
    try:
        yield http
    finally:
        await asyncio.get_running_loop().run_in_executor(None, http.close)


async def test_the_three_paths() -> None:
    async with served() as http:
        code, text = await fetch(http.address, "/metrics")
        assert code == 200 and "omni_nucleus_edges" in text
        code, text = await fetch(http.address, "/healthz")
        assert (code, json.loads(text)["alive"]) == (200, True)
        code, text = await fetch(http.address, "/readyz?verbose=1")
        assert code == 200 and json.loads(text)["store"]["kind"] == "memory"
        code, text = await fetch(http.address, "/")
        assert code == 404 and "/metrics" in text
    with pytest.raises(urllib.error.URLError):
        get(http.address, "/healthz")


@pytest.mark.parametrize("reason", ["draining", "not active, but inactive"])
async def test_not_ready(reason: str) -> None:
    async with served(Readiness(reason, "inactive", reason == "draining", {})) as http:
        code, text = await fetch(http.address, "/readyz")
        assert code == 503 and json.loads(text)["reason"] == reason
        assert (await fetch(http.address, "/healthz"))[0] == 200


async def test_a_shared_store_that_is_away_is_said_and_no_reason_to_leave() -> None:
    async with served(Readiness("", "active", False, {"kind": "redis", "available": False})) as http:
        code, text = await fetch(http.address, "/readyz")
        assert code == 200 and json.loads(text)["store"]["available"] is False


async def test_a_loop_that_is_blocked_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nucleus_http, "ANSWER_TIME", 0.2)
    answers: dict[str, tuple[int, str]] = {}
    async with served() as http:
        asked = threading.Event()

        def ask() -> None:
            for path in ("/healthz", "/readyz", "/metrics"):
                answers[path] = get(http.address, path)
            asked.set()

        thread = threading.Thread(target=ask)
        thread.start()
        assert asked.wait(20)  # on the event loop: it is blocked meanwhile
        thread.join()
        assert {code for code, _ in answers.values()} == {503}
        assert json.loads(answers["/healthz"][1])["alive"] is False
        assert (await fetch(http.address, "/healthz"))[0] == 200  # and back


async def test_a_busy_port_names_field_and_fix() -> None:
    async with served() as http:
        with pytest.raises(ConfigError, match=r"http_listen: .*used by another process\. Fix: .*empty text") as caught:
            NucleusHttp(http.address, snapshot, lambda: Readiness("", "active", False, {}))
        assert caught.value.field == "http_listen"
    with pytest.raises(ConfigError, match="no address of this machine"):
        listen(Endpoint("192.0.2.1", 0), "http_listen")


async def test_beyond_loopback_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        http = NucleusHttp(Endpoint("0.0.0.0", 0), snapshot, lambda: Readiness("", "active", False, {}))
        http.close()
    assert "not authenticated" in caplog.text
    assert is_local(Endpoint("::1", 1)) and not is_local(Endpoint("::", 1))


async def test_without_its_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "omni_core.io.nucleus_metrics")
    monkeypatch.delattr("omni_core.io.nucleus_metrics", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(SystemRefused, match=r"http_listen: .*prometheus-client is missing"):
        NucleusHttp(ANY, snapshot, lambda: Readiness("", "active", False, {}))


# --- those who ask ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def plain_port(**handlers: Callable[..., Any]) -> Any:
    async def hello(headers: Any) -> Response:
        return text_response(200, "hello")

    port = HttpPort(listen(ANY, "x"), {"/": hello, **{f"/{name}": handler for name, handler in handlers.items()}})
    port.start()
    try:
        yield port
    finally:
        port.close()
        port.close()


def exchange(port: HttpPort, data: bytes) -> bytes:
    with socket.create_connection(port.address, timeout=20) as connection:
        connection.sendall(data)
        received = b""
        with contextlib.suppress(ConnectionError):
            while chunk := connection.recv(4096):
                received += chunk
        return received


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"200"),
        (b"HEAD / HTTP/1.0\r\n\r\n", b"200"),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"405"),
        (b"GET /../etc HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /\r\n\r\n", b"400"),
        (b"\xff\x00 \x01\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"400"),
    ],
)
def test_requests(data: bytes, status: bytes) -> None:
    with plain_port() as port:
        answer = exchange(port, data)
    assert answer.split(b" ")[1] == status
    assert (b"hello" in answer) == (data.startswith(b"GET / H"))


def test_endless_headers_are_cut_off() -> None:
    with plain_port() as port:
        assert exchange(port, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 10_000) == b""
        assert b"hello" in exchange(port, b"GET / HTTP/1.1\r\n\r\n")


def test_slow_clients_are_cut_off_and_their_number_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_port, "EXCHANGE_TIME", 0.5)
    with plain_port() as port, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(port.address, timeout=20)) for _ in range(20)]
        for connection in slow:
            with contextlib.suppress(OSError):
                connection.sendall(b"GET / HTT")
        for connection in slow:
            with contextlib.suppress(ConnectionError):
                assert connection.recv(1) == b""
        assert b"hello" in exchange(port, b"GET / HTTP/1.1\r\n\r\n")


def test_a_flood_of_requests_is_not_served() -> None:
    with plain_port() as port:
        answers = [exchange(port, b"GET / HTTP/1.1\r\n\r\n") for _ in range(200)]
    served_ones = sum(b"hello" in answer for answer in answers)
    assert http_port.BURST / 2 <= served_ones < 200


def test_junk_ends_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_port, "BURST", 1e6)
    monkeypatch.setattr(http_port, "EXCHANGE_TIME", 0.3)
    rng = random.Random(seed)
    words = [b"GET ", b"/", b" HTTP/1.1", b"\r\n", b":", b"\xff", b"\0", b"HEAD ", b"a" * 9000, b"\r\n\r\n"]
    with plain_port() as port:
        for _ in range(60):
            junk = b"".join(rng.choice([*words, rng.randbytes(8)]) for _ in range(rng.randrange(1, 12)))
            answer = exchange(port, junk + b"\r\n\r\n")
            assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
        assert b"hello" in exchange(port, b"GET / HTTP/1.1\r\n\r\n")


def test_an_error_in_a_handler_is_an_answer() -> None:
    async def fails(headers: Any) -> Response:
        raise RuntimeError("secret detail")

    with plain_port(fails=fails) as port:
        answer = exchange(port, b"GET /fails HTTP/1.1\r\n\r\n")
    assert b" 503 " in answer and b"secret" not in answer


def test_closing_does_not_wait_for_who_is_slow() -> None:
    with plain_port() as port:
        connection = socket.create_connection(port.address, timeout=20)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    connection.close()
