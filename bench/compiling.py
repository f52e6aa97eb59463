"""The C programs of ``bench/tools/``, built where the lab keeps its files: they go with it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from tools.netlab import LabError

SOURCES = Path(__file__).with_name("tools")
FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror")


class Tools(NamedTuple):
    echo: Path
    control: Path
    frames: Path


def unavailable() -> str | None:
    return None if shutil.which("cc") else "the command cc is missing: apt-get install gcc libc6-dev"


def build(directory: Path) -> Tools:
    """Raises LabError with the compiler's words."""
    return Tools(*(_compile(SOURCES / f"{name}.c", directory / name) for name in Tools._fields))


def _compile(source: Path, program: Path) -> Path:
    command = ["cc", *FLAGS, str(source), "-o", str(program), "-lm"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise LabError(f"{' '.join(command)}: exit status {result.returncode}\n{result.stderr}")
    return program
