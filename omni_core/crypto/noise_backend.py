"""The primitives that `noiseprotocol` is to use, through its own extension point (NoiseBackend): the same functions as
those of its default backend, from libsodium and hashlib, with less around them (bench/nucleus/engine_cost.py).

    DH X25519 by libsodium       a key pair is bytes: nothing is parsed, and a known public key is not computed again
    BLAKE2s and HMAC by hashlib  0.6 and 1.8 us in place of 2.3 and 3.4
    ChaCha20-Poly1305            unchanged, OpenSSL by `cryptography`
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import nacl.bindings
import nacl.exceptions
from noise.backends.default import DefaultNoiseBackend
from noise.exceptions import NoiseValueError
from noise.functions.dh import DH
from noise.functions.hash import Hash

_SIZE = 32


class X25519Pair:
    """What `noiseprotocol` calls a KeyPair."""

    __slots__ = ("private", "public", "public_bytes")

    def __init__(self, private: bytes | None, public: bytes) -> None:
        if len(public) != _SIZE:
            raise NoiseValueError(f"a public key has {_SIZE} bytes")
        self.private = private
        self.public = self.public_bytes = public

    @classmethod
    def from_private_bytes(cls, private: bytes) -> X25519Pair:
        if len(private) != _SIZE:
            raise NoiseValueError(f"a private key has {_SIZE} bytes")
        return cls(private, nacl.bindings.crypto_scalarmult_base(private))

    @classmethod
    def from_public_bytes(cls, public: bytes) -> X25519Pair:
        return cls(None, public)


class _X25519(DH):  # type: ignore[misc]  # the package has no types
    @property
    def klass(self) -> type[X25519Pair]:
        return X25519Pair

    @property
    def dhlen(self) -> int:
        return _SIZE

    def generate_keypair(self) -> X25519Pair:
        raise NotImplementedError("ephemeral keys come from the caller's random source")

    def dh(self, private: bytes, public: bytes) -> bytes:
        """Raises ValueError when the result is zero: a point of low order (RFC 7748 section 6.1)."""
        try:
            return nacl.bindings.crypto_scalarmult(private, public)
        except nacl.exceptions.RuntimeError:
            raise ValueError("a point of low order") from None


class _Blake2s(Hash):  # type: ignore[misc]
    @property
    def fn(self) -> Callable[..., Any]:
        return hashlib.blake2s

    @property
    def hashlen(self) -> int:
        return 32

    @property
    def blocklen(self) -> int:
        return 64

    def hash(self, data: bytes) -> bytes:
        return hashlib.blake2s(data).digest()


def _hmac(key: bytes, data: bytes, algorithm: Callable[..., Any]) -> bytes:
    return hmac.digest(key, data, algorithm)


class Backend(DefaultNoiseBackend):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.diffie_hellmans = {"25519": _X25519}
        self.keypairs = {"25519": X25519Pair}
        self.hashes = {"BLAKE2s": _Blake2s}
        self.hmac = _hmac
