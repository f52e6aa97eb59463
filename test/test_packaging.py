"""What is installed: one version, everything that the programs need, a command that works without ROS."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from omni_core.version import version

ROOT = Path(__file__).parent.parent
ENGINE = "omni_core/io/native/omni-native"


# Without PYTHONPATH, or pip finds the package that colcon built and thinks that it is installed.
CLEAN = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Standard output of a command that has to succeed."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=CLEAN, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def tracked_files() -> list[Path]:
    """What git has, so that build results do not count."""
    return [ROOT / name for name in run("git", "ls-files", cwd=ROOT).splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the source distribution and the wheel that was built from it."""
    source = tmp_path_factory.mktemp("source")
    for path in tracked_files():
        target = source / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    out = tmp_path_factory.mktemp("dist")
    # setuptools directly: a build front end would first fetch it from an index.
    run(sys.executable, "setup.py", "-q", "sdist", "--formats=gztar", "-d", out, cwd=source)
    (archive,) = out.glob("*.tar.gz")
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(archive) as file:
        file.extractall(unpacked)
    (top,) = unpacked.iterdir()
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, ".", cwd=top)
    return out


def test_the_version_is_written_once() -> None:
    written = version()
    assert written == ElementTree.parse(ROOT / "package.xml").findtext("version")
    assert re.fullmatch(r"\d+\.\d+\.\d+", written)
    suspects = {".py", ".cfg", ".toml", ".txt", ".in"}
    pattern = re.compile(rf"version\W{{1,4}}{re.escape(written)}(?![.\d])", re.IGNORECASE)
    elsewhere = [
        path.relative_to(ROOT)
        for path in tracked_files()
        if path.suffix in suspects and "requirements" not in path.parts and pattern.search(path.read_text())
    ]
    assert not elsewhere


