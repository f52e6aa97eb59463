"""Fixtures and markers shared by all tests.

``OMNI_SEED`` repeats a run. Tests that need root or ROS are skipped, with the reason, only where those are missing.
"""

from __future__ import annotations

import importlib.util
import os
import random
import signal

import pytest

# In a background job a shell ignores SIGINT, and programs that a test starts inherit that: no Ctrl-C would reach them.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def seed() -> int:
    """Seed of every random draw of a test. Printed, so a failing run's report shows it."""
    value = int(os.environ.get("OMNI_SEED") or random.SystemRandom().getrandbits(32))
    print(f"seed: {value} (repeat with OMNI_SEED={value})")
    return value


def _without_netns() -> str | None:
    if os.geteuid() != 0:
        return "needs root (run as root, or with sudo): network namespaces"
    return None


def _without_ros() -> str | None:
    if importlib.util.find_spec("rclpy") is None:
        return "rclpy is not importable: run tools/setup_env.sh, then source tools/env.sh"
    try:
        found = importlib.util.find_spec("omni_ros2.msg") is not None
    except ImportError:
        found = False
    if not found:
        return "the package's messages are not built: run tools/build.sh, then source tools/env.sh"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    checks = {"netns": _without_netns, "ros": _without_ros}
    reasons = {name: check() for name, check in checks.items() if any(item.get_closest_marker(name) for item in items)}
    for item in items:
        for name, reason in reasons.items():
            if reason and item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))
