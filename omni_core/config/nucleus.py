"""Configuration of a Nucleus: the table of its keys, and the checked result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from omni_core import constants
from omni_core.config.nucleus_values import PoolRange, StoreLocation, parse_http_listen, parse_pool, parse_store
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
from omni_core.types import Endpoint

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
        "allow_files", "string_array", (),
        'Allow lists of clusters as "cluster=path": a line for each key that may join, with its name and VIP. Read '
        "again when they change. A cluster without one admits every key (that has the secret).",
        'write each as "cluster=/full/path" of a file with lines such as "<key> name=robot-7 vip4=10.77.0.7/24"',
        parse=parse_cluster_file,
    ),
    Field(
        "vip4_pools", "string_array", (),
        'IPv4 addresses for robots with vip4: auto, as "cluster=10.77.0.0/24" or "cluster=10.77.0.100-10.77.0.199/24".',
        'write each as "cluster=network/length" or "cluster=first-last/length"',
        parse=parse_pool, example=("warehouse=10.77.0.100-10.77.0.199/24",),
    ),
    Field(
        "lease_time", "double", constants.LEASE_TIME,
        "Time that an address of a pool stays its robot's after that was last there.",
        f"use {constants.LEASE_TIME:g}, a day",
        unit="s", minimum=60.0, maximum=31_536_000.0,
    ),
    Field(
        "max_edges", "integer", constants.CLUSTER_EDGES_MAX,
        "Robots that one cluster may have.",
        f"use {constants.CLUSTER_EDGES_MAX}, or less to bound memory",
        unit="robots", minimum=1, maximum=1_000_000,
    ),
    Field(
        "store", "string", "memory",
        "Where registrations and leases are kept: memory, or the Redis that several Nuclei share, as "
        "redis://[user@]host:port/database, rediss:// (TLS) or unix:///path?db=0.",
        "use memory, or a URL such as redis://10.0.0.5:6379/0; the password belongs into store_password_file",
        parse=parse_store, required=True, secret=True,
    ),
    Field(
        "store_password_file", "string", "",
        "File with the password of the Redis, mode 0600. Empty: none.",
        "give the full path of a file that holds the password, not the password itself",
        parse=parse_path, secret=True,
    ),
    Field(
        "store_ca_file", "string", "",
        "Certificates (PEM) that the Redis's certificate is checked with, for rediss://. Empty: those of the system.",
        "give the full path of a PEM file",
        parse=parse_path,
    ),
    Field(
        "http_listen", "string", "127.0.0.1:51821",
        "Address and port for Prometheus (/metrics) and health (/healthz, /readyz), over HTTP. Empty: none.",
        "use 127.0.0.1:51821, another free port, or an empty text for none",
        parse=parse_http_listen,
    ),
    Field(
        "log_format", "string", "text",
        "Log lines of the command omni nucleus: text, or json (an object a line).",
        "use text or json",
        choices=("text", "json"), required=True,
    ),
    Field(
        "drain_time", "double", constants.DRAIN_TIME,
        "When it stops: time for robots that have another Nucleus to go there, at most.",
        f"use {constants.DRAIN_TIME:g}, or 0 to stop at once",
        unit="s", minimum=0.0, maximum=600.0,
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
    allow_files: tuple[ClusterFile, ...]
    vip4_pools: tuple[PoolRange, ...]
    lease_time: float  # s
    max_edges: int  # of each cluster
    store: StoreLocation | None  # None: in memory
    store_password_file: str  # "": none
    store_ca_file: str  # "": those of the system
    http_listen: Endpoint | None  # None: no HTTP
    log_format: Literal["text", "json"]
    drain_time: float  # s
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
    parsed = read_fields(FIELDS, values)
    config = NucleusConfig(**{**parsed, "http_listen": parsed["http_listen"] or None})
    for field, entries in (
        ("secret_files", config.secret_files),
        ("allow_files", config.allow_files),
        ("vip4_pools", config.vip4_pools),
    ):
        _check_clusters(field, [entry.cluster for entry in entries], config.clusters)
    _check_store(config)
    if len(config.admin_socket.encode()) > UNIX_PATH_MAX:
        raise ConfigError(
            "run_dir", f"{config.admin_socket!r} is too long for a Unix socket (at most {UNIX_PATH_MAX} bytes)",
            "use a shorter directory, such as /run/omni",
        )  # fmt: skip
    return config


def _check_clusters(field: str, named: Sequence[str], clusters: Sequence[str]) -> None:
    for cluster in named:
        if cluster not in clusters:
            raise ConfigError(
                field, f"{cluster!r} is not in clusters", f"add it to clusters, or remove its {field[:-1]}"
            )
        if named.count(cluster) > 1:
            raise ConfigError(field, f"{cluster!r} has two", f"keep one of {field} for each cluster")


def _check_store(config: NucleusConfig) -> None:
    if config.store is None and config.store_password_file:
        raise ConfigError(
            "store_password_file", "is set although the store is memory",
            "set store to the URL of the Redis, or remove store_password_file",
        )  # fmt: skip
    if config.store_ca_file and (config.store is None or config.store.scheme != "rediss"):
        raise ConfigError(
            "store_ca_file", "is set although the store is not rediss://", "use rediss://, or remove store_ca_file"
        )
    if config.store is not None and config.store.username and not config.store_password_file:
        raise ConfigError("store", "has a user but no password", "set store_password_file, or remove the user")
