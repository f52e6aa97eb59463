"""mac1, mac2 and the life of a cookie, as a small exchange between an initiator's jar and a responder's checker."""

from __future__ import annotations

import hashlib
import random

import nacl.bindings
import pytest

from omni_core.constants import COOKIE_LATENCY, COOKIE_LIFETIME
from omni_core.crypto.cookies import CookieChecker, CookieJar, mac1
from omni_core.crypto.errors import AuthenticationFailed
from omni_core.types import Endpoint
from omni_core.wire.control import (
    COOKIE_REPLY_SIZE,
    INITIATION_COVERED,
    MAC_SIZE,
    CookieReply,
    decode_cookie_reply,
)

RESPONDER, STRANGER = bytes(range(32)), bytes(range(32, 64))
SOURCE = Endpoint("192.0.2.7", 51820)
COVERED = b"\x01" * INITIATION_COVERED
START = 1000.0


class Parties:
    def __init__(self, seed: int = 1) -> None:
        self.checker = CookieChecker(RESPONDER, random.Random(seed).randbytes)
        self.jar = CookieJar(RESPONDER)

    def send(self, now: float, covered: bytes = COVERED) -> tuple[bytes, bytes, bytes]:
        """-> covered, mac1, mac2 of a message from the jar's owner."""
        message = self.jar.add_macs(covered, now)
        assert message[: -2 * MAC_SIZE] == covered
        return covered, message[-2 * MAC_SIZE : -MAC_SIZE], message[-MAC_SIZE:]

    def fetch_cookie(self, now: float, source: Endpoint = SOURCE) -> CookieReply:
        _, first, _ = self.send(now)
        reply = decode_cookie_reply(self.checker.make_reply(7, first, source, now))
        self.jar.consume_reply(reply, now)
        return reply

    def accepted(self, now: float, source: Endpoint = SOURCE) -> bool:
        covered, first, second = self.send(now)
        assert self.checker.check_mac1(covered, first)
        return self.checker.check_mac2(covered + first, second, source, now)


def test_mac1_by_its_formula_and_golden() -> None:
    key = hashlib.blake2s(b"omni mac1" + RESPONDER).digest()
    assert mac1(RESPONDER, b"covered") == hashlib.blake2s(b"covered", key=key, digest_size=16).digest()
    assert mac1(RESPONDER, b"covered").hex() == "9093a8b94ff80538ee0c714a7a399e63"


def test_mac1_is_checked() -> None:
    parties = Parties()
    covered, first, _ = parties.send(START)
    assert first == mac1(RESPONDER, covered)
    assert parties.checker.check_mac1(covered, first)
    assert not parties.checker.check_mac1(covered, mac1(STRANGER, covered))
    assert not parties.checker.check_mac1(covered[:-1] + b"\x02", first)
    for bit in range(8 * MAC_SIZE):
        assert not parties.checker.check_mac1(covered, flip(first, bit))
    for wrong in (b"", first[:-1], first + b"\0"):
        assert not parties.checker.check_mac1(covered, wrong)


def test_without_a_cookie_mac2_is_zeros_and_refused() -> None:
    parties = Parties()
    covered, first, second = parties.send(START)
    assert second == bytes(MAC_SIZE)
    assert not parties.checker.check_mac2(covered + first, second, SOURCE, START)
    parties.checker.make_reply(7, first, SOURCE, START)  # now there is a secret
    assert not parties.checker.check_mac2(covered + first, second, SOURCE, START)


def test_the_life_of_a_cookie() -> None:
    parties = Parties()
    reply = parties.fetch_cookie(START)
    assert reply.receiver_index == 7
    assert parties.accepted(START)
    assert parties.accepted(START + COOKIE_LIFETIME - COOKIE_LATENCY - 0.001)
    # The jar lets go of it before the checker does.
    _, _, second = parties.send(START + COOKIE_LIFETIME - COOKIE_LATENCY)
    assert second == bytes(MAC_SIZE)
    parties.fetch_cookie(START + COOKIE_LIFETIME)
    assert parties.accepted(START + COOKIE_LIFETIME)


def test_cookie_golden() -> None:
    """The reply's bytes by formula: cookie = mac(secret, host 0 port), sealed with XChaCha20-Poly1305, ad = mac1."""
    draws = random.Random(3)
    nonce, secret = draws.randbytes(24), draws.randbytes(32)
    checker = CookieChecker(RESPONDER, random.Random(3).randbytes)
    reply = checker.make_reply(0x04030201, b"m" * 16, Endpoint("10.0.0.1", 0x1234), START)
    cookie = hashlib.blake2s(b"10.0.0.1\0\x34\x12", key=secret, digest_size=16).digest()
    key = hashlib.blake2s(b"omni cookie" + RESPONDER).digest()
    sealed = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(cookie, b"m" * 16, nonce, key)
    assert reply == bytes.fromhex("0301000001020304") + nonce + sealed
    assert len(reply) == COOKIE_REPLY_SIZE


@pytest.mark.parametrize(
    "source",
    [Endpoint("192.0.2.8", 51820), Endpoint("192.0.2.7", 51821), Endpoint("2001:db8::7", 51820), Endpoint("", 51820)],
    ids=str,
)
def test_a_cookie_is_of_no_use_from_another_source(source: Endpoint) -> None:
    parties = Parties()
    parties.fetch_cookie(START)
    assert not parties.accepted(START, source)
    assert parties.accepted(START, SOURCE)


