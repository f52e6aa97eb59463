"""The bytes of a signaling message: one CBOR map (wire/cbor.py) with small integer keys; key 0 is the kind.

Every field's type, length and bounds are checked. Unknown keys pass, so that a later version may add fields.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from omni_core.constants import LOCAL_ENDPOINTS_MAX
from omni_core.crypto.record import RECORD_MAX
from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse, RemoteViolation
from omni_core.signaling.endpoints import PackedEndpoint, check_packed
from omni_core.signaling.leases import Lease
from omni_core.signaling.messages import (
    ADDRESS_SIZES,
    CLUSTER_MAX,
    ENTRY_ENDPOINTS_MAX,
    KEY_SIZE,
    PROOF_SIZES,
    REASON_MAX,
    Beat,
    BeatAck,
    ConnectHint,
    Delta,
    Heartbeat,
    HeartbeatAck,
    Message,
    PeerEntry,
    PeerInfo,
    QueryPeer,
    Register,
    RegisterAck,
    Status,
)
from omni_core.types import PublicKey
from omni_core.wire import cbor
from omni_core.wire.control import SIGNALING_PAYLOAD

Fields: TypeAlias = dict[int, Any]

# Kinds (value of key 0)
REGISTER, REGISTER_ACK, HEARTBEAT, HEARTBEAT_ACK, QUERY_PEER, PEER_INFO, CONNECT_HINT, BEAT, BEAT_ACK = range(1, 10)

# Keys
KIND, REQUEST, STATUS, REASON, CLUSTER, RECORD, ENDPOINTS, PROOF, EPOCH, SINCE = range(10)
UNTIL, SIZE, JOINS, LEAVES, FLAGS, VERSION, OBSERVED, ADDRESS, INTERVAL, LEASE = range(10, 20)

# Bits of FLAGS
MORE, LOST, OMITTED = 1, 2, 4  # in a delta
DRAINING = 8  # beside them
LEAVE, STANDBY = 1, 2  # in a heartbeat
WANTS_VIP4 = 1  # in a register; without any bit it has no FLAGS

_UINT32 = (1 << 32) - 1
_UINT64 = (1 << 64) - 1
_CHANGE_MAX = (1 << 63) - 1


def encode_message(message: Message) -> bytes:
    """Raises LocalMisuse when it does not fit one datagram: what to leave out is the sender's choice."""
    body = cbor.encode(_ENCODERS[type(message)](message))
    if len(body) > SIGNALING_PAYLOAD:
        raise LocalMisuse(f"a {type(message).__name__} of {len(body)} bytes, {SIGNALING_PAYLOAD} fit a datagram")
    return body


def decode_message(body: bytes) -> Message:
    """Raises RemoteViolation(SIGNALING_MALFORMED), with what is wrong, for everything else."""
    if len(body) > SIGNALING_PAYLOAD:
        raise _malformed("too long")
    fields: Fields = cbor.decode_map(body, DropReason.SIGNALING_MALFORMED)
    kind = fields.get(KIND)
    if type(kind) is not int or kind not in _DECODERS:
        raise _malformed("kind")
    return _DECODERS[kind](fields)


# --- encoding ------------------------------------------------------------------------------------------------------


def _encode_register(m: Register) -> Fields:
    fields: Fields = {
        KIND: REGISTER, REQUEST: m.request, CLUSTER: m.cluster, RECORD: m.record, ENDPOINTS: m.local,
        PROOF: m.proof, EPOCH: m.epoch, SINCE: m.seen,
    }  # fmt: skip
    if m.wants_vip4:
        fields[FLAGS] = WANTS_VIP4
    return fields


def _encode_register_ack(m: RegisterAck) -> Fields:
    fields = _answer_fields(REGISTER_ACK, m) | {INTERVAL: m.interval_ms}
    if m.lease is not None:
        fields[LEASE] = m.lease.address + bytes([m.lease.prefix_length])
    return fields


def _encode_heartbeat(m: Heartbeat) -> Fields:
    return {
        KIND: HEARTBEAT, REQUEST: m.request, ENDPOINTS: m.local, EPOCH: m.epoch, SINCE: m.seen,
        FLAGS: m.leave * LEAVE | m.standby * STANDBY, VERSION: m.version,
    }  # fmt: skip


def _encode_heartbeat_ack(m: HeartbeatAck) -> Fields:
    return _answer_fields(HEARTBEAT_ACK, m)


def _encode_beat(m: Beat) -> Fields:
    return {KIND: BEAT, REQUEST: m.request, SINCE: m.seen}


