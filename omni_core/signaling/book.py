"""Peer records that this edge has verified: a record counts only once it is, and never goes back in version.

The Nucleus only carries records; it could keep an old one or make one up. Identical bytes are verified once.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

from omni_core.crypto.record import PeerRecord, open_record
from omni_core.drops import DropCounters, DropReason
from omni_core.errors import RemoteViolation
from omni_core.signaling.endpoints import unpack_endpoints
from omni_core.signaling.messages import PeerEntry
from omni_core.types import Endpoint, PublicKey

_REMEMBERED = 4096  # keys; the longest unheard of goes first


class PeerBook:
    def __init__(self, own: bytes, drops: DropCounters) -> None:
        """``own``: our record; the others have to be of its cluster."""
        self.set_own(own)
        self._drops = drops
        self._newest: OrderedDict[PublicKey, tuple[bytes, PeerRecord]] = OrderedDict()
        self._verified: dict[bytes, PeerRecord] = {}  # the same records, by their bytes

    def set_own(self, record: bytes) -> None:
        self.own = open_record(record)
        self.own_bytes = record

    def peer(self, entry: PeerEntry) -> tuple[PeerRecord, tuple[Endpoint, ...]] | None:
        """None for ourselves, and for what is not genuine (counted)."""
        try:
            record = self.open(entry.record)
            return (record, unpack_endpoints(entry.endpoints)) if record else None
        except RemoteViolation as violation:
            self._drops.add(violation.reason)
            return None

    def open(self, data: bytes) -> PeerRecord | None:
        """None for our own record. Raises RemoteViolation: BAD_RECORD (forged, another cluster's), STALE_RECORD."""
        if data == self.own_bytes:
            return None
        record = self._verified.get(data)
        if record is not None:
            self._newest.move_to_end(record.public_key)
            return record
        record = open_record(data)
        if record.cluster != self.own.cluster:
            raise RemoteViolation(DropReason.BAD_RECORD, f"of cluster {record.cluster}")
        key = record.public_key
        if key == self.own.public_key:
            return None
        known = self._newest.get(key)
        if known is not None:
            if record.version <= known[1].version:
                raise RemoteViolation(DropReason.STALE_RECORD)
            del self._verified[known[0]]
        self._newest[key] = data, record
        self._newest.move_to_end(key)
        self._verified[data] = record
        if len(self._newest) > _REMEMBERED:
            _, (oldest, _) = self._newest.popitem(last=False)
            del self._verified[oldest]
        return record


def is_address_of(address: bytes, record: PeerRecord) -> bool:
    """Whether ``address`` (VIP4, VIP6, MAC or public key, as bytes) belongs to the record."""
    if len(address) == 4:
        return record.vip4 is not None and ipaddress.IPv4Interface(record.vip4).ip.packed == address
    return address in (record.vip6.packed, record.mac, record.public_key)
