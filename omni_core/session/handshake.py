"""The two handshake messages: built and consumed. No state of a peer is kept or changed here.

Compute on copies, commit after authentication: a function either returns everything its caller needs or raises
RemoteViolation, and the caller's objects are as before.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import NamedTuple

from omni_core.constants import PROTOCOL_NAME, PROTOCOL_VERSION, REJECT_AFTER_TIME, SIGNALING_REJECT_AFTER_TIME
from omni_core.crypto.cookies import mac1
from omni_core.crypto.identity import Identity, exchange_key
from omni_core.crypto.kdf import session_keys
from omni_core.crypto.noise import NoiseHandshake
from omni_core.crypto.proof import initiation_proof, verify_initiation_proof
from omni_core.drops import DropReason
from omni_core.errors import RemoteViolation
from omni_core.session.keypair import Keypair
from omni_core.types import PublicKey, RandomBytes
from omni_core.wire.control import (
    MAC_SIZE,
    Initiation,
    Response,
    initiation_covered,
    response_covered,
)
from omni_core.wire.payloads import Offer, decode_answer, decode_offer, encode_answer, encode_offer


@dataclass(frozen=True)
class Profile:
    """What both sides must agree on before a handshake can succeed; it is the Noise prologue (and the
    pre-shared key)."""

    role: str  # "peer" or "nucleus": whom the initiator talks to
    cluster: str = ""
    psk: bytes | None = field(default=None, repr=False)  # 32 bytes

    @property
    def lifetime(self) -> float:
        """s that a session made under it may be used."""
        return SIGNALING_REJECT_AFTER_TIME if self.role == "nucleus" else REJECT_AFTER_TIME

    def prologue(self) -> bytes:
        role, cluster = self.role.encode(), self.cluster.encode()
        parts = [PROTOCOL_NAME, bytes([PROTOCOL_VERSION])]
        for text in (role, cluster):
            parts += [len(text).to_bytes(2, "little"), text]
        return b"".join(parts)


class SentInitiation(NamedTuple):
    """Our initiation in flight."""

    noise: NoiseHandshake
    sender_index: int  # random 32-bit number that the response repeats
    covered: bytes  # the message without its macs
    lifetime: float  # s, of the session to come


class ReceivedInitiation(NamedTuple):
    """An authentic initiation (not yet checked for freshness or admission)."""

    noise: NoiseHandshake
    sender_index: int
    offer: Offer
    lifetime: float  # s, of the session to come


def create_initiation(
    identity: Identity, remote: PublicKey, profile: Profile, timestamp: int, body: bytes, random: RandomBytes
) -> SentInitiation:
    """Message 1 of Noise IK/IKpsk2. ``body`` is at most OFFER_BODY_MAX bytes (LocalMisuse)."""
    index = int.from_bytes(random(4), "little")
    remote_static = exchange_key(remote)
    noise = NoiseHandshake.initiator(
        identity.exchange_private,
        remote_static,
        profile.prologue(),
        profile.psk,
        random(32),
        identity.exchange_public,
    )
    proof = initiation_proof(profile.psk, noise.ephemeral_public, remote_static, timestamp)
    message = noise.write_message(encode_offer(identity.public_key, timestamp, proof, body))
    return SentInitiation(noise, index, initiation_covered(index, message), profile.lifetime)


def consume_initiation(
    identity: Identity, profile: Profile, initiation: Initiation, random: RandomBytes
) -> ReceivedInitiation:
    """Authenticate message 1, its identity and its secret proof. Raises RemoteViolation."""
    noise = NoiseHandshake.responder(
        identity.exchange_private, profile.prologue(), profile.psk, random(32), identity.exchange_public
    )
    offer = decode_offer(noise.read_message(initiation.noise))
    if not hmac.compare_digest(exchange_key(offer.public_key), noise.remote_static):
        raise RemoteViolation(DropReason.IDENTITY_MISMATCH)
    ephemeral = initiation.noise[:32]
    if not verify_initiation_proof(profile.psk, ephemeral, identity.exchange_public, offer.timestamp, offer.proof):
        raise RemoteViolation(DropReason.NOT_ADMITTED, "secret proof")
    return ReceivedInitiation(noise, initiation.sender_index, offer, profile.lifetime)


def create_response(
    received: ReceivedInitiation, body: bytes, now: float, random: RandomBytes
) -> tuple[bytes, Keypair]:
    """Message 2 with its macs, and the responder's session (unconfirmed)."""
    noise = received.noise
    message = noise.write_message(encode_answer(body))
    covered = response_covered(int.from_bytes(random(4), "little"), received.sender_index, message)
    datagram = covered + mac1(noise.remote_static, covered) + bytes(MAC_SIZE)
    return datagram, _finish(noise, received.offer.public_key, False, now, received.lifetime)


def consume_response(sent: SentInitiation, remote: PublicKey, response: Response, now: float) -> tuple[bytes, Keypair]:
    """Authenticate message 2: (body, the initiator's session). Raises RemoteViolation; ``sent`` still waits then."""
    body = decode_answer(sent.noise.read_message(response.noise))
    return body, _finish(sent.noise, remote, True, now, sent.lifetime)


def _finish(noise: NoiseHandshake, remote: PublicKey, initiator: bool, now: float, lifetime: float) -> Keypair:
    transport = noise.split()
    send_key, send_id = session_keys(transport.send)
    receive_key, receive_id = session_keys(transport.receive)
    keypair = Keypair(
        remote,
        initiator,
        send_id,
        receive_id,
        send_key,
        receive_key,
        bytes(noise.handshake_hash),
        now,
        lifetime=lifetime,
    )
    for key in (transport.send, transport.receive):
        key[:] = bytes(len(key))
    noise.wipe()
    return keypair
