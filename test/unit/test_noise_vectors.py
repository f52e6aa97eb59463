"""Noise IK and IKpsk2 against published vectors, an oracle written from the specification, and golden messages.

The oracle shares no code with what it judges: hashlib and PyNaCl here, `noiseprotocol` and `cryptography` there. It
reproduces the published vectors too; the golden messages were made by it. The vectors are those of flynn/noise, which
Debian and Ubuntu package (golang-github-flynn-noise-dev; tools/setup_env.sh installs it).
"""

from __future__ import annotations

import hashlib
import hmac
import random
from collections.abc import Sequence
from pathlib import Path

import nacl.bindings
import pytest

from omni_core.crypto.aead import Aead
from omni_core.crypto.noise import NoiseHandshake

PUBLISHED = Path("/usr/share/gocode/src/github.com/flynn/noise/vectors.txt")
IK = "Noise_IK_25519_ChaChaPoly_BLAKE2s"
IK_PSK2 = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"

INITIATOR, INITIATOR_E = bytes(range(0x20)), bytes(range(0x20, 0x40))
RESPONDER, RESPONDER_E = bytes(range(0x40, 0x60)), bytes(range(0x60, 0x80))
PSK = bytes(range(0x80, 0xA0))
PROLOGUE = b"omni_ros2 test"
PAYLOADS = (b"the first message", b"the second message")

GOLDEN = {
    "IK": (
        None,
        "358072d6365880d1aeea329adf9121383851ed21a28e3b75e965d0d2cd166254ad5b8febedeb97415be53612205e6bfa"
        "b385e34cb127dd8854c4f9afb10f9b0e814e90201001d32de1b0091e5220d4a5ff14857be3d0095905076d9ed992d88a"
        "8e0b2553a4ac9a55374d35a6e890646c35",
        "675dd574ed7789310b3d2e7681f3790b466c773b1521fecf36577958371ea52f5f297a9731e35f08382aea566efed475"
        "4774fc93c66b819cf0291312bd5a51b0a358",
        "5ac0982130b0536ce8e5a516cf5bef5a869a74002bf1492e5bed4625d0f00599",
        "1ffa520b7b784b83355f4ca5754d333f51f53ff31d9d98f697c22e8f79b66e22",
        "1657d025486888648386e46e37e6722a42c605d3f1b0ec24454190a645355089",
    ),
    "IKpsk2": (
        PSK,
        "358072d6365880d1aeea329adf9121383851ed21a28e3b75e965d0d2cd1662544df99f4e2d9c658302e247ec71c206e7"
        "0c31df074049bd3d8ab636b27d8a20c52dc716202580dd3a7db9eb81b3cd8f9ec1a18f63862943047c3e7c17fe4f46c2"
        "550db04a0530b9dfcac75cb18f466b3418",
        "675dd574ed7789310b3d2e7681f3790b466c773b1521fecf36577958371ea52fb6cc6dd243a043784f86ebdb16c04ee7"
        "7eb353e7472671c873d4363d7dd2bb472c29",
        "5d136f2e3aee1e3009944bc53d7a64ca18341b6d73a200082ed4728615237595",
        "4b3c4c082e01f711109ce03f0bb7f8cb981980f6d3cba4fd549a8fe8587b453c",
        "4f798f03bf7308ce91fb63a862e4af61bf1117afdb4fea1e170bbae646fe4eae",
    ),
}


@pytest.mark.parametrize("variant", GOLDEN)
def test_golden_messages(variant: str) -> None:
    psk, message1, message2, handshake_hash, first, second = GOLDEN[variant]
    initiator, responder = both_sides(psk)
    written = initiator.write_message(PAYLOADS[0])
    assert written.hex() == message1
    assert responder.read_message(written) == PAYLOADS[0]
    assert responder.remote_static == nacl.bindings.crypto_scalarmult_base(INITIATOR)
    written = responder.write_message(PAYLOADS[1])
    assert written.hex() == message2
    assert initiator.read_message(written) == PAYLOADS[1]
    assert initiator.handshake_hash.hex() == responder.handshake_hash.hex() == handshake_hash
    assert initiator.split().send.hex() == responder.split().receive.hex() == first
    assert initiator.split().receive.hex() == responder.split().send.hex() == second


@pytest.mark.parametrize("variant", GOLDEN)
def test_golden_messages_are_the_oracles(variant: str) -> None:
    psk, *golden = GOLDEN[variant]
    made = oracle((INITIATOR, INITIATOR_E, RESPONDER, RESPONDER_E), psk, PROLOGUE, PAYLOADS)
    assert [part.hex() for part in made] == golden


def test_agrees_with_the_oracle_on_random_handshakes(seed: int) -> None:
    rng = random.Random(seed)
    for round_number in range(50):
        private = [rng.randbytes(32) for _ in range(4)]
        psk = rng.randbytes(32) if round_number % 2 else None
        prologue, payloads = rng.randbytes(rng.randrange(80)), (rng.randbytes(rng.randrange(400)), rng.randbytes(196))
        expected = oracle(private, psk, prologue, payloads)
        initiator = NoiseHandshake.initiator(
            private[0], nacl.bindings.crypto_scalarmult_base(private[2]), prologue, psk, private[1]
        )
        responder = NoiseHandshake.responder(private[2], prologue, psk, private[3])
        message1 = initiator.write_message(payloads[0])
        assert responder.read_message(message1) == payloads[0]
        message2 = responder.write_message(payloads[1])
        assert initiator.read_message(message2) == payloads[1]
        keys = initiator.split()
        assert [message1, message2, initiator.handshake_hash, keys.send, keys.receive] == expected
        assert responder.split() == (keys.receive, keys.send)


