"""A bpffs of our own for each test module, far from /sys/fs/bpf, and programs loaded into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support.bpf_programs import LoadPrograms

from omni_core.io.synapse import bpffs, loader


@pytest.fixture(scope="module")
def pin_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory in a bpffs that is mounted for this module and unmounted afterwards."""
    place = bpffs.prepare(tmp_path_factory.mktemp("bpf"))
    assert place.ours and place.mount_point == place.directory
    try:
        yield place.directory
    finally:
        for name in bpffs.entries(place.directory):
            entry = place.directory / name
            bpffs.remove_tree(entry) if entry.is_dir() else entry.unlink()
        assert bpffs.release(place)


@pytest.fixture(scope="module")
def load_programs(pin_directory: Path) -> Iterator[LoadPrograms]:
    """``load_programs(source, defines, programs)``: compiled, loaded, pinned apart; closed at the end."""
    held: list[loader.Loaded] = []

    def load(source: Path, defines: Mapping[str, int], programs: Mapping[str, str]) -> loader.Loaded:
        held.append(loader.load(source, defines, programs, pin_directory / f"load{len(held)}"))
        return held[-1]

    try:
        yield load
    finally:
        for loaded in held:
            loaded.close()
