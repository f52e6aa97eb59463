"""Example configuration files, written from the tables so that they never say something else."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence

from omni_core.config import ganglion, node_parameters, nucleus
from omni_core.config.schema import Field, Raw, range_text

_WIDTH = 100
_YAML_INDENT = "    "


def example_files() -> dict[str, str]:
    """File name -> text, for the directory ``config``."""
    tables = {
        "ganglion": (ganglion.FIELDS, node_parameters.GANGLION_FIELDS),
        "nucleus": (nucleus.FIELDS, node_parameters.NUCLEUS_FIELDS),
    }
    return {
        **{f"{name}.example.toml": toml_example(name, fields) for name, (fields, _) in tables.items()},
        **{f"{name}.example.yaml": yaml_example(name, (*fields, *more)) for name, (fields, more) in tables.items()},
    }


def toml_example(node: str, fields: Sequence[Field]) -> str:
    """A TOML file with every key at its default (or example) value, commented."""
    lines = _comment(f"Configuration of the {node.capitalize()}. Keys that are left out have their default.", "")
    for field in fields:
        lines += ["", *_describe(field, ""), f"{field.name} = {_literal(_shown(field), '[]')}"]
    return "\n".join(lines) + "\n"


def yaml_example(node: str, fields: Sequence[Field]) -> str:
    """The same as a ROS parameters file. ROS has no empty list, so one empty text stands for it."""
    lines = [
        *_comment(f"ROS parameters of the node {node}. Keys that are left out have their default.", ""),
        "/**:",
        "  ros__parameters:",
    ]
    for number, field in enumerate(fields):
        lines += [] if number == 0 else [""]
        value = _literal(_shown(field), '[""]')
        lines += [*_describe(field, _YAML_INDENT), f"{_YAML_INDENT}{field.name}: {value}"]
    return "\n".join(lines) + "\n"


def _shown(field: Field) -> Raw:
    return field.default if field.example is None else field.example


def _literal(value: Raw, empty_list: str) -> str:
    """Valid as TOML and as YAML: both take JSON's texts, numbers and flat lists."""
    if isinstance(value, tuple):
        return json.dumps(list(value)) if value else empty_list
    return json.dumps(value)


def _describe(field: Field, indent: str) -> list[str]:
    facts = []
    if field.choices:
        facts.append(f"one of {', '.join(field.choices)}")
    if limits := range_text(field):
        facts.append(f"{limits} {field.unit}".rstrip())
    facts.append("required" if field.required and not field.default else f"default: {_literal(field.default, '[]')}")
    return [*_comment(field.description, indent), *_comment("; ".join(facts), indent)]


def _comment(text: str, indent: str) -> list[str]:
    return [f"{indent}# {line}" for line in textwrap.wrap(text, _WIDTH, break_on_hyphens=False)]
