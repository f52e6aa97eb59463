"""The program as it is built: without warnings, hardened, and its own test under the sanitizers."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.native_program import ROOT, sanitized_engine

from omni_core.errors import SystemRefused
from omni_core.io.native.binary import build_of, native_binary


def output(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=ROOT / "native", capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def program() -> Path:
    try:
        return native_binary()
    except SystemRefused as error:
        pytest.skip(f"{error} (make build)")


def test_clang_has_nothing_to_warn_of() -> None:
    """As gcc, with which it is built; there warnings are errors, too."""
    if shutil.which("clang") is None:
        pytest.skip("clang is not installed")
    flags = (ROOT / "native/compile_flags.txt").read_text().split()
    sources = sorted((ROOT / "native").glob("*.c"))
    output("clang", *flags, "-Werror", '-DOMNI_NATIVE_BUILD="clang"', "-fsyntax-only", *sources)


def test_selftest(program: Path) -> None:
    output(program, "--selftest")


def test_selftest_with_sanitizers() -> None:
    output(sanitized_engine(), "--selftest")


def test_its_build_is_a_hash_of_its_sources(program: Path) -> None:
    sums = output("bash", "-c", "LC_ALL=C sha256sum *.[ch] | sha256sum")
    assert build_of(program) == sums[:32], "make build makes it anew"


def test_it_is_hardened(program: Path) -> None:
    """At a random address, no stack or table that is both writable and something to jump through."""
    if shutil.which("readelf") is None:
        pytest.skip("readelf is not installed (binutils)")
    elf = output("readelf", "--file-header", "--program-headers", "--dynamic", "--wide", program)
    assert "DYN (Position-Independent Executable file)" in elf
    assert re.search(r"GNU_STACK .* RW +0x", elf)
    assert "GNU_RELRO" in elf
    assert "BIND_NOW" in elf
    assert not re.search(r"\((RPATH|RUNPATH)\)", elf)  # no library but the system's
    symbols = output("readelf", "--dyn-syms", "--wide", program)
    assert "__stack_chk_fail" in symbols
    assert re.search(r"__\w+_chk\b", symbols), "not fortified"
