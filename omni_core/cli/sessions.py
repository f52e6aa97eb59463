"""`omni sessions`: the sessions (key pairs) of the running Ganglion with its peers."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from omni_core.cli import exit_codes, output
from omni_core.cli.options import add_ganglion_options, admin_socket
from omni_core.cli.peers import label
from omni_core.io import admin

COLUMNS = ["peer", "id", "role", "age", "sending", "endpoint"]


def configure(parser: argparse.ArgumentParser) -> None:
    add_ganglion_options(parser)
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(arguments: argparse.Namespace) -> int:
    rows = sessions(admin.request(admin_socket(arguments), "status"))
    if arguments.json:
        output.print_json(rows)
    else:
        output.make_console().print(output.make_table(COLUMNS, [_cells(row) for row in rows], right=["age"]))
    return exit_codes.OK


def sessions(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each session, by peer, the newest first."""
    return [
        {"peer": label(peer), "public_key": peer["public_key"], "endpoint": peer["endpoint"], **session}
        for peer in sorted(status["peers"], key=lambda peer: (label(peer), peer["public_key"]))
        for session in sorted(peer["sessions"], key=lambda session: session["age_s"])
    ]


def _cells(row: Mapping[str, Any]) -> list[str]:
    sending = "yes" if row["sending"] else "-"
    return [row["peer"], row["id"], row["role"], output.duration(row["age_s"]), sending, row["endpoint"] or "-"]
