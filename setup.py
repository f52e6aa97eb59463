"""pip's way in. Everything constant is in setup.cfg; the version is in package.xml.

Compiles the native engine (native/) into the package, where there are a C compiler and the headers of OpenSSL; without
them the package is installed all the same, and `omni doctor` says what is missing. ``CC``, ``CFLAGS`` and ``LDFLAGS``
are heeded.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
ENGINE = "omni_core/io/native/omni-native"


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


def compiler() -> list[str]:
    """The command of the C compiler; python's own may be one that this machine does not have."""
    for words in map(shlex.split, (os.environ.get("CC") or "", sysconfig.get_config_var("CC") or "")):
        if words and ("CC" in os.environ or shutil.which(words[0])):
            return words
    return ["cc"]


def native_build() -> str:
    """Which sources the engine is made from, as native/CMakeLists.txt has it."""
    sums = [(hashlib.sha256(path.read_bytes()).hexdigest(), path.name) for path in (ROOT / "native").glob("*.[ch]")]
    lines = "".join(f"{digest}  {name}\n" for digest, name in sorted(sums, key=lambda row: row[1]))
    return hashlib.sha256(lines.encode()).hexdigest()[:32]


def compile_engine(target: Path) -> str:
    """Make the program ``target``. Returns why that was not possible; "" where it was."""
    command = [
        *compiler(),
        *(ROOT / "native/compile_flags.txt").read_text().split(),
        f'-DOMNI_NATIVE_BUILD="{native_build()}"',
        *shlex.split(os.environ.get("CFLAGS", "")),
        *(str(path) for path in sorted((ROOT / "native").glob("*.c"))),
        *("-o", str(target), "-pie", "-Wl,-z,relro,-z,now"),
        *shlex.split(os.environ.get("LDFLAGS", "")),
        "-lcrypto",
    ]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as problem:
        return f"{command[0]}: {problem.strerror}"
    if done.returncode == 0:
        return ""
    said = done.stderr.strip().splitlines()
    return "\n".join(said[:8]) or f"{command[0]}: exit code {done.returncode}"


class BuildWithEngine(build_py):
    """The modules, and the engine beside the one that looks for it there."""

    def run(self) -> None:
        super().run()
        # An editable installation runs from the source tree, which has its own place for it.
        target = (
            ROOT / ".work/native/omni-native"
            if getattr(self, "editable_mode", False)
            else Path(self.build_lib) / ENGINE
        )
        if problem := compile_engine(target):
            print(
                f"{problem}\nWARNING: the native engine was not built, so the engines are kernel and python only. "
                "Fix: install a C compiler and the headers of OpenSSL (apt install gcc libssl-dev), then this again.",
                file=sys.stderr,
            )

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        engine = Path(self.build_lib) / ENGINE
        return [*super().get_outputs(include_bytecode), *([str(engine)] if engine.is_file() else [])]


class WithProgram(Distribution):
    """A wheel for one kind of machine."""

    def has_ext_modules(self) -> bool:
        return True


def wheel_commands() -> dict[str, type]:
    """``bdist_wheel`` for every python: the engine is a program, no module."""
    for module in ("setuptools.command.bdist_wheel", "wheel.bdist_wheel"):  # the latter: setuptools < 70.1
        try:
            base = importlib.import_module(module).bdist_wheel
        except ImportError:
            continue

        class ProgramWheel(base):
            def get_tag(self) -> tuple[str, str, str]:
                return "py3", "none", super().get_tag()[2]

        return {"bdist_wheel": ProgramWheel}
    return {}  # no wheel can be made here, but a source distribution


setup(
    version=version(),
    data_files=shared_files("bpf", "config"),
    distclass=WithProgram,
    cmdclass={"build_py": BuildWithEngine, **wheel_commands()},
)
