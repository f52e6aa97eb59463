#!/usr/bin/env python3
"""Runs every test: all of them on one ROS distribution, the ROS tests again on the others, and sums it up.

    tools/run_tests.py [--distros kilted,jazzy] [pytest arguments ...]

Sets the environments up and builds first. Exit code 0 only if every part ran and passed; the last line is a closing
line of pytest's form over all parts. Needs nothing but python's standard library.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 600  # s for one test; a test that hangs must not hang the run

# pytest: "==== 12 passed, 3 skipped, 1 error in 4.56s (0:00:04) ===="
CLOSING_LINE = re.compile(r"^=* ?(?P<counts>(?:\d+ [a-z]+(?:, )?)+|no tests ran) in (?P<seconds>[\d.]+)s\b.*$")
PYTEST_NO_TESTS = 5
NAMES = {"error": "errors", "warning": "warnings"}  # pytest writes the singular for one
# Without "deselected": what one part leaves out, another one runs.
ORDER = ("failed", "passed", "skipped", "xfailed", "xpassed", "warnings", "errors")


class Part(NamedTuple):
    title: str
    distro: str
    arguments: tuple[str, ...]
    workers: int  # processes; 0: in this one
    spread: str = "worksteal"  # over the workers, as pytest-xdist has it


class Outcome(NamedTuple):
    part: Part
    status: int
    counts: Counter[str]
    seconds: float


def parts(distros: list[str]) -> list[Part]:
    main, *others = distros
    pure = "not netns and not ros and not alone"
    return [
        Part(f"lint, unit, simulation ({main})", main, ("-m", pure, "--ignore=test/ros"), os.cpu_count() or 1),
        # Mostly they wait, so two at a time; whole files, because those share what is slow to make.
        Part(f"namespaces and ROS ({main})", main, ("-m", f"not ({pure}) and not alone"), 2, "loadfile"),
        Part(f"what needs the machine for itself ({main})", main, ("-m", f"not ({pure}) and alone"), 0),
        # Cyclone DDS is PyPI's, the same for every distribution; test/ros_overlay is about Ganglia, not about rclpy.
        *(Part(f"ROS ({other})", other, ("test/ros", "-k", "not cyclonedds"), 0) for other in others),
    ]


def closing_counts(line: str) -> Counter[str] | None:
    """Counts of a closing line of pytest, None when the line is not one."""
    match = CLOSING_LINE.match(line.strip())
    if match is None:
        return None
    pairs = [item.split(" ") for item in match["counts"].split(", ") if item[0].isdigit()]
    return Counter({NAMES.get(name, name): int(number) for number, name in pairs})


def closing_line(counts: Counter[str], seconds: float) -> str:
    singular = {plural: name for name, plural in NAMES.items()}
    words = [f"{counts[n]} {singular.get(n, n) if counts[n] == 1 else n}" for n in ORDER if counts[n]]
    return f" {', '.join(words) or 'no tests ran'} in {seconds:.2f}s ".center(80, "=")


def in_environment(distro: str, command: list[str]) -> list[str]:
    return ["bash", "-c", f"source tools/env.sh && exec {shlex.join(command)}"]


def prepare(distro: str) -> bool:
    """Environment and build. False, with the reason printed by the tools, when one of them failed."""
    return all(
        subprocess.run([f"tools/{tool}", distro], cwd=ROOT, check=False).returncode == 0
        for tool in ("setup_env.sh", "build.sh")
    )


def run(part: Part, extra: list[str]) -> Outcome:
    print(f"\n######## {part.title}", flush=True)
    began = time.monotonic()
    workers = ["-n", str(part.workers), "--dist", part.spread] if part.workers > 1 else []
    options = ["-ra", f"--timeout={TIMEOUT}", "--durations=10", "--durations-min=5"]
    command = ["python", "-m", "pytest", *options, *workers, *part.arguments, *extra]
    counts: Counter[str] | None = None
    with subprocess.Popen(
        in_environment(part.distro, command),
        cwd=ROOT,
        env={**os.environ, "OMNI_DISTRO": part.distro},
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                print(line, end="", flush=True)
                counts = closing_counts(line) or counts
        except BaseException:
            process.terminate()  # Ctrl-C reached pytest as well; SIGTERM to us did not
            raise
    status = process.returncode
    if status == PYTEST_NO_TESTS and extra:
        status = 0  # the caller's selection lies in another part
    if counts is None and status == 0 and not extra:
        print(f"{part.title}: pytest printed no closing line", flush=True)
        status = 1
    return Outcome(part, status, counts or Counter(), time.monotonic() - began)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--distros", default=os.environ.get("OMNI_TEST_DISTROS", "kilted,jazzy"), help="comma separated"
    )
    arguments, extra = parser.parse_known_args()
    distros = [name for name in arguments.distros.split(",") if name]
    began = time.monotonic()
    unprepared = [distro for distro in distros if not prepare(distro)]
    subprocess.run(["tools/setup_aarch64.sh"], cwd=ROOT, check=False)  # without it, tests are skipped and say so
    outcomes = [run(part, extra) for part in parts(distros) if part.distro not in unprepared]

    print("\n######## summary", flush=True)
    for distro in unprepared:
        print(f"NOT RUN  {distro}: its environment or build failed, see above")
    for outcome in outcomes:
        line = closing_line(outcome.counts, outcome.seconds).strip("= ")
        print(f"{'passed' if outcome.status == 0 else 'FAILED'}   {outcome.part.title}: {line}")
    if any(outcome.counts["skipped"] for outcome in outcomes):
        print("Skipped tests and their reasons: the lines that begin with SKIPPED above.")
    total = sum((outcome.counts for outcome in outcomes), Counter[str]())
    total["errors"] += len(unprepared)
    print(closing_line(total, time.monotonic() - began), flush=True)
    return 1 if unprepared or any(outcome.status for outcome in outcomes) else 0


def _terminated(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminated)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