def test_requirements_are_the_same_for_pip_and_ros() -> None:
    """setup.cfg is for pip, package.xml for rosdep: each knows every package that the other knows."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    of_pip = {re.split(r"[<>=;~! ]", line)[0] for line in parser["options"]["install_requires"].split("\n") if line}
    package = ElementTree.parse(ROOT / "package.xml")
    of_ros = {
        (element.text or "").rpartition("python3-")[2]
        for element in package.findall("exec_depend")
        if "python3-" in (element.text or "")
    }
    assert {name.removeprefix("py") if name == "pyyaml" else name for name in of_pip} == of_ros
    rules = (ROOT / "config/rosdep.yaml").read_text()
    for element in package.findall("exec_depend"):
        if (element.text or "").startswith("omni-"):
            assert f"\n{element.text}:" in rules


def test_every_message_is_built() -> None:
    cmake = (ROOT / "CMakeLists.txt").read_text()
    assert set(re.findall(r'"msg/(\w+\.msg)"', cmake)) == {path.name for path in (ROOT / "msg").iterdir()}


def test_messages_have_units_and_no_secrets() -> None:
    for path in (ROOT / "msg").glob("*.msg"):
        text = path.read_text()
        assert text.startswith("# "), path.name
        assert not re.search(r"^\w+(\[\])? \w*(secret|private|psk|send_key|receive_key)", text, re.MULTILINE), path.name
        for line in text.splitlines():
            field = re.match(r"float\d\d\s+(\w+)", line)
            assert field is None or "# s" in line, f"{path.name}: {field and field[1]} has no unit"


def test_entry_points_of_the_ros_package_name_what_is_there() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "cmake/console_scripts.cfg")
    for group, lines in parser["options.entry_points"].items():
        for line in lines.strip().splitlines():
            name, _, target = line.partition(" = ")
            module, _, attribute = target.partition(":")
            if not module.startswith("omni_"):
                continue  # ros2cli's own
            source = (ROOT / (module.replace(".", "/") + ".py")).read_text()
            assert re.search(rf"\b{attribute}\b", source), f"{group}: {name}"


def test_wheel_and_sdist_are_whole(distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    assert wheel.name.startswith(f"omni_ros2-{version()}-py3-none-linux_")
    contents = zipfile.ZipFile(wheel)
    names = set(contents.namelist())
    assert contents.getinfo(ENGINE).external_attr >> 16 & 0o111 == 0o111  # its mode: everybody may run it
    sources = {path.relative_to(ROOT) for path in tracked_files()}
    library = {str(path) for path in sources if path.parts[0] == "omni_core"}
    assert library <= names
    assert not [name for name in names if name.startswith(("omni_ros2/", "test/", "tools/"))]
    shared = {name.split(".data/data/share/omni_ros2/")[1] for name in names if "/share/omni_ros2/" in name}
    assert shared == {str(path) for path in sources if path.parts[0] in ("bpf", "config")}

    (archive,) = distributions.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        packed = {name.partition("/")[2] for name in file.getnames()}
    needed = {"omni_core", "omni_ros2", "bpf", "cmake", "config", "launch", "msg", "native"}
    assert {str(path) for path in sources if path.parts[0] in needed} <= packed
    assert {"package.xml", "plugin.xml", "CMakeLists.txt", "setup.py", "LICENSE", "QUALITY_DECLARATION.md"} <= packed


def test_the_command_works_without_ros(distributions: Path, tmp_path: Path) -> None:
    """In a fresh environment, which gets the requirements of this one, and nothing of ROS or of the source tree."""
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=True)
    (wheel,) = distributions.glob("*.whl")
    python = environment / "bin/python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel)
    (site / "requirements.pth").write_text("\n".join(_requirement_paths(tmp_path)) + "\n")
    command = ["env", "-i", f"PATH={environment / 'bin'}:/usr/bin:/bin"]
    assert run(*command, "omni", "--version", cwd=tmp_path).strip().endswith(version())
    assert "keygen" in run(*command, "omni", "--help", cwd=tmp_path)
    where = run(*command, python, "-c", "import omni_core; print(omni_core.__file__)", cwd=tmp_path)
    assert where.startswith(str(environment))
    find = "from omni_core.io.synapse import sources; print(sources.program_directory())"
    assert Path(run(*command, python, "-c", find, cwd=tmp_path).strip()) == environment / "share/omni_ros2/bpf"
    find = "from omni_core.io.native import binary; print(binary.native_binary())"
    engine = Path(run(*command, python, "-c", find, cwd=tmp_path).strip())
    assert engine == site / ENGINE
    assert run(engine, "--version").split()[-1] == build_by_cmake(tmp_path / "cmake")


@pytest.mark.parametrize("missing", ["compiler", "headers"])
def test_without_what_the_engine_is_compiled_with(missing: str, tmp_path: Path) -> None:
    """The rest is built all the same, with the reason and the fix."""
    variables = {"CC": str(tmp_path / "nowhere")} if missing == "compiler" else {"CFLAGS": "-nostdinc"}
    command = [sys.executable, "setup.py", "-q", "build_py", "-d", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env={**CLEAN, **variables}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "the native engine was not built" in done.stderr
    assert "apt install gcc libssl-dev" in done.stderr
    assert re.search({"compiler": "nowhere: No such file", "headers": r"\.[ch]:\d+:"}[missing], done.stderr)
    assert (tmp_path / "omni_core/__init__.py").is_file()
    assert not (tmp_path / ENGINE).exists()


def build_by_cmake(directory: Path) -> str:
    """What CMake calls the build of these sources, which are those of the wheel where all are tracked."""
    run("cmake", "-G", "Ninja", "-S", ROOT / "native", "-B", directory)
    (build,) = set(re.findall(r'OMNI_NATIVE_BUILD=\\"([0-9a-f]{32})\\"', (directory / "build.ninja").read_text()))
    return build


def _requirement_paths(tmp_path: Path) -> list[str]:
    """A directory with links to the requirements' modules of this environment, and to nothing else."""
    links = tmp_path / "requirements"
    links.mkdir()
    names = ("cbor2", "_cbor2", "cffi", "_cffi_backend", "cryptography", "nacl", "noise", "pyroute2", "yaml", "_yaml")
    names += ("redis", "rich", "markdown_it", "mdurl", "pygments", "tomli", "pycparser", "typing_extensions")
    for directory in map(Path, sys.path):
        for name in names:
            for found in [directory / name, directory / f"{name}.py", *directory.glob(f"{name}.*.so")]:
                if found.exists() and not (links / found.name).exists():
                    (links / found.name).symlink_to(found)
    return [str(links)]
