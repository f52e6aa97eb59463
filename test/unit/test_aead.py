"""ChaCha20-Poly1305: RFC 8439's vectors, the nonce layout against a plain oracle, refusals, wiping."""

from __future__ import annotations

import random
import struct

import pytest

from omni_core.crypto import aead
from omni_core.crypto.aead import Aead, RareAead
from omni_core.crypto.errors import AuthenticationFailed
from omni_core.errors import LocalMisuse

# RFC 8439 section 2.8.2
SUNSCREEN = (
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
    b"sunscreen would be it."
)
SUNSCREEN_KEY = bytes(range(0x80, 0xA0))
SUNSCREEN_AAD = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
SUNSCREEN_SEALED = bytes.fromhex(
    "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
    "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
    "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
    "3ff4def08e4b7a9de576d26586cec64b6116"
    "1ae10b594f09e26a7e902ecbd0600691"
)

# RFC 8439 appendix A.5; its nonce begins with four zero bytes, as ours does
DRAFT_KEY = bytes.fromhex("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0")
DRAFT_NONCE = int.from_bytes(bytes.fromhex("0102030405060708"), "little")
DRAFT_AAD = bytes.fromhex("f33388860000000000004e91")
DRAFT_SEALED = bytes.fromhex(
    "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb2"
    "4c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100d4f03b7f355894cf"
    "332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855"
    "9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4"
    "b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523e"
    "af4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a"
    "0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a10"
    "49e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29"
    "a6ad5cb4022b02709b"
    "eead9d67890cbb22392336fea1851f38"
)
DRAFT = (
    "Internet-Drafts are draft documents valid for a maximum of six months and may be updated, replaced, or obsoleted "
    "by other documents at any time. It is inappropriate to use Internet-Drafts as reference material or to cite them "
    "other than as /\u201cwork in progress./\u201d"
).encode()


def test_rfc8439_section_2_8_2(monkeypatch: pytest.MonkeyPatch) -> None:
    # This vector's nonce begins with 07 00 00 00, which our layout cannot make: only the packing is replaced.
    nonce = int.from_bytes(bytes.fromhex("4041424344454647"), "little")
    monkeypatch.setattr(aead, "_nonce", lambda n: bytes.fromhex("07000000") + n.to_bytes(8, "little"))
    assert Aead(SUNSCREEN_KEY).seal(nonce, SUNSCREEN, SUNSCREEN_AAD) == SUNSCREEN_SEALED
    assert Aead(SUNSCREEN_KEY).open(nonce, SUNSCREEN_SEALED, SUNSCREEN_AAD) == SUNSCREEN


def test_rfc8439_appendix_a_5() -> None:
    assert Aead(DRAFT_KEY).open(DRAFT_NONCE, DRAFT_SEALED, DRAFT_AAD) == DRAFT
    assert Aead(DRAFT_KEY).seal(DRAFT_NONCE, DRAFT, DRAFT_AAD) == DRAFT_SEALED


@pytest.mark.parametrize("nonce", [0, 1, 255, 256, 1 << 32, 0xC000000000000001, (1 << 64) - 1])
def test_nonce_is_four_zero_bytes_then_little_endian(nonce: int) -> None:
    key = bytes(range(32))
    expected = oracle_seal(key, bytes(4) + nonce.to_bytes(8, "little"), b"frame", b"header")
    assert Aead(key).seal(nonce, b"frame", b"header") == expected


