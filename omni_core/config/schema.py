"""Fields of a configuration, and the one reader that checks a mapping against a table of them.

A table is the single source for the TOML keys, the ROS parameters (type, range, description, read-only), the example
files and the error messages. Nothing here opens a file: `io.config_file` does.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from omni_core.errors import ConfigError

FieldType: TypeAlias = Literal["string", "integer", "double", "boolean", "string_array"]
Raw: TypeAlias = "str | int | float | bool | tuple[str, ...]"

TYPE_NAMES: dict[FieldType, str] = {
    "string": "text",
    "integer": "a whole number",
    "double": "a number",
    "boolean": "true or false",
    "string_array": "a list of texts",
}


@dataclass(frozen=True)
class Field:
    """One key. ``default`` and ``example`` are raw values: what a user would write.

    ``parse`` turns the text (of a list: each item) into the value that the program wants; it raises ValueError with
    the problem as a sentence without the field's name. An empty text is never given to ``parse``: it means "not set"
    and reads as "" (see ``required``), and empty items of a list are skipped, because ROS YAML has no empty list.
    """

    name: str
    type: FieldType
    default: Raw
    description: str
    fix: str  # what to do when the value is wrong
    unit: str = ""
    minimum: int | float | None = None
    maximum: int | float | None = None
    gap: tuple[int, int] | None = None  # values strictly between these two are refused as well
    choices: tuple[str, ...] = ()
    parse: Callable[[str], Any] | None = None
    required: bool = False  # an empty text is an error
    read_only: bool = False  # ROS: fixed when the process starts. Others may change until the node is configured
    live: bool = False  # may change at any time
    secret: bool = False  # names a file with a secret; what was given is never repeated in an error
    example: Raw | None = None  # shown in the example files where the default would not start

    def error(self, problem: str) -> ConfigError:
        return ConfigError(self.name, problem, self.fix)


def read_fields(fields: Sequence[Field], values: Mapping[str, object]) -> dict[str, Any]:
    """Every field of the table with its parsed value or default. Raises ConfigError on the first that is wrong."""
    known = [field.name for field in fields]
    for key in values:
        if key not in known:
            raise _unknown_key(str(key), known)
    return {field.name: _read(field, values.get(field.name, field.default)) for field in fields}


def _unknown_key(key: str, known: Sequence[str]) -> ConfigError:
    close = difflib.get_close_matches(key.replace("-", "_").lower(), known, n=1)
    if close:
        return ConfigError(key, f"no such key (did you mean {close[0]!r}?)", f"rename it to {close[0]}, or remove it")
    return ConfigError(key, "no such key", f"remove it; the keys are {', '.join(known)}")


def _read(field: Field, value: object) -> Any:
    if field.type == "string":
        if not isinstance(value, str):
            raise _wrong_type(field, value)
        return _read_text(field, value)
    if field.type == "string_array":
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            raise _wrong_type(field, value)
        return _read_list(field, value)
    if field.type == "boolean":
        if not isinstance(value, bool):
            raise _wrong_type(field, value)
        return value
    if isinstance(value, bool) or not isinstance(value, int if field.type == "integer" else (int, float)):
        raise _wrong_type(field, value)
    return _read_number(field, value)


def _wrong_type(field: Field, value: object) -> ConfigError:
    if value is None:
        return field.error(f"has no value, expected {TYPE_NAMES[field.type]}")
    shown = "" if field.secret else f" {_short(value)}"
    return field.error(f"expected {TYPE_NAMES[field.type]}, got{shown} ({type(value).__name__})")


def _read_text(field: Field, value: str) -> Any:
    if not value:
        if field.required:
            raise field.error("is empty")
        return ""
    if field.choices and value not in field.choices:
        close = difflib.get_close_matches(value.lower(), field.choices, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise field.error(f"{_short(value)} is not one of {', '.join(field.choices)}{hint}")
    return _parse(field, value, "")


def _read_list(field: Field, items: Sequence[str]) -> tuple[Any, ...]:
    parsed = []
    for number, item in enumerate(items, start=1):
        if item:
            value = _parse(field, item, f"item {number}: ")
            if value in parsed:
                raise field.error(f"item {number}: is there twice")
            parsed.append(value)
    if field.required and not parsed:
        raise field.error("is empty")
    return tuple(parsed)


def _parse(field: Field, text: str, where: str) -> Any:
    if field.parse is None:
        return text
    try:
        return field.parse(text)
    except ValueError as error:
        raise field.error(f"{where}{error}") from None


def _read_number(field: Field, value: int | float) -> int | float:
    low, high = field.minimum, field.maximum
    if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
        raise field.error(f"{value} is out of range {range_text(field)}")
    if field.gap is not None and field.gap[0] < value < field.gap[1]:
        raise field.error(f"{value} is out of range {range_text(field)}")
    return float(value) if field.type == "double" else value


def range_text(field: Field) -> str:
    """``"0 or 1280..9216"``; empty for fields without a range."""
    if field.minimum is None and field.maximum is None:
        return ""
    if field.gap is not None:
        return f"{field.gap[0]} or {field.gap[1]}..{field.maximum}"
    return f"{field.minimum}..{field.maximum}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
