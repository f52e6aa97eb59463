"""What a Nucleus's administrator sees of the edges: rows, and which edge is meant. Reads only."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from omni_core.crypto.identity import key_text, parse_key_text
from omni_core.errors import ConfigError
from omni_core.signaling.denials import FOREVER
from omni_core.signaling.edge import Edge
from omni_core.signaling.endpoints import unpack_endpoint
from omni_core.signaling.store import Store, leases_left
from omni_core.types import PublicKey

CANDIDATES_SHOWN = 8


@dataclass(frozen=True)
class EdgeRow:
    """JSON-able. Times are in s; None: not known."""

    cluster: str
    public_key: str
    name: str  # "" when it has none
    vip4: str  # "" when it has none
    vip6: str
    endpoint: str  # where it was seen
    since_s: float | None  # that it has been registered
    heard_s: float | None  # since its last heartbeat
    lease_s: float | None  # that its VIP4 would stay leased to it if it left now; None: it is not leased
    nucleus: str  # where it is registered, with a store that several Nuclei share


@dataclass(frozen=True)
class LeaseRow:
    cluster: str
    public_key: str
    vip4: str
    left_s: float  # until it may be given to another
    live: bool  # its holder is registered, so it does not run out


@dataclass(frozen=True)
class DenialRow:
    public_key: str
    reason: str
    left_s: float | None  # None: until it is allowed again


def edge_rows(store: Store, clusters: Sequence[str], lifetime: float, now: float) -> list[EdgeRow]:
    """``lifetime``: from a heartbeat to the edge's deadline."""
    rows: list[EdgeRow] = []
    for cluster in clusters:
        leased = {lease.address: lease.key for lease in store.leases(cluster)}
        for edge in store.live(cluster):
            heard = now - (edge.deadline - lifetime) if edge.deadline else None
            rows.append(
                EdgeRow(
                    cluster,
                    key_text(edge.key),
                    edge.name,
                    vip4_text(edge.vip4),
                    str(ipaddress.IPv6Address(edge.vip6)),
                    str(unpack_endpoint(edge.observed)),
                    max(0.0, now - edge.since) if edge.since else None,
                    max(0.0, heard) if heard is not None else None,
                    store.lease_time if edge.vip4 and leased.get(edge.vip4) == edge.key else None,
                    edge.nucleus,
                )
            )
    return sorted(rows, key=lambda row: (row.cluster, row.name, row.public_key))


def lease_rows(store: Store, clusters: Sequence[str], now: float) -> list[LeaseRow]:
    """In the order of the addresses."""
    rows: list[tuple[str, bytes, LeaseRow]] = []
    for cluster in clusters:
        for lease, left, live in leases_left(store, cluster, now):
            row = LeaseRow(cluster, key_text(lease.key), vip4_text(lease.address), left, live)
            rows.append((cluster, lease.address, row))
    return [row for _, _, row in sorted(rows, key=lambda each: each[:2])]


def denial_rows(store: Store, now: float) -> list[DenialRow]:
    rows = [
        DenialRow(key_text(d.key), d.reason, None if d.until == FOREVER else d.until - now) for d in store.denials(now)
    ]
    return sorted(rows, key=lambda row: row.public_key)


def find_key(store: Store, clusters: Sequence[str], text: str, now: float) -> PublicKey:
    """Which key is meant by a public key, or by the name or VIP of a live edge in one of ``clusters``, or by the first
    characters of a live or denied key (8 or more).

    Raises ConfigError("edge") when there is none, or more than one.
    """
    try:
        return parse_key_text(text)
    except ValueError:
        pass
    found = {edge.key: edge for cluster in clusters for edge in _called(store, cluster, text)}
    if len(found) == 1:
        return next(iter(found))
    if found:
        shown = [_label(edge) for edge in list(found.values())[:CANDIDATES_SHOWN]]
        more = f" and {len(found) - len(shown)} more" if len(found) > len(shown) else ""
        raise ConfigError(
            "edge", f"{text[:60]!r} is {len(found)} edges: {'; '.join(shown)}{more}", "give one of these keys"
        )
    denied = [denial.key for denial in store.denials(now) if _begins(denial.key, text)]
    if len(denied) == 1:
        return denied[0]
    raise ConfigError(
        "edge", f"there is no edge {text[:60]!r}",
        "give the key, name or VIP of one that omni nucleus admin list shows, or a whole public key",
    )  # fmt: skip


def _called(store: Store, cluster: str, text: str) -> Iterator[Edge]:
    try:
        address = ipaddress.ip_address(text).packed
    except ValueError:
        yield from (edge for edge in store.live(cluster) if edge.name == text or _begins(edge.key, text))
    else:
        edge = store.find(cluster, address)
        if edge is not None:
            yield edge


def _begins(key: PublicKey, text: str) -> bool:
    start = text.removesuffix("…")
    return len(start) >= 8 and key_text(key).startswith(start)


def _label(edge: Edge) -> str:
    return " ".join(filter(None, (edge.name, vip4_text(edge.vip4), f"in {edge.cluster}", key_text(edge.key))))


def vip4_text(address: bytes) -> str:
    """``address``: 4 bytes, or none."""
    return str(ipaddress.IPv4Address(address)) if address else ""
