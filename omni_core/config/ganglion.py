"""Configuration of a Ganglion: the table of its keys, and the checked result."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from omni_core import constants
from omni_core.config.schema import Field, read_fields
from omni_core.config.values import (
    UNIX_PATH_MAX,
    VIP4_AUTO,
    StaticMac,
    StaticPeer,
    XdpChoice,
    parse_cluster,
    parse_host_port,
    parse_interface_name,
    parse_listen_address,
    parse_name,
    parse_path,
    parse_public_key,
    parse_public_keys,
    parse_static_mac,
    parse_static_peer,
    parse_vip4_or_auto,
    parse_xdp_mode,
)
from omni_core.errors import ConfigError
from omni_core.types import Endpoint, NucleusPlace, PublicKey, nucleus_places

MIN_MTU = 1280  # RFC 8200, section 5: IPv6, and so the VIP6, needs it
IPV4_COST = constants.IPV4_OVERHEAD + constants.ETHERNET_HEADER
IPV6_COST = constants.IPV6_OVERHEAD + constants.ETHERNET_HEADER
MAX_MTU = constants.MAX_FRAME - constants.ETHERNET_HEADER - 4

FIELDS: tuple[Field, ...] = (
    Field(
        "interface", "string", "omni0",
        "Network interface of the overlay, made by the Ganglion.",
        "choose up to 15 letters, digits, '.', '_' or '-', such as omni0",
        parse=parse_interface_name, required=True, read_only=True,
    ),
    Field(
        "key_file", "string", "/etc/omni/key",
        "Private key of this robot (omni keygen), mode 0600.",
        "give the full path of the key file, such as /etc/omni/key",
        parse=parse_path, required=True, read_only=True, secret=True,
    ),
    Field(
        "token_file", "string", "",
        "File with the join token (omni token): all that a robot needs to find its cluster. Instead of cluster, "
        "nucleus and nucleus_key.",
        "give the full path of a file that holds the token, not the token itself",
        parse=parse_path, secret=True, example="/etc/omni/token",
    ),
    Field(
        "cluster", "string", "",
        "Name of the cluster to join, where there is no token.",
        "use 1..63 letters, digits, '.', '_' or '-', such as warehouse",
        parse=parse_cluster,
    ),
    Field(
        "nucleus", "string_array", (),
        'Nuclei of the cluster as "host:port", the preferred one first, where there is no token. A name with several '
        "addresses is one Nucleus.",
        'write each as "host:port", such as "nucleus.example.org:51820" or "[fd00::1]:51820"',
        parse=parse_host_port,
    ),
    Field(
        "nucleus_key", "string", "",
        "Public key of the Nuclei, where there is no token; where each has its own, all of them, with commas, in the "
        "order of nucleus.",
        "copy the public key that omni keygen printed on the Nucleus; several with commas",
        parse=parse_public_keys,
    ),
    Field(
        "secret_file", "string", "",
        "File with the cluster's secret, where the cluster has one and the token does not carry it.",
        "give the full path of a file that holds the secret, not the secret itself",
        parse=parse_path, secret=True,
    ),
    Field(
        "vip4", "string", "",
        "IPv4 address of this robot on the overlay with its prefix length, or auto: the Nucleus leases one (vip4_pools "
        "there). Empty: IPv6 only (the key gives the VIP6).",
        'write an address that no other robot has with its prefix length, such as "10.77.0.1/24", or auto',
        parse=parse_vip4_or_auto, example="10.77.0.1/24",
    ),
    Field(
        "name", "string", "",
        "Name that other robots see. Empty: the host name.",
        "use 1..63 letters, digits, '.', '_' or '-', such as robot-7",
        parse=parse_name,
    ),
    Field(
        "listen_port", "integer", constants.DEFAULT_PORT,
        "UDP port on the underlay. 0: any free one.",
        "use a port that is free, such as 51820, or 0 for any",
        minimum=0, maximum=65535,
    ),
    Field(
        "listen_address", "string_array", (),
        "Underlay addresses to listen on. Empty: all, IPv4 and IPv6.",
        "list IP addresses of this machine, or leave it empty for all",
        parse=parse_listen_address,
    ),
    Field(
        "mtu", "integer", 0,
        f"MTU of the overlay interface. 0: the underlay's MTU less {IPV4_COST} on IPv4, less {IPV6_COST} on IPv6.",
        f"use 0 to follow the underlay, or {MIN_MTU} (the least that IPv6 takes) or more",
        unit="bytes", minimum=0, maximum=MAX_MTU, gap=(0, MIN_MTU),
    ),
    Field(
        "bridge", "string", "",
        "Local Ethernet interface to join to the overlay (a robot's internal network). Empty: none.",
        "name an existing Ethernet interface of this machine, such as eth1",
        parse=parse_interface_name,
    ),
    Field(
        "engine", "string", "auto",
        "Data plane: kernel (frames never leave it), native (frames pass through a process of its own), python (frames "
        "pass through this process), or auto: the first of these that this machine allows.",
        "use auto",
        choices=("auto", "kernel", "native", "python"), required=True, live=True,
    ),
    Field(
        "xdp_mode", "string_array", ("auto",),
        "Where the engine kernel hooks into underlay interfaces: driver, generic, or auto (driver, else generic). "
        '"eth0=generic" is for one interface.',
        'use "auto", "driver" or "generic", and "eth0=generic" for one interface',
        parse=parse_xdp_mode,
    ),
    Field(
        "bulk_lane", "string", "auto",
        "With the engine kernel: a native engine beside it for bulk transfers (auto: where it is installed), or off.",
        "use auto, or off",
        choices=("auto", "off"), required=True,
    ),
    Field(
        "bpf_dir", "string", "/sys/fs/bpf/omni",
        "Directory for what the engine kernel leaves in the kernel, in a BPF file system. One is mounted if need be.",
        "give a full path, such as /sys/fs/bpf/omni",
        parse=parse_path, required=True, read_only=True,
    ),
    Field(
        "mesh_limit", "integer", constants.MESH_LIMIT,
        "Cluster size up to which this robot keeps a session with every other. Above it, sessions come on demand.",
        f"use {constants.MESH_LIMIT}, or less on a small computer",
        unit="peers", minimum=0, maximum=4096,
    ),
    Field(
        "multicast", "string", "learn",
        "IP multicast: learn (only to peers that listen to the group, and for DDS to its domain), or flood (to all).",
        "use learn, or flood",
        choices=("learn", "flood"), required=True,
    ),
    Field(
        "spdp_cache", "string", "on",
        "DDS discovery: announcements of participants are kept, given to new ones at once, and not repeated over the "
        "underlay while unchanged. off: every announcement is sent as it is.",
        "use on, or off",
        choices=("on", "off"), required=True,
    ),
    Field(
        "dds_sysctls", "string", "auto",
        "Kernel settings of the DDS tuning guide (buffers for large messages): auto (set while the node is configured, "
        "restored afterwards; settings that are good already stay), or off.",
        "use auto, or off",
        choices=("auto", "off"), required=True,
    ),
    Field(
        "dds_probe", "string", "auto",
        "The ROS node answers the checks of other robots (omni dds --check): auto (as soon as a peer is up, by a small "
        "process of its own), or off.",
        "use auto, or off",
        choices=("auto", "off"), required=True,
    ),
    Field(
        "fleet_topic", "string", "auto",
        "The ROS node's status is published to the fleet, on /omni/fleet over the overlay: auto (by the process of "
        "dds_probe, as soon as a peer is up), or off.",
        "use auto, or off",
        choices=("auto", "off"), required=True,
    ),
    Field(
        "fdb_ageing", "double", constants.FDB_AGEING,
        "Time after which a MAC address that is not seen is forgotten.",
        f"use {constants.FDB_AGEING:g}, the default of IEEE 802.1D",
        unit="s", minimum=1.0, maximum=1_000_000.0,
    ),
    Field(
        "fdb_max_per_peer", "integer", constants.FDB_MAX_PER_PEER,
        "MAC addresses that one peer may bring. Above it, that peer's oldest gives way.",
        f"use {constants.FDB_MAX_PER_PEER}, or less to bound memory",
        unit="addresses", minimum=1, maximum=65536,
    ),
    Field(
        "static_peers", "string_array", (),
        'Peers that are known without a Nucleus, as "key@host:port".',
        'write each as "key@host:port" with the public key of the peer (omni keygen prints it)',
        parse=parse_static_peer,
    ),
    Field(
        "static_macs", "string_array", (),
        'MAC addresses that never move, as "mac=key" of a peer or "mac=local", with "mac/vlan=..." for one VLAN.',
        'write each as "02:00:00:00:00:01=key", "02:00:00:00:00:01/7=key" or "02:00:00:00:00:01=local"',
        parse=parse_static_mac,
    ),
    Field(
        "admit", "string", "cluster",
        "Which peers get a session: cluster (every member) or allow_list (only allowed_keys and static_peers).",
        "use cluster or allow_list",
        choices=("cluster", "allow_list"), required=True,
    ),
    Field(
        "allowed_keys", "string_array", (),
        "Public keys that are admitted when admit is allow_list.",
        "list public keys as omni keygen prints them",
        parse=parse_public_key,
    ),
    Field(
        "run_dir", "string", "/run/omni",
        "Directory for the admin socket and the journal of what was made, on a file system that a reboot empties.",
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


Engine: TypeAlias = Literal["auto", "kernel", "native", "python"]


@dataclass(frozen=True)
class GanglionConfig:
    """A checked configuration. Paths are absolute and not opened yet; hosts may be DNS names."""

    interface: str
    key_file: str
    token_file: str  # "": none
    cluster: str  # "": in the token
    nucleus: tuple[Endpoint, ...]
    nucleus_key: tuple[PublicKey, ...]  # (): none; one for all Nuclei, or one each
    secret_file: str  # "": none
    vip4: ipaddress.IPv4Interface | Literal["auto"] | None
    name: str  # "": the host name
    listen_port: int  # 0: any
    listen_address: tuple[str, ...]  # (): all, IPv4 and IPv6
    mtu: int  # 0: from the underlay
    bridge: str  # "": none
    engine: Engine
    xdp_mode: tuple[XdpChoice, ...]
    bulk_lane: Literal["auto", "off"]
    bpf_dir: str
    mesh_limit: int
    multicast: Literal["learn", "flood"]
    spdp_cache: Literal["on", "off"]
    dds_sysctls: Literal["auto", "off"]
    dds_probe: Literal["auto", "off"]
    fleet_topic: Literal["auto", "off"]
    fdb_ageing: float  # s
    fdb_max_per_peer: int
    static_peers: tuple[StaticPeer, ...]
    static_macs: tuple[StaticMac, ...]
    admit: Literal["cluster", "allow_list"]
    allowed_keys: tuple[PublicKey, ...]
    run_dir: str
    status_period: float  # s

    @property
    def vip4_auto(self) -> bool:
        return self.vip4 == VIP4_AUTO

    @property
    def fixed_vip4(self) -> ipaddress.IPv4Interface | None:
        return None if isinstance(self.vip4, str) else self.vip4

    @property
    def nuclei(self) -> tuple[NucleusPlace, ...]:
        """Empty with a token: they are in there."""
        return nucleus_places(self.nucleus, self.nucleus_key) if self.nucleus else ()

    @property
    def admitted_keys(self) -> frozenset[PublicKey] | None:
        """None: every member of the cluster."""
        if self.admit == "cluster":
            return None
        return frozenset(self.allowed_keys) | {peer.public_key for peer in self.static_peers}

    @property
    def xdp_modes(self) -> dict[str, str]:
        """Interface -> auto, driver or generic; "" stands for all others."""
        return {"": "auto"} | {choice.interface: choice.mode for choice in self.xdp_mode}

    @property
    def admin_socket(self) -> str:
        return admin_socket(self.run_dir, self.interface)

    @property
    def vip4_file(self) -> str:
        """The last VIP4 that was leased, with ``vip4: auto``."""
        return f"{self.key_file}.vip4"

    @property
    def journal_file(self) -> str:
        return f"{self.run_dir}/{self.interface}.json"


def admin_socket(run_dir: str, interface: str) -> str:
    """Where the Ganglion of an interface answers `omni status` and the like."""
    return f"{run_dir}/{interface}.sock"


def read_engine(value: object) -> Engine:
    """The key ``engine`` alone, which may change at any time. Raises ConfigError."""
    field = next(field for field in FIELDS if field.name == "engine")
    engine: Engine = read_fields([field], {field.name: value})[field.name]
    return engine


def validate(values: Mapping[str, object]) -> GanglionConfig:
    """A mapping as TOML or ROS parameters give it -> GanglionConfig. Raises ConfigError (field, problem, fix)."""
    parsed = read_fields(FIELDS, values)
    config = GanglionConfig(**{**parsed, "nucleus_key": parsed["nucleus_key"] or (), "vip4": parsed["vip4"] or None})
    _check_membership(config)
    _check_admission(config)
    _check_interfaces(config)
    return config


def _check_membership(config: GanglionConfig) -> None:
    if config.token_file:
        for field in ("cluster", "nucleus", "nucleus_key"):
            if getattr(config, field):
                raise ConfigError(
                    field, "is given here and by the token of token_file", f"remove {field}, or remove token_file"
                )
        return
    if not config.nucleus and not config.static_peers:
        raise ConfigError(
            "token_file",
            "there is no token, no nucleus and no static peer, so no other robot could be found",
            "set token_file (omni token makes one), or cluster, nucleus and nucleus_key, or cluster and static_peers",
        )
    if not config.cluster:
        raise ConfigError("cluster", "is empty and there is no token", "set cluster, or set token_file")
    if config.nucleus and not config.nucleus_key:
        raise ConfigError(
            "nucleus_key",
            "is empty although nucleus is set",
            "copy the public key that omni keygen printed on the Nucleus",
        )
    if config.vip4_auto and not config.nucleus:
        raise ConfigError(
            "vip4", "is auto and there is no Nucleus to lease one", 'give an address, such as "10.77.0.1/24"'
        )
    if config.nucleus_key and not config.nucleus:
        raise ConfigError("nucleus", "is empty although nucleus_key is set", 'set nucleus to ["host:port"]')
    try:
        nucleus_places(config.nucleus, config.nucleus_key or (b"",))
    except ValueError as error:
        raise ConfigError(
            "nucleus_key", str(error), "give one key for all Nuclei, or one each in the order of nucleus, with commas"
        ) from None


def _check_admission(config: GanglionConfig) -> None:
    if config.admit == "allow_list" and not config.allowed_keys and not config.static_peers:
        raise ConfigError(
            "allowed_keys", "is empty while admit is allow_list, so nobody could connect",
            "list the public keys of the peers, or set admit to cluster",
        )  # fmt: skip
    if config.admit == "cluster" and config.allowed_keys:
        raise ConfigError(
            "allowed_keys", "has no effect while admit is cluster", "set admit to allow_list, or remove allowed_keys"
        )
    pinned: set[tuple[bytes, int | None]] = set()
    for entry in config.static_macs:
        if (entry.mac, entry.vlan) in pinned:
            raise ConfigError(
                "static_macs", f"{entry.mac.hex(':')} is pinned twice", "keep one entry for each MAC (and VLAN)"
            )
        pinned.add((entry.mac, entry.vlan))


def _check_interfaces(config: GanglionConfig) -> None:
    chosen = [choice.interface for choice in config.xdp_mode]
    twice = next((interface for interface in chosen if chosen.count(interface) > 1), None)
    if twice is not None:
        raise ConfigError(
            "xdp_mode", f"there are two modes for {twice or 'all interfaces'}", "keep one mode for each interface"
        )
    if config.bridge == config.interface:
        raise ConfigError(
            "bridge",
            f"{config.bridge!r} is the overlay interface itself",
            "name the interface of the robot's internal network",
        )
    if len(config.admin_socket.encode()) > UNIX_PATH_MAX:
        raise ConfigError(
            "run_dir", f"{config.admin_socket!r} is too long for a Unix socket (at most {UNIX_PATH_MAX} bytes)",
            "use a shorter directory, such as /run/omni",
        )  # fmt: skip
