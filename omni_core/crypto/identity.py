"""An edge's identity: one Ed25519 key. Everything else that names the edge is computed from it.

    seed 32 -> Ed25519 public key: signs the peer record, is the name of the edge
            -> X25519 key pair (libsodium's conversion): the static key of Noise
    public key -> VIP6 = VIP6_PREFIX || BLAKE2s("omni vip6" || key)[:12]
               -> MAC  = BLAKE2s("omni mac" || key)[:6], locally administered, unicast

Ed25519 keys A and -A share one X25519 key; only their owner can use either, so that nobody gains from it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from functools import lru_cache

import nacl.bindings
import nacl.exceptions

from omni_core.constants import VIP6_PREFIX
from omni_core.drops import DropReason
from omni_core.errors import ConfigError, LocalMisuse, RemoteViolation
from omni_core.types import KEY_SHOWN, Mac, PublicKey, RandomBytes

KEY_SIZE = 32
SIGNATURE_SIZE = 64
KEY_TEXT_SIZE = 43  # 32 bytes in base64 without padding

_CURVE_PRIME = 2**255 - 19
_FILE_TITLE = "omni_ros2 identity 1"
_REMEMBERED = 4096  # public keys whose derived values are kept: more than the peers of one edge


class Identity:
    """The key pair of this edge or Nucleus. ``repr`` and ``str`` show the public key only."""

    __slots__ = ("_exchange_private", "_signing", "exchange_public", "mac", "public_key", "vip6")

    def __init__(self, seed: bytes) -> None:
        """Use ``generate`` or ``from_seed``."""
        if len(seed) != KEY_SIZE:
            raise LocalMisuse(f"an identity's seed has {KEY_SIZE} bytes, not {len(seed)}")
        public_key, signing = nacl.bindings.crypto_sign_seed_keypair(bytes(seed))
        self.public_key: PublicKey = public_key
        self._signing = bytearray(signing)  # seed || public key, libsodium's form
        self._exchange_private = bytearray(nacl.bindings.crypto_sign_ed25519_sk_to_curve25519(signing))
        self.exchange_public = exchange_key(public_key)
        self.vip6 = vip6_of(public_key)
        self.mac: Mac = mac_of(public_key)

    @classmethod
    def generate(cls, random: RandomBytes) -> Identity:
        return cls(random(KEY_SIZE))

    @classmethod
    def from_seed(cls, seed: bytes) -> Identity:
        """``seed``: 32 bytes. Raises LocalMisuse on any other length."""
        return cls(seed)

    def __repr__(self) -> str:
        return f"<Identity {key_text(self.public_key)}>"

    @property
    def exchange_private(self) -> bytes:
        """X25519 private key, 32 bytes: a copy, which the caller lets go of as soon as it can."""
        self._check_not_wiped()
        return bytes(self._exchange_private)

    def sign(self, message: bytes) -> bytes:
        """-> 64 bytes, Ed25519 (RFC 8032)."""
        self._check_not_wiped()
        return nacl.bindings.crypto_sign(message, bytes(self._signing))[:SIGNATURE_SIZE]

    def wipe(self) -> None:
        """Zeroes the secrets held here. Copies that python or libsodium's binding made in passing are ``bytes``,
        which python can not zero. Idempotent; ``sign`` and ``exchange_private`` raise LocalMisuse from now on."""
        for secret in (self._signing, self._exchange_private):
            secret[:] = bytes(len(secret))

    def _check_not_wiped(self) -> None:
        if not any(self._signing):
            raise LocalMisuse("this identity has been wiped")


@lru_cache(maxsize=_REMEMBERED)
def exchange_key(public_key: PublicKey) -> bytes:
    """Ed25519 public key -> X25519 public key, 32 bytes.

    Raises RemoteViolation(IDENTITY_MISMATCH) when it is not the canonical encoding of a point of the prime-order group.
    """
    if len(public_key) != KEY_SIZE:
        raise RemoteViolation(DropReason.IDENTITY_MISMATCH, f"a public key of {len(public_key)} bytes")
    if int.from_bytes(public_key, "little") & ((1 << 255) - 1) >= _CURVE_PRIME:  # libsodium accepts these, RFC 8032 not
        raise RemoteViolation(DropReason.IDENTITY_MISMATCH, "the public key is not in canonical form")
    try:
        return nacl.bindings.crypto_sign_ed25519_pk_to_curve25519(public_key)
    except nacl.exceptions.CryptoError:
        raise RemoteViolation(DropReason.IDENTITY_MISMATCH, "the public key is not a point of the curve") from None


@lru_cache(maxsize=_REMEMBERED)
def vip6_of(public_key: PublicKey) -> ipaddress.IPv6Address:
    digest = hashlib.blake2s(b"omni vip6" + public_key).digest()
    return ipaddress.IPv6Address(VIP6_PREFIX + digest[: 16 - len(VIP6_PREFIX)])


@lru_cache(maxsize=_REMEMBERED)
def mac_of(public_key: PublicKey) -> Mac:
    digest = hashlib.blake2s(b"omni mac" + public_key).digest()
    return bytes([digest[0] & 0xFC | 0x02]) + digest[1:6]  # IEEE 802: local bit set, group bit clear


def verify(public_key: PublicKey, message: bytes, signature: bytes) -> bool:
    """False for a wrong signature, and for a key or signature of the wrong form."""
    if len(signature) != SIGNATURE_SIZE or len(public_key) != KEY_SIZE:
        return False
    try:
        nacl.bindings.crypto_sign_open(signature + message, public_key)
    except nacl.exceptions.CryptoError:
        return False
    return True


def key_start(public_key: PublicKey) -> str:
    """Enough of a public key for a human to tell it from others."""
    return key_text(public_key)[:KEY_SHOWN]


def key_text(public_key: PublicKey) -> str:
    """32 bytes -> 43 characters, base64 for URLs (RFC 4648 section 5) without padding."""
    return base64.urlsafe_b64encode(public_key).decode().rstrip("=")


def parse_key_text(text: str) -> PublicKey:
    """Inverse of ``key_text``; accepts nothing else. Raises ValueError with the reason."""
    public_key = _decode_text(text)
    try:
        exchange_key(public_key)
    except RemoteViolation:
        raise ValueError("is not a valid public key; is a character wrong?") from None
    return public_key


def encode_key_file(identity: Identity) -> str:
    """The text of a key file. It holds the secret: the file's mode must be 0600."""
    identity._check_not_wiped()
    return (
        f"{_FILE_TITLE}\n"
        f"public = {key_text(identity.public_key)}\n"
        f"secret = {key_text(bytes(identity._signing[:KEY_SIZE]))}\n"
    )


