"""Loading BPF programs in tests: the type of the fixture ``load_programs`` (test/bpf/conftest.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from omni_core.io.synapse.loader import Loaded

LoadPrograms = Callable[[Path, Mapping[str, int], Mapping[str, str]], Loaded]