def test_a_plain_tuple_is_a_source() -> None:
    parties = Parties()
    parties.fetch_cookie(START)
    covered, first, second = parties.send(START)
    assert parties.checker.check_mac2(covered + first, second, ("192.0.2.7", 51820), START)  # type: ignore[arg-type]


def test_mac2_covers_mac1_and_the_message() -> None:
    parties = Parties()
    parties.fetch_cookie(START)
    covered, first, second = parties.send(START)
    whole = covered + first
    assert parties.checker.check_mac2(whole, second, SOURCE, START)
    assert not parties.checker.check_mac2(flip(whole, 0), second, SOURCE, START)
    assert not parties.checker.check_mac2(flip(whole, 8 * len(whole) - 1), second, SOURCE, START)
    for bit in range(8 * MAC_SIZE):
        assert not parties.checker.check_mac2(whole, flip(second, bit), SOURCE, START)
    for wrong in (b"", second[:-1], second + b"\0"):
        assert not parties.checker.check_mac2(whole, wrong, SOURCE, START)


def test_the_secret_rotates() -> None:
    """A cookie made just before the rotation lives COOKIE_LATENCY longer, one made after it its full time."""
    parties = Parties()
    parties.fetch_cookie(START)
    late = START + COOKIE_LIFETIME - 1
    parties.fetch_cookie(late)  # from the first secret, a second before it is replaced
    rotation = START + COOKIE_LIFETIME
    other = CookieJar(RESPONDER)
    first = other.add_macs(COVERED, rotation)[-2 * MAC_SIZE : -MAC_SIZE]
    other.consume_reply(decode_cookie_reply(parties.checker.make_reply(8, first, SOURCE, rotation)), rotation)
    assert parties.accepted(rotation)
    assert parties.accepted(rotation + COOKIE_LATENCY - 0.001)
    assert not parties.accepted(rotation + COOKIE_LATENCY)
    message = other.add_macs(COVERED, rotation + 100)
    assert parties.checker.check_mac2(message[:-MAC_SIZE], message[-MAC_SIZE:], SOURCE, rotation + 100)


def test_a_secret_is_not_used_after_its_time_even_if_nothing_rotated_it() -> None:
    parties = Parties()
    parties.fetch_cookie(START)
    covered, first, second = parties.send(START + 1)
    end = START + COOKIE_LIFETIME + COOKIE_LATENCY
    assert parties.checker.check_mac2(covered + first, second, SOURCE, end - 0.001)
    assert not parties.checker.check_mac2(covered + first, second, SOURCE, end)


def test_only_two_secrets_are_kept() -> None:
    parties = Parties()
    for step in range(10):
        parties.fetch_cookie(START + step * COOKIE_LIFETIME)
        assert parties.accepted(START + step * COOKIE_LIFETIME)
    assert len(parties.checker._secrets) == 2


def test_replies_to_others_or_changed_are_refused_and_change_nothing() -> None:
    parties = Parties()
    _, first, _ = parties.send(START)
    true = decode_cookie_reply(parties.checker.make_reply(7, first, SOURCE, START))
    to_another_message = decode_cookie_reply(parties.checker.make_reply(7, flip(first, 3), SOURCE, START))
    by_another = decode_cookie_reply(
        CookieChecker(STRANGER, random.Random(9).randbytes).make_reply(7, first, SOURCE, 0)
    )
    forged = [to_another_message, by_another]
    forged += [true._replace(nonce=flip(true.nonce, bit)) for bit in range(8 * len(true.nonce))]
    forged += [true._replace(sealed_cookie=flip(true.sealed_cookie, bit)) for bit in range(8 * len(true.sealed_cookie))]
    forged += [true._replace(sealed_cookie=true.sealed_cookie[:n]) for n in (0, 15, 16, 31)]
    forged += [true._replace(nonce=true.nonce[:23])]
    for reply in forged:
        with pytest.raises(AuthenticationFailed):
            parties.jar.consume_reply(reply, START)
    parties.jar.consume_reply(true, START)
    assert parties.accepted(START)


def test_a_reply_is_taken_once_and_only_to_the_last_message() -> None:
    parties = Parties()
    _, first, _ = parties.send(START)
    reply = decode_cookie_reply(parties.checker.make_reply(7, first, SOURCE, START))
    with pytest.raises(AuthenticationFailed):
        CookieJar(RESPONDER).consume_reply(reply, START)  # nothing was sent from there
    parties.send(START, COVERED[:-1] + b"\x02")
    with pytest.raises(AuthenticationFailed):
        parties.jar.consume_reply(reply, START)  # to a message before the last
    parties.send(START)
    parties.jar.consume_reply(reply, START)
    with pytest.raises(AuthenticationFailed):
        parties.jar.consume_reply(reply, START)


def test_a_sealed_cookie_of_wrong_size_is_refused() -> None:
    """Sealed by someone who knows the public key, as anybody may: the size still has to be right."""
    parties = Parties()
    _, first, _ = parties.send(START)
    key = hashlib.blake2s(b"omni cookie" + RESPONDER).digest()
    sealed = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(b"short", first, bytes(24), key)
    with pytest.raises(AuthenticationFailed):
        parties.jar.consume_reply(CookieReply(7, bytes(24), sealed), START)


def test_repr_shows_no_secret() -> None:
    parties = Parties()
    parties.fetch_cookie(START)
    secret, cookie = parties.checker._secrets[0][1], parties.jar._cookie
    assert cookie is not None
    shown = f"{parties.checker!r}{parties.checker!s}{parties.jar!r}{parties.jar!s}"
    for hidden in (secret, cookie[1]):
        assert hidden.hex() not in shown
        assert repr(hidden) not in shown


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
