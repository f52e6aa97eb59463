"""The transactional wrapper: no forged message changes anything, low-order points are refused, misuse is named.

Attacker model: knows both public keys, the prologue and every message on the wire; sends anything, at any time. Against
IKpsk2 the attacker of the low-order tests also knows the psk.
"""

from __future__ import annotations

import hashlib
import hmac
import random
import warnings
from collections.abc import Callable
from typing import Any

import nacl.bindings
import pytest

from omni_core.crypto.errors import HandshakeFailed
from omni_core.crypto.noise import NoiseHandshake
from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse, RemoteViolation

STATIC_I, STATIC_R, EPHEMERAL_I, EPHEMERAL_R, OTHER = (bytes([n]) * 32 for n in range(1, 6))
PUBLIC_I, PUBLIC_R = (nacl.bindings.crypto_scalarmult_base(k) for k in (STATIC_I, STATIC_R))
PROLOGUE = b"omni_ros2 1 cluster"
PSKS = pytest.mark.parametrize("psk", [None, b"p" * 32], ids=["IK", "IKpsk2"])
FORGERIES = 1000

P = 2**255 - 19
# Every u that leads to an all-zero result (RFC 7748 section 6.1), also in non-canonical form, plus the ignored top bit.
LOW_ORDER = [
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    P - 1,
    P,
    P + 1,
]
LOW_ORDER_POINTS = [(u | top << 255).to_bytes(32, "little") for u in LOW_ORDER for top in (0, 1)]


def both_sides(psk: bytes | None = None) -> tuple[NoiseHandshake, NoiseHandshake]:
    return (
        NoiseHandshake.initiator(STATIC_I, PUBLIC_R, PROLOGUE, psk, EPHEMERAL_I),
        NoiseHandshake.responder(STATIC_R, PROLOGUE, psk, EPHEMERAL_R),
    )


def finished(psk: bytes | None = None) -> tuple[NoiseHandshake, NoiseHandshake]:
    initiator, responder = both_sides(psk)
    responder.read_message(initiator.write_message(b"one"))
    initiator.read_message(responder.write_message(b"two"))
    return initiator, responder


# --- transactions ---


@PSKS
def test_forged_first_messages_change_nothing(psk: bytes | None, seed: int) -> None:
    initiator, responder = both_sides(psk)
    true = initiator.write_message(b"payload of message one")
    refuse_forgeries(responder, true, random.Random(seed))
    assert responder.read_message(true) == b"payload of message one"
    assert responder.remote_static == PUBLIC_I
    assert initiator.read_message(responder.write_message(b"two")) == b"two"
    assert initiator.split() == tuple(reversed(responder.split()))


@PSKS
def test_forged_second_messages_change_nothing(psk: bytes | None, seed: int) -> None:
    initiator, responder = both_sides(psk)
    responder.read_message(initiator.write_message(b"one"))
    true = responder.write_message(b"payload of message two")
    refuse_forgeries(initiator, true, random.Random(seed))
    assert initiator.read_message(true) == b"payload of message two"
    assert initiator.split() == tuple(reversed(responder.split()))
    assert initiator.handshake_hash == responder.handshake_hash


@PSKS
def test_every_flipped_bit_of_both_messages_is_refused(psk: bytes | None) -> None:
    initiator, responder = both_sides(psk)
    true = initiator.write_message(b"1")
    for bit in range(8 * len(true)):
        # The top bit of an X25519 point is ignored by the curve, yet it is part of the hash.
        with pytest.raises(HandshakeFailed):
            responder.read_message(flip(true, bit))
    responder.read_message(true)
    true = responder.write_message(b"2")
    for bit in range(8 * len(true)):
        with pytest.raises(HandshakeFailed):
            initiator.read_message(flip(true, bit))
    assert initiator.read_message(true) == b"2"


@PSKS
def test_messages_of_another_handshake_are_refused(psk: bytes | None) -> None:
    """True messages of a peer with another prologue, psk or recipient, and the peer's own of an earlier handshake."""
    initiator, responder = both_sides(psk)
    for stranger in (
        NoiseHandshake.initiator(STATIC_I, PUBLIC_R, PROLOGUE + b"2", psk, OTHER),
        NoiseHandshake.initiator(STATIC_I, PUBLIC_I, PROLOGUE, psk, OTHER),
        NoiseHandshake.initiator(STATIC_I, PUBLIC_R, PROLOGUE, None if psk else b"q" * 32, OTHER),
    ):
        refuse(responder, stranger.write_message(b""))
    responder.read_message(initiator.write_message(b""))
    earlier = NoiseHandshake.initiator(STATIC_I, PUBLIC_R, PROLOGUE, psk, OTHER)
    its_responder = NoiseHandshake.responder(STATIC_R, PROLOGUE, psk, OTHER)
    its_responder.read_message(earlier.write_message(b""))
    refuse(initiator, its_responder.write_message(b""))
    assert initiator.read_message(responder.write_message(b"true")) == b"true"


