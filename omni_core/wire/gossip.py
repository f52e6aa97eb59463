"""What a GOSSIP message carries: where peers are, by those who have just heard them. A CBOR map, integer keys.

1 entries, each an array: a signed peer record | its endpoints, packed, best first | s since the peer was heard there
2 public keys of peers that the sender cannot reach: please tell
3 true: the sender has a Nucleus, and speaks only because it was spoken to

Whether a record is genuine, and an endpoint one host's, is for the engine to say (engines/gossip.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from omni_core.drops import DropReason
from omni_core.errors import RemoteViolation
from omni_core.types import PublicKey
from omni_core.wire import cbor

ENTRIES_MAX: Final = 16
ENDPOINTS_MAX: Final = 4  # of one entry: the path, and a few addresses that the peer says it has
WANTED_MAX: Final = 16
AGE_END: Final = 1 << 16  # s
RECORD_END: Final = 512  # bytes; crypto/record.py has at most half of it

_ENTRIES, _WANTED, _ANSWER = 1, 2, 3
_KEY_SIZE = 32
_PACKED_SIZES = (6, 18)


class GossipEntry(NamedTuple):
    record: bytes  # not verified
    endpoints: tuple[bytes, ...]  # packed; the first is where the peer was heard
    age: int  # s


@dataclass(frozen=True)
class GossipMessage:
    entries: tuple[GossipEntry, ...] = ()
    wanted: tuple[PublicKey, ...] = ()
    answer: bool = False


def encode_gossip(message: GossipMessage) -> bytes:
    body: dict[int, cbor.Value] = {}
    if message.entries:
        body[_ENTRIES] = [[each.record, list(each.endpoints), each.age] for each in message.entries]
    if message.wanted:
        body[_WANTED] = list(message.wanted)
    if message.answer:
        body[_ANSWER] = True
    return cbor.encode(body)


def entry_size(entry: GossipEntry) -> int:
    """Bytes that it adds to a message, at most."""
    return 1 + 3 + len(entry.record) + 1 + sum(1 + len(packed) for packed in entry.endpoints) + 3


WANTED_SIZE: Final = 2 + _KEY_SIZE  # bytes that a wanted key adds
HEAD_SIZE: Final = 1 + 3 * 1 + 2 + 1  # bytes of the map, its keys, the heads of its arrays, and ``true``


def decode_gossip(body: bytes) -> GossipMessage:
    """Unknown keys are ignored: later versions add some. Raises RemoteViolation(CONTROL_MALFORMED)."""
    fields = cbor.decode_map(body, DropReason.CONTROL_MALFORMED)
    entries = _array(fields.get(_ENTRIES), ENTRIES_MAX, "entries")
    wanted = _array(fields.get(_WANTED), WANTED_MAX, "wanted")
    if not all(isinstance(key, bytes) and len(key) == _KEY_SIZE for key in wanted):
        raise _malformed("a key")
    if fields.get(_ANSWER) not in (None, False, True) or type(fields.get(_ANSWER)) is int:
        raise _malformed("answer")
    keys = tuple(key for key in wanted if isinstance(key, bytes))
    return GossipMessage(tuple(_entry(each) for each in entries), keys, fields.get(_ANSWER) is True)


def _entry(value: cbor.Value) -> GossipEntry:
    if not isinstance(value, list) or len(value) != 3:
        raise _malformed("an entry")
    record, endpoints, age = value
    if not isinstance(record, bytes) or len(record) >= RECORD_END:
        raise _malformed("a record")
    packed = _array(endpoints, ENDPOINTS_MAX, "endpoints")
    if not all(isinstance(each, bytes) and len(each) in _PACKED_SIZES for each in packed):
        raise _malformed("an endpoint")
    if type(age) is not int or age >= AGE_END:
        raise _malformed("an age")
    return GossipEntry(record, tuple(each for each in packed if isinstance(each, bytes)), age)


def _array(value: cbor.Value, most: int, what: str) -> Sequence[cbor.Value]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > most:
        raise _malformed(what)
    return value


def _malformed(what: str) -> RemoteViolation:
    return RemoteViolation(DropReason.CONTROL_MALFORMED, f"gossip: {what}")
