"""ChaCha20-Poly1305 in BPF next to OpenSSL's, on the same bytes.

    python -m bench.aead [--runs N] [--length BYTES] [--json FILE]

One run is a few milliseconds of each; the subjects take turns, and a ratio is that of the same turn, so that a
neighbour on the same core disturbs both. BPF: BPF_PROG_TEST_RUN, less the time of a program that does nothing. OpenSSL:
libcrypto in a tight loop (bench/tools/aead.c), once without the AVX-512 of the processor (as the target is stated)
and once with all that it has; "update" leaves out what a packet needs besides: nonce, header, tag. Needs root, a C
compiler and libcrypto.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.load import LoadMeter
from omni_core.constants import HEADER_SIZE, TAG_SIZE
from omni_core.io.synapse import bpffs, loader

ROOT = Path(__file__).resolve().parents[1]
LENGTH = 1408  # bytes
MUST, MOONSHOT = 9.0, 6.0  # times OpenSSL with AVX2
TIMES = 1500  # frames in a run
PROGRAMS = {"seal": "test_seal", "open": "test_open"}
# CPUID leaf 7, EBX: AVX512F, DQ, IFMA, BW, VL. OpenSSL then takes its AVX2 code (OPENSSL_ia32cap(3)); x86 only.
WITHOUT_AVX512 = ":~0xc0230000"


class OpenSsl:
    """A process that seals and opens one frame as often as it is told."""

    def __init__(self, program: Path, words: list[str], capabilities: str | None) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "OPENSSL_ia32cap"}
        if capabilities:
            environment["OPENSSL_ia32cap"] = capabilities
        self._process = subprocess.Popen(
            [str(program), *words], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.tag = b""

    def run(self, what: str) -> float:
        """ns a frame."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{what} {TIMES}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().split()
        if len(answer) != 2:
            raise SystemExit(f"bench/tools/aead.c ended with status {self._process.wait()}")
        self.tag = bytes.fromhex(answer[1])
        return float(answer[0])

    def close(self) -> None:
        self._process.communicate()


def compile_openssl(directory: Path) -> Path:
    program = directory / "aead"
    command = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", str(ROOT / "bench/tools/aead.c"), "-o", str(program)]
    library = next((name for name in ("libcrypto.so.3", "libcrypto.so", "libcrypto.so.1.1") if _links(name)), None)
    if library is None:
        raise SystemExit("no libcrypto to compare with: apt-get install libssl3 gcc libc6-dev")
    done = subprocess.run([*command, f"-l:{library}"], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return program


def _links(library: str) -> bool:
    command = ["cc", "-shared", f"-l:{library}", "-o", "/dev/null"]
    return bool(shutil.which("cc")) and subprocess.run(command, capture_output=True).returncode == 0


@contextlib.contextmanager
def loaded_programs() -> Iterator[loader.Loaded]:
    with tempfile.TemporaryDirectory() as name:
        place = bpffs.prepare(Path(name) / "bpf")
        pins = place.directory / "aead"
        try:
            programs = dict.fromkeys((*PROGRAMS.values(), "test_nothing"), "xdp")
            loaded = loader.load(ROOT / "bpf/test/aead_test.c", {}, programs, pins)
            try:
                yield loaded
            finally:
                loaded.close()
        finally:
            bpffs.remove_tree(pins)
            bpffs.release(place)


def measure(runs: int, length: int) -> dict[str, list[float]]:
    """ns a frame, by subject and run. Raises SystemExit when the two do not agree on the sealed frame."""
    draw = random.Random(1)
    key, header, frame = draw.randbytes(32), draw.randbytes(HEADER_SIZE), draw.randbytes(length)
    nonce = bytes(4) + header[16:]
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name, loaded_programs() as loaded:
        program = compile_openssl(Path(name))
        words = [part.hex() for part in (key, nonce, header, frame)]
        rivals = {"OpenSSL AVX2": OpenSsl(program, words, WITHOUT_AVX512), "OpenSSL": OpenSsl(program, words, None)}
        loaded.maps["aead_test"].update(bytes(4), key + bytes(8))
        packet = header + bytes(TAG_SIZE) + frame
        sealed = loaded.programs["test_seal"].test_run(packet).data
        # A repeated run works on what the one before has left; opening that fails, after the same work.
        for run in range(-1, runs):  # the first is to warm up
            row: dict[str, float] = {}
            nothing = loaded.programs["test_nothing"].test_run(packet, repeat=TIMES).duration_ns
            for what, function in PROGRAMS.items():
                for rival, process in rivals.items():
                    row[f"{rival} {what}"] = process.run(what)
                took = loaded.programs[function].test_run(packet, repeat=TIMES).duration_ns
                row[f"BPF {what}"] = took - nothing
            for rival, process in rivals.items():
                if process.tag != sealed[-TAG_SIZE:]:
                    raise SystemExit("BPF and OpenSSL do not agree on the tag")
                row[f"{rival} update"] = process.run("update")
            if run >= 0:
                for subject, value in row.items():
                    found.setdefault(subject, []).append(value)
        for process in rivals.values():
            process.close()
    return found


def ratios(found: dict[str, list[float]], ours: str, theirs: str) -> list[float]:
    return [a / b for a, b in zip(found[ours], found[theirs], strict=True)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument("--length", type=int, default=LENGTH, help="bytes of a frame, 14 to 1522")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    arguments = parser.parse_args()
    if arguments.runs < 7 or not 14 <= arguments.length <= 1522:
        parser.error("--runs must be 7 or more, --length between 14 and 1522")
    if os.geteuid() != 0:
        raise SystemExit("needs root: BPF")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # both on one core
    meter = LoadMeter(set())
    found = measure(arguments.runs, arguments.length)
    load = meter.stop()
    print(f"{arguments.length} bytes, {arguments.runs} runs of {TIMES} frames; ns a frame: median (lowest)")
    for subject, values in found.items():
        print(f"  {subject:20} {statistics.median(values):7.0f} ({min(values):.0f})")
    print("BPF over OpenSSL, median of the runs (quartiles)")
    for what in PROGRAMS:
        for rival in (f"OpenSSL AVX2 {what}", f"OpenSSL {what}", "OpenSSL AVX2 update", "OpenSSL update"):
            low, middle, high = statistics.quantiles(ratios(found, f"BPF {what}", rival), n=4)
            verdict = ""
            if rival == f"OpenSSL AVX2 {what}":
                verdict = "moonshot" if middle <= MOONSHOT else "as it must be" if middle <= MUST else "TOO SLOW"
            print(f"  {what} over {rival:20} {middle:5.2f} ({low:.2f} to {high:.2f})  {verdict}".rstrip())
    print(f"stolen by the hypervisor: {load.steal:.2f} s of {load.elapsed:.1f} s")
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"length": arguments.length, "ns": found, "steal_s": load.steal}, indent=1)
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
