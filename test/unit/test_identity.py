"""Identity: RFC 8032 vector, golden VIP6 and MAC, the X25519 conversion by its formula, key texts, bad points."""

from __future__ import annotations

import hashlib
import ipaddress
import random

import nacl.bindings
import pytest

from omni_core.constants import CONTROL_MAC, VIP6_PREFIX
from omni_core.crypto.identity import (
    Identity,
    exchange_key,
    key_text,
    mac_of,
    parse_key_text,
    verify,
    vip6_of,
)
from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse, RemoteViolation

# RFC 8032 section 7.1, tests 1 and 2
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
SIGNATURE_OF_NOTHING = bytes.fromhex(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
)
SEED_2 = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC_2 = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493


def test_rfc8032_vectors() -> None:
    identity = Identity.from_seed(SEED)
    assert identity.public_key == PUBLIC
    assert identity.sign(b"") == SIGNATURE_OF_NOTHING
    assert verify(PUBLIC, b"", SIGNATURE_OF_NOTHING)
    assert Identity.from_seed(SEED_2).public_key == PUBLIC_2


def test_golden_derivation() -> None:
    identity = Identity.from_seed(SEED)
    assert identity.exchange_private.hex() == "307c83864f2833cb427a2ef1c00a013cfdff2768d980c0a3a520f006904de94f"
    assert identity.exchange_public.hex() == "d85e07ec22b0ad881537c2f44d662d1a143cf830c57aca4305d85c7a90f6b62e"
    assert identity.vip6 == ipaddress.IPv6Address("fd6f:6d6e:7955:2fe7:5d84:dc23:2e31:4262")
    assert identity.mac.hex(":") == "3e:87:82:75:cd:8b"
    assert key_text(identity.public_key) == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    other = Identity.from_seed(SEED_2)
    assert other.vip6 == ipaddress.IPv6Address("fd6f:6d6e:c6e4:55dd:281f:fe2b:dda1:390f")
    assert other.mac.hex(":") == "ca:b5:5e:c2:71:a3"


def test_exchange_keys_by_their_formula(seed: int) -> None:
    """RFC 7748 section 4.1: u = (1 + y) / (1 - y); RFC 8032 section 5.1.5: the scalar is half of SHA-512(seed)."""
    rng = random.Random(seed)
    for _ in range(50):
        identity = Identity.generate(rng.randbytes)
        y = int.from_bytes(identity.public_key, "little") & (2**255 - 1)
        u = (1 + y) * pow(1 - y, P - 2, P) % P
        assert identity.exchange_public == exchange_key(identity.public_key) == u.to_bytes(32, "little")
        assert nacl.bindings.crypto_scalarmult_base(identity.exchange_private) == identity.exchange_public


def test_vip6_and_mac_by_their_formula(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(200):
        identity = Identity.generate(rng.randbytes)
        digest = hashlib.blake2s(b"omni vip6" + identity.public_key).digest()
        assert identity.vip6.packed == vip6_of(identity.public_key).packed == VIP6_PREFIX + digest[:12]
        assert identity.vip6.is_private
        mac = identity.mac
        assert mac == mac_of(identity.public_key)
        assert len(mac) == 6
        assert mac[0] & 0b11 == 0b10, "locally administered, unicast"
        assert mac[1:] == hashlib.blake2s(b"omni mac" + identity.public_key).digest()[1:6]
        assert mac != CONTROL_MAC


def test_generate_asks_for_one_seed() -> None:
    asked: list[int] = []

    def source(size: int) -> bytes:
        asked.append(size)
        return SEED

    assert Identity.generate(source).public_key == PUBLIC
    assert asked == [32]


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_seed_of_wrong_length_is_misuse(length: int) -> None:
    with pytest.raises(LocalMisuse):
        Identity.from_seed(bytes(length))


# --- signatures ---


def test_signatures_bind_message_and_key() -> None:
    identity = Identity.from_seed(SEED)
    signature = identity.sign(b"message")
    assert verify(identity.public_key, b"message", signature)
    assert not verify(identity.public_key, b"messagf", signature)
    assert not verify(PUBLIC_2, b"message", signature)
    for bit in range(512):
        assert not verify(identity.public_key, b"message", flip(signature, bit))


def test_a_signature_has_one_form() -> None:
    """S + L is the same scalar: accepting it would give a record a second encoding (RFC 8032 section 5.1.7)."""
    signature = Identity.from_seed(SEED).sign(b"message")
    s = int.from_bytes(signature[32:], "little") + L
    assert not verify(PUBLIC, b"message", signature[:32] + s.to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 63, 65])
