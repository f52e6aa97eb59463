"""The compiler step, pins and adoption, on the running kernel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from omni_core.errors import ConfigError, SystemRefused
from omni_core.io.synapse import bpffs, compiler, loader, sources
from omni_core.io.synapse.syscalls import create_map, obj_pin

pytestmark = pytest.mark.netns

ROOT = Path(__file__).parents[2]
BASICS = ROOT / "bpf/test/basics.c"
PROGRAMS = {"count_packet": "xdp", "pass_skb": "sched_cls"}
MAPS = {"counters", "totals", "table", "per_cpu", "programs", "events"}
XDP_PASS = 2


@pytest.fixture
def place(pin_directory: Path, request: pytest.FixtureRequest) -> Path:
    """A name for pins that no other test uses."""
    return pin_directory / bpffs.file_name(request.node.name)


def write(directory: Path, text: str, name: str = "program.c") -> Path:
    path = directory / name
    path.write_text(text)
    return path


def test_load_and_adopt(place: Path) -> None:
    loaded = loader.load(BASICS, {"FACTOR": 3}, PROGRAMS, place)
    assert set(loaded.programs) == set(PROGRAMS) and set(loaded.maps) == MAPS
    assert set(os.listdir(place)) == {f"prog_{n}" for n in PROGRAMS} | {f"map_{n}" for n in MAPS} | {"map_build"}
    assert place.stat().st_mode & 0o777 == 0o700
    loaded.maps["table"].update(bytes(4), b"survives")
    identity = loaded.programs["count_packet"].id
    loaded.close()
    loaded.close()

    build = sources.build_hash(BASICS, {"FACTOR": 3}, PROGRAMS)
    again = loader.adopt(place, build)
    assert again is not None and again.build == build
    assert again.programs["count_packet"].id == identity
    assert again.maps["table"].lookup(bytes(4)) == b"survives"
    assert again.programs["count_packet"].test_run(bytes([5]) * 64).data[14] == 15
    again.close()


def test_another_build_is_not_adopted_but_replaced(place: Path) -> None:
    loader.load(BASICS, {"FACTOR": 3}, PROGRAMS, place).close()
    assert loader.adopt(place, sources.build_hash(BASICS, {"FACTOR": 4}, PROGRAMS)) is None
    loaded = loader.load(BASICS, {"FACTOR": 4}, {"count_packet": "xdp"}, place)
    assert loaded.programs["count_packet"].test_run(bytes([5]) * 64).data[14] == 20
    assert "prog_pass_skb" not in os.listdir(place) and not bpffs.staging(place).exists()
    loaded.close()


def test_nothing_to_adopt(place: Path) -> None:
    assert loader.adopt(place, bytes(32)) is None
    with pytest.raises(SystemRefused, match="nothing is pinned"):
        loader.open_pins(place)


def test_half_a_set_of_pins_is_not_adopted(place: Path) -> None:
    place.mkdir()
    with create_map("left_over", 2, 4, 4, 1) as made:
        obj_pin(made.fd, place / "map_left_over")
    assert loader.adopt(place, bytes(32)) is None


def test_the_build_hash_knows_every_input(tmp_path: Path) -> None:
    source = write(tmp_path, '#include "part.h"\nint f;\n')
    part = write(tmp_path, "int g;\n", "part.h")
    seen = {
        sources.build_hash(source, {"A": 1}, {"f": "xdp"}),
        sources.build_hash(source, {"A": 2}, {"f": "xdp"}),
        sources.build_hash(source, {"A": 1}, {"f": "sched_cls"}),
        sources.build_hash(source, {"A": 1}, {"f": "xdp"}, abi_version=1),
    }
    part.write_text("int h;\n")
    seen.add(sources.build_hash(source, {"A": 1}, {"f": "xdp"}))
    assert len(seen) == 5


def test_compile_errors_name_file_and_line(place: Path, tmp_path: Path) -> None:
    write(tmp_path, "#pragma once\n\nstatic int helper(void)\n{\n\treturn nonsense;\n}\n", "part.h")
    source = write(tmp_path, '#include "part.h"\nint f(struct xdp_md *ctx)\n{\n\treturn helper() + ;\n}\n')
    with pytest.raises(SystemRefused) as caught:
        loader.load(source, {}, {"f": "xdp"}, place)
    text = str(caught.value)
    assert "part.h:5:9: error: use of undeclared identifier 'nonsense'" in text
    assert "program.c:4:20: error: expected expression" in text
    assert "In file included" not in text and "Traceback" not in text and text.count("\n") < 20
    assert not place.exists() and not bpffs.staging(place).exists()


def test_the_verifier_is_quoted(place: Path, tmp_path: Path) -> None:
    source = write(tmp_path, "int f(struct xdp_md *ctx)\n{\n\tint a = 1;\n\n\treturn a + *(int *)(long)ctx->data;\n}\n")
    with pytest.raises(SystemRefused) as caught:
        loader.load(source, {}, {"f": "xdp"}, place)
    text = str(caught.value)
    assert "BPF program f: " in text and "invalid access to packet" in text and "program.c:5" in text
    assert "Traceback" not in text and text.count("\n") <= 30
    assert not place.exists()


def test_too_much_on_the_stack_is_a_sentence(place: Path, tmp_path: Path) -> None:
    """The code generator says it, not the front end, and ends the process."""
    body = "volatile char a[600];\n\n\ta[ctx->data & 511] = 1;\n\treturn a[ctx->data_end & 511];"
    source = write(tmp_path, f"int f(struct xdp_md *ctx)\n{{\n\t{body}\n}}\n")
    with pytest.raises(SystemRefused, match="stack limit") as caught:
        loader.load(source, {}, {"f": "xdp"}, place)
    assert "Traceback" not in str(caught.value)
    assert not place.exists()


def test_a_program_that_is_not_there(place: Path) -> None:
    with pytest.raises(SystemRefused, match="Unknown program"):
        loader.load(BASICS, {"FACTOR": 2}, {"missing": "xdp"}, place)
    assert not place.exists()


def test_a_failed_load_leaves_the_earlier_pins(place: Path) -> None:
    loader.load(BASICS, {"FACTOR": 3}, PROGRAMS, place).close()
    with pytest.raises(SystemRefused):
        loader.load(BASICS, {"FACTOR": 2}, {**PROGRAMS, "missing": "xdp"}, place)
    loaded = loader.adopt(place, sources.build_hash(BASICS, {"FACTOR": 3}, PROGRAMS))
    assert loaded is not None
    loaded.close()


def test_no_bpffs_there(tmp_path: Path) -> None:
    with pytest.raises(SystemRefused):
        loader.load(BASICS, {"FACTOR": 2}, PROGRAMS, tmp_path / "pins")
    assert not (tmp_path / "pins").exists() and not list(tmp_path.iterdir())


def test_a_compiler_that_takes_too_long(place: Path) -> None:
    with pytest.raises(SystemRefused, match="took more than"):
        loader.load(BASICS, {"FACTOR": 2}, PROGRAMS, place, timeout=0.05)
    assert not place.exists() and not bpffs.staging(place).exists()


def test_without_bcc(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "bcc_directory", lambda path: None)
    with pytest.raises(SystemRefused, match="apt install python3-bpfcc"):
        loader.load(BASICS, {"FACTOR": 2}, PROGRAMS, place)


def test_bcc_of_pypi_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "bcc").mkdir()
    (tmp_path / "bcc/__init__.py").touch()
    assert compiler.bcc_directory([str(tmp_path)]) != str(tmp_path)
    (tmp_path / "bcc/libbcc.py").touch()
    assert compiler.bcc_directory([str(tmp_path)]) == str(tmp_path)


def test_from_an_environment_without_system_packages(place: Path, tmp_path: Path) -> None:
    """Also: the process that loads never holds bcc or LLVM, and stays small."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    script = f"""
