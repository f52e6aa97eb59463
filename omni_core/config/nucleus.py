"""Configuration of a Nucleus: the table of its keys, and the checked result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from omni_core import constants
from omni_core.config.schema import Field, read_fields
from omni_core.config.values import (
    UNIX_PATH_MAX,
    ClusterFile,
    parse_cluster,
    parse_cluster_file,
    parse_listen_address,
    parse_path,
)
from omni_core.errors import ConfigError

FIELDS: tuple[Field, ...] = (
    Field(
        "key_file", "string", "/etc/omni/nucleus.key",
        "Private key of this Nucleus (omni keygen), mode 0600.",
        "give the full path of the key file, such as /etc/omni/nucleus.key",
        parse=parse_path, required=True, read_only=True, secret=True,
    ),
    Field(
        "clusters", "string_array", (),
        "Clusters that this Nucleus serves. Robots of different clusters never see each other.",
        "list cluster names of 1..63 letters, digits, '.', '_' or '-', such as warehouse",
        parse=parse_cluster, required=True, example=("warehouse",),
    ),
    Field(
        "secret_files", "string_array", (),
        'Secrets of clusters as "cluster=path". A cluster without one admits every key.',
        'write each as "cluster=/full/path" of a file that holds the secret, not the secret itself',
        parse=parse_cluster_file, secret=True,
    ),
    Field(
        "listen_port", "integer", constants.DEFAULT_PORT,
        "UDP port. 0: any free one, shown at the start.",
        "use a port that is free, such as 51820",
        minimum=0, maximum=65535,
    ),
    Field(
        "listen_address", "string_array", (),
        "Addresses to listen on. Empty: all, IPv4 and IPv6.",
        "list IP addresses of this machine, or leave it empty for all",
        parse=parse_listen_address,
    ),
    Field(
        "heartbeat_interval", "double", constants.HEARTBEAT_INTERVAL,
        f"Time between heartbeats of an edge; {constants.HEARTBEATS_MISSED} missed ones are a departure.",
        f"use {constants.HEARTBEAT_INTERVAL:g}; less finds a dead robot sooner and costs traffic",
        unit="s", minimum=1.0, maximum=600.0,
    ),
    Field(
        "run_dir", "string", "/run/omni",
        "Directory for the admin socket, on a file system that a reboot empties.",
        "give a full path, such as /run/omni",
        parse=parse_path, required=True, read_only=True,
    ),
    Field(
        "status_period", "double", 1.0,
        "Time between two status messages.",
        "use 1.0",
        unit="s", minimum=0.1, maximum=3600.0, live=True,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class NucleusConfig:
    """A checked configuration. Paths are absolute and not opened yet."""

    key_file: str
    clusters: tuple[str, ...]
    secret_files: tuple[ClusterFile, ...]
    listen_port: int  # 0: any
    listen_address: tuple[str, ...]  # (): all, IPv4 and IPv6
    heartbeat_interval: float  # s
    run_dir: str
    status_period: float  # s

    @property
    def admin_socket(self) -> str:
        return admin_socket(self.run_dir)


def admin_socket(run_dir: str) -> str:
    """Where the Nucleus answers `omni status --nucleus`."""
    return f"{run_dir}/nucleus.sock"


def validate(values: Mapping[str, object]) -> NucleusConfig:
    """A mapping as TOML or ROS parameters give it -> NucleusConfig. Raises ConfigError (field, problem, fix)."""
    config = NucleusConfig(**read_fields(FIELDS, values))
    with_secret = [entry.cluster for entry in config.secret_files]
    for cluster in with_secret:
        if cluster not in config.clusters:
            raise ConfigError(
                "secret_files", f"{cluster!r} is not in clusters", "add it to clusters, or remove its secret file"
            )
        if with_secret.count(cluster) > 1:
            raise ConfigError("secret_files", f"{cluster!r} has two files", "keep one secret file for each cluster")
    if len(config.admin_socket.encode()) > UNIX_PATH_MAX:
        raise ConfigError(
            "run_dir", f"{config.admin_socket!r} is too long for a Unix socket (at most {UNIX_PATH_MAX} bytes)",
            "use a shorter directory, such as /run/omni",
        )  # fmt: skip
    return config
