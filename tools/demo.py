#!/usr/bin/env python3
"""``make demo``: an encrypted Ethernet between robots in network namespaces, and a proof that it is one.

A Nucleus and robots, each in a namespace with an underlay address of its own; their Ganglia are ROS 2 lifecycle nodes,
brought up by lifecycle services. Then an unmodified talker on robot1 and listeners on the others find each other by DDS
multicast over the overlay. Exit status 0 only if every listener heard the talker, the Ganglia carried it, and a capture
of the whole underlay has nothing in clear. Needs root. Ctrl-C at any time leaves nothing behind.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from rich.console import Console  # noqa: E402

from tools.netlab import Lab, LabError, unavailable  # noqa: E402

FAILED_LOGS = ROOT / ".work" / "demo-failed"
EXIT_OK, EXIT_FAILED, EXIT_SYSTEM, EXIT_INTERRUPTED = 0, 1, 3, 130


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description="An encrypted Ethernet between robots.")
    parser.add_argument("--robots", type=int, default=2, metavar="N", help="2 to 50 (default 2)")
    parser.add_argument(
        "--seconds", type=float, default=15.0, metavar="N", help="how long the talker talks (default 15)"
    )
    parser.add_argument("--engine", default="auto", help="data plane of the Ganglia (default auto)")
    parser.add_argument("--plain", action="store_true", help="plain lines, as without a terminal")
    parser.add_argument("--around-overlay", action="store_true", help="for tests: DDS uses the underlay. Must fail")
    arguments = parser.parse_args(argv)
    if not 2 <= arguments.robots <= 50:
        parser.error("ROBOTS must be 2 to 50")
    if not 1 <= arguments.seconds <= 86400:
        parser.error("SECONDS must be 1 to 86400")
    return arguments


def missing() -> str | None:
    """What this machine lacks, with the fix."""
    if (reason := unavailable()) is not None:
        return reason
    try:
        found = all(importlib.util.find_spec(name) for name in ("rclpy", "omni_ros2.msg"))
    except ImportError:
        found = False
    return None if found else "ROS 2 or the built package is not in the environment: run `make demo`"


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    console = Console(highlight=False)
    if (reason := missing()) is not None:
        console.print(f"demo: {reason}", markup=False)
        return EXIT_SYSTEM
    try:
        return demonstrate(arguments, console)
    except KeyboardInterrupt:
        console.print("demo: stopped; nothing is left of it")
        return EXIT_INTERRUPTED


def demonstrate(arguments: argparse.Namespace, console: Console) -> int:
    from tools.demo_parts.display import Display, LiveDisplay
    from tools.demo_parts.run import Check, Demo, Options

    options = Options(arguments.robots, arguments.seconds, arguments.engine, arguments.around_overlay)
    display = LiveDisplay(console) if console.is_terminal and not arguments.plain else Display(console)
    interfaces = set(os.listdir("/sys/class/net"))
    with Lab("demo") as lab:
        try:
            with display:
                checks = Demo(lab, options, display).run()
        except LabError as error:
            checks = [Check(False, str(error))]
        succeeded = all(check.ok for check in checks)
        if not succeeded:
            keep_logs(lab)
    left = sorted(set(os.listdir("/sys/class/net")) - interfaces)
    checks.append(Check(not left, f"left in this machine: {left}" if left else "nothing is left in this machine"))
    console.print()
    for check in checks:
        mark = "[green]ok  [/green]" if check.ok else "[red]FAIL[/red]"
        first, *more = check.text.splitlines()
        console.print(mark, end=" ")
        console.print(first, markup=False, soft_wrap=True)
        for line in more:
            console.print(f"     {line}", markup=False, soft_wrap=True)
    succeeded = all(check.ok for check in checks)
    if succeeded:
        console.print(f"{arguments.robots} robots, one encrypted Ethernet: it works", style="bold green")
    else:
        console.print(f"the demo failed; logs and capture are in {FAILED_LOGS}", style="bold red")
    return EXIT_OK if succeeded else EXIT_FAILED


def keep_logs(lab: Lab) -> None:
    """Logs and captures, not keys."""
    shutil.rmtree(FAILED_LOGS, ignore_errors=True)
    FAILED_LOGS.mkdir(parents=True)
    for path in (*lab.logs.glob("*.log"), *lab.logs.glob("*.pcap"), *lab.logs.glob("*.xml")):
        shutil.copy(path, FAILED_LOGS)


if __name__ == "__main__":
    sys.exit(main())
