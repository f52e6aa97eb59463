"""Python, its packages, and what the kernel engine compiles with."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path

from omni_core.cli.doctor.finding import Finding, Machine, note, ok, problem
from omni_core.errors import SystemRefused
from omni_core.io.native.binary import build_of, native_binary
from omni_core.io.synapse.compiler import bcc_directory

FindSpec = Callable[[str], "ModuleSpec | None"]

MIN_PYTHON = (3, 10)
# Module -> name of its package on PyPI.
PACKAGES = {
    "cbor2": "cbor2",
    "cryptography": "cryptography",
    "nacl": "pynacl",
    "noise": "noiseprotocol",
    "pyroute2": "pyroute2",
    "rich": "rich",
    "yaml": "pyyaml",
    **({} if sys.version_info >= (3, 11) else {"tomli": "tomli"}),
}
NUCLEUS_PACKAGES = {
    "prometheus_client": "prometheus-client", "pythonjsonlogger": "python-json-logger", "redis": "redis",
}  # fmt: skip


def python_version(version: tuple[int, int, int] = sys.version_info[:3]) -> Finding:
    text = ".".join(map(str, version))
    if version[:2] < MIN_PYTHON:
        wanted = ".".join(map(str, MIN_PYTHON))
        return problem("python", f"{text} is too old", f"use python {wanted} or newer")
    return ok("python", text)


def packages(find_spec: FindSpec = importlib.util.find_spec) -> Finding:
    missing = [package for module, package in PACKAGES.items() if find_spec(module) is None]
    if missing:
        return problem("python packages", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    missing = [package for module, package in NUCLEUS_PACKAGES.items() if find_spec(module) is None]
    if missing:
        return note(
            "python packages",
            f"all that a robot needs; a Nucleus may need {', '.join(missing)}",
            f"pip install {' '.join(missing)}",
        )
    there = (*PACKAGES.values(), *NUCLEUS_PACKAGES.values())
    return ok("python packages", ", ".join(f"{package} {_version(package)}" for package in there))


def bcc(find: Callable[[Iterable[str]], str | None] = bcc_directory) -> Finding:
    """Where the compiler step looks for it: also outside of this python's path."""
    where = find(sys.path)
    if where is None:
        fix = "apt install python3-bpfcc (not pip: PyPI's bcc is another library)"
        return note("bcc", "not installed; only the kernel engine needs it", fix)
    return ok("bcc", f"in {where}")


def native_engine(wanted: bool, find: Callable[[], Path] = native_binary) -> Finding:
    """The program is there and runs. ``wanted``: the configuration asks for it, so that there is no other engine."""
    try:
        path = find()
        return ok("native engine", f"{path}, build {build_of(path)}")
    except SystemRefused as error:
        if wanted:
            return problem("native engine", error.problem, error.fix)
        text = f"{error.problem}; the engines kernel and python do without, slower in bulk"
        return note("native engine", text, error.fix)


def kernel_headers(machine: Machine) -> Finding:
    release = machine.read("/proc/sys/kernel/osrelease") or ""
    found = machine.path(f"/lib/modules/{release}/build").exists()
    return ok("kernel headers", f"{'there, but ' if found else ''}not needed: the BPF programs bring their own")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(version unknown)"
