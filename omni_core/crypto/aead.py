"""ChaCha20-Poly1305 (RFC 8439) with 64-bit nonces: 0x00000000 || nonce, little-endian (RFC 8439 section 2.3)."""

from __future__ import annotations

import struct
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from omni_core.crypto.errors import AuthenticationFailed
from omni_core.errors import LocalMisuse

KEY_SIZE = 32

_nonce = struct.Struct("<4xQ").pack


class Aead:
    """One key, both directions of use. Never seal twice with one nonce: the caller counts.

    ``wipe`` zeroes our copy of the key and lets go of OpenSSL's context, which clears itself when freed. Copies
    that the allocator or the python binding made in between are out of reach.
    """

    __slots__ = ("_cipher", "_key")

    def __init__(self, key: bytes | bytearray) -> None:
        """``key``: 32 bytes, copied. Raises LocalMisuse on any other length."""
        if len(key) != KEY_SIZE:
            raise LocalMisuse(f"an AEAD key has {KEY_SIZE} bytes, not {len(key)}")
        self._key = bytearray(key)  # a binding may keep a reference to what it is given: never the caller's buffer
        self._cipher: ChaCha20Poly1305 | _Wiped = ChaCha20Poly1305(self._key)

    def seal(self, nonce: int, plaintext: bytes, associated: bytes) -> bytes:
        """-> ciphertext || 16-byte tag. Raises LocalMisuse when ``nonce`` does not fit 64 bits."""
        try:
            return self._cipher.encrypt(_nonce(nonce), plaintext, associated)
        except struct.error:
            raise LocalMisuse(f"nonce {nonce} is not a 64-bit unsigned number") from None

    def open(self, nonce: int, ciphertext: bytes, associated: bytes) -> bytes:
        """``ciphertext``: with its tag. Raises AuthenticationFailed, also when it is shorter than a tag."""
        try:
            return self._cipher.decrypt(_nonce(nonce), ciphertext, associated)
        except InvalidTag:
            raise AuthenticationFailed("wrong tag") from None
        except struct.error:
            raise LocalMisuse(f"nonce {nonce} is not a 64-bit unsigned number") from None

    def wipe(self) -> None:
        """Idempotent. Sealing and opening raise LocalMisuse from now on."""
        self._cipher = _Wiped()
        self._key[:] = bytes(len(self._key))


class RareAead:
    """As Aead, for a key that is used now and then: OpenSSL's contexts, 2.2 KB a key, live for one call, which takes
    1.2 us more. A Nucleus holds two keys or more of each edge, and uses them once in a heartbeat.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytearray) -> None:
        """``key``: 32 bytes, taken over: ``wipe`` zeroes it. Raises LocalMisuse on any other length."""
        if len(key) != KEY_SIZE:
            raise LocalMisuse(f"an AEAD key has {KEY_SIZE} bytes, not {len(key)}")
        self._key: bytearray | None = key

    def seal(self, nonce: int, plaintext: bytes, associated: bytes) -> bytes:
        """See Aead.seal."""
        try:
            return self._cipher().encrypt(_nonce(nonce), plaintext, associated)
        except struct.error:
            raise LocalMisuse(f"nonce {nonce} is not a 64-bit unsigned number") from None

    def open(self, nonce: int, ciphertext: bytes, associated: bytes) -> bytes:
        """See Aead.open."""
        try:
            return self._cipher().decrypt(_nonce(nonce), ciphertext, associated)
        except InvalidTag:
            raise AuthenticationFailed("wrong tag") from None
        except struct.error:
            raise LocalMisuse(f"nonce {nonce} is not a 64-bit unsigned number") from None

    def wipe(self) -> None:
        """Idempotent. Sealing and opening raise LocalMisuse from now on."""
        if self._key is not None:
            self._key[:] = bytes(len(self._key))
            self._key = None

    def _cipher(self) -> ChaCha20Poly1305:
        if self._key is None:
            raise LocalMisuse("this key has been wiped")
        return ChaCha20Poly1305(self._key)


class _Wiped:
    def encrypt(self, nonce: bytes, data: bytes, associated: bytes) -> NoReturn:
        raise LocalMisuse("this key has been wiped")

    decrypt = encrypt
