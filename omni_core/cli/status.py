"""`omni status`: the running Ganglion on one page, once or again and again."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.text import Text

from omni_core.cli import exit_codes, output
from omni_core.cli.nucleus_view import nucleus_page
from omni_core.cli.options import add_ganglion_options, admin_socket, nucleus_socket, seconds
from omni_core.cli.peers import peer_table
from omni_core.errors import OmniError
from omni_core.io import admin


def configure(parser: argparse.ArgumentParser) -> None:
    add_ganglion_options(parser)
    parser.add_argument("--nucleus", action="store_true", help="show the Nucleus that runs here instead")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="machine-readable output")
    how.add_argument("--watch", action="store_true", help="keep the page up to date until Ctrl-C")
    parser.add_argument(
        "--interval", type=seconds, default=1.0, metavar="S", help="seconds between two looks of --watch (default 1)"
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.nucleus:
        path, make_page = nucleus_socket(arguments), nucleus_page
    else:
        path, make_page = admin_socket(arguments), page
    if arguments.watch:
        return _watch(lambda: make_page(admin.request(path, "status")), arguments.interval)
    status = admin.request(path, "status")
    if arguments.json:
        output.print_json(status)
    else:
        output.make_console().print(make_page(status))
    return exit_codes.OK


def page(status: Mapping[str, Any]) -> Group:
    """``status``: GanglionStatus as a mapping."""
    return Group(*(Text.assemble((f"{name:<9}", "bold"), value) for name, value in summary(status)), peer_table(status))


def summary(status: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, text) lines above the table of peers. What there is not has no line."""
    up = sum(peer["state"] == "up" for peer in status["peers"])
    nuclei = status.get("nuclei", [])
    reason = f": {status['nucleus_reason']}" if status["nucleus_reason"] else ""
    seen = f", seen as {status['observed_endpoint']}" if status["observed_endpoint"] else ""
    rows = [
        ("ganglion", f"{status['name']} ({status['state']}), cluster {status['cluster']}, engine {status['engine']}"),
        ("", f"not in the kernel: {status['engine_reason']}" if status["engine_reason"] else ""),
        ("", f"bulk lane {status['bulk_lane']}" if status.get("bulk_lane") else ""),
        ("underlay", "; ".join(map(_underlay, status["underlay"]))),
        ("overlay", ", ".join(filter(None, (_vip4(status), status["vip6"], status["mac"])))),
        ("mtu", str(status["interface_mtu"])),
        ("key", status["public_key"]),
        ("nucleus", f"{status['nucleus_state']}{reason}{seen}"),
        *(("", _nucleus(link)) for link in nuclei if len(nuclei) > 1),
        ("gossip", _gossip(status.get("gossip", {}))),
        ("peers", f"{up} up of {len(status['peers'])} known{_cluster(status)}"),
        (
            "traffic",
            f"{_traffic(status, 'tx')} out, {_traffic(status, 'rx')} in, {status['fdb_entries']} MAC addresses",
        ),
        ("dds", _discovery(status)),
        ("drops", ", ".join(f"{reason} {count}" for reason, count in status["drops"].items())),
    ]
    return [(name, text) for name, text in rows if text]


def _gossip(counted: Mapping[str, Any]) -> str:
    if not counted.get("active"):
        return ""
    recalled = f", {counted['recalled']} peers of before tried" if counted["recalled"] else ""
    return (
        f"no Nucleus answers, peers tell each other: {counted['sent']} messages sent, "
        f"{counted['taken']} entries taken, {counted['refused']} refused{recalled}"
    )


def _nucleus(link: Mapping[str, Any]) -> str:
    said = [link["role"] if link["state"] in (link["role"], "idle") else f"{link['role']}, {link['state']}"]
    if link["registered_s"] is not None:
        said[0] += f" for {output.duration(link['registered_s'])}"
    if link["draining"]:
        said.append("about to stop")
    if link["last_answer_age_s"] is not None and link["state"] != "idle":
        rtt = f" ({output.duration(link['rtt_s'])})" if link["rtt_s"] is not None else ""
        said.append(f"answered {output.duration(link['last_answer_age_s'])} ago{rtt}")
    reason = f": {link['reason']}" if link["reason"] else ""
    return f"{link['endpoint'] or link['public_key']} {', '.join(said)}{reason}"


def _vip4(status: Mapping[str, Any]) -> str:
    return f"{status['vip4']} (leased)" if status["vip4_leased"] else str(status["vip4"])


def _underlay(interface: Mapping[str, Any]) -> str:
    how = "without XDP" if interface["xdp_mode"] == "none" else f"XDP in {interface['xdp_mode']} mode"
    reason = f" ({interface['reason']})" if interface["reason"] else ""
    return f"{interface['interface']} {how}{reason}"


def _cluster(status: Mapping[str, Any]) -> str:
    sessions = ", sessions on demand" if status["on_demand"] else ""
    return f", {status['cluster_size']} robots in the cluster{sessions}" if status["cluster_size"] else sessions


def _traffic(counted: Mapping[str, Any], direction: str) -> str:
    return f"{counted[direction + '_frames']} frames ({output.size(counted[direction + '_bytes'])})"


def _discovery(status: Mapping[str, Any]) -> str:
    counted = status["discovery"]
    if not counted or not (counted["local_participants"] or counted["remote_participants"]):
        return ""
    domains = f"domain {', '.join(map(str, status['domains']))}, " if status["domains"] else ""
    return (
        f"{domains}{counted['local_participants']} participants here, {counted['remote_participants']} at peers; "
        f"{counted['suppressed']} of {counted['announcements']} announcements spared, "
        f"{counted['replayed']} given from the cache"
    )


def _watch(look: Callable[[], Group], interval: float) -> int:
    """In place on a terminal, else page after page. One that restarts is waited for. Ends with Ctrl-C only."""
    console = output.make_console()
    shown: Group | Text = look()
    show: Callable[[Group | Text], None] = console.print
    try:
        with contextlib.ExitStack() as stack:
            if console.is_terminal:
                live = stack.enter_context(Live(console=console, auto_refresh=False))
                show = partial(live.update, refresh=True)
            while True:
                show(shown)
                time.sleep(interval)
                try:
                    shown = look()
                except OmniError as error:
                    shown = Text(str(error))
    except KeyboardInterrupt:
        return exit_codes.OK
