"""What the arguments of fleet.launch.py mean: checked, and turned into the nodes' parameters. Without launch itself."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from omni_core.config import ganglion, nucleus
from omni_core.config.schema import read_fields
from omni_core.crypto.token import SCHEME
from omni_core.dds.profiles import middleware
from omni_core.errors import ConfigError
from omni_core.io.config_file import read_values

CONFIG_DIRECTORY = "/etc/omni"
_ENGINES = next(field.choices for field in ganglion.FIELDS if field.name == "engine")
ROLES = {"ganglion": ("ganglion",), "nucleus": ("nucleus",), "both": ("nucleus", "ganglion")}


class Argument(NamedTuple):
    name: str
    default: str
    choices: tuple[str, ...] | None
    description: str


ARGUMENTS = (
    Argument("role", "ganglion", tuple(ROLES), "this machine is an edge of the overlay, a rendezvous server, or both"),
    Argument(
        "config", "", None,
        "file with the nodes' parameters, ROS YAML or TOML. Empty: /etc/omni/<role>.yaml or .toml, if there is one",
    ),
    Argument("cluster", "", None, "cluster to join; for a Nucleus: to serve, several with commas"),
    Argument("nucleus", "", None, "Nuclei of the cluster as host:port, several with commas, where there is no token"),
    Argument("nucleus_key", "", None, "public key of the Nuclei, or one each with commas, where there is no token"),
    Argument("token", "", None, "FILE with the join token, mode 0600; not the token itself, which all could see"),
    Argument("vip", "", None, "overlay address of this robot with its prefix length, such as 10.77.0.1/24, or auto"),
    Argument("interface", "", None, "name of the overlay's network interface (default omni0)"),
    Argument("engine", "", ("", *_ENGINES), "data plane (default auto: the fastest that this machine allows)"),
    Argument("namespace", "", None, "ROS namespace of the nodes"),
    Argument(
        "autostart", "true", ("true", "false"),
        "true: bring the nodes up to active; false: leave them unconfigured, for a lifecycle manager",
    ),
    Argument(
        "on_failure", "shutdown", ("shutdown", "keep"),
        "when a transition fails at the start: end this launch with exit code 1, or keep the node, unconfigured",
    ),
    Argument(
        "respawn", "true", ("true", "false"),
        "true: a node whose process ends is started and brought up again; false: its death ends this launch",
    ),
    Argument(
        "dds", "auto", ("auto", "fastdds", "cyclonedds", "none"),
        "middleware of the nodes that are launched once the overlay is up: bound to it by the environment. "
        "auto: that of RMW_IMPLEMENTATION, else fastdds; none: the environment stays as it is",
    ),
    Argument(
        "discovery", "localhost", ("localhost", "subnet"),
        "who reaches the nodes' own topics, parameters and transitions: this machine, or its networks too, in clear",
    ),
    Argument("then", "", None, "launch file to include once the overlay is up, in that environment"),
    Argument("log_level", "info", ("debug", "info", "warn", "error", "fatal"), "log level of the nodes"),
)  # fmt: skip


def refuse_secrets(values: Mapping[str, str]) -> None:
    """Raises ConfigError, without repeating the value, when an argument is a token."""
    for name, value in values.items():
        if SCHEME in value:
            raise ConfigError(
                name,
                "is a token, not the path of a file; every user of this machine can read a command line",
                "write it into a file of mode 0600 and give token:=FILE; if it holds a secret, make another",
            )


def node_parameters(role: str, values: Mapping[str, str], directory: str = CONFIG_DIRECTORY) -> list[Any]:
    """For launch_ros: the path of a YAML file or the values of a TOML file, then what the arguments say, which wins.

    ``role``: "ganglion" or "nucleus". ``values``: all of ARGUMENTS. Raises ConfigError.
    """
    refuse_secrets(values)
    fields = {field.name: field for field in (ganglion if role == "ganglion" else nucleus).FIELDS}
    given = _ganglion_values(values) if role == "ganglion" else _nucleus_values(values)
    for name, value in given.items():
        read_fields([fields[name]], {name: value})
    path = values["config"] or _default_config(role, directory)
    if not path:
        return [given]
    path = os.path.abspath(os.path.expanduser(path))
    if path.endswith(".toml"):
        if values["role"] == "both" and values["config"]:
            raise ConfigError("config", f"{path} is for one node, and role is both", "use a ROS YAML with both nodes")
        file_values = {name: _ros_list(value) for name, value in read_values(path, role).items()}
        return [{**file_values, **given}]
    read_values(path, role)  # says what is wrong with it, where ROS would end the process
    return [path, given]


def chosen_middleware(dds: str, environment: Mapping[str, str]) -> str:
    """ "fastdds", "cyclonedds" or "none", for the argument ``dds``."""
    if dds != "auto":
        return dds
    chosen = environment.get("RMW_IMPLEMENTATION", "")
    try:
        return middleware(chosen) if chosen else "fastdds"
    except ConfigError:
        return "none"  # a middleware that is no DDS, such as Zenoh


def _ganglion_values(values: Mapping[str, str]) -> dict[str, Any]:
    given: dict[str, Any] = {
        "cluster": values["cluster"],
        "nucleus": _items(values["nucleus"]),
        "nucleus_key": values["nucleus_key"],
        "token_file": os.path.abspath(os.path.expanduser(values["token"])) if values["token"] else "",
        "vip4": values["vip"],
        "interface": values["interface"],
        "engine": values["engine"],
    }
    return {name: value for name, value in given.items() if value}


def _nucleus_values(values: Mapping[str, str]) -> dict[str, Any]:
    return {"clusters": clusters} if (clusters := _items(values["cluster"])) else {}


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _ros_list(value: object) -> object:
    """ROS cannot tell the type of an empty list."""
    return [""] if isinstance(value, Sequence) and not isinstance(value, str) and not value else value


def _default_config(role: str, directory: str) -> str:
    candidates = (os.path.join(directory, role + suffix) for suffix in (".yaml", ".toml"))
    return next((path for path in candidates if os.path.exists(path)), "")
