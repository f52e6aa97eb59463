"""The fuzz targets on their corpus and on random mutations of it, with gcc's sanitizers instead of libFuzzer."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest
from support.native_frames import NATIVE, compiled

FUZZ = NATIVE / "fuzz"
MUTATIONS = 20000  # about a second


# What each target is linked with besides itself.
PURE = ["segment.c", "merge.c"]
ENGINE = sorted(path.name for path in NATIVE.glob("*.c") if path.name not in ("main.c", "selftest.c", "privileges.c"))
TARGETS = {"segment": PURE, "merge": PURE, "packet": ENGINE, "request": ENGINE}
LIBRARIES = ("-lcrypto", "-lpthread")


@pytest.mark.parametrize("target", TARGETS)
def test_corpus_and_mutations(target: str, tmp_path: Path, seed: int) -> None:
    sources = [FUZZ / f"fuzz_{target}.c", FUZZ / "replay.c", *(NATIVE / name for name in TARGETS[target])]
    options = ["-D_GNU_SOURCE", "-DFDB_SLOTS=1024"]
    program = compiled(tmp_path / "replay", *sources, options=options, libraries=LIBRARIES)
    files = sorted((FUZZ / "corpus" / target).iterdir())
    assert len(files) >= 20
    command = [str(program), str(MUTATIONS), str(seed), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{len(files)} files, {MUTATIONS} mutations\n"


def test_the_corpus_is_what_its_script_makes() -> None:
    """There may be more: inputs that once found something."""
    specification = importlib.util.spec_from_file_location("make_corpus", FUZZ / "make_corpus.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    for name, data in module.corpus().items():
        assert (FUZZ / "corpus" / name).read_bytes() == data, f"{name}: run native/fuzz/make_corpus.py"
