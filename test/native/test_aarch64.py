"""The native engine on another processor: cross-compiled, and run by qemu's user emulation.

tools/setup_aarch64.sh, called by `make test`, gets what is needed; where that cannot be had, these tests are skipped
and say what is missing.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.inner_frames import TCP, UDP, draw_packet
from support.native_frames import NATIVE, ROOT, NativeFrames

FUZZ = NATIVE / "fuzz"
COMPILER = "aarch64-linux-gnu-gcc"
EMULATOR = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"]  # its C library, from the cross compiler's packages
FOREIGN = ROOT / ".work/aarch64/root/usr"
ARCHIVE = FOREIGN / "lib/aarch64-linux-gnu/libcrypto.a"
MUTATIONS = 20_000
AARCH64 = 183  # e_machine of its ELF files


@pytest.fixture(autouse=True, scope="module")
def _tools() -> None:
    done = subprocess.run([ROOT / "tools/setup_aarch64.sh", "--check"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(done.stderr.removeprefix("[omni] error: ").replace("\n", " ").strip())


def cross_compiled(target: Path, sources: Sequence[Path], options: Sequence[str] = ()) -> Path:
    """A program for that processor, with the engine's own flags, in which warnings are errors."""
    flags = (NATIVE / "compile_flags.txt").read_text().split()
    includes = [f"-I{path}" for path in (NATIVE, FOREIGN / "include", FOREIGN / "include/aarch64-linux-gnu")]
    command = [COMPILER, *flags, "-Werror", *includes, *options, *map(str, sources), "-pie", "-o", target, ARCHIVE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int.from_bytes(target.read_bytes()[18:20], "little") == AARCH64
    return target


class EmulatedFrames(NativeFrames):
    """The cutter and the merger of that processor, without sanitizers, which the emulator does not bear."""

    def __init__(self, directory: Path) -> None:
        sources = [ROOT / "test/support/frame_driver.c", NATIVE / "segment.c", NATIVE / "merge.c"]
        program, self._report = cross_compiled(directory / "frame_driver", sources), directory / "report"
        with self._report.open("wb") as report:
            self._process = subprocess.Popen(
                [*EMULATOR, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=report
            )


def test_the_engine(tmp_path: Path) -> None:
    """All of it compiles; packets, replay window and super-frames are right, also without the vector instructions."""
    program = cross_compiled(tmp_path / "omni-native", sorted(NATIVE.glob("*.c")), ['-DOMNI_NATIVE_BUILD="aarch64"'])
    for environment in ([], ["-E", "OPENSSL_armcap=0"]):
        done = subprocess.run(
            [*EMULATOR, *environment, program, "--selftest"], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, f"{environment}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("target", sorted(path.name for path in (FUZZ / "corpus").iterdir()))
def test_fuzz_targets(target: str, tmp_path: Path, seed: int) -> None:
    """They assert what must hold, on their corpus and on mutations of it."""
    engine = [path for path in sorted(NATIVE.glob("*.c")) if path.name != "main.c"]
    frames_only = [NATIVE / "segment.c", NATIVE / "merge.c"]
    sources = [FUZZ / "replay.c", FUZZ / f"fuzz_{target}.c"]
    sources += frames_only if target in ("segment", "merge") else engine
    program = cross_compiled(tmp_path / target, sources, ["-DFDB_SLOTS=1024", '-DOMNI_NATIVE_BUILD="aarch64"'])
    files = sorted((FUZZ / "corpus" / target).iterdir())
    run = [*EMULATOR, program, str(MUTATIONS), str(seed), *files]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{len(files)} files, {MUTATIONS} mutations\n"


def test_frames_are_as_here(native: NativeFrames, tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    emulated = EmulatedFrames(tmp_path)
    super_frames = 0
    for _ in range(300):
        protocol, size, shift = draw.choice((TCP, TCP, UDP)), draw.choice((20, 9000)), draw.randrange(8)
        packet = draw_packet(draw, protocol=protocol, size=draw.randrange(size))
        vnet, frame = packet.super_frame(draw.randint(1 if size < 500 else 200, 1500))
        there = emulated.cut(vnet, frame, 1518, shift=shift)
        assert there == native.cut(vnet, frame, 1518, shift=shift)
        if there is not None:
            super_frames += len(there.frames) > 1
            assert emulated.merge(there.frames, shift=shift) == native.merge(there.frames, shift=shift)
    assert super_frames > 50
    emulated.close()
