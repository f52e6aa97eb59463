"""DDS profile files on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from omni_core.dds.overlay import Overlay
from omni_core.dds.profiles import middleware, profile, profile_path, variables
from omni_core.errors import ConfigError
from omni_core.io.files import write_atomic

PROFILE_MODE = 0o644  # nodes of every user read it; there is no secret in it


def write_profile(overlay: Overlay, rmw: str, directory: str) -> dict[str, str]:
    """Writes the profile for one of MIDDLEWARES into ``directory``, which is made; returns what to export.

    A file that has the right content already is not touched. Raises ConfigError.
    """
    directory = os.path.abspath(directory)
    text, path = profile(overlay, rmw), profile_path(overlay, rmw, directory)
    try:
        os.makedirs(directory, exist_ok=True)
        if _content(path) != text:
            write_atomic(path, text, PROFILE_MODE)
    except OSError as error:
        raise ConfigError(
            "write", f"{directory} cannot be written ({error.strerror})", "name a directory that you may write"
        ) from None
    return variables(overlay, rmw, directory)


def write_environment(status: Mapping[str, Any], rmw: str, directory: str, distro: str | None = None) -> dict[str, str]:
    """For launch files: the profile of a running Ganglion, from what its admin socket answers to ``status``.

    ``rmw``: one of MIDDLEWARES, or an RMW implementation. ``distro``: of ROS 2; None is that of the environment.
    """
    known = os.environ.get("ROS_DISTRO", "") if distro is None else distro
    return write_profile(Overlay.of_status(status), middleware(rmw, known), directory)


def _content(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError):
        return None
