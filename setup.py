"""pip's way in. Everything constant is in setup.cfg; the version is in package.xml."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent


def version() -> str:
    text = ElementTree.parse(ROOT / "package.xml").findtext("version")
    if not text:
        raise SystemExit("package.xml: <version> is missing")
    return text.strip()


def shared_files(*tops: str) -> list[tuple[str, list[str]]]:
    """``data_files`` rows that put whole directories under share/omni_ros2, as the ROS package has them."""
    directories = sorted({f.parent for top in tops for f in (ROOT / top).rglob("*") if f.is_file()})
    return [
        (
            f"share/omni_ros2/{directory.relative_to(ROOT)}",
            [str(f.relative_to(ROOT)) for f in sorted(directory.iterdir()) if f.is_file()],
        )
        for directory in directories
    ]


setup(version=version(), data_files=shared_files("bpf", "config"))
