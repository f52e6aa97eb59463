"""Programs that the tests of the native engine share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.native_frames import NativeFrames


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeFrames]:
    """The cutter and the merger, with sanitizers that end them at the first wrong access."""
    frames = NativeFrames(tmp_path_factory.mktemp("native_frames"))
    yield frames
    frames.close()
