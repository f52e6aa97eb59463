"""Where the program `omni-native` is, and which build of it.

A pip installation has it beside this file, a colcon one among its executables, the source tree where
tools/build_native.sh puts it.

The environment variable ``OMNI_NATIVE`` names another one, for tests with a build of their own (sanitizers).
Standard library only.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from omni_core.errors import SystemRefused

NAME = "omni-native"
OVERRIDE = "OMNI_NATIVE"
_FIX = "install a C compiler and libssl-dev and install omni_ros2 again (in its source tree: tools/build_native.sh)"
_TIMEOUT = 10.0  # s; a loaded machine


def native_binary(environment: Mapping[str, str] = os.environ, here: Path | None = None) -> Path:
    """The program, executable. SystemRefused where there is none. ``here``: this file, when a test says another."""
    named = environment.get(OVERRIDE)
    if named:
        if not _is_program(Path(named)):
            raise SystemRefused(OVERRIDE, f"{named} is not a program", f"unset {OVERRIDE}")
        return Path(named)
    for path in _places(here or Path(__file__)):
        if _is_program(path):
            return path
    raise SystemRefused(NAME, "it is not built", _FIX)


def build_of(program: Path) -> str:
    """The build that ``program`` says it is, as a running engine says it in HELLO. Blocking. SystemRefused."""
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, errors="replace", timeout=_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise SystemRefused(NAME, f"{program} does not run ({problem})", _FIX) from problem
    words = done.stdout.split()
    if done.returncode != 0 or not words:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise SystemRefused(NAME, f"{program} does not run ({said[-1]})", _FIX)
    return words[-1]


def _places(here: Path) -> Iterator[Path]:
    # Also as it was imported: colcon's symlink installation leads back to where the package was built.
    for file in dict.fromkeys((here.resolve(), here.absolute())):
        yield file.parent / NAME
        if (file.parents[3] / "native/CMakeLists.txt").is_file():
            yield file.parents[3] / ".work/native" / NAME
        for prefix in file.parents:
            yield prefix / "lib/omni_ros2" / NAME


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