import importlib.util, sys
from pathlib import Path
from omni_core.io.synapse import loader
assert importlib.util.find_spec("bcc") is None
loaded = loader.load(Path({str(BASICS)!r}), {{"FACTOR": 2}}, {PROGRAMS!r}, Path({str(place)!r}))
assert loaded.programs["count_packet"].test_run(bytes(64)).retval == {XDP_PASS}
mapped = Path("/proc/self/maps").read_text().lower()
assert "bcc" not in sys.modules and "llvm" not in mapped and "bcc" not in mapped and "clang" not in mapped
(resident,) = [int(l.split()[1]) for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmRSS")]
print(resident)
"""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    python = tmp_path / "venv/bin/python"
    done = subprocess.run([python, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(f"resident: {done.stdout.strip()} kB")
    assert int(done.stdout) < 40_000


def test_the_text_of_a_source(tmp_path: Path) -> None:
    write(tmp_path, "#pragma once\nint once;\n", "once.h")
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", '#include "../once.h"\nint twice;\n', "twice.h")
    text = '#include <linux/in.h>\n#include "once.h"\n # include "sub/twice.h" //\n#include "sub/twice.h"\nint last;\n'
    out = sources.single_text(write(tmp_path, text))
    assert out.count("int once;") == 1 and out.count("int twice;") == 2 and "#include <linux/in.h>" in out
    assert '#line 5 "program.c"\nint last;' in out and '#line 1 "sub/twice.h"' in out


def test_sources_that_are_wrong(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        sources.single_text(write(tmp_path, '#include "missing.h"\n'))
    with pytest.raises(ConfigError, match="includes itself"):
        sources.single_text(write(tmp_path, '#include "program.c"\n'))
    with pytest.raises(ConfigError, match="cannot be read"):
        sources.single_text(tmp_path / "nowhere.c")


def test_sources_are_found_or_missed_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sources.program_directory() == ROOT / "bpf"
    alone = tmp_path / "lib/python3/site-packages/omni_core/io/synapse/sources.py"
    alone.parent.mkdir(parents=True)
    alone.touch()
    monkeypatch.setattr(sources, "__file__", str(alone))
    with pytest.raises(ConfigError, match="bpf/: the sources"):
        sources.program_directory()
    shutil.copytree(ROOT / "bpf", tmp_path / "share/omni_ros2/bpf")
    assert sources.program_directory() == tmp_path / "share/omni_ros2/bpf"


def test_directories_of_a_bpffs(pin_directory: Path) -> None:
    place = bpffs.prepare(pin_directory / "deep/er")
    assert place == (pin_directory / "deep/er", pin_directory, True)
    assert bpffs.is_bpffs(place.directory) and not bpffs.is_bpffs(pin_directory.parent)
    assert place.directory.stat().st_mode & 0o777 == 0o700
    assert bpffs.entries(pin_directory / "deep") == ["er"] and bpffs.entries(pin_directory / "none") == []
    assert not bpffs.release(place) and not place.directory.exists(), "there are others in it"
    bpffs.remove_tree(pin_directory / "deep")
    bpffs.remove_tree(pin_directory / "deep")
    assert not (pin_directory / "deep").exists()


def test_names_that_a_bpffs_takes(pin_directory: Path) -> None:
    for name in ("eth0.100", "a/b", "50%", "omni0@4026531840"):
        (pin_directory / bpffs.file_name(name)).mkdir()
        (pin_directory / bpffs.file_name(name)).rmdir()
    assert bpffs.file_name("omni0@4026531840") == "omni0@4026531840"