def _encode_beat_ack(m: BeatAck) -> Fields:
    return {KIND: BEAT_ACK, REQUEST: m.request}


def _encode_query_peer(m: QueryPeer) -> Fields:
    return {KIND: QUERY_PEER, REQUEST: m.request, ADDRESS: m.address}


def _encode_peer_info(m: PeerInfo) -> Fields:
    fields: Fields = {KIND: PEER_INFO, REQUEST: m.request, STATUS: int(m.status), ADDRESS: m.address}
    if m.peer is not None:
        fields[RECORD], fields[ENDPOINTS] = m.peer
    return fields


def _encode_connect_hint(m: ConnectHint) -> Fields:
    return {KIND: CONNECT_HINT, RECORD: m.peer.record, ENDPOINTS: m.peer.endpoints}


def _answer_fields(kind: int, m: RegisterAck | HeartbeatAck) -> Fields:
    delta = m.delta
    fields: Fields = {
        KIND: kind, REQUEST: m.request, STATUS: int(m.status), EPOCH: m.epoch,
        SINCE: delta.since, UNTIL: delta.until, SIZE: delta.size,
        FLAGS: delta.more * MORE | delta.lost * LOST | delta.omitted * OMITTED | m.draining * DRAINING,
    }  # fmt: skip
    if m.reason:
        fields[REASON] = m.reason
    if m.observed is not None:
        fields[OBSERVED] = m.observed
    if delta.joins:
        fields[JOINS] = delta.joins
    if delta.leaves:
        fields[LEAVES] = delta.leaves
    return fields


_ENCODERS: dict[type, Callable[[Any], Fields]] = {
    Register: _encode_register,
    RegisterAck: _encode_register_ack,
    Heartbeat: _encode_heartbeat,
    HeartbeatAck: _encode_heartbeat_ack,
    Beat: _encode_beat,
    BeatAck: _encode_beat_ack,
    QueryPeer: _encode_query_peer,
    PeerInfo: _encode_peer_info,
    ConnectHint: _encode_connect_hint,
}


# --- decoding ------------------------------------------------------------------------------------------------------


def _decode_register(f: Fields) -> Register:
    return Register(
        _uint(f, REQUEST, _UINT32),
        _text(f, CLUSTER, CLUSTER_MAX),
        _bytes(f, RECORD, range(1, RECORD_MAX + 1)),
        _bytes(f, PROOF, PROOF_SIZES),
        _endpoints(f.get(ENDPOINTS), LOCAL_ENDPOINTS_MAX),
        _uint(f, EPOCH, _UINT64),
        _uint(f, SINCE, _CHANGE_MAX),
        bool(_uint(f, FLAGS, _UINT32) & WANTS_VIP4) if FLAGS in f else False,
    )


def _decode_register_ack(f: Fields) -> RegisterAck:
    return RegisterAck(
        _uint(f, REQUEST, _UINT32),
        _status(f),
        _text(f, REASON, REASON_MAX) if REASON in f else "",
        _observed(f),
        _uint(f, EPOCH, _UINT64),
        _uint(f, INTERVAL, _UINT32),
        _delta(f),
        _lease(f),
        bool(_uint(f, FLAGS, _UINT32) & DRAINING),
    )


def _decode_heartbeat(f: Fields) -> Heartbeat:
    flags = _uint(f, FLAGS, _UINT32)
    return Heartbeat(
        _uint(f, REQUEST, _UINT32),
        _uint(f, EPOCH, _UINT64),
        _uint(f, SINCE, _CHANGE_MAX),
        _uint(f, VERSION, _UINT64),
        _endpoints(f.get(ENDPOINTS), LOCAL_ENDPOINTS_MAX),
        bool(flags & LEAVE),
        bool(flags & STANDBY),
    )


def _decode_heartbeat_ack(f: Fields) -> HeartbeatAck:
    return HeartbeatAck(
        _uint(f, REQUEST, _UINT32),
        _status(f),
        _text(f, REASON, REASON_MAX) if REASON in f else "",
        _observed(f),
        _uint(f, EPOCH, _UINT64),
        _delta(f),
        bool(_uint(f, FLAGS, _UINT32) & DRAINING),
    )


def _decode_beat(f: Fields) -> Beat:
    return Beat(_uint(f, REQUEST, _UINT32), _uint(f, SINCE, _CHANGE_MAX))


def _decode_beat_ack(f: Fields) -> BeatAck:
    return BeatAck(_uint(f, REQUEST, _UINT32))


