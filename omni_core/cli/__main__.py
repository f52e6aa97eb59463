"""``python -m omni_core.cli``."""

from __future__ import annotations

from omni_core.cli.main import main

if __name__ == "__main__":
    main()
