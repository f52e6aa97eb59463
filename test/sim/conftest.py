"""A simulated network per test. When the test fails, its report ends with the last packets."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from omni_core.sim.network import SimNet

_nets = pytest.StashKey[list[SimNet]]()


@pytest.fixture
def watch(request: pytest.FixtureRequest) -> Callable[[SimNet], SimNet]:
    """Have a network's trace dumped should this test fail."""
    nets = request.node.stash.setdefault(_nets, [])

    def add(net: SimNet) -> SimNet:
        nets.append(net)
        return net

    return add


@pytest.fixture
def net(seed: int, watch: Callable[[SimNet], SimNet]) -> SimNet:
    return watch(SimNet(seed))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for net in item.stash.get(_nets, [])[-1:]:
            report.sections.append((f"packets of SimNet({net.seed})", net.trace.dump()))
