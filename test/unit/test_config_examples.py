"""The example files in config/ are what the tables say, and each is a configuration that starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from omni_core.config import example, ganglion, nucleus
from omni_core.io import config_file

CONFIG = Path(__file__).parents[2] / "config"


@pytest.mark.parametrize("name", sorted(example.example_files()))
def test_example_is_in_step_with_the_schema(name: str) -> None:
    assert (CONFIG / name).read_text() == example.example_files()[name], "run tools/write_config_examples.py"


@pytest.mark.parametrize("kind", ["toml", "yaml"])
def test_examples_are_valid_and_complete(kind: str) -> None:
    """Loaded, they equal the defaults except where the table has an example value; both kinds say the same."""
    for node, table, load in (
        ("ganglion", ganglion.FIELDS, config_file.load_ganglion),
        ("nucleus", nucleus.FIELDS, config_file.load_nucleus),
    ):
        path = str(CONFIG / f"{node}.example.{kind}")
        assert list(config_file.read_values(path, node)) == [field.name for field in table]
        shown = {field.name: field.example for field in table if field.example is not None}
        assert load(path, {}) == load(None, shown)


@pytest.mark.parametrize("name", sorted(example.example_files()))
def test_every_key_is_commented_with_its_default(name: str) -> None:
    lines = (CONFIG / name).read_text().splitlines()
    table = ganglion.FIELDS if name.startswith("ganglion") else nucleus.FIELDS
    for field in table:
        at = next(n for n, line in enumerate(lines) if line.strip().split(" ")[0].rstrip(":") == field.name)
        assert lines[at - 1].strip().startswith("# ")
        assert "default: " in lines[at - 1] or "required" in lines[at - 1]
