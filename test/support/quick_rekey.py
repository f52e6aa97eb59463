"""The `omni` command with another REKEY_AFTER_TIME, for several rekeys in one test: quick_rekey.py SECONDS WORD..."""

from __future__ import annotations

import sys

from omni_core import constants

constants.REKEY_AFTER_TIME = float(sys.argv.pop(1))  # type: ignore[misc]

from omni_core.cli.main import main  # noqa: E402  (what it imports takes the constant's value with it)

if __name__ == "__main__":
    main()