def _decode_query_peer(f: Fields) -> QueryPeer:
    return QueryPeer(_uint(f, REQUEST, _UINT32), _bytes(f, ADDRESS, ADDRESS_SIZES))


def _decode_peer_info(f: Fields) -> PeerInfo:
    status = _status(f)
    if (status is Status.OK) != (RECORD in f):
        raise _malformed("a record without OK, or OK without a record")
    return PeerInfo(
        _uint(f, REQUEST, _UINT32),
        status,
        _bytes(f, ADDRESS, ADDRESS_SIZES),
        _entry(f.get(RECORD), f.get(ENDPOINTS)) if status is Status.OK else None,
    )


def _decode_connect_hint(f: Fields) -> ConnectHint:
    return ConnectHint(_entry(f.get(RECORD), f.get(ENDPOINTS)))


_DECODERS: dict[int, Callable[[Fields], Message]] = {
    REGISTER: _decode_register,
    REGISTER_ACK: _decode_register_ack,
    HEARTBEAT: _decode_heartbeat,
    HEARTBEAT_ACK: _decode_heartbeat_ack,
    BEAT: _decode_beat,
    BEAT_ACK: _decode_beat_ack,
    QUERY_PEER: _decode_query_peer,
    PEER_INFO: _decode_peer_info,
    CONNECT_HINT: _decode_connect_hint,
}


# --- fields --------------------------------------------------------------------------------------------------------


def _malformed(what: str) -> RemoteViolation:
    return RemoteViolation(DropReason.SIGNALING_MALFORMED, what)


def _uint(fields: Fields, key: int, most: int) -> int:
    value = fields.get(key)
    if type(value) is int and 0 <= value <= most:  # ``type``: True is no number
        return value
    raise _malformed(f"number at key {key}")


def _text(fields: Fields, key: int, most: int) -> str:
    """1..``most`` bytes of printable UTF-8: it may end on somebody's terminal."""
    value = fields.get(key)
    if type(value) is str and 0 < len(value.encode()) <= most and value.isprintable():
        return value
    raise _malformed(f"text at key {key}")


def _bytes(fields: Fields, key: int, sizes: range | tuple[int, ...]) -> bytes:
    value = fields.get(key)
    if type(value) is bytes and len(value) in sizes:
        return value
    raise _malformed(f"bytes at key {key}")


def _status(fields: Fields) -> Status:
    try:
        return Status(_uint(fields, STATUS, _UINT32))
    except ValueError:
        raise _malformed("status") from None


def _endpoints(value: object, most: int) -> tuple[PackedEndpoint, ...]:
    if type(value) is not list or len(value) > most:
        raise _malformed("endpoints")
    for packed in value:
        if type(packed) is not bytes:
            raise _malformed("endpoints")
        check_packed(packed)
    return tuple(value)


def _observed(fields: Fields) -> PackedEndpoint | None:
    return _endpoints([fields[OBSERVED]], 1)[0] if OBSERVED in fields else None


def _lease(fields: Fields) -> Lease | None:
    if LEASE not in fields:
        return None
    packed = _bytes(fields, LEASE, (5,))
    if not 1 <= packed[4] <= 32:
        raise _malformed("lease")
    return Lease(packed[:4], packed[4])


def _entry(record: object, endpoints: object) -> PeerEntry:
    if type(record) is not bytes or not 0 < len(record) <= RECORD_MAX:
        raise _malformed("record")
    return PeerEntry(record, _endpoints(endpoints, ENTRY_ENDPOINTS_MAX))


def _delta(fields: Fields) -> Delta:
    since, until = _uint(fields, SINCE, _CHANGE_MAX), _uint(fields, UNTIL, _CHANGE_MAX)
    if since > until:
        raise _malformed("change numbers")
    flags = _uint(fields, FLAGS, _UINT32)
    return Delta(
        since,
        until,
        _uint(fields, SIZE, _UINT32),
        _joins(fields[JOINS]) if JOINS in fields else (),
        _leaves(fields[LEAVES]) if LEAVES in fields else (),
        bool(flags & MORE),
        bool(flags & LOST),
        bool(flags & OMITTED),
    )


def _joins(value: object) -> tuple[PeerEntry, ...]:
    if type(value) is not list or any(type(item) is not list or len(item) != 2 for item in value):
        raise _malformed("joins")
    return tuple([_entry(record, endpoints) for record, endpoints in value])


def _leaves(value: object) -> tuple[PublicKey, ...]:
    if type(value) is not list or any(type(key) is not bytes or len(key) != KEY_SIZE for key in value):
        raise _malformed("leaves")
    return tuple(value)
