"""A Redis of each test's own, on a Unix socket; and Nuclei's stores on it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.redis_server import PROGRAM, RedisServer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = ""
    if PROGRAM is None:
        reason = "needs redis-server: tools/setup_env.sh installs it"
    elif importlib.util.find_spec("redis") is None:
        reason = "needs the python package redis: tools/setup_env.sh installs it"
    for item in items:
        if reason and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()
