"""`omni engine`: which engine moves the frames of the running Ganglion, and a switch to another one."""

from __future__ import annotations

import argparse

from omni_core.cli import exit_codes, output
from omni_core.cli.options import add_ganglion_options, admin_socket, seconds
from omni_core.config import ganglion
from omni_core.io import admin

CHOICES = next(field.choices for field in ganglion.FIELDS if field.name == "engine")


def configure(parser: argparse.ArgumentParser) -> None:
    add_ganglion_options(parser)
    parser.add_argument("engine", nargs="?", choices=CHOICES, help="to switch to; without it: say which it is")
    parser.add_argument(
        "--timeout", type=seconds, default=90.0, metavar="S", help="wait at most S seconds for the switch (default 90)"
    )


def run(arguments: argparse.Namespace) -> int:
    path = admin_socket(arguments)
    if arguments.engine is None:
        answer = admin.request(path, "status")
    else:
        answer = admin.request(path, "engine", arguments.timeout, engine=arguments.engine)
    reason = f" (not in the kernel: {answer['engine_reason']})" if answer["engine_reason"] else ""
    output.line(f"engine {answer['engine']}{reason}")
    return exit_codes.OK
