"""mac1, mac2 and cookies: what keeps handshakes cheap to refuse (WireGuard paper, section 5.4.4 and 5.4.7).

mac1 proves that the sender knows the receiver's public key: without it nothing is answered. Under load the receiver
wants mac2 as well, keyed with a cookie that it sent to the sender's address: proof that the sender receives there.

    mac1   = BLAKE2s-128(key = BLAKE2s("omni mac1" || receiver's X25519 key), covered)
    cookie = BLAKE2s-128(key = receiver's changing secret, sender's address and port)
    mac2   = BLAKE2s-128(key = cookie, covered || mac1)
    reply  = XChaCha20-Poly1305(key = BLAKE2s("omni cookie" || receiver's X25519 key), nonce, cookie, ad = mac1)
"""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache

import nacl.bindings
import nacl.exceptions

from omni_core.constants import COOKIE_LATENCY, COOKIE_LIFETIME, TAG_SIZE
from omni_core.crypto.errors import AuthenticationFailed
from omni_core.types import Endpoint, RandomBytes
from omni_core.wire.control import COOKIE_NONCE_SIZE, COOKIE_SIZE, MAC_SIZE, CookieReply, encode_cookie_reply

_NO_MAC = bytes(MAC_SIZE)
_SECRET_SIZE = 32
_REMEMBERED = 4096


def mac1(receiver_public: bytes, covered: bytes) -> bytes:
    """-> 16 bytes. ``receiver_public``: X25519 key of who shall read the message."""
    return _mac(mac1_key(receiver_public), covered)


class CookieChecker:
    """The receiver's side: one per identity. All times are the engine's ``now``."""

    def __init__(self, public: bytes, random: RandomBytes) -> None:
        """``public``: our own X25519 key, 32 bytes."""
        self._mac1_key = mac1_key(public)
        self._cookie_key = _cookie_key(public)
        self._random = random
        self._secrets: list[tuple[float, bytes]] = []  # (made at, secret), newest first, at most two

    def __repr__(self) -> str:
        return "<CookieChecker>"

    def check_mac1(self, covered: bytes, mac1: bytes) -> bool:
        """In constant time."""
        return hmac.compare_digest(_mac(self._mac1_key, covered), mac1)

    def check_mac2(self, covered: bytes, mac2: bytes, source: Endpoint, now: float) -> bool:
        """``covered``: with mac1 behind it. True if a still valid cookie of ours, sent to ``source``, made ``mac2``."""
        valid = False
        for made, secret in self._secrets:
            if now < made + COOKIE_LIFETIME + COOKIE_LATENCY:
                valid |= hmac.compare_digest(_mac(_cookie(secret, source), covered), mac2)
        return valid

    def make_reply(self, receiver_index: int, mac1: bytes, source: Endpoint, now: float) -> bytes:
        """-> cookie reply (64 bytes) to a message with this, already checked, ``mac1`` and sender index."""
        nonce = self._random(COOKIE_NONCE_SIZE)
        cookie = _cookie(self._secret(now), source)
        sealed = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(cookie, mac1, nonce, self._cookie_key)
        return encode_cookie_reply(receiver_index, nonce, sealed)

    def _secret(self, now: float) -> bytes:
        """The current secret. A new one each COOKIE_LIFETIME; the one before still opens for COOKIE_LATENCY, so that a
        cookie sent just before the change is of use."""
        if not self._secrets or now >= self._secrets[0][0] + COOKIE_LIFETIME:
            self._secrets = [(now, self._random(_SECRET_SIZE)), *self._secrets[:1]]
        return self._secrets[0][1]


class CookieJar:
    """The sender's side: one per remote. Keeps the remote's latest cookie and the mac1 that asked for it."""

    def __init__(self, remote_public: bytes) -> None:
        """``remote_public``: the remote's X25519 key, 32 bytes."""
        self._mac1_key = mac1_key(remote_public)
        self._cookie_key = _cookie_key(remote_public)
        self._sent_mac1: bytes | None = None
        self._cookie: tuple[float, bytes] | None = None  # (received at, cookie)

    def __repr__(self) -> str:
        return f"<CookieJar, {'empty' if self._cookie is None else 'with a cookie'}>"

    def add_macs(self, covered: bytes, now: float) -> bytes:
        """-> covered || mac1 || mac2, the whole message. mac2 is zeros while there is no valid cookie."""
        first = _mac(self._mac1_key, covered)
        self._sent_mac1 = first
        message = covered + first
        # The receiver's secret changes without notice: stop as early as it may have done so.
        if self._cookie is not None and now < self._cookie[0] + COOKIE_LIFETIME - COOKIE_LATENCY:
            return message + _mac(self._cookie[1], message)
        self._cookie = None
        return message + _NO_MAC

    def consume_reply(self, reply: CookieReply, now: float) -> None:
        """Keep the cookie for the next message. Raises AuthenticationFailed, and changes nothing, unless it comes from
        the remote in answer to the last message, for the first time."""
        if self._sent_mac1 is None:
            raise AuthenticationFailed("no message of ours waits for a cookie")
        if len(reply.nonce) != COOKIE_NONCE_SIZE or len(reply.sealed_cookie) != COOKIE_SIZE + TAG_SIZE:
            raise AuthenticationFailed("a cookie of the wrong size")
        try:
            cookie = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
                reply.sealed_cookie, self._sent_mac1, reply.nonce, self._cookie_key
            )
        except nacl.exceptions.CryptoError:
            raise AuthenticationFailed("the cookie does not answer our message") from None
        self._sent_mac1 = None
        self._cookie = (now, cookie)


def _mac(key: bytes, message: bytes) -> bytes:
    return hashlib.blake2s(message, key=key, digest_size=MAC_SIZE).digest()


def _cookie(secret: bytes, source: Endpoint) -> bytes:
    return _mac(secret, source[0].encode() + b"\0" + source[1].to_bytes(2, "little"))


@lru_cache(maxsize=_REMEMBERED)
def mac1_key(public: bytes) -> bytes:
    return hashlib.blake2s(b"omni mac1" + public).digest()


@lru_cache(maxsize=_REMEMBERED)
def _cookie_key(public: bytes) -> bytes:
    return hashlib.blake2s(b"omni cookie" + public).digest()