def test_wrong_psk_shows_at_message_2() -> None:
    initiator, _ = both_sides(b"p" * 32)
    responder = NoiseHandshake.responder(STATIC_R, PROLOGUE, b"q" * 32, EPHEMERAL_R)
    responder.read_message(initiator.write_message(b""))
    refuse(initiator, responder.write_message(b""))


def refuse_forgeries(reader: NoiseHandshake, true: bytes, rng: random.Random) -> None:
    forge: list[Callable[[], bytes]] = [
        lambda: rng.randbytes(len(true)),
        lambda: flip(true, rng.randrange(8 * len(true))),
        lambda: true[: rng.randrange(len(true))],
        lambda: true + rng.randbytes(rng.randrange(1, 40)),
        lambda: rng.choice(LOW_ORDER_POINTS) + true[32:],
        lambda: true[:32] + rng.randbytes(len(true) - 32),  # true key, forged rest: fails only after the DH
        lambda: true[:-16] + rng.randbytes(16),  # all true except the last tag: fails at the very end
        lambda: rng.randbytes(rng.randrange(600)),
    ]
    for number in range(FORGERIES):
        refuse(reader, forge[number % len(forge)]())


def refuse(reader: NoiseHandshake, message: bytes) -> None:
    before = state_of(reader)
    with pytest.raises(HandshakeFailed) as caught:
        reader.read_message(message)
    assert caught.value.reason is DropReason.HANDSHAKE_FORGED
    assert isinstance(caught.value, RemoteViolation)
    assert_same(before, state_of(reader))


def test_an_oversized_message_is_refused() -> None:
    _, responder = both_sides()
    refuse(responder, bytes(65536))


def state_of(root: object) -> list[tuple[str, Any]]:
    """Every value reachable from ``root`` with its path: independent of what the wrapper thinks it has to save."""
    found: list[tuple[str, Any]] = []
    seen: set[int] = set()

    def walk(path: str, value: Any) -> None:
        if value is None or isinstance(value, (bytes, str, int)):
            found.append((path, value))
            return
        if isinstance(value, bytearray):
            found.append((path, bytes(value)))
            return
        if id(value) in seen:
            found.append((path, "seen"))
            return
        seen.add(id(value))
        if isinstance(value, dict):
            for key, element in sorted(value.items(), key=lambda item: str(item[0])):
                walk(f"{path}[{key}]", element)
        elif isinstance(value, (list, tuple)):
            found.append((path, len(value)))
            for number, element in enumerate(value):
                walk(f"{path}[{number}]", element)
        elif type(value).__module__.startswith(("noise.", "omni_core.")) and hasattr(value, "__dict__"):
            found.append((path, type(value)))
            walk(path, vars(value))
        else:
            found.append((path, value))  # keys, ciphers, functions: immutable, the very same object is asked for

    walk("", root)
    return found


def assert_same(before: list[tuple[str, Any]], after: list[tuple[str, Any]]) -> None:
    assert [path for path, _ in before] == [path for path, _ in after]
    for (path, old), (_, new) in zip(before, after, strict=True):
        if old is None or isinstance(old, (bytes, str, int, type)):
            assert old == new, path
        elif callable(getattr(old, "__func__", None)):
            assert old.__func__ is new.__func__, path
            assert old.__self__ is new.__self__, path
        else:
            assert old is new, path


def test_the_state_comparison_sees_a_change() -> None:
    """Checks the checker: reading a true message is a difference in many places."""
    initiator, responder = both_sides(b"p" * 32)
    message = initiator.write_message(b"")
    before = state_of(responder)
    assert_same(before, state_of(responder))
    responder.read_message(message)
    with pytest.raises(AssertionError):
        assert_same(before, state_of(responder))
    assert len(before) > 40


# --- points of low order ---


@PSKS
@pytest.mark.parametrize("point", LOW_ORDER_POINTS, ids=lambda point: point.hex()[:8] + point.hex()[-2:])
def test_low_order_points_are_refused_everywhere(point: bytes, psk: bytes | None) -> None:
    initiator, responder = both_sides(psk)
    # As ephemeral and as static key of an initiator that computes what the responder would, zeros for the DH.
    refuse(responder, forged_message_1(point, bytes(32), PUBLIC_I, bytes(32), psk))
    es = nacl.bindings.crypto_scalarmult(OTHER, PUBLIC_R)
    refuse(responder, forged_message_1(nacl.bindings.crypto_scalarmult_base(OTHER), es, point, bytes(32), psk))
    # As ephemeral key of a responder.
    responder.read_message(initiator.write_message(b""))
    refuse(initiator, point + responder.write_message(b"")[32:])
    # As static key of the responder that we were told to call.
    caller = NoiseHandshake.initiator(STATIC_I, point, PROLOGUE, psk, EPHEMERAL_I)
    before = state_of(caller)
    with pytest.raises(HandshakeFailed):
        caller.write_message(b"")
    assert_same(before, state_of(caller))


def test_the_forger_of_message_1_does_its_sums_right() -> None:
    """With honest points its message is accepted: what refuses the others above is their order alone."""
    for psk in (None, b"p" * 32):
        _, responder = both_sides(psk)
        es = nacl.bindings.crypto_scalarmult(OTHER, PUBLIC_R)
        ss = nacl.bindings.crypto_scalarmult(STATIC_I, PUBLIC_R)
        message = forged_message_1(nacl.bindings.crypto_scalarmult_base(OTHER), es, PUBLIC_I, ss, psk)
        assert responder.read_message(message) == b"forged"


