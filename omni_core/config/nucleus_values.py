"""Texts of a Nucleus's configuration that mean more than text: where its store is, pools of addresses.

As in `values`: each parser raises ValueError with the problem as a sentence.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from omni_core.config.values import parse_cluster, parse_path
from omni_core.types import Endpoint, is_host, is_host_ipv4

REDIS_PORT = 6379
REDIS_DATABASE_MAX = 1_000_000


class StoreLocation(NamedTuple):
    """Of the store that several Nuclei share. ``str`` has no secret, for there is none in it."""

    scheme: str  # "redis", "rediss" (with TLS) or "unix"
    host: str  # "" for "unix"
    port: int
    path: str  # of the Unix socket
    database: int
    username: str  # "": none

    def __str__(self) -> str:
        user = f"{self.username}@" if self.username else ""
        if self.scheme == "unix":
            return f"unix://{user}{self.path}?db={self.database}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{user}{host}:{self.port}/{self.database}"


class PoolRange(NamedTuple):
    """VIP4 addresses that a cluster's Nucleus leases: from ``first`` to ``last``, both included."""

    cluster: str
    first: ipaddress.IPv4Address
    last: ipaddress.IPv4Address
    prefix_length: int


def parse_store(text: str) -> StoreLocation | None:
    """``memory`` is None. The text is not repeated in an error: somebody may have put a password into it."""
    if text == "memory":
        return None
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError("is not a URL (a port is a number, an IPv6 address has brackets)") from None
    if url.scheme not in ("redis", "rediss", "unix"):
        raise ValueError('is neither "memory" nor a URL that begins with redis://, rediss:// or unix://')
    if url.password is not None:
        raise ValueError("has a password in it, which others could read")
    username = unquote(url.username or "")
    if url.scheme == "unix":
        return StoreLocation("unix", "", 0, parse_path(unquote(url.path)), _database_of_query(url.query), username)
    if url.query or url.fragment:
        raise ValueError("has something behind the database that is not understood")
    if not url.hostname or not is_host(url.hostname):
        raise ValueError("has no host")
    database = _database(url.path.strip("/") or "0")
    return StoreLocation(url.scheme, url.hostname, REDIS_PORT if port is None else port, "", database, username)


def _database_of_query(query: str) -> int:
    if not query:
        return 0
    name, _, number = query.partition("=")
    if name != "db":
        raise ValueError("has something behind the socket that is not db=<number>")
    return _database(number)


def _database(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < REDIS_DATABASE_MAX):
        raise ValueError("has a database that is not a number")
    return int(text)


def parse_pool(text: str) -> PoolRange:
    """``cluster=10.77.0.0/24``, all hosts of a network, or ``cluster=10.77.0.100-10.77.0.199/24``."""
    cluster, equals, rest = text.partition("=")
    if not equals:
        raise ValueError(f"{text[:60]!r} is not cluster=addresses")
    parse_cluster(cluster)
    match = re.fullmatch(r"([0-9.]+)(?:-([0-9.]+))?/([0-9]{1,2})", rest)
    if match is None:
        raise ValueError(f"{rest[:60]!r} is neither network/length nor first-last/length")
    first_text, last_text, length = match[1], match[2], int(match[3])
    try:
        first = ipaddress.IPv4Address(first_text)
        network = ipaddress.IPv4Network((int(first), length), strict=False)
        last = ipaddress.IPv4Address(last_text) if last_text else network.broadcast_address
    except ValueError as error:
        raise ValueError(f"{rest[:60]!r}: {error}") from None
    if not 1 <= length <= 32 or not is_host_ipv4(first):
        raise ValueError(f"{rest[:60]!r} has no addresses that hosts can have")
    if last_text is None and first != network.network_address:
        raise ValueError(f"{first}/{length} is a host's address; its network is {network}")
    if last not in network or last < first:
        raise ValueError(f"{last} does not follow {first} in the network {network}")
    if length < 31:  # RFC 3021: a /31 has two hosts
        first = max(first, network.network_address + 1)
        last = min(last, network.broadcast_address - 1)
    if last < first:
        raise ValueError(f"{rest[:60]!r} has no address for a host")
    return PoolRange(cluster, first, last, length)


def parse_http_listen(text: str) -> Endpoint:
    """``address:port``; port 0 is any."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{text[:60]!r} is not address:port, with an IP address") from None
    if not colon or not (port.isascii() and port.isdigit() and int(port) <= 0xFFFF):
        raise ValueError(f"{port[:60]!r} is not a port (0..65535)")
    return Endpoint(str(address), int(port))
