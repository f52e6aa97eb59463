"""The places where `omni-native` may be, in an order, and programs that are not it."""

from __future__ import annotations

from pathlib import Path

import pytest

from omni_core.errors import SystemRefused
from omni_core.io.native.binary import build_of, native_binary

MODULE = "omni_core/io/native/binary.py"


def program(path: Path, script: str = "echo omni-native 0123abcd") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def module(top: Path) -> Path:
    """A ``binary.py`` of an installation below ``top``."""
    path = top / MODULE
    path.parent.mkdir(parents=True)
    path.write_text("")
    return path


def test_pip_has_it_beside_the_module(tmp_path: Path) -> None:
    here = module(tmp_path / "lib/python3.12/site-packages")
    beside = program(here.parent / "omni-native")
    program(tmp_path / "lib/omni_ros2/omni-native")
    assert native_binary({}, here) == beside


def test_colcon_has_it_among_the_executables(tmp_path: Path) -> None:
    here = module(tmp_path / "lib/python3.12/site-packages")
    installed = program(tmp_path / "lib/omni_ros2/omni-native")
    assert native_binary({}, here) == installed


def test_colcon_may_have_linked_to_the_module(tmp_path: Path) -> None:
    real = module(tmp_path / "build")
    here = tmp_path / "install/lib/python3.12/site-packages" / MODULE
    here.parent.mkdir(parents=True)
    here.symlink_to(real)
    installed = program(tmp_path / "install/lib/omni_ros2/omni-native")
    assert native_binary({}, here) == installed


def test_a_source_tree_has_it_where_the_tools_build(tmp_path: Path) -> None:
    here = module(tmp_path)
    built = program(tmp_path / ".work/native/omni-native")
    with pytest.raises(SystemRefused, match="it is not built"):
        native_binary({}, here)  # not a source tree of ours
    (tmp_path / "native").mkdir()
    (tmp_path / "native/CMakeLists.txt").write_text("")
    assert native_binary({}, here) == built


def test_what_is_no_program_is_passed_over(tmp_path: Path) -> None:
    here = module(tmp_path)
    program(here.parent / "omni-native").chmod(0o644)
    (tmp_path / "lib/omni_ros2/omni-native").mkdir(parents=True)
    with pytest.raises(SystemRefused, match=r"omni-native: it is not built.*libssl-dev"):
        native_binary({}, here)


def test_the_environment_names_another(tmp_path: Path) -> None:
    other = program(tmp_path / "sanitized")
    assert native_binary({"OMNI_NATIVE": str(other)}, module(tmp_path)) == other
    with pytest.raises(SystemRefused, match=r"OMNI_NATIVE: .*/nowhere is not a program"):
        native_binary({"OMNI_NATIVE": str(tmp_path / "nowhere")})


def test_its_build(tmp_path: Path) -> None:
    assert build_of(program(tmp_path / "good")) == "0123abcd"
    for script, said in (
        ("echo 'libcrypto.so.3: cannot open' >&2; exit 127", "libcrypto.so.3: cannot open"),
        ("exit 3", "exit code 3"),
        ("true", "exit code 0"),
    ):
        with pytest.raises(SystemRefused, match=said):
            build_of(program(tmp_path / "bad", script))
    with pytest.raises(SystemRefused, match="does not run"):
        build_of(tmp_path / "nowhere")
