"""Reads a configuration file: TOML with flat keys, or a ROS parameters YAML.

Every error names the file, the key and the fix. Later values win: first the wildcards (``/**``), then the entry of the
node itself; values given in the call (command line) come last.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import yaml

from omni_core.config import ganglion, node_parameters, nucleus
from omni_core.config.ganglion import GanglionConfig
from omni_core.config.nucleus import NucleusConfig
from omni_core.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_MAX = 1 << 20  # bytes; a larger file is not a configuration
PARAMETERS_KEY = "ros__parameters"
NODE_KEYS = node_parameters.KEYS | {"use_sim_time"}  # parameters of the ROS nodes that mean nothing without ROS

Config = TypeVar("Config")


def load_ganglion(path: str | None, overrides: Mapping[str, object], node: str = "ganglion") -> GanglionConfig:
    """``path`` None: only ``overrides`` and defaults. Raises ConfigError."""
    return _load(ganglion.validate, path, overrides, node)


def load_nucleus(path: str | None, overrides: Mapping[str, object], node: str = "nucleus") -> NucleusConfig:
    """As ``load_ganglion``."""
    return _load(nucleus.validate, path, overrides, node)


def _load(
    validate: Callable[[Mapping[str, object]], Config], path: str | None, overrides: Mapping[str, object], node: str
) -> Config:
    if path is None:
        return validate(overrides)
    values = read_values(path, node)
    try:
        return validate({**values, **overrides})
    except ConfigError as error:
        if error.field in overrides:
            raise
        raise ConfigError(error.field, f"{error.problem} (in {path})", error.fix) from None


def read_values(path: str, node: str) -> dict[str, object]:
    """The raw keys of a file for one node, unchecked. ``node``: a name, or a full one such as ``/robot1/ganglion``."""
    if path.endswith(".toml"):
        return _read_toml(path)
    if path.endswith((".yaml", ".yml")):
        return _read_ros_yaml(path, node)
    raise ConfigError("config", f"{path} is neither .toml nor .yaml", "name the file after what is in it")


def _read_text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_MAX + 1)
    except FileNotFoundError:
        raise ConfigError("config", f"{path} does not exist", "give the path of an existing file") from None
    except OSError as error:
        raise ConfigError(
            "config", f"{path} cannot be read ({error.strerror})", "give the path of a file that you may read"
        ) from None
    if len(data) > FILE_MAX:
        raise ConfigError("config", f"{path} has more than {FILE_MAX} bytes", "give the path of a configuration file")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError("config", f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from None


def _read_toml(path: str) -> dict[str, object]:
    text = _read_text(path)
    try:
        return dict(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("config", f"{path} is not valid TOML: {error}", "correct that line") from None
    except RecursionError:
        raise ConfigError("config", f"{path} is nested too deeply", "use flat keys only") from None


def _read_ros_yaml(path: str, node: str) -> dict[str, object]:
    text = _read_text(path)
    try:
        tree = _load_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2001-99-99
        raise ConfigError("config", f"{path} is not valid YAML: {_yaml_problem(error)}", "correct that line") from None
    entries = list(_entries(path, tree, ""))
    wildcards = [values for name, values in entries if "*" in name and _matches(name, node)]
    own = {name: values for name, values in entries if "*" not in name and _matches(name, node)}
    if len(own) > 1:
        raise ConfigError(
            "config", f"{path} has parameters for several nodes: {', '.join(own)}", "choose one with --node"
        )  # fmt: skip
    if not wildcards and not own:
        found = ", ".join(name for name, _ in entries) or "none"
        raise ConfigError(
            "config", f"{path} has no parameters for the node {node} (nodes in it: {found})",
            f'put them under "/**:" or "{node}:", then "{PARAMETERS_KEY}:"',
        )  # fmt: skip
    merged: dict[str, object] = {}
    for values in [*wildcards, *own.values()]:
        merged.update(values)
    return {key: value for key, value in merged.items() if key not in NODE_KEYS}


def _load_yaml(text: str) -> object:
    """A safe load that also refuses what ROS's own parser refuses or PyYAML lets pass: aliases, a key given twice."""
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _check_node(root, set())
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _check_node(node: Any, seen: set[int]) -> None:
    if id(node) in seen:
        raise yaml.MarkedYAMLError(problem="aliases are not supported", problem_mark=node.start_mark)
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in keys:
                    raise yaml.MarkedYAMLError(problem=f"{key.value!r} is there twice", problem_mark=key.start_mark)
                keys.add(key.value)
            _check_node(value, seen)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_node(item, seen)


def _entries(path: str, tree: object, prefix: str) -> Iterator[tuple[str, dict[str, object]]]:
    """(full node name, parameters) of a tree of namespaces, in the order of the file."""
    if not isinstance(tree, dict):
        raise ConfigError(
            "config",
            f"{path}: {prefix or 'the file'} has no {PARAMETERS_KEY}",
            f'write "/**:", then "{PARAMETERS_KEY}:"',
        )
    for key, branch in tree.items():
        if key == PARAMETERS_KEY:
            yield prefix or "/**", _parameters(path, prefix, branch)
        elif isinstance(key, str):
            yield from _entries(path, branch, f"{prefix}/{key.strip('/')}")
        else:
            raise ConfigError("config", f"{path}: {key!r} is not a node name", 'write "/**:" or the name of the node')


def _parameters(path: str, name: str, branch: object) -> dict[str, object]:
    if branch is None:
        return {}
    if not isinstance(branch, dict) or not all(isinstance(key, str) for key in branch):
        raise ConfigError(
            "config",
            f"{path}: {PARAMETERS_KEY} of {name or 'the file'} is not a list of keys with values",
            'write "key: value" lines',
        )
    return branch


def _matches(pattern: str, node: str) -> bool:
    """ROS's rule: ``*`` is one part of a name, ``**`` any number of them. A bare ``node`` matches in any namespace."""
    name = pattern.strip("/")
    if "/" not in node:
        return re.fullmatch(_expression(name.rpartition("/")[2]), node) is not None
    return re.fullmatch(_expression(name), node.strip("/")) is not None


def _expression(pattern: str) -> str:
    parts = [".*" if part == "**" else "[^/]+" if part == "*" else re.escape(part) for part in pattern.split("/")]
    return "/".join(parts)


def _yaml_problem(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"{getattr(error, 'problem', '')} (at line {mark.line + 1}, column {mark.column + 1})"
    return str(error).partition("\n")[0]
