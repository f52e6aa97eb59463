"""What the tests of the native engine share: cutter and merger as programs, and the whole in a network of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.native_frames import NativeFrames
from support.native_rig import DrivenNative, NativeRig, TestClock, build_clock, prepare_network
from support.own_network import own_network

from omni_core.errors import SystemRefused
from omni_core.io.native.binary import native_binary


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeFrames]:
    """The cutter and the merger, with sanitizers that end them at the first wrong access."""
    frames = NativeFrames(tmp_path_factory.mktemp("native_frames"))
    yield frames
    frames.close()


@pytest.fixture(scope="session")
def clock_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_clock(tmp_path_factory.mktemp("clock"))


@pytest.fixture
def network() -> Iterator[None]:
    """Where every address is on this machine."""
    with own_network():
        prepare_network()
        yield


@pytest.fixture
def engine_built() -> None:
    try:
        native_binary()
    except SystemRefused as missing:
        pytest.skip(str(missing))


@pytest.fixture
def make_driven(network: None, engine_built: None, clock_library: Path, tmp_path: Path) -> Iterator[Any]:
    """``make_driven(local_mac, ...)``: a DrivenNative with the test's clock. One at a time."""
    held: list[NativeRig] = []

    def make(local_mac: bytes | None, **limits: float) -> DrivenNative:
        clock = TestClock(clock_library, tmp_path / "clock")
        rig = NativeRig(tmp_path, environment=clock.environment)
        held.append(rig)
        return DrivenNative(rig, local_mac, clock, **limits)

    try:
        yield make
    finally:
        for rig in held:
            rig.close()
