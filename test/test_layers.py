"""The layers of ARCHITECTURE.md, enforced: walks the imports of every module, fails when an arrow points the wrong way.

omni_ros2, cli -> io, sim -> engines -> {session, fdb, signaling, nat, dataplane, config} -> {wire, crypto} -> base
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent

BASE = {"types", "errors", "drops", "constants"}
_BELOW_MIDDLE = BASE | {"wire", "crypto"}
_MIDDLE = {"session", "fdb", "signaling", "nat", "dataplane", "config", "dds"}
_BELOW_IO = _BELOW_MIDDLE | _MIDDLE | {"engines"}

# Unit (a module or package directly under omni_core, or omni_ros2) -> units that it may import besides itself.
MAY_IMPORT: dict[str, set[str]] = {
    "types": set(),
    "drops": set(),
    "constants": set(),
    "errors": BASE,
    "version": set(),
    "wire": BASE,
    "crypto": BASE | {"wire"},
    "session": _BELOW_MIDDLE,
    "fdb": _BELOW_MIDDLE,
    "signaling": _BELOW_MIDDLE | {"config", "session"},
    "nat": _BELOW_MIDDLE,
    "dataplane": _BELOW_MIDDLE | {"fdb", "session"},
    "config": _BELOW_MIDDLE,
    "dds": BASE,
    "engines": _BELOW_MIDDLE | _MIDDLE,
    "sim": _BELOW_IO,
    "io": _BELOW_IO | {"version"},
    "cli": _BELOW_IO | {"io", "sim", "version"},
    "omni_ros2": _BELOW_IO | {"io", "cli", "version"},
}

# Third-party top-level package -> the only places (path prefixes) that may import it.
THIRD_PARTY: dict[str, tuple[str, ...]] = {
    "noise": ("omni_core/crypto/",),
    "nacl": ("omni_core/crypto/",),
    "cryptography": ("omni_core/crypto/",),
    "cbor2": ("omni_core/crypto/", "omni_core/signaling/", "omni_core/wire/"),
    "pyroute2": ("omni_core/io/netlink/",),
    "bcc": ("omni_core/io/synapse/compiler.py",),  # in a process of its own
    "tomli": ("omni_core/io/", "omni_core/cli/"),
    "yaml": ("omni_core/io/", "omni_core/cli/"),
    "rich": ("omni_core/cli/",),
    "prometheus_client": ("omni_core/io/nucleus_metrics.py",),
    "pythonjsonlogger": ("omni_core/cli/json_lines.py",),
    "redis": ("omni_core/io/redis_store.py",),
    "rclpy": ("omni_ros2/",),
    "rcl_interfaces": ("omni_ros2/",),
    "lifecycle_msgs": ("omni_ros2/",),
    "builtin_interfaces": ("omni_ros2/",),
    "std_msgs": ("omni_ros2/",),
    "launch": ("omni_ros2/launch/",),
    "launch_ros": ("omni_ros2/launch/",),
    "ros2cli": ("omni_ros2/ros2cli/",),
    "ros2doctor": ("omni_ros2/ros2cli/",),
    "python_qt_binding": ("omni_ros2/rqt/",),
    "PyQt5": ("omni_ros2/rqt/",),
    "rqt_gui_py": ("omni_ros2/rqt/",),
    "diagnostic_msgs": ("omni_ros2/",),
}

COMPILER = "omni_core/io/synapse/compiler.py"

# Sockets, clocks, files, threads and event loops: everything that makes a module impure.
IMPURE = {
    "asyncio", "concurrent", "fcntl", "glob", "multiprocessing", "os", "pathlib", "select", "selectors", "shutil",
    "signal", "socket", "ssl", "subprocess", "tempfile", "threading", "time", "datetime",
}  # fmt: skip
IMPURE_UNITS = {"io", "cli", "omni_ros2", "version"}
IMPURE_ALLOWED = {
    ("omni_core/sim/scale.py", "time"),  # a stopwatch for the simulator itself; no engine sees it
}
IMPURE_NAMES_ALLOWED = {"os": {"urandom"}, "datetime": {"timedelta"}}  # `from os import urandom` as a default argument


class Import(NamedTuple):
    path: str  # of the importing file, relative to the repository
    line: int
    module: str  # absolute dotted name of what is imported
    name: str  # imported name of a `from` import, else ""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.module}{' ' + self.name if self.name else ''}"

    @property
    def unit(self) -> str:
        parts = Path(self.path).with_suffix("").parts
        return "omni_ros2" if parts[0] == "omni_ros2" else parts[1]


def imports_of(source: str, path: str) -> Iterator[Import]:
    """Every import in ``source``, also inside functions and ``if TYPE_CHECKING``; relative ones made absolute."""
    package = Path(path).parent.parts
    for node in ast.walk(ast.parse(source, path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, alias.name, "")
        elif isinstance(node, ast.ImportFrom):
            prefix = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*prefix, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(path, node.lineno, module, alias.name)


def imported_unit(found: Import) -> str | None:
    """The unit of this project that an import reaches, or None for anything else."""
    parts = [*found.module.split("."), *([found.name] if found.name else [])]
    if parts[0] == "omni_ros2":
        return "omni_ros2"
    if parts[0] == "omni_core":
        return parts[1] if len(parts) > 1 else "omni_core"
    return None


def violations(found: Import) -> Iterator[str]:
    target = imported_unit(found)
    top = found.module.split(".")[0]
    if target is not None:
        if target != found.unit and target not in MAY_IMPORT.get(found.unit, set()):
            yield f"{found}: {found.unit} must not import {target}"
    elif top in sys.stdlib_module_names:
        allowed = found.name in IMPURE_NAMES_ALLOWED.get(top, set()) or (found.path, top) in IMPURE_ALLOWED
        if top in IMPURE and found.unit not in IMPURE_UNITS and not allowed:
            yield f"{found}: sockets, clocks and files only in {', '.join(sorted(IMPURE_UNITS))}"
    elif not any(found.path.startswith(place) for place in THIRD_PARTY.get(top, ())):
        yield f"{found}: {top} may be imported only in {', '.join(THIRD_PARTY.get(top, ('no place',)))}"


def modules() -> list[Path]:
    return sorted(
        path.relative_to(ROOT)
        for package in ("omni_core", "omni_ros2")
        for path in (ROOT / package).rglob("*.py")
        if path.relative_to(ROOT) != Path("omni_core/__init__.py")
    )


@pytest.mark.parametrize("path", modules(), ids=str)
def test_imports_point_downwards(path: Path) -> None:
    found = [text for i in imports_of((ROOT / path).read_text(), str(path)) for text in violations(i)]
    assert not found, "\n" + "\n".join(found)


def test_the_package_itself_imports_nothing() -> None:
    assert not list(imports_of((ROOT / "omni_core/__init__.py").read_text(), "omni_core/__init__.py"))


def test_the_compiler_step_needs_the_standard_library_only() -> None:
    """It runs without site-packages, so nothing that it reaches may import another package; of course but bcc."""
    todo, reached = [COMPILER, "omni_core/__init__.py", "omni_core/io/__init__.py"], set[str]()
    while todo:
        path = todo.pop()
        reached.add(path)
        for i in imports_of((ROOT / path).read_text(), path):
            top = i.module.split(".")[0]
            assert top in sys.stdlib_module_names or top == "omni_core" or (top, path) == ("bcc", COMPILER), i
            ours = [] if top != "omni_core" else [i.module, f"{i.module}.{i.name}"]
            files = [f"{name.replace('.', '/')}{end}" for name in ours for end in (".py", "/__init__.py")]
            todo += [file for file in files if (ROOT / file).is_file() and file not in reached]
    assert "omni_core/errors.py" in reached


def test_every_unit_has_a_rule() -> None:
    assert {Import(str(path), 0, "", "").unit for path in modules()} <= set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("omni_core/wire/x.py", "from omni_core.engines import ganglion"),
        ("omni_core/wire/x.py", "from ..session import sessions"),
        ("omni_core/session/x.py", "import omni_core.io.udp"),
        ("omni_core/session/x.py", "import time"),
        ("omni_core/session/x.py", "def f():\n    from os import path"),
        ("omni_core/engines/x.py", "import cryptography.hazmat"),
        ("omni_core/io/udp.py", "import pyroute2"),
        ("omni_core/io/synapse/loader.py", "from bcc import BPF"),
        ("omni_core/io/udp.py", "import omni_ros2"),
        ("omni_core/io/udp.py", "from rclpy.node import Node"),
        ("omni_core/sim/x.py", "from omni_core.io import clock"),
        ("omni_core/crypto/x.py", "import unheard_of"),
    ],
)
def test_a_wrong_arrow_is_found(path: str, source: str) -> None:
    assert [text for i in imports_of(source, path) for text in violations(i)]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("omni_core/session/x.py", "from os import urandom"),
        ("omni_core/signaling/x.py", "from omni_core.session.keypair import Keypair"),
        ("omni_core/io/netlink/x.py", "from pyroute2 import NDB"),
        ("omni_ros2/x.py", "import rclpy, time\nfrom omni_core.io import clock\nfrom omni_ros2.msg import PeerStatus"),
    ],
)
def test_a_right_arrow_is_let_through(path: str, source: str) -> None:
    assert not [text for i in imports_of(source, path) for text in violations(i)]
