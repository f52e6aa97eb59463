"""The command `omni nucleus` as it is operated: metrics, health, logs, drain, signals. On loopback, no privileges."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support import redis_server
from support.real_edges import RealEdges

from bench.nucleus.processes import NucleusProcess
from omni_core.crypto.identity import Identity
from omni_core.io.http_port import RATE

Start = Callable[..., NucleusProcess]

PAUSE = 1.2 / RATE  # s between two questions over HTTP


@pytest.fixture
def start(tmp_path: Path, seed: int) -> Iterator[Start]:
    with ExitStack() as stack:
        made: list[NucleusProcess] = []

        def begin(**config: Any) -> NucleusProcess:
            identity = Identity.from_seed(bytes([len(made)]) * 32)
            process = NucleusProcess(tmp_path / str(len(made)), identity, config)
            made.append(process)
            stack.callback(process.stop)
            process.start()
            return process

        yield begin


def http_of(process: NucleusProcess) -> str:
    found = re.search(r"metrics and health on (http://[\d.:]+)", process.log.read_text())
    assert found is not None, process.log.read_text()
    return found[1]


def get(url: str) -> tuple[int, str]:
    """Not more often than the port serves."""
    time.sleep(PAUSE)
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metrics(url: str) -> dict[str, float]:
    """By name, without labels: the sum."""
    values: dict[str, float] = {}
    for family in text_string_to_metric_families(get(f"{url}/metrics")[1]):
        for sample in family.samples:
            values[sample.name] = values.get(sample.name, 0.0) + sample.value
    return values


def end(process: NucleusProcess, number: int = signal.SIGTERM) -> float:
    """s that it took."""
    assert process._process is not None
    began = time.monotonic()
    process._process.send_signal(number)
    assert process._process.wait(30) == 0
    return time.monotonic() - began


def test_metrics_and_health_of_a_nucleus_with_edges(start: Start, seed: int) -> None:
    nucleus = start(http_listen="127.0.0.1:0")
    url = http_of(nucleus)
    assert get(f"{url}/healthz")[0] == get(f"{url}/readyz")[0] == 200
    with RealEdges([nucleus.settings], 5, seed) as edges:
        assert edges.run(20, lambda: edges.registered == 5)
        found = metrics(url)
    assert found["omni_nucleus_edges"] == found["omni_nucleus_users"] == 5
    assert found["omni_nucleus_joins_total"] == found["omni_nucleus_handshakes_total"] == 5
    assert found["omni_nucleus_bytes_total"] > 1000 and found["omni_nucleus_batch_seconds_count"] > 0
    assert nucleus.status()["http"] == url.removeprefix("http://")


@pytest.mark.skipif(redis_server.PROGRAM is None, reason="there is no redis-server here")
def test_a_redis_that_is_away_is_said_and_served_through(start: Start, seed: int, tmp_path: Path) -> None:
    redis = redis_server.RedisServer(tmp_path)
    redis.start()
    try:
        nucleus = start(store=redis.url, log_format="json", http_listen="127.0.0.1:0")
        url = http_of(nucleus)
        with RealEdges([nucleus.settings], 3, seed) as edges:
            assert edges.run(20, lambda: metrics(url)["omni_nucleus_store_up"] == 1)
            assert edges.run(20, lambda: edges.registered == 3)
            redis.kill()
            assert edges.run(20, lambda: metrics(url)["omni_nucleus_store_up"] == 0)
            code, text = get(f"{url}/readyz")
            store = json.loads(text)["store"]
            assert (code, store["kind"], store["available"]) == (200, "redis", False) and store["text"]
            assert metrics(url)["omni_nucleus_edges"] == 3
            redis.start()
            assert edges.run(30, lambda: metrics(url)["omni_nucleus_store_up"] == 1)
            assert edges.run(30, lambda: metrics(url)["omni_nucleus_edges"] == 3)
        end(nucleus)
    finally:
        redis.kill()
    lines = nucleus.log.read_text().splitlines()
    assert all(line.startswith("{") for line in lines), nucleus.log.read_text()
    events = [json.loads(line)["event"] for line in lines]
    assert [event for event in events if event.startswith("store_")][-2:] == ["store_lost", "store_back"]


def test_json_lines(start: Start, seed: int) -> None:
    nucleus = start(log_format="json", http_listen="127.0.0.1:0")
    with RealEdges([nucleus.settings], 3, seed) as edges:
        assert edges.run(20, lambda: edges.registered == 3)
        end(nucleus)
    lines = [json.loads(line) for line in nucleus.log.read_text().splitlines()]
    events = [line["event"] for line in lines]
    assert events[0] == "started" and events[-1] == "stopped"
    assert events.count("edge_joined") == 3 and {"drain_began", "drain_done"} <= set(events)
    joined = next(line for line in lines if line["event"] == "edge_joined")
    assert joined["name"].startswith("robot-") and joined["endpoint"].startswith("127.0.0.1:") and joined["vip4"]
    assert all({"time", "level", "event", "message"} <= line.keys() for line in lines)


def test_a_drained_nucleus_hands_its_edges_over_before_it_ends(start: Start, seed: int) -> None:
    first, second = start(http_listen="127.0.0.1:0", drain_time=20), start()
    url = http_of(first)
    with RealEdges([first.settings, second.settings], 8, seed) as edges:
        assert edges.run(20, lambda: edges.registered == 8)
        assert edges.run(20, lambda: second.status()["sessions"] == 8)  # the other one is warm
        assert first._process is not None
        first._process.send_signal(signal.SIGTERM)
        assert edges.run(10, lambda: get(f"{url}/readyz")[0] == 503)
        registered: set[int] = set()

        def gone() -> bool:
            registered.add(edges.registered)
            return not first.running

        assert edges.run(20, gone)
        assert registered == {8}  # made before the break
        assert edges.run(5, lambda: second.status()["users"] == 8)
    assert "drained: 0 edges are still here" in first.log.read_text()


def test_edges_with_nowhere_to_go_do_not_delay_the_end(start: Start, seed: int) -> None:
    nucleus = start(drain_time=60)
    with RealEdges([nucleus.settings], 3, seed) as edges:
        assert edges.run(20, lambda: edges.registered == 3)
        assert nucleus._process is not None
        began = time.monotonic()
        nucleus._process.send_signal(signal.SIGTERM)
        assert edges.run(20, lambda: not nucleus.running)
        assert time.monotonic() - began < 3


def test_a_second_signal_ends_it_at_once(start: Start, seed: int) -> None:
    nucleus = start(drain_time=60)
    with RealEdges([nucleus.settings], 1, seed) as edges:
        assert edges.run(20, lambda: edges.registered == 1)
    # Nobody answers any more: it would wait until nobody has left for a while.
    assert nucleus._process is not None
    nucleus._process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + 10
    while "draining" not in nucleus.log.read_text():
        assert time.monotonic() < deadline
    assert end(nucleus, signal.SIGINT) < 2


def test_a_service_manager_is_told(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        nucleus = start()
        told = {manager.recv(500).decode() for _ in range(4)}
        assert any(text.startswith("READY=1\nSTATUS=UDP port ") for text in told) and "WATCHDOG=1" in told
        end(nucleus)
        while not (text := manager.recv(500).decode()).startswith("STOPPING=1"):
            pass
        assert "EXTEND_TIMEOUT_USEC=20000000" in text


def test_a_port_that_is_taken(start: Start, tmp_path: Path) -> None:
    address = http_of(start(http_listen="127.0.0.1:0")).removeprefix("http://")
    with pytest.raises(RuntimeError, match=r"http_listen: .* is used by another process\. Fix: "):
        start(http_listen=address)
