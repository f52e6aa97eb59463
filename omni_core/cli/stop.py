"""`omni stop`: ends the running Ganglion and waits for its end; with --keep frames go on without it."""

from __future__ import annotations

import argparse
import os
import sys
import time

from omni_core.cli import exit_codes, output
from omni_core.cli.options import add_ganglion_options, admin_socket, seconds
from omni_core.io import admin
from omni_core.io.journal import lock_path

_LOOK = 0.05  # s between two looks


def configure(parser: argparse.ArgumentParser) -> None:
    add_ganglion_options(parser)
    parser.add_argument(
        "--keep", action="store_true",
        help="leave the interface and the engine (kernel or native) running, for a Ganglion that starts within a "
        "minute to take over (an update, a restart): not a frame is lost",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", type=seconds, default=20.0, metavar="S", help="give up waiting after S seconds, exit code 5"
    )


def run(arguments: argparse.Namespace) -> int:
    deadline = time.monotonic() + arguments.timeout
    admin.request(admin_socket(arguments), "stop", keep=arguments.keep)
    lock = lock_path(os.path.abspath(arguments.run_dir), arguments.interface)
    while os.path.exists(lock):  # removed last of all
        if time.monotonic() >= deadline:
            print(
                f"omni: stop: {arguments.interface} has not ended after {arguments.timeout:g} s. Fix: see its log",
                file=sys.stderr,
            )
            return exit_codes.TIMEOUT
        time.sleep(_LOOK)
    output.line(f"{arguments.interface}: stopped{', frames go on' if arguments.keep else ''}")
    return exit_codes.OK
