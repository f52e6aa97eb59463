"""Peers that this robot has known, for a start while every Nucleus is dead: what the driver keeps beside the key. Part
of the Ganglion engine.

The file is a CBOR map: 1 format, 1 | 2 the key of the robot that wrote it | 3 its cluster | 4 peers, the one that was
there last first, each an array: signed record, packed endpoints, best first, and when it was last there, s since 1970.
Nothing in it is believed: records are verified when they are used, and endpoints only tried by handshakes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from omni_core.constants import KNOWN_PEER_AGE, KNOWN_PEERS_MAX
from omni_core.drops import DropReason
from omni_core.errors import RemoteViolation
from omni_core.signaling.endpoints import pack_usable, unpack_endpoint
from omni_core.types import Endpoint, PublicKey
from omni_core.wire import cbor

ENDPOINTS_MAX = 4  # of one peer
RECORD_MAX = 512  # bytes; crypto/record.py has at most half of it
FILE_MAX = 64 + 256 + KNOWN_PEERS_MAX * (RECORD_MAX + 19 * ENDPOINTS_MAX + 16)  # bytes

_FORMAT = 1
_KEY = slice(64, 96)  # of a record (crypto/record.py)


@dataclass(frozen=True)
class KnownPeer:
    record: bytes  # not verified
    endpoints: tuple[Endpoint, ...]
    seen: int  # s since 1970 when it was last there

    @property
    def public_key(self) -> PublicKey:
        return self.record[_KEY]


def encode_known(owner: PublicKey, cluster: str, peers: Sequence[KnownPeer]) -> bytes:
    rows: list[cbor.Value] = [
        [peer.record, pack_usable(peer.endpoints)[:ENDPOINTS_MAX], max(0, peer.seen)] for peer in peers
    ]
    return cbor.encode({1: _FORMAT, 2: owner, 3: cluster, 4: rows})


def decode_known(data: bytes, owner: PublicKey, cluster: str) -> list[KnownPeer]:
    """Raises RemoteViolation(BAD_RECORD), with the reason, for what this robot has not written for this cluster."""
    fields = cbor.decode_map(data, DropReason.BAD_RECORD)
    rows = fields.get(4)
    if fields.get(1) != _FORMAT or not isinstance(rows, list) or len(rows) > KNOWN_PEERS_MAX:
        raise RemoteViolation(DropReason.BAD_RECORD, "it is of another format")
    if fields.get(2) != owner or fields.get(3) != cluster:
        raise RemoteViolation(DropReason.BAD_RECORD, "it is of another robot or another cluster")
    return [_known(row) for row in rows]


class KnownPeers:
    """``now`` in s since 1970. A clock that was set back makes nobody old."""

    def __init__(self) -> None:
        self._peers: dict[PublicKey, KnownPeer] = {}

    def load(self, peers: Iterable[KnownPeer], now: int) -> None:
        for peer in peers:
            if now - peer.seen < KNOWN_PEER_AGE:
                self._peers.setdefault(peer.public_key, peer)

    def update(self, peers: Iterable[KnownPeer]) -> None:
        for peer in peers:
            self._peers[peer.public_key] = peer

    def forget(self, public_key: PublicKey) -> None:
        self._peers.pop(public_key, None)

    def get(self, public_key: PublicKey) -> KnownPeer | None:
        return self._peers.get(public_key)

    def latest(self, now: int) -> list[KnownPeer]:
        """At most KNOWN_PEERS_MAX, and the others are forgotten."""
        fresh = [peer for peer in self._peers.values() if now - peer.seen < KNOWN_PEER_AGE]
        fresh.sort(key=lambda peer: (-peer.seen, peer.public_key))
        self._peers = {peer.public_key: peer for peer in fresh[:KNOWN_PEERS_MAX]}
        return list(self._peers.values())

    def __len__(self) -> int:
        return len(self._peers)


def _known(row: cbor.Value) -> KnownPeer:
    if isinstance(row, list) and len(row) == 3:
        record, endpoints, seen = row
        if (
            isinstance(record, bytes)
            and _KEY.stop < len(record) <= RECORD_MAX
            and isinstance(endpoints, list)
            and len(endpoints) <= ENDPOINTS_MAX
            and type(seen) is int
        ):
            places = tuple(unpack_endpoint(each) for each in endpoints if isinstance(each, bytes))
            return KnownPeer(record, places, seen)
    raise RemoteViolation(DropReason.BAD_RECORD, "a peer in it makes no sense")