def test_signature_of_wrong_length_is_false(length: int) -> None:
    assert not verify(PUBLIC, b"", bytes(length))


def test_public_key_of_wrong_form_verifies_nothing() -> None:
    for key in (b"", PUBLIC[:31], PUBLIC + b"x", bytes(32), b"\xff" * 32):
        assert not verify(key, b"", SIGNATURE_OF_NOTHING)


# --- bad points ---

ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
NOT_ON_THE_CURVE = next(
    y
    for y in range(2, 99)
    if pow((y * y - 1) * pow(-121665 * pow(121666, P - 2, P) * y * y + 1, P - 2, P), (P - 1) // 2, P) != 1
)
# On the curve, with a component of order 8: y of B + T, B the base point, T of order 8, found by addition.
MIXED_ORDER = bytes.fromhex("da99e28ba529cdde35a25fba9059e78ecaee239f99755b9b1aa4f65df00803e2")

BAD_POINTS = {
    "zero": bytes(32),
    "identity": (1).to_bytes(32, "little"),
    "identity, sign bit": (1 | 1 << 255).to_bytes(32, "little"),
    "order 2": (P - 1).to_bytes(32, "little"),
    "order 8": ORDER_8,
    "order 8, other": (P - int.from_bytes(ORDER_8, "little")).to_bytes(32, "little"),
    "p": P.to_bytes(32, "little"),
    "p + 1": (P + 1).to_bytes(32, "little"),
    "p + 18": (P + 18).to_bytes(32, "little"),
    "p + 3, sign bit": (P + 3 | 1 << 255).to_bytes(32, "little"),
    "all ones": b"\xff" * 32,
    "not on the curve": NOT_ON_THE_CURVE.to_bytes(32, "little"),
    "mixed order": MIXED_ORDER,
    "too short": PUBLIC[:31],
    "too long": PUBLIC + b"\0",
    "empty": b"",
}


@pytest.mark.parametrize("point", BAD_POINTS.values(), ids=BAD_POINTS.keys())
def test_bad_points_are_no_identity(point: bytes) -> None:
    with pytest.raises(RemoteViolation) as caught:
        exchange_key(point)
    assert caught.value.reason is DropReason.IDENTITY_MISMATCH
    if len(point) == 32:
        with pytest.raises(ValueError, match="not a valid public key"):
            parse_key_text(key_text(point))


# --- texts ---


def test_key_text_round_trip(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(100):
        key = Identity.generate(rng.randbytes).public_key
        assert len(key_text(key)) == 43
        assert parse_key_text(key_text(key)) == key


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "0 characters instead of 43"),
        ("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"[:-1], "42 characters instead of 43"),
        ("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "44 characters instead of 43"),
        ("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"[:-1] + "!", "a letter, a digit"),
        ("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"[:-1] + "\u00e9", "a letter, a digit"),
        (" " + "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"[1:], "a letter, a digit"),
        ("/" + "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"[1:], "canonical base64"),
        ("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"[:-1] + "p", "canonical base64"),
        ("A" * 43, "not a valid public key"),
    ],
)
def test_wrong_key_texts_say_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_key_text(text)


# --- secrecy ---


def test_repr_shows_the_public_key_only() -> None:
    identity = Identity.from_seed(SEED)
    assert repr(identity) == str(identity) == f"<Identity {key_text(PUBLIC)}>"
    assert f"{identity}" == repr(identity)


def test_a_wiped_identity_signs_nothing() -> None:
    identity = Identity.from_seed(SEED)
    secrets = identity._signing, identity._exchange_private
    identity.wipe()
    identity.wipe()
    assert not any(secrets[0])
    assert not any(secrets[1])
    with pytest.raises(LocalMisuse):
        identity.sign(b"")
    with pytest.raises(LocalMisuse):
        _ = identity.exchange_private
    assert repr(identity) == f"<Identity {key_text(PUBLIC)}>"


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
