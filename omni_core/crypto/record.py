"""The peer record: what an edge says of itself, signed, so that no Nucleus can forge it or roll it back.

    signature 64 | Ed25519 public key 32 | CBOR map

    1 cluster (text)                4 name (text; absent: none)
    2 VIP4 and prefix length (5 B)  5 capabilities (bits; absent: 0)
    3 MAC (6 B; absent: derived)    6 version (ns since 1970 when the edge made it; the higher one counts)

The signature is Ed25519 over "omni peer record 1" || public key || map. VIP6 is not in it: it is computed from the key.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from omni_core.crypto.identity import (
    KEY_SIZE,
    SIGNATURE_SIZE,
    Identity,
    exchange_key,
    key_text,
    mac_of,
    verify,
    vip6_of,
)
from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse, RemoteViolation
from omni_core.types import Mac, PublicKey, is_group, is_name
from omni_core.wire import cbor

_LABEL = b"omni peer record 1"
_CLUSTER, _VIP4, _MAC, _NAME, _CAPABILITIES, _VERSION = range(1, 7)
_KEYS = frozenset({_CLUSTER, _VIP4, _MAC, _NAME, _CAPABILITIES, _VERSION})

_HEAD = SIGNATURE_SIZE + KEY_SIZE
# A map head, six keys, then: two names of 63 bytes with 2-byte heads, 5 and 6 bytes with 1-byte heads, two integers.
RECORD_MAX = _HEAD + 1 + 6 + 2 * (2 + 63) + (1 + 5) + (1 + 6) + 2 * 9

_T = TypeVar("_T")


@dataclass(frozen=True)
class PeerRecord:
    public_key: PublicKey
    cluster: str
    vip4: str | None  # "a.b.c.d/length"
    vip6: ipaddress.IPv6Address
    mac: Mac
    name: str  # "" when the edge has none
    capabilities: int
    version: int  # ns
    signature: bytes = field(repr=False)

    def __repr__(self) -> str:
        return f"<PeerRecord {key_text(self.public_key)} {self.cluster} {self.vip4} {self.name!r} {self.version}>"

    def encode(self) -> bytes:
        """The signed bytes that this record was opened from: to store, or to hand on."""
        return self.signature + self.public_key + _body(self)


def signed(
    identity: Identity,
    cluster: str,
    *,
    version: int,
    vip4: str | None = None,
    mac: Mac | None = None,
    name: str = "",
    capabilities: int = 0,
) -> bytes:
    """-> the record, at most RECORD_MAX bytes. ``mac`` None: the one derived from the key.

    Raises LocalMisuse when a value is not one that ``open_record`` takes.
    """
    public_key = identity.public_key
    mac = mac_of(public_key) if mac is None else mac
    record = PeerRecord(public_key, cluster, vip4, identity.vip6, mac, name, capabilities, version, b"")
    try:
        body = _body(record)
        _parse(public_key, b"", body)
    except (RemoteViolation, ValueError) as error:
        raise LocalMisuse(f"a peer record with a wrong value: {error}") from None
    return identity.sign(_LABEL + public_key + body) + public_key + body


def open_record(data: bytes) -> PeerRecord:
    """Raises RemoteViolation(BAD_RECORD) unless signature, form and every value are right."""
    if not _HEAD < len(data) <= RECORD_MAX:
        raise _bad(f"{len(data)} bytes")
    signature, public_key, body = data[:SIGNATURE_SIZE], data[SIGNATURE_SIZE:_HEAD], data[_HEAD:]
    try:
        exchange_key(public_key)
    except RemoteViolation as error:
        raise _bad(str(error)) from None
    if not verify(public_key, _LABEL + public_key + body, signature):
        raise _bad("wrong signature")
    return _parse(public_key, signature, body)


def _body(record: PeerRecord) -> bytes:
    fields: dict[int, cbor.Value] = {_CLUSTER: record.cluster, _VERSION: record.version}
    if record.vip4 is not None:
        interface = ipaddress.IPv4Interface(record.vip4)
        fields[_VIP4] = interface.ip.packed + bytes([interface.network.prefixlen])
    if record.mac != mac_of(record.public_key):
        fields[_MAC] = record.mac
    if record.name:
        fields[_NAME] = record.name
    if record.capabilities:
        fields[_CAPABILITIES] = record.capabilities
    return cbor.encode(fields)


def _parse(public_key: PublicKey, signature: bytes, body: bytes) -> PeerRecord:
    fields = cbor.decode_map(body, DropReason.BAD_RECORD)
    if not fields.keys() <= _KEYS:
        raise _bad("an unknown field")
    derived = mac_of(public_key)
    return PeerRecord(
        public_key=public_key,
        cluster=_field(fields, _CLUSTER, str, is_name),
        vip4=_vip4(_field(fields, _VIP4, bytes, lambda raw: len(raw) == 5)) if _VIP4 in fields else None,
        vip6=vip6_of(public_key),
        mac=_field(fields, _MAC, bytes, lambda raw: _is_station(raw) and raw != derived) if _MAC in fields else derived,
        name=_field(fields, _NAME, str, is_name) if _NAME in fields else "",
        capabilities=_field(fields, _CAPABILITIES, int, lambda bits: bits > 0) if _CAPABILITIES in fields else 0,
        version=_field(fields, _VERSION, int, lambda _: True),
        signature=signature,
    )


def _field(fields: dict[int, cbor.Value], key: int, kind: type[_T], valid: Callable[[_T], bool]) -> _T:
    value = fields.get(key)
    # bool is an int to python, not to us
    if not isinstance(value, kind) or isinstance(value, bool) or not valid(value):
        raise _bad(f"field {key}")
    return value


def _vip4(raw: bytes) -> str:
    length = raw[4]
    if not 1 <= length <= 32:
        raise _bad("prefix length of VIP4")
    address, hosts = int.from_bytes(raw[:4], "big"), (1 << 32 - length) - 1
    # RFC 1122 section 3.2.1.3: unspecified, loopback; RFC 5771, RFC 1112: multicast, reserved
    unusable = not address or raw[0] == 127 or raw[0] >= 224
    if unusable or (length < 31 and address & hosts in (0, hosts)):  # RFC 3021: two addresses are two hosts
        raise _bad("VIP4 is not an address that a host can have")
    return f"{raw[0]}.{raw[1]}.{raw[2]}.{raw[3]}/{length}"


def _is_station(mac: bytes) -> bool:
    return len(mac) == 6 and not is_group(mac) and any(mac)


def _bad(detail: str) -> RemoteViolation:
    return RemoteViolation(DropReason.BAD_RECORD, detail)
