"""Announcements of DDS participants (SPDP) in Ethernet frames, as far as the SPDP cache needs them. DDSI-RTPS 2.3.

    Ethernet | IP | UDP to port 7400 + 250 * domain | RTPS header | INFO_TS | DATA of the SPDP writer | ...
                                                      0 "RTPS" | 4 version | 6 vendor | 8 GUID prefix 12 B
    submessage: 0 id | 1 flags | 2 octets to the next one 16 | 4 its elements                     (8.3.3, 9.4.5)
    DATA:       4 extra flags | 6 octets to inline QoS | 8 reader | 12 writer | 16 sequence | 24 inline QoS | payload
    parameter:  0 id 16 | 2 length 16 | 4 value; a list ends with id 1                              (9.4.2.11)

``parse_announcement`` is total: what is no announcement, is cut off or says nothing sensible is None. A message with
anything in it but announcements of one participant (and what vendors add) is none either: all of it would be cached.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final, NamedTuple

from omni_core.constants import RTPS_DOMAIN_GAIN, RTPS_PORT_BASE
from omni_core.types import Mac
from omni_core.wire.ethernet import UDP_HEADER, EtherType, parse, transport, udp_port
from omni_core.wire.inband import NAME_SIZE

PREFIX_SIZE: Final = 12
DEFAULT_LEASE: Final = 20.0  # s; Fast DDS's (the specification says 100)
LEASE_MIN: Final = 1.0
LEASE_MAX: Final = 300.0  # also in place of "infinite"

_RTPS = b"RTPS"
_HEADER = 20
_DATA_HEAD = 24
_DATA, _INFO_DST, _VENDORS = 0x15, 0x0E, 0x80  # submessage ids; from 0x80 on they belong to vendors (8.3.5)
_HARMLESS = frozenset({0x01, 0x09})  # PAD, INFO_TS
_LITTLE, _INLINE_QOS, _PAYLOAD, _KEY = 1, 2, 4, 8  # flags of DATA (9.4.5.3)
_SPDP_WRITER = bytes.fromhex("000100c2")
_ENCAPSULATIONS = {b"\x00\x02": ">", b"\x00\x03": "<"}  # PL_CDR_BE, PL_CDR_LE
_SENTINEL, _LEASE, _GUID, _KEY_HASH, _STATUS = 1, 0x0002, 0x0050, 0x0070, 0x0071
_UNREGISTERED_OR_DISPOSED = 3  # status info, 9.6.3.9
_FRACTION = 2.0**-32

_Parameters = dict[int, bytes]


class Announcement(NamedTuple):
    prefix: bytes  # GUID prefix of the participant
    key: bytes  # what a later one replaces: the same participant's to the same group, in the same VLAN
    name: bytes  # prefix, and 4 bytes of hash: changes with what is announced and where to, not with each repetition
    group: Mac
    source: Mac
    domain: int
    lease: float  # s
    ends: bool  # the participant leaves


def parse_announcement(frame: bytes) -> Announcement | None:
    header, found = parse(frame), transport(frame)
    if header is None or found is None or not frame[0] & 1:
        return None
    port = udp_port(frame, found)
    if header.ethertype == EtherType.IPV4 and frame[header.payload + 6] & 0x20:
        return None  # more fragments
    domain, rest = divmod(port - RTPS_PORT_BASE, RTPS_DOMAIN_GAIN)
    if domain < 0 or rest:
        return None
    (size,) = struct.unpack_from("!H", frame, found.offset + 4)
    message = frame[found.offset + UDP_HEADER : found.offset + size]
    if found.offset + size > len(frame):
        return None
    read = _read_message(message)
    if read is None:
        return None
    prefix, lease, ends, payload = read
    where = frame[0:6] + frame[12 : header.payload]
    digest = hashlib.blake2s(where + port.to_bytes(2, "big") + payload, digest_size=NAME_SIZE - PREFIX_SIZE).digest()
    return Announcement(prefix, prefix + where, prefix + digest, header.destination, header.source, domain, lease, ends)


def _read_message(message: bytes) -> tuple[bytes, float, bool, bytes] | None:
    """GUID prefix, lease, whether it ends, payload: of the last announcement in the message."""
    if len(message) < _HEADER or message[0:4] != _RTPS:
        return None
    prefix, read = message[8:_HEADER], None
    offset = _HEADER
    while offset + 4 <= len(message):
        kind, flags = message[offset], message[offset + 1]
        size = int.from_bytes(message[offset + 2 : offset + 4], "little" if flags & _LITTLE else "big")
        # 8.3.3.2.3: 0 in the last submessage means "to the end", but where there are no elements
        end = len(message) if size == 0 and kind not in _HARMLESS else offset + 4 + size
        if end > len(message):
            return None
        if kind == _DATA:
            read = _read_data(message[offset:end], prefix)
            if read is None:
                return None
        elif kind == _INFO_DST:
            if any(message[offset + 4 : end]):
                return None  # for one participant only
        elif kind not in _HARMLESS and kind < _VENDORS:
            return None
        offset = end
    return read


def _read_data(data: bytes, prefix: bytes) -> tuple[bytes, float, bool, bytes] | None:
    if len(data) < _DATA_HEAD or data[12:16] != _SPDP_WRITER or not any(prefix):
        return None
    flags = data[1]
    order = "<" if flags & _LITTLE else ">"
    (to_qos,) = struct.unpack_from(f"{order}H", data, 6)
    offset = 8 + to_qos
    qos: _Parameters = {}
    if flags & _INLINE_QOS:
        listed = _parameters(data, offset, order)
        if listed is None:
            return None
        qos, offset = listed
    status = qos.get(_STATUS, b"")
    ends = bool(status) and bool(status[-1] & _UNREGISTERED_OR_DISPOSED)
    payload = data[offset:]
    said: _Parameters = {}
    if flags & (_PAYLOAD | _KEY):
        order = _ENCAPSULATIONS.get(payload[0:2], "")
        listed = _parameters(payload, 4, order) if order else None
        if listed is None:
            return None
        said = listed[0]
    elif not ends:
        return None
    guid = said.get(_GUID) or qos.get(_KEY_HASH) or prefix
    if guid[:PREFIX_SIZE] != prefix:
        return None  # a relay's: what it says of its sender is not to be trusted for another
    return prefix, _lease(said.get(_LEASE), order), ends, payload


def _parameters(data: bytes, offset: int, order: str) -> tuple[_Parameters, int] | None:
    """The list at ``offset``, and where it ends. None when it is cut off."""
    listed: _Parameters = {}
    head = struct.Struct(f"{order}HH")
    while offset + head.size <= len(data):
        number, size = head.unpack_from(data, offset)
        offset += head.size
        if number == _SENTINEL:
            return listed, offset
        if offset + size > len(data):
            return None
        listed[number] = data[offset : offset + size]
        offset += size
    return None


def _lease(value: bytes | None, order: str) -> float:
    if value is None or len(value) < 8:
        return DEFAULT_LEASE
    seconds, fraction = struct.unpack_from(f"{order}iI", value)
    lease: float = seconds + fraction * _FRACTION
    return min(max(lease, LEASE_MIN), LEASE_MAX)