def decode_key_file(text: str) -> Identity:
    """Inverse of ``encode_key_file``. Raises ConfigError("key_file", ...), never with the secret in it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise _corrupt("is empty")
    if lines[0] != _FILE_TITLE:
        raise _corrupt(f"does not begin with the line '{_FILE_TITLE}'")
    values: dict[str, bytes] = {}
    for number, line in enumerate(lines[1:], start=2):
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or name not in ("public", "secret"):
            raise _corrupt(f"line {number} is neither 'public = ...' nor 'secret = ...'")
        if name in values:
            raise _corrupt(f"has '{name}' twice")
        try:
            values[name] = _decode_text(value)
        except ValueError as error:
            raise _corrupt(f"'{name}' {error}") from None
    for name in ("public", "secret"):
        if name not in values:
            raise _corrupt(f"has no line '{name} = ...'")
    identity = Identity.from_seed(values["secret"])
    if not hmac.compare_digest(identity.public_key, values["public"]):
        raise _corrupt("'secret' does not belong to 'public'")
    return identity


def _decode_text(text: str) -> bytes:
    if len(text) != KEY_TEXT_SIZE:
        raise ValueError(f"has {len(text)} characters instead of {KEY_TEXT_SIZE}")
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=", altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("has a character that is not a letter, a digit, '-' or '_'") from None
    if key_text(raw) != text:  # '+', '/', and bits of the last character that no byte uses
        raise ValueError("is not in canonical base64 form")
    return raw


def _corrupt(problem: str) -> ConfigError:
    return ConfigError(
        "key_file",
        problem,
        "restore the file from a backup, or make a new identity with `omni keygen` and announce its public key",
    )
