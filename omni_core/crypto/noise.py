"""Noise IK and IKpsk2 (Noise specification, revision 34, section 7.5) by `noiseprotocol`, made transactional.

    IK:      <- s   ...   -> e, es, s, ss   <- e, ee, se            IKpsk2: the same, psk at the end of message 2

`noiseprotocol` changes its state while it reads, and a message that fails in the middle leaves it half-way: one forged
datagram would end a handshake. Here a failed ``read_message`` puts back every part of the state that reading can
touch. This is the only file that knows the package's internals.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from noise.connection import Keypair, NoiseConnection
from noise.constants import MAX_MESSAGE_LEN
from noise.exceptions import NoiseValueError

from omni_core.crypto.errors import HandshakeFailed
from omni_core.crypto.noise_backend import Backend, X25519Pair
from omni_core.errors import LocalMisuse

_BACKEND = Backend()

_IK = b"Noise_IK_25519_ChaChaPoly_BLAKE2s"
_IK_PSK2 = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"

# InvalidTag: authentication. ValueError: an all-zero DH output, that is, a point of low order (RFC 7748 section 6.1).
# NoiseValueError: a key that is too short, as the message was.
_REFUSALS = (InvalidTag, ValueError, NoiseValueError)


class TransportKeys(NamedTuple):
    """The two keys of Split(), 32 bytes each. The receiver of this wipes them."""

    send: bytearray
    receive: bytearray

    def __repr__(self) -> str:
        return "TransportKeys(...)"


class _State(NamedTuple):
    """All that reading a message changes in `noiseprotocol` 0.3, by reference; every referenced object is immutable
    or replaced, not altered, except the two lists, which are copied."""

    next_call: Any
    remote_ephemeral: Any
    remote_static: Any
    patterns: list[Any]
    psks: list[bytes] | None
    hash: bytes
    chaining_key: bytes
    key: Any
    nonce: int | None
    cipher: Any


class NoiseHandshake:
    """One handshake: the initiator writes message 1 and reads message 2, the responder the other way round.

    ``ephemeral`` is 32 fresh random bytes from the caller; never use them twice. Call out of turn: LocalMisuse.
    """

    def __init__(self, connection: Any, ephemeral: bytes) -> None:
        """Use ``initiator`` or ``responder``."""
        if len(ephemeral) != 32:
            raise LocalMisuse("an ephemeral key has 32 bytes")
        self._connection = connection
        self._handshake = connection.noise_protocol.handshake_state
        # Set only now: given before the start, `noiseprotocol` warns of it each time.
        self._handshake.e = X25519Pair.from_private_bytes(ephemeral)
        self._remote_static: bytes | None = None

    @classmethod
    def initiator(
        cls,
        private: bytes,
        remote: bytes,
        prologue: bytes,
        psk: bytes | None,
        ephemeral: bytes,
        public: bytes | None = None,
    ) -> NoiseHandshake:
        """``private``, ``remote``: X25519, 32 bytes each. ``psk``: 32 bytes for IKpsk2, None for IK. ``public``: that
        of ``private``, where it is known; a wrong one lets no handshake succeed."""
        connection = _connection(private, public, prologue, psk)
        connection.set_as_initiator()
        if len(remote) != 32:
            raise LocalMisuse("a remote static key has 32 bytes")
        connection.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, remote)
        connection.start_handshake()
        handshake = cls(connection, ephemeral)
        handshake._remote_static = bytes(remote)
        return handshake

    @classmethod
    def responder(
        cls, private: bytes, prologue: bytes, psk: bytes | None, ephemeral: bytes, public: bytes | None = None
    ) -> NoiseHandshake:
        connection = _connection(private, public, prologue, psk)
        connection.set_as_responder()
        connection.start_handshake()
        return cls(connection, ephemeral)

    def __repr__(self) -> str:
        state = "wiped" if self._connection is None else "finished" if self.finished else "under way"
        return f"<NoiseHandshake, {state}>"

    @property
    def finished(self) -> bool:
        """Both messages have been processed: ``split`` and ``handshake_hash`` may be used."""
        return bool(self._alive().handshake_finished)

    @property
    def remote_static(self) -> bytes:
        """The peer's X25519 key, 32 bytes; at the responder known, and proven by ss, once message 1 has been read."""
        if self._remote_static is None:
            raise LocalMisuse("the remote static key is not known before message 1")
        return self._remote_static

    @property
    def ephemeral_public(self) -> bytes:
        """Our own X25519 ephemeral key, 32 bytes: the start of the message that we write."""
        self._alive()
        return bytes(self._handshake.e.public_bytes)

    @property
    def handshake_hash(self) -> bytes:
        """32 bytes, the same on both sides and of no other handshake (Noise section 11.2, channel binding)."""
        if not self.finished:
            raise LocalMisuse("the handshake is not finished")
        return bytes(self._connection.get_handshake_hash())

    def write_message(self, payload: bytes) -> bytes:
        """-> message. Raises HandshakeFailed, with the state as it was, when the peer's key is of low order."""
        self._turn("write_message")
        before = self._take()
        try:
            return bytes(self._connection.write_message(payload))
        except _REFUSALS as error:
            self._put_back(before)
            raise HandshakeFailed(f"no message can be written to this key: {_name(error)}") from None

    def read_message(self, message: bytes) -> bytes:
        """-> payload. Raises HandshakeFailed on anything but the peer's true message; the state is then exactly what
        it was, and the true message still succeeds."""
        self._turn("read_message")
        if len(message) > MAX_MESSAGE_LEN:
            raise HandshakeFailed("message too long")
        before = self._take()
        try:
            payload = bytes(self._connection.read_message(message))
        except _REFUSALS as error:
            self._put_back(before)
            raise HandshakeFailed(_name(error)) from None
        if self._remote_static is None:
            self._remote_static = bytes(self._handshake.rs.public_bytes)
        return payload

    def split(self) -> TransportKeys:
        """The keys of this side's two directions. The caller wipes what it gets."""
        if not self.finished:
            raise LocalMisuse("the handshake is not finished")
        protocol = self._connection.noise_protocol
        return TransportKeys(bytearray(protocol.cipher_state_encrypt.k), bytearray(protocol.cipher_state_decrypt.k))

    def wipe(self) -> None:
        """Lets go of every key. `noiseprotocol` and its backend keep them in immutable ``bytes``, which can not be
        zeroed from python: their memory is only given back."""
        self._connection = None
        self._handshake = None

    def _alive(self) -> Any:
        if self._connection is None:
            raise LocalMisuse("this handshake has been wiped")
        return self._connection

    def _turn(self, call: str) -> None:
        connection = self._alive()
        if connection.handshake_finished or connection._next_fn.__name__ != call:
            raise LocalMisuse(f"{call} is not this handshake's next step")

    def _take(self) -> _State:
        handshake, symmetric = self._handshake, self._handshake.symmetric_state
        psks = self._connection.noise_protocol.psks
        return _State(
            self._connection._next_fn,
            handshake.re,
            handshake.rs,
            list(handshake.message_patterns),
            None if psks is None else list(psks),
            symmetric.h,
            symmetric.ck,
            symmetric.cipher_state.k,
            symmetric.cipher_state.n,
            symmetric.cipher_state.cipher.cipher,
        )

    def _put_back(self, state: _State) -> None:
        handshake, symmetric = self._handshake, self._handshake.symmetric_state
        self._connection._next_fn = state.next_call
        handshake.re = state.remote_ephemeral
        handshake.rs = state.remote_static
        handshake.message_patterns = state.patterns
        self._connection.noise_protocol.psks = state.psks
        symmetric.h = state.hash
        symmetric.ck = state.chaining_key
        symmetric.cipher_state.k = state.key
        symmetric.cipher_state.n = state.nonce
        symmetric.cipher_state.cipher.cipher = state.cipher


def _connection(private: bytes, public: bytes | None, prologue: bytes, psk: bytes | None) -> Any:
    if len(private) != 32 or (psk is not None and len(psk) != 32):
        raise LocalMisuse("a private key and a psk have 32 bytes each")
    connection = NoiseConnection.from_name(_IK if psk is None else _IK_PSK2, _BACKEND)
    if psk is not None:
        connection.set_psks(psk=bytes(psk))
    connection.set_prologue(prologue)
    private = bytes(private)
    pair = X25519Pair.from_private_bytes(private) if public is None else X25519Pair(private, bytes(public))
    connection.noise_protocol.keypairs["s"] = pair
    return connection


def _name(error: Exception) -> str:
    return "wrong tag" if isinstance(error, InvalidTag) else str(error)
