"""Where the BPF programs' sources are, and one source as a single text with a hash.

bcc rewrites map accesses and inlines functions only in the main file, so what a program includes by ``#include "x.h"``
is put into that one text; ``#line`` keeps the places in messages right. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import re
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from omni_core.errors import ConfigError

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"')
_ONCE = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+once\b")
_DEPTH = 32


def program_directory() -> Path:
    """``bpf/`` of the source tree, of a pip installation (<prefix>/share/omni_ros2) or of a colcon one. ConfigError."""
    here = Path(__file__).resolve()
    tops = [
        here.parents[3],  # source tree
        *(parent / "share/omni_ros2" for parent in here.parents),  # <prefix>/lib/python3.x/site-packages/omni_core/...
        Path(sysconfig.get_path("data")) / "share/omni_ros2",
    ]
    for top in tops:
        if (top / "bpf/compat/include/linux/kconfig.h").is_file():
            return top / "bpf"
    looked = ", ".join(dict.fromkeys(str(top) for top in (tops[0], tops[-1])))
    raise ConfigError(
        "bpf/",
        f"the sources of the BPF programs are not there (looked in {looked})",
        "install omni_ros2 again with its data files, or use the engine python",
    )


def program_source() -> Path:
    """The one source of all programs, ``bpf/synapse.c``. ConfigError where it is missing."""
    path = program_directory() / "synapse.c"
    if not path.is_file():
        raise ConfigError(str(path), "is missing", "install omni_ros2 again, or use the engine python")
    return path


def single_text(source: Path) -> str:
    """``source`` with every ``#include "..."`` replaced by the file, relative to the including one or to bpf/.

    Angle brackets are left to the compiler. A file with ``#pragma once`` comes once, any other as often as it is
    included (its guard sees to it). ConfigError where a file is missing or includes itself.
    """
    return "".join(_expand(source.resolve(), source.resolve().parent, set(), 0))


def _expand(path: Path, top: Path, once: set[Path], depth: int) -> list[str]:
    if path in once:
        return []
    if depth > _DEPTH:
        raise ConfigError(str(path), "includes itself", "give it an include guard")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(str(path), f"cannot be read ({problem})", "install omni_ros2 again") from problem
    name = path.relative_to(top) if path.is_relative_to(top) else path
    out = [f'#line 1 "{name}"\n']
    for number, line in enumerate(lines, 1):
        if _ONCE.match(line):
            once.add(path)
            out.append("\n")
        elif found := _INCLUDE.match(line):
            out += _expand(_included(found[1], path, top), top, once, depth + 1)
            out.append(f'#line {number + 1} "{name}"\n')
        else:
            out.append(line + "\n")
            if line == "{":  # of a function: bcc puts lines of its own before it, which the verifier would count
                out.append(f'#line {number + 1} "{name}"\n')
    return out


def _included(name: str, path: Path, top: Path) -> Path:
    for directory in (path.parent, top, program_directory()):
        if (directory / name).is_file():
            return (directory / name).resolve()
    raise ConfigError(f"{path.name}", f'#include "{name}": no such file', "install omni_ros2 again")


def build_hash(
    source: Path, defines: Mapping[str, int], programs: Mapping[str, str], abi_version: int = 0, text: str = ""
) -> bytes:
    """32 bytes that differ whenever the programs or maps could: every source used, defines, programs, ABI version."""
    digest = hashlib.sha256((text or single_text(source)).encode())
    compat = program_directory() / "compat/include"
    for path in sorted(compat.rglob("*.h")):
        digest.update(f"\0{path.relative_to(compat)}\0".encode() + path.read_bytes())
    digest.update(json.dumps([dict(defines), dict(programs), abi_version], sort_keys=True).encode())
    return digest.digest()
