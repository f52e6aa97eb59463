#!/usr/bin/env python3
"""Write docs/parameters.md from the tables of omni_core.config. A test fails when it is behind."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from omni_core.config import ganglion, node_parameters, nucleus  # noqa: E402
from omni_core.config.schema import Field, range_text  # noqa: E402

INTRODUCTION = """\
# Parameters

<!-- Written by tools/write_parameter_docs.py from omni_core/config. -->

The same names are the keys of a TOML file for `omni up` (but those marked "ROS only"), the ROS parameters of the
nodes, and the keys of a parameters YAML, which `omni up --config` reads as well. `config/*.example.yaml` and
`config/*.example.toml` have every one with its default.

When a parameter may change:

- **start**: read-only. It is what the launch file or the command line says; `ros2 param set` is refused.
- **unconfigured**: before *configure*, or after *cleanup*. While the node is configured, setting it is refused.
- **any time**: at once, also while the node is active.

A value is checked (type, range, meaning) before anything applies: a request that has one wrong value changes nothing,
also `set_parameters_atomically` with several. What depends on several keys together is checked by *configure*;
thresholds of diagnostics, which come in pairs (the warning not above the error), with each request, so set both of a
pair atomically. A wrong value in a launch file does not end the process: *configure* fails and names the key and the
fix, and works after `ros2 param set` has put it right. ROS parameters have no empty list: one empty text, `[""]`,
stands for it.

Values of secrets are never parameters: `key_file`, `token_file` and the like name files, which must have mode 0600.
"""


def parameter_docs() -> str:
    return "\n".join(
        [
            INTRODUCTION,
            *_section("ganglion", ganglion.FIELDS, node_parameters.GANGLION_FIELDS),
            *_section("nucleus", nucleus.FIELDS, node_parameters.NUCLEUS_FIELDS),
        ]
    )


def _section(node: str, fields: Sequence[Field], node_fields: Sequence[Field]) -> list[str]:
    return [
        f"## Node {node}",
        "",
        *_table(fields),
        f"### ROS only: node {node}",
        "",
        *_table(node_fields),
    ]


def _table(fields: Sequence[Field]) -> list[str]:
    rows = [
        f"| `{field.name}` | {field.type.replace('_', ' ')} | {_default(field)} | {_values(field)} | {_when(field)} "
        f"| {field.description} |"
        for field in fields
    ]
    return ["| name | type | default | values | may change | what it is |", "|---|---|---|---|---|---|", *rows, ""]


def _default(field: Field) -> str:
    if field.required and not field.default:
        return "required"
    return f"`{json.dumps(list(field.default) if isinstance(field.default, tuple) else field.default)}`"


def _values(field: Field) -> str:
    if field.choices:
        return ", ".join(f"`{choice}`" for choice in field.choices)
    return f"{range_text(field)} {field.unit}".strip()


def _when(field: Field) -> str:
    return "start" if field.read_only else "any time" if field.live else "unconfigured"


def main() -> None:
    (ROOT / "docs" / "parameters.md").write_text(parameter_docs(), encoding="utf-8")
    print("docs/parameters.md")


if __name__ == "__main__":
    main()
