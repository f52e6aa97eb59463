"""The allow lists of a Nucleus's clusters, read from their files, and read again when those change."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from omni_core.config.values import ClusterFile
from omni_core.errors import ConfigError
from omni_core.io.files import read_checked
from omni_core.signaling.allow_list import AllowList, parse_allow_list

LOOK = 1.0  # s between two looks at the files
_FIELD = "allow_files"
_SIZE_MAX = 1 << 26  # bytes

_Mark = tuple[int, ...]  # differs when the file has changed


class Reread(NamedTuple):
    """``allow_list`` None: the new version is ``refused``, and the one before stays."""

    cluster: str
    allow_list: AllowList | None
    refused: ConfigError | None


@dataclass
class _File:
    cluster: str
    path: str
    read: _Mark | None = None  # as it was when it was read last; None: it was not there
    seen: _Mark | None = field(default=None, repr=False)  # as it was at the last look


class AllowFiles:
    """Blocking: call from a worker thread."""

    def __init__(self, files: Sequence[ClusterFile]) -> None:
        self.lists: dict[str, AllowList] = {}
        self._files = [_File(each.cluster, each.path) for each in files]

    def __bool__(self) -> bool:
        return bool(self._files)

    def load(self) -> None:
        """Raises ConfigError("allow_files") when one cannot be used."""
        for file in self._files:
            file.read = file.seen = _mark(file.path)
            self.lists[file.cluster] = _read(file.path)

    def look(self) -> list[Reread]:
        """Those that have changed. One that changes at each look is still being written, and is left alone."""
        found = []
        for file in self._files:
            mark = _mark(file.path)
            settled, file.seen = mark == file.seen, mark
            if mark == file.read or not settled:
                continue
            file.read = mark
            try:
                self.lists[file.cluster] = allow_list = _read(file.path, self.lists.get(file.cluster))
            except ConfigError as error:
                found.append(Reread(file.cluster, None, error))
            else:
                found.append(Reread(file.cluster, allow_list, None))
        return found


def _mark(path: str) -> _Mark | None:
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def _read(path: str, before: AllowList | None = None) -> AllowList:
    def check(info: os.stat_result) -> None:
        if info.st_mode & stat.S_IWOTH:
            raise ConfigError(_FIELD, f"every user may write to {path}", f"chmod o-w {path}")

    text = read_checked(
        path, _FIELD, _SIZE_MAX, check,
        missing="make it, empty if nobody may join yet",
        denied=f"let uid {os.geteuid()} read it",
        not_text="write one public key a line",
    )  # fmt: skip
    return parse_allow_list(text, path, before)
