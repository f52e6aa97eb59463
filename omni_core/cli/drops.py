"""`omni drops`: what the running Ganglion dropped, how often, and what each reason means."""

from __future__ import annotations

import argparse
import inspect
import re
import time
from collections.abc import Mapping

from omni_core import drops
from omni_core.cli import exit_codes, output
from omni_core.cli.options import add_ganglion_options, admin_socket, seconds
from omni_core.io import admin

COLUMNS = ["reason", "packets", "what it means"]


def configure(parser: argparse.ArgumentParser) -> None:
    add_ganglion_options(parser)
    parser.add_argument("--over", type=seconds, metavar="S", help="count for S seconds, instead of since the start")
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(arguments: argparse.Namespace) -> int:
    path = admin_socket(arguments)
    counted = admin.request(path, "status")["drops"]
    if arguments.over is not None:
        time.sleep(arguments.over)
        counted = grown(counted, admin.request(path, "status")["drops"])
    if arguments.json:
        output.print_json(counted)
    elif counted:
        rows = [[reason, str(count), meaning(reason)] for reason, count in sorted(counted.items(), key=_most)]
        output.make_console().print(output.make_table(COLUMNS, rows, right=["packets"]))
    else:
        output.line("nothing was dropped")
    return exit_codes.OK


def grown(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """A counter that is smaller than before has started again."""
    more = {
        name: count - before.get(name, 0) if count >= before.get(name, 0) else count for name, count in after.items()
    }
    return {name: count for name, count in more.items() if count}


def meaning(reason: str) -> str:
    """The comment in omni_core/drops.py, or the name in words."""
    return _comments().get(reason, reason.replace("_", " "))


def _comments() -> dict[str, str]:
    lines = re.findall(r"^    ([A-Z_0-9]+) = \d+  # (.+)$", inspect.getsource(drops), re.MULTILINE)
    return {name.lower(): text for name, text in lines}


def _most(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]
