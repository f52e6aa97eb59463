"""`omni peers`: a table of the peers of the running Ganglion."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from omni_core.cli import exit_codes, output
from omni_core.cli.options import add_ganglion_options, admin_socket
from omni_core.io import admin
from omni_core.types import KEY_SHOWN


def configure(parser: argparse.ArgumentParser) -> None:
    add_ganglion_options(parser)
    parser.add_argument("--wide", action="store_true", help="with VIP6, MAC address and the whole key")
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(arguments: argparse.Namespace) -> int:
    status = admin.request(admin_socket(arguments), "status")
    if arguments.json:
        output.print_json(status["peers"])
    else:
        output.make_console().print(peer_table(status, wide=arguments.wide))
    return exit_codes.OK


def label(peer: Mapping[str, Any]) -> str:
    """What people call a peer."""
    return str(peer["name"] or peer["vip4"] or peer["public_key"][:KEY_SHOWN])


def peer_table(status: Mapping[str, Any], *, wide: bool = False) -> Table:
    """Peers with sessions first, then by name."""
    columns = [
        "name",
        "key",
        "vip4",
        *(["vip6", "mac"] if wide else []),
        "state",
        "endpoint",
        *(["listens to"] if wide else []),
        "rtt",
        "loss",
        "clock",
        "session",
        "last seen",
    ]
    numbers = ["out", "in"]
    peers: Sequence[Mapping[str, Any]] = sorted(
        status["peers"], key=lambda peer: (peer["state"] != "up", peer["name"], peer["public_key"])
    )
    rows = [
        [
            peer["name"] or "-",
            peer["public_key"] if wide else peer["public_key"][:KEY_SHOWN],
            peer["vip4"] or "-",
            *([peer["vip6"], peer["mac"]] if wide else []),
            f"{peer['state']}, adopted" if peer["adopted"] else peer["state"],
            peer["endpoint"] or "-",
            *([listens_to(peer)] if wide else []),
            output.duration(peer["rtt_s"]),
            output.share(peer["loss"]),
            output.offset(peer["clock_offset_s"], peer["clock_error_s"]),
            output.duration(peer["session_age_s"]),
            output.duration(peer["last_rx_age_s"]),
            output.size(peer["tx_bytes"]),
            output.size(peer["rx_bytes"]),
        ]
        for peer in peers
    ]
    return output.make_table(columns + numbers, rows, right=[*numbers, "rtt", "loss", "clock"])


def listens_to(peer: Mapping[str, Any]) -> str:
    """Which IP multicast the peer gets. What it has not told, or told as "all", is not listed."""
    if peer["multicast"] != "learned":
        return "all" if peer["multicast"] else "-"
    domains = ", ".join(map(str, peer["domains"]))
    groups = f"{peer['groups']} groups" if peer["groups"] else "all groups"
    return f"{groups}, DDS domain {domains}" if domains else groups