def forged_message_1(e: bytes, es: bytes, s: bytes, ss: bytes, psk: bytes | None) -> bytes:
    """Message 1 for given public keys and given DH results (Noise sections 5.2 and 7.5)."""
    name = b"Noise_IK%s_25519_ChaChaPoly_BLAKE2s" % (b"" if psk is None else b"psk2")
    h = ck = hashlib.blake2s(name).digest()
    for mixed in (PROLOGUE, PUBLIC_R, e):
        h = hashlib.blake2s(h + mixed).digest()
    if psk is not None:
        ck, _ = hkdf2(ck, e)
    message = e
    for dh, plaintext in ((es, s), (ss, b"forged")):
        ck, key = hkdf2(ck, dh)
        sealed = nacl.bindings.crypto_aead_chacha20poly1305_ietf_encrypt(plaintext, h, bytes(12), key)
        h = hashlib.blake2s(h + sealed).digest()
        message += sealed
    return message


def hkdf2(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes]:
    temporary = hmac.new(chaining_key, material, hashlib.blake2s).digest()
    first = hmac.new(temporary, b"\x01", hashlib.blake2s).digest()
    return first, hmac.new(temporary, first + b"\x02", hashlib.blake2s).digest()


# --- use and misuse ---


def test_calls_out_of_turn_are_misuse() -> None:
    initiator, responder = both_sides()
    with pytest.raises(LocalMisuse):
        initiator.read_message(b"")
    with pytest.raises(LocalMisuse):
        responder.write_message(b"")
    with pytest.raises(LocalMisuse):
        _ = responder.remote_static
    for side in (initiator, responder):
        with pytest.raises(LocalMisuse):
            side.split()
        with pytest.raises(LocalMisuse):
            _ = side.handshake_hash
    message = initiator.write_message(b"")
    with pytest.raises(LocalMisuse):
        initiator.write_message(b"")
    responder.read_message(message)
    with pytest.raises(LocalMisuse):
        responder.read_message(message)
    initiator.read_message(responder.write_message(b""))
    for side in (initiator, responder):
        assert side.finished
        with pytest.raises(LocalMisuse):
            side.read_message(message)
        with pytest.raises(LocalMisuse):
            side.write_message(b"")


@pytest.mark.parametrize(
    ("static", "remote", "psk", "ephemeral"),
    [
        (b"short", PUBLIC_R, None, EPHEMERAL_I),
        (STATIC_I, PUBLIC_R[:31], None, EPHEMERAL_I),
        (STATIC_I, PUBLIC_R, b"", EPHEMERAL_I),
        (STATIC_I, PUBLIC_R, b"p" * 33, EPHEMERAL_I),
        (STATIC_I, PUBLIC_R, None, b"e" * 31),
    ],
    ids=["static", "remote", "empty psk", "long psk", "ephemeral"],
)
def test_keys_of_wrong_length_are_misuse(static: bytes, remote: bytes, psk: bytes | None, ephemeral: bytes) -> None:
    with pytest.raises(LocalMisuse):
        NoiseHandshake.initiator(static, remote, PROLOGUE, psk, ephemeral)


def test_the_ephemeral_key_is_the_callers() -> None:
    initiator, responder = both_sides()
    message = initiator.write_message(b"")
    assert message[:32] == nacl.bindings.crypto_scalarmult_base(EPHEMERAL_I)
    responder.read_message(message)
    assert responder.write_message(b"")[:32] == nacl.bindings.crypto_scalarmult_base(EPHEMERAL_R)


def test_no_warning_of_a_preset_ephemeral() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        finished()


def test_an_all_zero_psk_is_a_psk() -> None:
    """noiseprotocol tells "none" from "zeros" by truth value; mixing them up would drop the psk silently."""
    initiator, responder = finished(bytes(32))
    assert initiator.split().send == responder.split().receive
    assert finished(None)[0].handshake_hash != initiator.handshake_hash


def test_split_hands_out_copies_to_be_wiped() -> None:
    initiator, _ = finished()
    keys = initiator.split()
    send = bytes(keys.send)
    keys.send[:] = bytes(32)
    assert initiator.split().send == send != bytes(32)


def test_wiped_handshakes_answer_nothing() -> None:
    initiator, _ = finished()
    initiator.wipe()
    initiator.wipe()
    with pytest.raises(LocalMisuse):
        initiator.split()
    with pytest.raises(LocalMisuse):
        initiator.write_message(b"")
    assert repr(initiator) == "<NoiseHandshake, wiped>"


def test_repr_shows_no_secret() -> None:
    initiator, responder = finished(b"p" * 32)
    keys = initiator.split()
    shown = "".join(f"{thing!r}{thing!s}" for thing in (initiator, responder, keys))
    for secret in (STATIC_I, STATIC_R, EPHEMERAL_I, b"p" * 32, bytes(keys.send), bytes(keys.receive)):
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
