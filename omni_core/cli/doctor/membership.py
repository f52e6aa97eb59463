"""The files that a Ganglion reads at its start: configuration, key, token, secret."""

from __future__ import annotations

import os
from collections.abc import Callable

from omni_core.cli.doctor.finding import Finding, note, ok, refused
from omni_core.errors import OmniError


def key_file(path: str, load: Callable[[str], object]) -> Finding:
    """``load``: reads and checks an identity, raises OmniError."""
    if not os.path.lexists(path):
        return note("key_file", f"{path} does not exist; `omni up` makes it", f"omni keygen {path}")
    return readable("key_file", path, load)


def readable(field: str, path: str, load: Callable[[str], object]) -> Finding:
    try:
        load(path)
    except OmniError as error:
        return refused(field, error)
    return ok(field, path)
