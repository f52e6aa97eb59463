"""The native engine's cutter and merger for tests, built with the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest
from support.inner_frames import Emission, Vnet

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "native"
SANITIZED = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
SANITIZED += ["-fno-sanitize-recover=all"]


def compiled(target: Path, *sources: Path, options: Sequence[str] = (), libraries: Sequence[str] = ()) -> Path:
    """Builds a program with the sanitizers; skips the test where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (make setup installs it)")
    command = [compiler, *SANITIZED, *options, f"-I{NATIVE}", "-o", str(target), *map(str, sources), *libraries]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


class Cut(NamedTuple):
    frame_bytes: int
    frames: list[bytes]


class NativeFrames:
    """A process that cuts and merges. See frame_driver.c for what is said."""

    def __init__(self, directory: Path, options: Sequence[str] = ()) -> None:
        sources = (ROOT / "test/support/frame_driver.c", NATIVE / "segment.c", NATIVE / "merge.c")
        program, self._report = compiled(directory / "frame_driver", *sources, options=options), directory / "report"
        with self._report.open("wb") as report:
            self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=report)

    def close(self) -> None:
        """Also tells what leaked."""
        self._process.communicate(timeout=30)
        assert self._process.returncode == 0, self._report.read_text(errors="replace")

    def _say(self, request: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request)
            self._process.stdin.flush()
        except BrokenPipeError:
            self._fail()

    def _hear(self, length: int) -> bytes:
        assert self._process.stdout is not None
        data = self._process.stdout.read(length)
        if len(data) != length:
            self._fail()
        return data

    def _numbers(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f"={count}I", self._hear(4 * count))

    def _fail(self) -> NoReturn:
        self._process.wait(timeout=30)
        pytest.fail(self._report.read_text(errors="replace"))

    def cut(self, vnet: Vnet, frame: bytes, frame_max: int, *, shift: int = 0) -> Cut | None:
        """None: refused."""
        self._say(struct.pack("=II10sII", 0, shift, vnet.pack(), frame_max, len(frame)) + frame)
        count, frame_bytes = self._numbers(2)
        if count == 0xFFFFFFFF:
            return None
        return Cut(frame_bytes, [self._hear(*self._numbers(1)) for _ in range(count)])

    def merge(self, frames: Sequence[bytes], *, shift: int = 0) -> list[Emission]:
        lengths = b"".join(struct.pack("=I", len(frame)) + frame for frame in frames)
        self._say(struct.pack("=III", 1, shift, len(frames)) + lengths)
        emissions = []
        for _ in range(*self._numbers(1)):
            vnet = Vnet.unpack(self._hear(10))
            segments, _pieces, length = self._numbers(3)
            emissions.append(Emission(vnet, self._hear(length), segments))
        return emissions
