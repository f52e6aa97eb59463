"""From a checked configuration to what an engine needs: the files it names are read here, and nothing else is.

Blocking (files, and 0.1 s of key stretching): call from a worker thread.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface

from omni_core.config.ganglion import GanglionConfig
from omni_core.config.values import parse_vip4
from omni_core.constants import VIP6_PREFIX_LENGTH
from omni_core.crypto.identity import Identity
from omni_core.crypto.kdf import admission_key, cluster_psk
from omni_core.crypto.token import JoinToken
from omni_core.engines.settings import GanglionSettings, NucleusSettings, StaticMacSettings, StaticPeerSettings
from omni_core.errors import ConfigError
from omni_core.io.files import write_atomic
from omni_core.io.keyfile import load_or_create_identity, load_secret
from omni_core.io.overlay import OverlayPlan
from omni_core.io.underlay import Names
from omni_core.types import Endpoint, NucleusPlace, is_name
from omni_core.wire.hello import CAPABILITY_BULK, CAPABILITY_GOSSIP, CAPABILITY_GROUPS

logger = logging.getLogger(__name__)

NAME_MAX = 63  # characters; types.is_name


@dataclass(frozen=True)
class Membership:
    """Who this robot is, and the cluster it belongs to."""

    identity: Identity
    name: str
    cluster: str
    nuclei: tuple[NucleusPlace, ...]  # the preferred one first
    psk: bytes | None = field(repr=False)
    admission_key: bytes | None = field(repr=False)
    vip4: IPv4Interface | None = None  # with vip4: auto, the last one that was leased


def load_membership(config: GanglionConfig) -> Membership:
    """Reads key, token and secret. Raises ConfigError naming the field of the file that is wrong."""
    cluster, nuclei = config.cluster, config.nuclei
    secret: bytes | None = None
    if config.token_file:
        token = load_token(config.token_file)
        cluster, nuclei, secret = token.cluster, token.nuclei, token.secret
    if config.secret_file:
        if secret is not None:
            raise ConfigError(
                "secret_file",
                "is given although the token carries a secret",
                "remove secret_file, or the token's secret",
            )
        secret = load_secret(config.secret_file, "secret_file").encode()
    return Membership(
        identity=load_or_create_identity(config.key_file),
        name=config.name or host_name(),
        cluster=cluster,
        nuclei=nuclei,
        psk=cluster_psk(secret, cluster) if secret else None,
        admission_key=admission_key(secret, cluster) if secret else None,
        vip4=load_vip4(config.vip4_file) if config.vip4_auto else config.fixed_vip4,
    )


def load_vip4(path: str) -> IPv4Interface | None:
    """The VIP4 that was leased last; None when there was none. What cannot be read is reported and ignored."""
    try:
        with open(path, encoding="ascii") as file:
            return parse_vip4(file.read(64).strip())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.warning("the VIP4 in %s is ignored: %s", path, error)
        return None


def save_vip4(path: str, vip4: IPv4Interface | None) -> None:
    """So that it is asked for again, and is there at once after a restart. Failing is reported, no more."""
    try:
        if vip4 is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        else:
            write_atomic(path, f"{vip4}\n", 0o644)
    except OSError as error:
        logger.warning("the VIP4 cannot be written to %s (%s): a restart will ask for it anew", path, error.strerror)


def load_token(path: str, field: str = "token_file") -> JoinToken:
    """Raises ConfigError naming ``field``."""
    text = load_secret(path, field)
    try:
        return JoinToken.parse(text)
    except ConfigError as error:
        raise ConfigError(field, f"{path}: {error.problem}", error.fix) from None


def host_name() -> str:
    """This machine's name, made to fit the rule for names of robots."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()).lstrip("._-")[:NAME_MAX]
    return name if is_name(name) else "robot"


def make_settings(
    config: GanglionConfig, membership: Membership, names: Names, mtu: int, local: Sequence[Endpoint]
) -> GanglionSettings:
    """What is resolved so far; the driver tells the engine when more is."""
    return GanglionSettings(
        cluster=membership.cluster,
        name=membership.name,
        vip4=membership.vip4,
        vip4_auto=config.vip4_auto,
        nuclei=tuple(
            NucleusSettings(place.public_key, tuple(names.addresses(place.endpoint))) for place in membership.nuclei
        ),
        psk=membership.psk,
        admission_key=membership.admission_key,
        static_peers=tuple(
            StaticPeerSettings(peer.public_key, tuple(names.addresses(peer.endpoint))) for peer in config.static_peers
        ),
        static_macs=tuple(StaticMacSettings(entry.mac, entry.public_key, entry.vlan) for entry in config.static_macs),
        allowed_keys=config.admitted_keys,
        local_endpoints=tuple(local),
        mesh_limit=config.mesh_limit,
        capabilities=capabilities(config),
        multicast_learn=config.multicast == "learn",
        spdp_cache=config.spdp_cache == "on",
        bridged=bool(config.bridge),
        interface_mtu=mtu,
    )


def capabilities(config: GanglionConfig) -> int:
    """With ``multicast: flood`` and no cache, peers are to send everything as it is."""
    wanted = config.multicast == "learn" or config.spdp_cache == "on"
    return CAPABILITY_BULK | CAPABILITY_GOSSIP | (CAPABILITY_GROUPS if wanted else 0)


def overlay_plan(config: GanglionConfig, membership: Membership, mtu: int) -> OverlayPlan:
    """What is wanted of the overlay interface. ``mtu``: the configured one, else what fits the underlay."""
    identity = membership.identity
    vip6 = IPv6Interface((identity.vip6, VIP6_PREFIX_LENGTH))
    return OverlayPlan(
        name=config.interface,
        mac=identity.mac,
        mtu=mtu,
        addresses=(vip6,) if membership.vip4 is None else (membership.vip4, vip6),
        bridge=config.bridge,
        mtu_fixed=bool(config.mtu),
    )
