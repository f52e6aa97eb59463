#!/usr/bin/env python3
"""Write config/*.example.* from the tables of omni_core.config. A test fails when they are behind."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from omni_core.config.example import example_files  # noqa: E402


def main() -> None:
    for name, text in example_files().items():
        (ROOT / "config" / name).write_text(text)
        print(f"config/{name}")


if __name__ == "__main__":
    main()
