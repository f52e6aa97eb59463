"""Each ROS test has a network of its own (and so no DDS traffic leaves it), a domain of its own, and its own files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.own_network import own_network

from omni_core.crypto.identity import Identity, key_text

DOMAINS = 100  # ROS allows 0..101 everywhere


@pytest.fixture
def robot_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The test's thread in an empty network, and the environment of ROS for it and its processes."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(1 + os.getpid() % DOMAINS))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    # Fast DDS would otherwise meet other participants of this machine in /dev/shm, network namespaces or not.
    monkeypatch.setenv("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "log"))
    monkeypatch.setenv("RCUTILS_COLORIZED_OUTPUT", "0")
    for name in ("ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS", "ROS_DISCOVERY_SERVER", "CYCLONEDDS_URI"):
        monkeypatch.delenv(name, raising=False)
    with own_network():
        yield


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.mkdir()
    return path


@pytest.fixture
def nucleus_parameters(tmp_path: Path, run_dir: Path) -> dict[str, object]:
    """Of a Nucleus that works."""
    return {"key_file": str(tmp_path / "nucleus.key"), "clusters": ["warehouse"], "run_dir": str(run_dir)}


@pytest.fixture
def ganglion_parameters(tmp_path: Path, run_dir: Path) -> dict[str, object]:
    """Of a Ganglion that works, with a Nucleus that is not there. Its engine is there at once."""
    return {
        "interface": "omni0",
        "key_file": str(tmp_path / "ganglion.key"),
        "cluster": "warehouse",
        "nucleus": ["127.0.0.1:9"],
        "nucleus_key": key_text(Identity.from_seed(bytes(32)).public_key),
        "vip4": "10.77.0.1/24",
        "engine": "python",
        "run_dir": str(run_dir),
    }