def published_vectors() -> list[dict[str, str]]:
    """Those of our two protocols. The file has blocks of name=value lines, hex, with an empty line between them."""
    if not PUBLISHED.exists():
        return []
    blocks = PUBLISHED.read_text().split("\n\n")
    vectors = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks]
    return [v for v in vectors if v.get("handshake") in (IK, IK_PSK2)]


@pytest.mark.skipif(not PUBLISHED.exists(), reason="apt-get install golang-github-flynn-noise-dev has the vector file")
def test_published_vectors() -> None:
    vectors = published_vectors()
    assert {v["handshake"] for v in vectors} == {IK, IK_PSK2} and len(vectors) >= 4
    for vector in vectors:
        raw = {name: bytes.fromhex(value) for name, value in vector.items() if name != "handshake"}
        psk = raw["preshared_key"] if vector["handshake"] == IK_PSK2 else None
        keys = [raw[k] for k in ("init_static", "gen_init_ephemeral", "resp_static", "gen_resp_ephemeral")]
        prologue = raw.get("prologue", b"")
        remote = nacl.bindings.crypto_scalarmult_base(keys[2])
        initiator = NoiseHandshake.initiator(keys[0], remote, prologue, psk, keys[1])
        responder = NoiseHandshake.responder(keys[2], prologue, psk, keys[3])
        for number, (writer, reader) in enumerate(((initiator, responder), (responder, initiator))):
            payload, message = raw[f"msg_{number}_payload"], raw[f"msg_{number}_ciphertext"]
            assert writer.write_message(payload) == message
            assert reader.read_message(message) == payload
        ciphers = Aead(initiator.split().send), Aead(initiator.split().receive)
        for number in (2, 3):
            assert ciphers[number % 2].seal(0, raw[f"msg_{number}_payload"], b"") == raw[f"msg_{number}_ciphertext"]
        agreed = oracle(keys, psk, prologue, (raw["msg_0_payload"], raw["msg_1_payload"]))
        assert agreed[:2] == [raw["msg_0_ciphertext"], raw["msg_1_ciphertext"]]


def both_sides(psk: bytes | None) -> tuple[NoiseHandshake, NoiseHandshake]:
    remote = nacl.bindings.crypto_scalarmult_base(RESPONDER)
    return (
        NoiseHandshake.initiator(INITIATOR, remote, PROLOGUE, psk, INITIATOR_E),
        NoiseHandshake.responder(RESPONDER, PROLOGUE, psk, RESPONDER_E),
    )


# --- the oracle: Noise specification, revision 34; both sides at once, as it knows all private keys ---


def oracle(private: Sequence[bytes], psk: bytes | None, prologue: bytes, payloads: tuple[bytes, bytes]) -> list[bytes]:
    """``private``: static and ephemeral of the initiator (s, e), then of the responder (rs, re).

    -> messages 1 and 2, h, and Split()'s two keys.
    """
    s, e, rs, re = private
    public, dh = nacl.bindings.crypto_scalarmult_base, nacl.bindings.crypto_scalarmult
    state = Symmetric(IK if psk is None else IK_PSK2)
    state.mix_hash(prologue)
    state.mix_hash(public(rs))  # <- s, the pre-message

    message1 = state.ephemeral(public(e), psk is not None)  # -> e, es, s, ss
    state.mix_key(dh(e, public(rs)))
    message1 += state.encrypt_and_hash(public(s))
    state.mix_key(dh(s, public(rs)))
    message1 += state.encrypt_and_hash(payloads[0])

    message2 = state.ephemeral(public(re), psk is not None)  # <- e, ee, se, (psk)
    state.mix_key(dh(re, public(e)))
    state.mix_key(dh(re, public(s)))
    if psk is not None:
        state.mix_key_and_hash(psk)
    message2 += state.encrypt_and_hash(payloads[1])
    return [message1, message2, state.h, *hkdf(state.ck, b"", 2)]


class Symmetric:
    """Section 5.2, with section 5.1's CipherState folded in."""

    def __init__(self, name: str) -> None:
        self.h = name.encode().ljust(32, b"\0") if len(name) <= 32 else hashlib.blake2s(name.encode()).digest()
        self.ck = self.h
        self.k = b""
        self.n = 0

    def mix_hash(self, data: bytes) -> None:
        self.h = hashlib.blake2s(self.h + data).digest()

    def mix_key(self, material: bytes) -> None:
        self.ck, self.k = hkdf(self.ck, material, 2)
        self.n = 0

    def mix_key_and_hash(self, material: bytes) -> None:
        self.ck, mixed, self.k = hkdf(self.ck, material, 3)
        self.n = 0
        self.mix_hash(mixed)

    def ephemeral(self, public: bytes, is_psk: bool) -> bytes:
        self.mix_hash(public)
        if is_psk:
            self.mix_key(public)  # section 9.2
        return public

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        nonce = bytes(4) + self.n.to_bytes(8, "little")
        sealed = nacl.bindings.crypto_aead_chacha20poly1305_ietf_encrypt(plaintext, self.h, nonce, self.k)
        self.n += 1
        self.mix_hash(sealed)
        return sealed


def hkdf(chaining_key: bytes, material: bytes, outputs: int) -> list[bytes]:
    """Section 4.3."""
    temporary = hmac.new(chaining_key, material, hashlib.blake2s).digest()
    result = [b""]
    for number in range(1, outputs + 1):
        result.append(hmac.new(temporary, result[-1] + bytes([number]), hashlib.blake2s).digest())
    return result[1:]
