"""`omni nucleus admin`: the edges of the Nucleus that runs here; who is sent away, and who is shut out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from omni_core.cli import exit_codes, nucleus_upkeep, output
from omni_core.cli.options import nucleus_socket
from omni_core.config import nucleus
from omni_core.errors import ConfigError
from omni_core.io import admin
from omni_core.types import KEY_SHOWN

_UNITS = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_EDGE = "public key, or the name or VIP of an edge that is there"


def configure(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    show = _verb(verbs, "list", "list the edges that are registered", _list)
    show.add_argument("--leases", action="store_true", help="also the VIP4s that are leased")
    show.add_argument("--denied", action="store_true", help="also the keys that are shut out")
    show.add_argument("--wide", action="store_true", help="with VIP6 and the whole keys")
    kick = _verb(verbs, "kick", "unregister an edge and end its session; it may come back", _kick)
    kick.add_argument("edge", metavar="EDGE", help=_EDGE)
    deny = _verb(verbs, "deny", "unregister an edge and refuse it from now on", _deny)
    deny.add_argument("edge", metavar="EDGE", help=_EDGE)
    deny.add_argument(
        "--for", dest="lasts", metavar="TIME", type=_time, help="such as 30min, 1h, 7d (default: for ever)"
    )
    deny.add_argument("--reason", metavar="TEXT", default="", help="said to the edge")
    allow = _verb(verbs, "allow", "let a key in again that was shut out", _allow)
    allow.add_argument("edge", metavar="KEY", help="public key, or its first 8 characters or more")
    nucleus_upkeep.add_verbs(verbs, _verb)


def run(arguments: argparse.Namespace) -> int:
    answer: Callable[[argparse.Namespace], None] = arguments.admin_verb
    answer(arguments)
    return exit_codes.OK


def _verb(
    verbs: Any, name: str, help_line: str, run_verb: Callable[[argparse.Namespace], None]
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=help_line, description=help_line[0].upper() + help_line[1:] + "."
    )
    parser.set_defaults(admin_verb=run_verb)
    parser.add_argument("--cluster", metavar="NAME", help="only in this cluster (default: in all)")
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    field = next(field for field in nucleus.FIELDS if field.name == "run_dir")
    parser.add_argument("--run-dir", default=field.default, metavar="TEXT", help=field.description)
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks")
    return parser


def _ask(arguments: argparse.Namespace, command: str, **values: object) -> Any:
    if arguments.cluster is not None:
        values["cluster"] = arguments.cluster
    return admin.request(nucleus_socket(arguments), command, **values)


# --- verbs ------------------------------------------------------------------------------------------------------------


def _list(arguments: argparse.Namespace) -> None:
    answer = _ask(arguments, "edges", leases=arguments.leases, denied=arguments.denied)
    if arguments.json:
        output.print_json(answer)
        return
    parts: list[Table | Text] = [edge_table(answer["edges"], wide=arguments.wide)]
    if arguments.leases:
        parts += [Text("leases", "bold"), lease_table(answer["leases"], wide=arguments.wide)]
    if arguments.denied:
        parts += [Text("denied", "bold"), denial_table(answer["denied"])]
    output.make_console().print(Group(*parts))


def _kick(arguments: argparse.Namespace) -> None:
    answer = _ask(arguments, "kick", edge=arguments.edge)
    _say(arguments, answer, f"{_who(answer)} {'is unregistered' if answer['was_there'] else 'was not registered'}")


def _deny(arguments: argparse.Namespace) -> None:
    answer = _ask(arguments, "deny", edge=arguments.edge, reason=arguments.reason, **_given("for", arguments.lasts))
    lasts = f"for {output.duration(answer['for_s'])}" if answer["for_s"] is not None else "until it is allowed again"
    _say(arguments, answer, f"{_who(answer)} is shut out {lasts}")


def _allow(arguments: argparse.Namespace) -> None:
    answer = _ask(arguments, "allow", edge=arguments.edge)
    _say(arguments, answer, f"{_who(answer)} {'may join again' if answer['was_denied'] else 'was not shut out'}")


def _say(arguments: argparse.Namespace, answer: Mapping[str, Any], text: str) -> None:
    if arguments.json:
        output.print_json(answer)
    else:
        output.line(text)


def _who(answer: Mapping[str, Any]) -> str:
    return f"{answer['name']} ({answer['public_key']})" if answer["name"] else str(answer["public_key"])


def _given(name: str, value: object) -> dict[str, object]:
    return {} if value is None else {name: value}


def _time(text: str) -> float:
    """An argparse type: 90, 90s, 30min, 1h, 7d, 2w."""
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    try:
        value = float(number) * _UNITS[text[len(number) :] or "s"]
    except (ValueError, KeyError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 30min, 1h or 7d") from None
    if not 0 < value < float("inf"):
        raise ConfigError("for", f"{text!r} is not a time to come", "give a time such as 30min, 1h or 7d")
    return value


# --- tables -----------------------------------------------------------------------------------------------------------


def edge_table(edges: Sequence[Mapping[str, Any]], *, wide: bool = False) -> Table:
    several = any(edge["nucleus"] for edge in edges)
    columns = [
        "cluster", "name", "key", "vip4", *(["vip6"] if wide else []), "endpoint", "since", "heard", "lease",
        *(["nucleus"] if several else []),
    ]  # fmt: skip
    rows = [
        [
            edge["cluster"],
            edge["name"] or "-",
            _key(edge, wide),
            edge["vip4"] or "-",
            *([edge["vip6"]] if wide else []),
            edge["endpoint"],
            output.duration(edge["since_s"]),
            output.duration(edge["heard_s"]),
            "-" if edge["lease_s"] is None else "held",
            *([edge["nucleus"] or "-"] if several else []),
        ]
        for edge in edges
    ]
    return output.make_table(columns, rows, right=["since", "heard"])


def lease_table(leases: Sequence[Mapping[str, Any]], *, wide: bool = False) -> Table:
    rows = [
        [
            lease["cluster"],
            lease["vip4"],
            _key(lease, wide),
            "there" if lease["live"] else output.duration(lease["left_s"]),
        ]
        for lease in leases
    ]
    return output.make_table(["cluster", "vip4", "key", "left"], rows)


def denial_table(denied: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        [each["public_key"], "for ever" if each["left_s"] is None else output.duration(each["left_s"]), each["reason"]]
        for each in denied
    ]
    return output.make_table(["key", "left", "reason"], rows)


def _key(row: Mapping[str, Any], wide: bool) -> str:
    return str(row["public_key"] if wide else row["public_key"][:KEY_SHOWN])
