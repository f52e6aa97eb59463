"""Keys derived from other keys: data keys and session ids from a handshake, cluster keys from the cluster secret.

HMAC-BLAKE2s everywhere (RFC 2104 over RFC 7693, as Noise's own HKDF), each use under a label of its own.
"""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache

import nacl.bindings

from omni_core.errors import LocalMisuse
from omni_core.types import PublicKey
from omni_core.wire.header import session_id_from_bytes

# Argon2id (RFC 9106), libsodium's "interactive" strength: a cluster secret may be a password that a person chose.
# Part of the protocol: every edge of a cluster has to come to the same keys.
_STRETCH_PASSES = 2
_STRETCH_MEMORY = 64 * 1024 * 1024  # bytes


def hmac_blake2s(key: bytes | bytearray, message: bytes) -> bytes:
    """-> 32 bytes."""
    return hmac.digest(bytes(key), message, hashlib.blake2s)


def session_keys(transport: bytes | bytearray) -> tuple[bytearray, int]:
    """One direction's key from Noise's Split() (32 bytes) -> (data key of 32 bytes, session id).

    Both come from the transport key through separate labels, so that the session id, which travels in clear, says
    nothing about the data key. The caller wipes ``transport`` and, later, the data key.
    """
    if len(transport) != 32:
        raise LocalMisuse(f"a transport key has 32 bytes, not {len(transport)}")
    key = bytearray(hmac_blake2s(transport, b"omni data key"))
    return key, session_id_from_bytes(hmac_blake2s(transport, b"omni session id")[:8])


def cluster_psk(secret: bytes, cluster: str) -> bytes:
    """The cluster secret -> the 32-byte psk of Noise IKpsk2. Takes about 0.1 s the first time, then is remembered."""
    return hmac_blake2s(_stretch(secret, cluster), b"omni cluster psk")


def admission_key(secret: bytes, cluster: str) -> bytes:
    """The cluster secret -> the 32-byte key that proves membership to a Nucleus. It does not reveal the psk."""
    return hmac_blake2s(_stretch(secret, cluster), b"omni admission key")


def admission_proof(key: bytes, handshake_hash: bytes, public_key: PublicKey, cluster: str) -> bytes:
    """32 bytes that only a holder of ``admission_key`` can make, for this handshake, this edge and this cluster."""
    if len(handshake_hash) != 32 or len(public_key) != 32:
        raise LocalMisuse("a handshake hash and a public key have 32 bytes each")
    return hmac_blake2s(key, b"omni admission" + handshake_hash + public_key + cluster.encode())


def verify_admission_proof(
    key: bytes, handshake_hash: bytes, public_key: PublicKey, cluster: str, proof: bytes
) -> bool:
    """In constant time."""
    return hmac.compare_digest(admission_proof(key, handshake_hash, public_key, cluster), proof)


@lru_cache(maxsize=64)
def _stretch(secret: bytes, cluster: str) -> bytes:
    """Remembered for the life of the process, secret included: a Nucleus asks for it with every cluster it serves."""
    if not secret:
        raise LocalMisuse("the cluster secret is empty")
    salt = hashlib.blake2s(b"omni_ros2" + cluster.encode()).digest()[: nacl.bindings.crypto_pwhash_SALTBYTES]
    return nacl.bindings.crypto_pwhash_alg(
        32,
        secret,
        salt,
        _STRETCH_PASSES,
        _STRETCH_MEMORY,
        nacl.bindings.crypto_pwhash_ALG_ARGON2ID13,
    )
