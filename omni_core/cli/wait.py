"""`omni wait`: blocks until enough peers have sessions. For bringup scripts, so it waits for the Ganglion too."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from typing import Any

from omni_core.cli import exit_codes, output
from omni_core.cli.options import add_ganglion_options, admin_socket, count, seconds
from omni_core.cli.peers import label
from omni_core.errors import SystemRefused
from omni_core.io import admin

RETRY = 0.2  # s between two tries to reach a Ganglion that is not there yet
GRACE = 2.0  # s on top of the timeout for its answer
LISTED = 5  # peers named in the sentence of a timeout


def configure(parser: argparse.ArgumentParser) -> None:
    add_ganglion_options(parser)
    parser.add_argument(
        "--peers", type=count, metavar="N", help="how many (default 1, with --vip4 none has to be there)"
    )
    parser.add_argument(
        "--vip4", action="store_true", help="also until a VIP4 is on the interface, where the Nucleus leases it"
    )
    parser.add_argument(
        "--timeout", type=seconds, default=30.0, metavar="S", help="give up after S seconds, exit code 5 (default 30)"
    )


def run(arguments: argparse.Namespace) -> int:
    path = admin_socket(arguments)
    deadline = time.monotonic() + arguments.timeout
    wanted = arguments.peers if arguments.peers is not None else 0 if arguments.vip4 else 1
    while True:
        left = max(0.0, deadline - time.monotonic())
        try:
            reached = admin.request(path, "wait", left + GRACE, peers=wanted, vip4=arguments.vip4, timeout=left)
            reached = reached["reached"]
            status = admin.request(path, "status")
        except SystemRefused:  # not started yet, or starting again
            reached, status = False, None
        if reached:
            up = [label(peer) for peer in status["peers"] if peer["state"] == "up"]
            address = f", VIP {status['vip4']}" if arguments.vip4 else ""
            names = f": {', '.join(up[:LISTED])}{_more(len(up))}" if up else ""
            output.line(f"{_peers(len(up))} up{names}{address}")
            return exit_codes.OK
        if time.monotonic() >= deadline:
            print(
                f"omni: wait: {missing(status, wanted, arguments.timeout, path, vip4=arguments.vip4)}", file=sys.stderr
            )
            return exit_codes.TIMEOUT
        time.sleep(min(RETRY, max(0.0, deadline - time.monotonic())))


def missing(status: Mapping[str, Any] | None, wanted: int, timeout: float, path: str, *, vip4: bool = False) -> str:
    """The sentence of a timeout: what is there, what is not, what to do."""
    after = f"after {timeout:g} s"
    if status is None:
        return f"nobody answers at {path} {after}. Fix: start the Ganglion (omni up), or give its interface and run_dir"
    peers = status["peers"]
    up = sum(peer["state"] == "up" for peer in peers)
    text = f"{up} of {_peers(wanted)} up {after}" if wanted else f"no VIP4 {after}"
    if vip4 and wanted and not status["vip4"]:
        text += "; no VIP4"
    waiting = [f"{label(peer)} is {peer['state']}" for peer in peers if peer["state"] != "up"]
    if waiting:
        text += f"; {', '.join(waiting[:LISTED])}{_more(len(waiting))}"
    if len(peers) < wanted:
        text += f"; {wanted - len(peers)} not known at all"
    if status["nucleus_state"] not in ("registered", "none"):
        reason = f" ({status['nucleus_reason']})" if status["nucleus_reason"] else ""
        return f"{text}; the Nucleus: {status['nucleus_state']}{reason}. Fix: see omni doctor and the Nucleus's output"
    return f"{text}. Fix: see omni status there and here"


def _peers(number: int) -> str:
    return f"{number} peer{'' if number == 1 else 's'}"


def _more(number: int) -> str:
    return f" and {number - LISTED} more" if number > LISTED else ""
