"""A bpffs of our own for each test module, far from /sys/fs/bpf, and programs loaded into it.

The programs of Synapse take longest to load: once for all tests, each of which has a new plane over their maps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.bpf_programs import LoadPrograms
from support.synapse import MAX_FRAME, MakeRig, Rig

from omni_core.io.synapse import bpffs, loader, sources
from omni_core.io.synapse.programs import KINDS


@pytest.fixture(scope="module")
def pin_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory in a bpffs that is mounted for this module and unmounted afterwards."""
    with mounted(tmp_path_factory) as directory:
        yield directory


@contextmanager
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
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


@pytest.fixture(scope="session")
def synapse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[loader.Loaded]:
    """All programs and maps of bpf/synapse.c, for frames of up to MAX_FRAME bytes. Attached to nothing."""
    with mounted(tmp_path_factory) as directory:
        source = sources.program_source()
        loaded = loader.load(source, {"SYNAPSE_MAX_FRAME": MAX_FRAME}, KINDS, directory / "synapse")
        try:
            yield loaded
        finally:
            loaded.close()


@pytest.fixture
def make_rig(synapse: loader.Loaded) -> Iterator[MakeRig]:
    """``make_rig(local_mac, ...)``: a Rig. The one before it is closed, and so is the last."""
    held: list[Rig] = []

    def make(*arguments: Any, **named: Any) -> Rig:
        for rig in held:
            rig.close()
        held.append(Rig(synapse, *arguments, **named))
        return held[-1]

    try:
        yield make
    finally:
        for rig in held:
            rig.close()
