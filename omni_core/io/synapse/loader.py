"""Gets the BPF programs into the kernel by the compiler step, and opens what is pinned. Never imports bcc."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from omni_core.errors import SystemRefused
from omni_core.io.synapse import bpf_call, bpffs, compiler, sources, syscalls
from omni_core.io.synapse.syscalls import BpfMap, BpfProgram

WHAT = "BPF programs"
TIMEOUT = 60.0  # s; two to three are normal, and a busy small board may need ten times that
_VERIFIER_LINES = 25
_CLANG_LINES = 12


@dataclass
class Loaded:
    """The maps and programs of one pin directory, by their names in the source. Owns their descriptors."""

    maps: dict[str, BpfMap]
    programs: dict[str, BpfProgram]
    build: bytes  # hash of what they were made from

    def close(self) -> None:
        """Closes the descriptors. Pins and attached programs stay."""
        for held in (*self.maps.values(), *self.programs.values()):
            held.close()


def load(
    source: Path,
    defines: Mapping[str, int],
    programs: Mapping[str, str],
    directory: Path,
    abi_version: int = 0,
    timeout: float = TIMEOUT,
) -> Loaded:
    """Compiles ``source``, loads ``programs`` (function -> "xdp" or "sched_cls") and pins all in ``directory``.

    ``directory`` lies in a bpffs (``bpffs.prepare`` its parent); pins that were in it are replaced, but only by a
    whole set. Takes seconds: call it in a thread. SystemRefused with the lines of the compiler or verifier that matter.
    """
    text = sources.single_text(source)
    build = sources.build_hash(source, defines, programs, abi_version, text)
    request: compiler.Request = {
        "text": text,
        "compat": str(sources.program_directory() / "compat"),
        "defines": dict(defines),
        "programs": dict(programs),
        "directory": str(directory),
        "build": build.hex(),
        "bcc": _requirements(),
    }
    try:
        done = _run(request, timeout)
    except BaseException:
        bpffs.remove_tree(bpffs.staging(directory))
        raise
    if done.returncode != 0:
        bpffs.remove_tree(bpffs.staging(directory))  # a child that was killed leaves it
        raise _failure(done, source)
    return open_pins(directory)


def open_pins(directory: Path) -> Loaded:
    """What is pinned in ``directory``. SystemRefused where there is nothing, or not a whole set."""
    loaded = Loaded({}, {}, b"")
    with bpf_call.translated(f"{WHAT} in {directory}"):
        try:
            for name in bpffs.entries(directory):
                kind, _, label = name.partition("_")
                if kind == "map":
                    loaded.maps[label] = BpfMap(syscalls.obj_get(directory / name))
                elif kind == "prog":
                    loaded.programs[label] = BpfProgram(syscalls.obj_get(directory / name))
            if "build" in loaded.maps:
                with loaded.maps.pop("build") as build:
                    loaded.build = build.lookup(bytes(4)) or b""
        except BaseException:
            loaded.close()
            raise
    if not loaded.build:
        loaded.close()
        raise SystemRefused(f"{WHAT} in {directory}", "nothing is pinned there", "load them")
    return loaded


def adopt(directory: Path, build: bytes) -> Loaded | None:
    """What is pinned in ``directory``, if it was made from the same build; else None (then ``load`` replaces it)."""
    if compiler.BUILD_MAP not in bpffs.entries(directory):
        return None
    loaded = open_pins(directory)
    if loaded.build == build:
        return loaded
    loaded.close()
    return None


def _requirements() -> str:
    where = compiler.bcc_directory(sys.path)
    if where is None:
        raise SystemRefused(
            "bcc",
            "the BPF compiler collection is not installed",
            "apt install python3-bpfcc (not pip: PyPI's bcc is another library), or use the engine python",
        )
    if compiler.system_headers() is None:
        raise SystemRefused(
            "linux-libc-dev", "the system's UAPI headers are not in /usr/include", "apt install linux-libc-dev"
        )
    return where


def _run(request: compiler.Request, timeout: float) -> subprocess.CompletedProcess[str]:
    root = Path(compiler.__file__).parents[3]
    # -S: nothing of site-packages is needed, and some of it takes long or starts python anew.
    command = [sys.executable or "/usr/bin/python3", "-S", "-s", "-m", compiler.__name__]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    environment.pop("PYTHONHOME", None)
    try:
        return subprocess.run(
            command,
            input=json.dumps(request),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=environment,
            cwd="/",
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SystemRefused(
            WHAT,
            f"compiling them took more than {timeout:.0f} s",
            "see what keeps this machine busy, or use the engine python",
        ) from None
    except OSError as problem:
        raise SystemRefused(
            WHAT, f"{command[0]} could not be started ({problem.strerror})", "repair this python"
        ) from problem


def _failure(done: subprocess.CompletedProcess[str], source: Path) -> SystemRefused:
    try:
        answer = json.loads(done.stdout)
        said, code = answer["error"], answer["errno"]
    except (ValueError, KeyError, TypeError):
        said, code = f"the compiler step ended with {done.returncode}", 0
    said = re.sub(r"b'(\w+)'", r"\1", said)
    messages = done.stderr.replace("/virtual/main.c", str(source))
    if re.search(r"(?m)^(error: |[^\n]*:\d+:\d+: (fatal )?error: )", messages):
        return SystemRefused(
            WHAT,
            f"they do not compile:\n{_clang_lines(messages)}",
            "install omni_ros2 again, or use the engine python",
        )
    if code:
        return bpf_call.refusal(WHAT, OSError(code, said))
    if "super-user" in said or "Operation not permitted" in said:
        return bpf_call.refusal(WHAT, OSError(1, said))
    tail = [line for line in messages.splitlines() if line.strip()][-_VERIFIER_LINES:]
    return SystemRefused(WHAT, "\n".join([said, *tail]), "use Linux 5.15 or newer, or the engine python")


def _clang_lines(messages: str) -> str:
    """The errors (file:line:column, the line, the caret), without warnings and the chains of includes."""
    kept: list[str] = []
    wanted = False
    for line in messages.splitlines():
        if re.match(r"^(error: |warning: |[^ ].*:\d+:\d+: )", line):
            wanted = "error: " in line
        elif line.startswith("In file included from") or re.match(r"^\d+ (error|warning)", line):
            wanted = False
        if wanted:
            kept.append(line)
    more = len(kept) - _CLANG_LINES
    return "\n".join([*kept[:_CLANG_LINES], *([f"... and {more} more lines"] if more > 0 else [])])
