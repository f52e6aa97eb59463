"""Builds of the native engine for tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def sanitized_engine() -> Path:
    """`omni-native` with AddressSanitizer and UndefinedBehaviorSanitizer; ``OMNI_NATIVE`` in a Ganglion's environment
    makes it the one that is started. Seconds the first time, then milliseconds.
    """
    done = subprocess.run([ROOT / "tools/build_native.sh", "--sanitize"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / ".work/native-asan/omni-native"
