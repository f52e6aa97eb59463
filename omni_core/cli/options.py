"""Options that follow the configuration tables, and options that find a running Ganglion."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from omni_core.cli.inputs import STDIN, token_file_of_environment
from omni_core.config import ganglion, nucleus
from omni_core.config.schema import Field, range_text
from omni_core.config.values import parse_cluster_file, parse_path

CONFIG_DIRECTORY = "/etc/omni"
_METAVARS = {"string": "TEXT", "integer": "N", "double": "X", "string_array": "TEXT"}


def add_config_options(parser: argparse.ArgumentParser, fields: Sequence[Field], node: str) -> None:
    """--config, --node and one option for each key of the table."""
    parser.add_argument(
        "--config", metavar="FILE",
        help=f"TOML, or ROS parameters YAML (default: {CONFIG_DIRECTORY}/{node}.toml or .yaml if there is one)",
    )  # fmt: skip
    parser.add_argument("--node", default=node, metavar="NAME", help=f"whose ROS parameters to take (default: {node})")
    group = parser.add_argument_group("configuration", "Each key of the file as an option; an option wins.")
    for field in fields:
        group.add_argument(
            option_of(field),
            dest=_destination(field),
            action="append" if field.type == "string_array" else "store",
            metavar=_METAVARS[field.type],
            help=_help(field),
        )


def option_of(field: Field) -> str:
    return "--" + field.name.replace("_", "-")


def config_path(arguments: argparse.Namespace, node: str) -> str | None:
    """The file that was named, else the one in /etc/omni, else None."""
    if arguments.config is not None:
        return os.path.abspath(str(arguments.config))
    candidates = (f"{CONFIG_DIRECTORY}/{node}{suffix}" for suffix in (".toml", ".yaml"))
    return next((path for path in candidates if os.path.exists(path)), None)


def config_values(arguments: argparse.Namespace, fields: Sequence[Field]) -> dict[str, object]:
    """The raw values of the options that were given, and OMNI_TOKEN_FILE. Paths become absolute. Raises ConfigError."""
    values: dict[str, object] = {}
    for field in fields:
        given = getattr(arguments, _destination(field))
        if given is not None:
            values[field.name] = _raw(field, given)
    token_file = token_file_of_environment()
    if token_file is not None and any(field.name == "token_file" for field in fields):
        values.setdefault("token_file", os.path.abspath(token_file))
    return values


def add_ganglion_options(parser: argparse.ArgumentParser) -> None:
    """Which running Ganglion: by its interface and run_dir."""
    for field in ganglion.FIELDS:
        if field.name in ("interface", "run_dir"):
            parser.add_argument(option_of(field), default=field.default, metavar="TEXT", help=_help(field))


def nucleus_socket(arguments: argparse.Namespace) -> str:
    """Of the Nucleus that runs here."""
    return nucleus.admin_socket(os.path.abspath(arguments.run_dir))


def admin_socket(arguments: argparse.Namespace) -> str:
    return ganglion.admin_socket(os.path.abspath(arguments.run_dir), arguments.interface)


def seconds(text: str) -> float:
    """An argparse type."""
    return _bounded(float(text), 0.01, 86400.0)


def count(text: str) -> int:
    """An argparse type."""
    return int(_bounded(int(text), 1, 1_000_000))


def _bounded(value: float, least: float, most: float) -> float:
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{value:g} is out of range {least:g}..{most:g}")
    return value


def _destination(field: Field) -> str:
    return f"key_{field.name}"


def _raw(field: Field, given: str | list[str]) -> object:
    if isinstance(given, list):
        return [_absolute(field, item) for item in given]
    try:
        if field.type == "integer":
            return int(given)
        if field.type == "double":
            return float(given)
    except ValueError:
        pass  # the schema says what is wrong with a text
    return _absolute(field, given)


def _absolute(field: Field, text: str) -> str:
    """On the command line a path may be relative, as for every command. An empty text stays: it means "none"."""
    if field.parse is parse_path and text and text != STDIN:
        return os.path.abspath(text)
    if field.parse is parse_cluster_file:
        cluster, equals, path = text.partition("=")
        return f"{cluster}={os.path.abspath(path)}" if equals and path else text
    return text


def _help(field: Field) -> str:
    facts = [", ".join(field.choices)] if field.choices else []
    if limits := range_text(field):
        facts.append(f"{limits} {field.unit}".rstrip())
    if field.type == "string_array":
        facts.append("may be repeated")
    if field.default not in ("", ()):
        facts.append(f"default {field.default}")
    text = field.description + (f" ({'; '.join(facts)})" if facts else "")
    return text.replace("%", "%%")
