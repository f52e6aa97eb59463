"""Proof, inside an initiation, that its sender knows the cluster secret.

Noise IKpsk2 mixes the pre-shared key into message 2 only, so a responder would answer (and hold state for) anyone who
knows its public key. The proof lets it stay silent. It binds the ephemeral key, the responder and the timestamp, so it
cannot be moved to another initiation.
"""

from __future__ import annotations

import hmac

from omni_core.crypto.kdf import hmac_blake2s
from omni_core.wire.payloads import PROOF_SIZE

NO_PROOF = bytes(PROOF_SIZE)


def initiation_proof(psk: bytes | None, ephemeral: bytes, responder: bytes, timestamp: int) -> bytes:
    """16 bytes: HMAC-BLAKE2s(psk, label || ephemeral 32 || responder's X25519 key 32 || timestamp 8), truncated.

    Zeros without ``psk``.
    """
    if psk is None:
        return NO_PROOF
    message = b"omni initiation proof" + ephemeral + responder + timestamp.to_bytes(8, "little")
    return hmac_blake2s(psk, message)[:PROOF_SIZE]


def verify_initiation_proof(
    psk: bytes | None, ephemeral: bytes, responder: bytes, timestamp: int, proof: bytes
) -> bool:
    """Constant time."""
    return hmac.compare_digest(initiation_proof(psk, ephemeral, responder, timestamp), proof)
