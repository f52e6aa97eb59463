"""What a Ganglion leaves with each session in the data plane, so that the next Ganglion can take it over (adoption.py).

A note is a CBOR map, at most NOTE_MAX bytes, without key material:

    1 format, 1                     5 timestamp of the peer's latest initiation that was accepted, or null
    2 owner, 16 bytes               6 the peer's Hello. Its VIP6 and MAC follow from its key
    3 the peer's public key         7 whether the Nucleus vouches for the peer
    4 whether we were initiator     8 version of the record with which it does, 0 without
                                    9 what we told about ourselves, 8 bytes of hash

*Owner* ties a session to an identity, a cluster, its secret, and a version of the protocol: whoever differs in one of
them has no use for it. How old a session is, the data plane says.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from omni_core.crypto.identity import Identity
from omni_core.crypto.kdf import hmac_blake2s
from omni_core.dataplane.port import DataPlane
from omni_core.drops import DropReason
from omni_core.engines.peers import Peer
from omni_core.errors import RemoteViolation
from omni_core.session.handshake import Profile
from omni_core.session.sessions import Sessions
from omni_core.types import PublicKey
from omni_core.wire import cbor
from omni_core.wire.hello import Hello, decode_hello, encode_hello

_FORMAT = 1
_KEY_SIZE = 32
_OWNER_SIZE = 16
_TOLD_SIZE = 8


@dataclass(frozen=True)
class Note:
    owner: bytes
    public_key: PublicKey
    initiator: bool
    heard: int | None
    hello: Hello
    member: bool
    record_version: int
    told: bytes


def encode_note(note: Note) -> bytes:
    return cbor.encode(
        {
            1: _FORMAT,
            2: note.owner,
            3: note.public_key,
            4: note.initiator,
            5: note.heard,
            6: encode_hello(note.hello),
            7: note.member,
            8: note.record_version,
            9: note.told,
        }
    )


def decode_note(data: bytes) -> Note | None:
    """Inverse of ``encode_note``; None for all else, also for another format."""
    try:
        fields = cbor.decode_map(data, DropReason.BAD_PAYLOAD)
        hello = fields.get(6)
        said = decode_hello(hello) if isinstance(hello, bytes) else None
    except RemoteViolation:
        return None
    owner, public_key, initiator, heard = (fields.get(n) for n in range(2, 6))
    member, version, told = (fields.get(n) for n in range(7, 10))
    if (
        fields.get(1) == _FORMAT
        and isinstance(owner, bytes)
        and isinstance(public_key, bytes)
        and len(public_key) == _KEY_SIZE
        and isinstance(initiator, bool)
        and (heard is None or (isinstance(heard, int) and not isinstance(heard, bool)))
        and said is not None
        and isinstance(member, bool)
        and isinstance(version, int)
        and not isinstance(version, bool)
        and isinstance(told, bytes)
    ):
        return Note(owner, public_key, initiator, heard, said, member, version, told)
    return None


def owner_of(identity: Identity, profile: Profile) -> bytes:
    """16 bytes. The secret goes in as a key, so that they say nothing about it."""
    message = b"omni session note" + identity.public_key + profile.prologue()
    return hmac_blake2s(profile.psk or bytes(32), message)[:_OWNER_SIZE]


class NoteKeeper:
    """Writes the notes of one Ganglion; ``told``: our encoded Hello."""

    def __init__(self, plane: DataPlane, sessions: Sessions, owner: bytes, told: bytes) -> None:
        self.owner = owner
        self.told = hashlib.blake2s(told, digest_size=_TOLD_SIZE).digest()
        self._plane = plane
        self._sessions = sessions

    def write(self, peer: Peer) -> None:
        """On every session of the peer in the data plane: whichever outlives the others has the latest."""
        for receive_id, initiator in peer.roles.items():
            note = Note(
                self.owner,
                peer.public_key,
                initiator,
                self._sessions.heard(peer.public_key),
                Hello(peer.name, peer.vip4, peer.capabilities),
                peer.member,
                peer.record_version,
                self.told,
            )
            self._plane.remember(receive_id, encode_note(note))