def test_agrees_with_the_oracle_on_random_packets(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(100):
        key, nonce = rng.randbytes(32), rng.getrandbits(64)
        plaintext, associated = rng.randbytes(rng.randrange(300)), rng.randbytes(rng.randrange(40))
        sealed = oracle_seal(key, bytes(4) + nonce.to_bytes(8, "little"), plaintext, associated)
        assert Aead(key).seal(nonce, plaintext, associated) == sealed
        assert Aead(key).open(nonce, sealed, associated) == plaintext


def test_every_flipped_bit_is_refused() -> None:
    cipher = Aead(DRAFT_KEY)
    sealed = cipher.seal(7, b"a frame", b"associated")
    for bit in range(8 * len(sealed)):
        with pytest.raises(AuthenticationFailed):
            cipher.open(7, flip(sealed, bit), b"associated")
    for bit in range(8 * len(b"associated")):
        with pytest.raises(AuthenticationFailed):
            cipher.open(7, sealed, flip(b"associated", bit))
    for bit in range(64):
        with pytest.raises(AuthenticationFailed):
            cipher.open(7 ^ 1 << bit, sealed, b"associated")


@pytest.mark.parametrize("length", range(17))
def test_short_ciphertext_is_refused(length: int) -> None:
    with pytest.raises(AuthenticationFailed):
        Aead(DRAFT_KEY).open(0, bytes(length), b"")


def test_empty_plaintext_and_associated_data() -> None:
    cipher = Aead(DRAFT_KEY)
    assert cipher.open(0, cipher.seal(0, b"", b""), b"") == b""


@pytest.mark.parametrize("nonce", [-1, 1 << 64])
def test_nonce_out_of_range_is_misuse(nonce: int) -> None:
    with pytest.raises(LocalMisuse):
        Aead(DRAFT_KEY).seal(nonce, b"", b"")
    with pytest.raises(LocalMisuse):
        Aead(DRAFT_KEY).open(nonce, bytes(16), b"")


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_key_of_wrong_length_is_misuse(length: int) -> None:
    with pytest.raises(LocalMisuse):
        Aead(bytes(length))


def test_zeroing_the_callers_key_does_not_change_ours() -> None:
    key = bytearray(DRAFT_KEY)
    cipher = Aead(key)
    key[:] = bytes(32)
    assert cipher.seal(DRAFT_NONCE, DRAFT, DRAFT_AAD) == DRAFT_SEALED


def test_a_rare_key_is_used_as_any_other(seed: int) -> None:
    rng = random.Random(seed)
    key, nonce = rng.randbytes(32), rng.getrandbits(64)
    rare = RareAead(bytearray(key))
    sealed = rare.seal(nonce, b"message", b"header")
    assert sealed == Aead(key).seal(nonce, b"message", b"header")
    assert rare.open(nonce, sealed, b"header") == b"message"
    with pytest.raises(AuthenticationFailed):
        rare.open(nonce, flip(sealed, rng.randrange(8 * len(sealed))), b"header")
    for use in (rare.seal, rare.open):
        with pytest.raises(LocalMisuse):
            use(1 << 64, sealed, b"")
    with pytest.raises(LocalMisuse):
        RareAead(bytearray(31))


def test_a_rare_key_is_taken_over_and_wiped() -> None:
    key = bytearray(DRAFT_KEY)
    rare = RareAead(key)
    rare.wipe()
    rare.wipe()
    assert key == bytes(32)
    for use in (rare.seal, rare.open):
        with pytest.raises(LocalMisuse):
            use(DRAFT_NONCE, DRAFT_SEALED, DRAFT_AAD)


def test_a_wiped_key_neither_seals_nor_opens() -> None:
    cipher = Aead(DRAFT_KEY)
    copy = cipher._key
    cipher.wipe()
    cipher.wipe()
    assert copy == bytes(32)
    with pytest.raises(LocalMisuse):
        cipher.seal(0, b"", b"")
    with pytest.raises(LocalMisuse):
        cipher.open(DRAFT_NONCE, DRAFT_SEALED, DRAFT_AAD)


def test_repr_hides_the_key() -> None:
    text = repr(Aead(DRAFT_KEY)) + str(Aead(DRAFT_KEY))
    assert DRAFT_KEY.hex() not in text
    assert repr(DRAFT_KEY) not in text


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


# --- an oracle in plain python, written from RFC 8439 ---


def oracle_seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Section 2.8."""
    stream = b"".join(chacha20_block(key, nonce, 1 + i) for i in range(len(plaintext) // 64 + 1))
    ciphertext = bytes(a ^ b for a, b in zip(plaintext, stream, strict=False))
    covered = pad16(associated) + pad16(ciphertext) + struct.pack("<QQ", len(associated), len(ciphertext))
    return ciphertext + poly1305(chacha20_block(key, nonce, 0)[:32], covered)


def pad16(data: bytes) -> bytes:
    return data + bytes(-len(data) % 16)


def chacha20_block(key: bytes, nonce: bytes, counter: int) -> bytes:
    """Section 2.3."""
    start = [*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", key), counter]
    start += struct.unpack("<3I", nonce)
    x = start.copy()

    def quarter(a: int, b: int, c: int, d: int) -> None:
        for first, second, third, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            x[first] = (x[first] + x[second]) & 0xFFFFFFFF
            x[third] ^= x[first]
            x[third] = (x[third] << turn | x[third] >> 32 - turn) & 0xFFFFFFFF

    for _ in range(10):
        for column in range(4):
            quarter(column, 4 + column, 8 + column, 12 + column)
        for column in range(4):
            quarter(column, 4 + (column + 1) % 4, 8 + (column + 2) % 4, 12 + (column + 3) % 4)
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(x, start, strict=True)))


def poly1305(key: bytes, message: bytes) -> bytes:
    """Section 2.5."""
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for at in range(0, len(message), 16):
        total = (total + int.from_bytes(message[at : at + 16] + b"\x01", "little")) * r % (2**130 - 5)
    return ((total + int.from_bytes(key[16:], "little")) & (2**128 - 1)).to_bytes(16, "little")
