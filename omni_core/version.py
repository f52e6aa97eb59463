"""The version. It is written once, in package.xml; an installed package carries it as metadata."""

from __future__ import annotations

import importlib.metadata
import xml.etree.ElementTree as ElementTree
from pathlib import Path

_DISTRIBUTIONS = ("omni_ros2", "omni_core")  # pip's name, then the name under which ament installs omni_core


def version() -> str:
    """The source tree's version where this file lies in one, else the installed distribution's, else "unknown"."""
    try:
        found = ElementTree.parse(Path(__file__).parent.parent / "package.xml").findtext("version")
    except (OSError, ElementTree.ParseError):  # installed, or another package's file, or not ours to read
        found = None
    if found:
        return found.strip()
    for name in _DISTRIBUTIONS:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"
