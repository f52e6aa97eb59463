"""``make bench``: every subject side by side in one lab, in turns, several times.

The turns are the outer loop, so that a machine that slows down or gets a neighbour does so for all subjects alike.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console

from bench import report
from bench.measure import MEASUREMENTS, Cell, round_trip, run_cell, start_servers
from bench.subjects import Addresses, Subject, find
from tools.netlab import Lab, LabError, unavailable

RESULTS = Path(__file__).with_name("results")
WARM_UP = 0.3  # s of round trips that are not counted


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.py", description="Measure the overlay next to a bare veth.")
    parser.add_argument("--repetitions", type=int, default=5, metavar="N")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--subjects", default="", help="comma-separated; default: all")
    parser.add_argument("--engine", default="", help="raw and this data plane only: same as --subjects raw,ENGINE")
    parser.add_argument("--out", type=Path, default=None, help="directory; default: bench/results/<time>")
    arguments = parser.parse_args(argv)
    if arguments.repetitions < 1 or not 0.1 <= arguments.seconds <= 600:
        parser.error("--repetitions must be 1 or more, --seconds between 0.1 and 600")
    if arguments.engine:
        arguments.subjects = f"raw,{arguments.engine}"
    return arguments


def choose(names: str, skipped: dict[str, str]) -> list[Subject]:
    """Subjects asked for that this machine can run; the others go to ``skipped``. Raises LabError on unknown names."""
    known = find()
    wanted = [name for name in names.split(",") if name] or list(known)
    if unknown := [name for name in wanted if name not in known]:
        raise LabError(f"no such subject: {', '.join(unknown)}. There are {', '.join(known)}")
    for name in wanted:
        if (reason := known[name].unavailable()) is not None:
            skipped[name] = reason
    return [subject for name, subject in known.items() if name in wanted and name not in skipped]


def measure_all(
    subjects: Sequence[Subject], repetitions: int, seconds: float, skipped: dict[str, str], console: Console
) -> list[Cell]:
    cells: list[Cell] = []
    with Lab("bench") as lab:
        a, b = lab.host("a"), lab.host("b")
        start_servers(b)
        paths: dict[Subject, Addresses] = {}
        try:
            for subject in subjects:
                try:
                    paths[subject] = subject.up(lab, a, b)
                    round_trip(a, paths[subject], WARM_UP)
                except LabError as error:
                    if subject.name == "raw":
                        raise
                    paths.pop(subject, None)
                    skipped[subject.name] = str(error)
                    console.print(f"{subject.name}: could not be brought up, skipped\n{error}", markup=False)
            total = repetitions * len(paths) * len(MEASUREMENTS)
            for repetition in range(repetitions):
                for measurement in MEASUREMENTS:
                    for subject, addresses in paths.items():
                        console.print(
                            f"[{len(cells) + 1}/{total}] {subject.name}: {measurement}, {seconds:g} s", markup=False
                        )
                        cells.append(run_cell(subject.name, measurement, repetition, a, b, addresses, seconds))
        finally:
            for subject in subjects:
                subject.down()
    return cells


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    console = Console(highlight=False)
    if (reason := unavailable()) is not None:
        console.print(f"make bench: {reason}", markup=False)
        return 3
    if shutil.which("iperf3") is None:
        console.print("make bench: iperf3 is missing: apt-get install iperf3")
        return 3
    now = datetime.datetime.now(datetime.timezone.utc)
    directory: Path = arguments.out or RESULTS / now.strftime("%Y%m%d-%H%M%S")
    skipped: dict[str, str] = {}
    try:
        subjects = choose(arguments.subjects, skipped)
        for name, reason in skipped.items():
            console.print(f"{name}: skipped, {reason}", markup=False)
        cells = measure_all(subjects, arguments.repetitions, arguments.seconds, skipped, console)
    except LabError as error:
        console.print(f"make bench: {error}", markup=False)
        return 1
    summary = report.summarize(cells)
    settings = {"repetitions": arguments.repetitions, "seconds": arguments.seconds, "congestion_control": "cubic"}
    directory.mkdir(parents=True, exist_ok=True)
    document = report.document(cells, summary, settings, skipped, now.isoformat(timespec="seconds"))
    (directory / "result.json").write_text(json.dumps(document, indent=1) + "\n")
    console.print()
    console.print(report.table(summary, cells))
    console.print(report.noise_line(cells), markup=False)
    try:
        from bench.plot import draw

        machine = document["machine"]
        assert isinstance(machine, dict)
        caption = f"{machine['processor']}, {machine['processors']} CPUs, Linux {machine['kernel']}, {now:%Y-%m-%d}"
        draw(summary, directory, caption)
    except ImportError:
        console.print("no plots: matplotlib is not installed")
    console.print(f"written to {directory}/", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
