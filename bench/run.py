"""``make bench``: every subject side by side in one lab, in turns, several times.

The turns are the outer loop, so that a machine that slows down or gets a neighbour does so for all subjects alike.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console

from bench import compiling, report
from bench.measure import MEASUREMENTS, STANDARD, Cell, Pair, connect, round_trip, run_cell
from bench.subjects import Subject, find
from tools.netlab import Lab, LabError, unavailable

RESULTS = Path(__file__).with_name("results")
WARM_UP = 0.3  # s of round trips that are not counted
OTHERS = [name for name in MEASUREMENTS if name not in STANDARD]
REASON = 300  # characters of why a subject was skipped that stand below the table; the file has all


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.py", description="Measure the overlay, raw and peers in one run.")
    parser.add_argument("--repetitions", type=int, default=5, metavar="N")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement but the control loops")
    parser.add_argument("--control-seconds", type=float, default=5.0, help="of each 1 kHz control loop")
    parser.add_argument("--subjects", default="", help="comma-separated; default: all")
    parser.add_argument("--measurements", default="", help=f"default: {','.join(STANDARD)}; others: {','.join(OTHERS)}")
    parser.add_argument("--engine", default="", help="raw and this data plane only: same as --subjects raw,ENGINE")
    parser.add_argument("--no-peers", action="store_true", help="raw and ours only")
    parser.add_argument("--out", type=Path, default=None, help="directory; default: bench/results/<time>")
    parser.add_argument("--missing-packages", action="store_true", help="print the Debian packages to install, and end")
    arguments = parser.parse_args(argv)
    if arguments.repetitions < 1 or not all(0.1 <= s <= 600 for s in (arguments.seconds, arguments.control_seconds)):
        parser.error("--repetitions must be 1 or more, --seconds and --control-seconds between 0.1 and 600")
    if unknown := [name for name in _words(arguments.measurements) if name not in MEASUREMENTS]:
        parser.error(f"no such measurement: {', '.join(unknown)}. There are {', '.join(MEASUREMENTS)}")
    if arguments.engine:
        arguments.subjects = f"raw,{arguments.engine}"
    return arguments


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def ask_for(names: str, with_peers: bool) -> list[Subject]:
    """Raises LabError on unknown names."""
    known = find()
    wanted = _words(names) or [name for name, subject in known.items() if with_peers or subject.kind != "peer"]
    if unknown := [name for name in wanted if name not in known]:
        raise LabError(f"no such subject: {', '.join(unknown)}. There are {', '.join(known)}")
    return [subject for name, subject in known.items() if name in wanted]


class Run:
    """What one run found: cells, and why others are not there."""

    def __init__(self, arguments: argparse.Namespace, console: Console) -> None:
        self.cells: list[Cell] = []
        self.skipped: dict[str, str] = {}  # subject -> reason
        self.failed: list[dict[str, object]] = []
        self.subjects: dict[str, dict[str, object]] = {}
        self._arguments = arguments
        self._console = console

    def measure(self, subjects: Sequence[Subject]) -> None:
        """Raises LabError when raw cannot be measured, or a program of ours not be built."""
        with Lab("bench") as lab:
            tools = compiling.build(lab.logs)
            pairs: dict[str, Pair] = {}
            try:
                for subject in subjects:
                    if (pair := self._bring_up(subject, lab, tools)) is not None:
                        pairs[subject.name] = pair
                self._take_turns(pairs)
            finally:
                for subject in subjects:
                    subject.down()

    def _bring_up(self, subject: Subject, lab: Lab, tools: compiling.Tools) -> Pair | None:
        """Each subject has hosts of its own: an XDP program on a NIC changes it for everyone who uses it."""
        self._say(f"{subject.name}: {subject.description}")
        if (reason := subject.unavailable()) is not None:
            self._skip(subject, reason)
            return None
        a, b = (lab.host(f"{subject.name}-{end}") for end in "ab")
        try:
            for host in (a, b):
                host.run(["ethtool", "-K", "eth0", "gro", "on"])  # as drivers of network cards have it; veth has not
            pair = connect(a, b, subject.up(lab, a, b), tools)
            round_trip(pair, WARM_UP)
        except LabError as error:
            if subject.kind == "reference":
                raise
            subject.down()
            self._skip(subject, str(error))
            return None
        self.subjects[subject.name] = {
            "description": subject.description,
            "kind": subject.kind,
            "version": subject.version(),
            "mtu": pair.mtu,
        }
        return pair

    def _skip(self, subject: Subject, reason: str) -> None:
        self.skipped[subject.name] = reason
        self._say(f"{subject.name}: skipped, {reason}")

    def _take_turns(self, pairs: dict[str, Pair]) -> None:
        arguments = self._arguments
        measurements = _words(arguments.measurements) or STANDARD
        total = arguments.repetitions * len(pairs) * len(measurements)
        number = 0
        for repetition in range(arguments.repetitions):
            for measurement in measurements:
                looped = MEASUREMENTS[measurement].is_control_loop
                seconds = arguments.control_seconds if looped else arguments.seconds
                for name, pair in pairs.items():
                    number += 1
                    self._say(f"[{number}/{total}] {name}: {measurement}, {seconds:g} s")
                    try:
                        self.cells.append(run_cell(name, measurement, repetition, pair, seconds))
                    except LabError as error:
                        self._say(f"{name}: {measurement} failed: {error}")
                        self.failed.append(
                            {"subject": name, "measurement": measurement, "repetition": repetition, "why": str(error)}
                        )

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    console = Console(highlight=False)
    try:
        subjects = ask_for(arguments.subjects, not arguments.no_peers)
    except LabError as error:
        console.print(f"make bench: {error}", markup=False)
        return 1
    if arguments.missing_packages:
        print(" ".join(sorted({package for subject in subjects for package in subject.missing_packages()})))
        return 0
    if (reason := unavailable() or compiling.unavailable()) is not None:
        console.print(f"make bench: {reason}", markup=False)
        return 3
    if shutil.which("iperf3") is None:
        console.print("make bench: iperf3 is missing: apt-get install iperf3")
        return 3
    began = time.monotonic()
    now = datetime.datetime.now(datetime.timezone.utc)
    directory: Path = arguments.out or RESULTS / now.strftime("%Y%m%d-%H%M%S")
    run = Run(arguments, console)
    try:
        run.measure(subjects)
    except LabError as error:
        console.print(f"make bench: {error}", markup=False)
        return 1
    if not run.cells:
        console.print("make bench: every measurement failed, see above")
        return 1
    write(run, directory, arguments, now, console)
    console.print(f"{(time.monotonic() - began) / 60:.0f} minutes; written to {directory}/", markup=False)
    return 0


def write(run: Run, directory: Path, arguments: argparse.Namespace, now: datetime.datetime, console: Console) -> None:
    summary = report.summarize(run.cells)
    settings = {
        "repetitions": arguments.repetitions,
        "seconds": arguments.seconds,
        "control_seconds": arguments.control_seconds,
        "congestion_control": "cubic",
    }
    started = now.isoformat(timespec="seconds")
    document = report.document(run.cells, summary, run.subjects, settings, run.skipped, run.failed, started)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "result.json").write_text(json.dumps(document, indent=1) + "\n")
    kinds = {name: str(subject["kind"]) for name, subject in run.subjects.items()}
    lines = [*report.verdict(summary, kinds), report.noise_line(run.cells)]
    lines += [f"{name}: skipped, {' '.join(reason.split())[:REASON]}" for name, reason in run.skipped.items()]
    if run.failed:
        lines.append(f"{len(run.failed)} cells failed, see above")
    with open(directory / "table.txt", "w", encoding="utf-8") as file:
        for output in (sys.stdout, file):  # a terminal may be narrower than the table: it wraps, and nothing is cut
            screen = Console(file=output, width=report.WIDTH, highlight=False)
            screen.print()
            screen.print(report.table(summary, run.cells))
            screen.print("\n".join(lines), markup=False, soft_wrap=True)
    try:
        from bench.plot import draw

        machine = document["machine"]
        assert isinstance(machine, dict)
        caption = f"{machine['processor']}, {machine['processors']} CPUs, Linux {machine['kernel']}, {now:%Y-%m-%d}"
        draw(summary, kinds, directory, caption)
    except ImportError:
        console.print("no plots: matplotlib is not installed")


if __name__ == "__main__":
    sys.exit(main())
