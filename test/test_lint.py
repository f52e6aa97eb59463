"""ruff and mypy over the whole tree, so that `make test` is all that a change has to pass."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("command", [["ruff", "check", "--no-cache"], ["mypy"]], ids=lambda command: command[0])
def test_clean(command: list[str], tmp_path: Path) -> None:
    if shutil.which(command[0], path=str(Path(sys.executable).parent)) is None:
        pytest.skip(f"{command[0]} is not installed in this environment (make setup installs it)")
    cache = ["--cache-dir", str(ROOT / ".mypy_cache")] if command[0] == "mypy" else []
    done = subprocess.run(
        [sys.executable, "-m", *command, *cache], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"\n{done.stdout}{done.stderr}"
