"""The key file's text: golden form, and every way of corrupting it, each named without showing the secret."""

from __future__ import annotations

import random

import pytest

from omni_core.crypto.identity import Identity, decode_key_file, encode_key_file, key_text
from omni_core.errors import ConfigError, LocalMisuse

SEED, OTHER_SEED = bytes(range(32)), bytes(range(1, 33))
SECRET, OTHER_SECRET = key_text(SEED), key_text(OTHER_SEED)
PUBLIC = key_text(Identity.from_seed(SEED).public_key)
TITLE = "omni_ros2 identity 1"
GOOD = f"{TITLE}\npublic = {PUBLIC}\nsecret = {SECRET}\n"


def test_golden() -> None:
    assert encode_key_file(Identity.from_seed(SEED)) == GOOD
    assert GOOD == (
        "omni_ros2 identity 1\n"
        "public = A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg\n"
        "secret = AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n"
    )


def test_round_trip(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(50):
        identity = Identity.generate(rng.randbytes)
        again = decode_key_file(encode_key_file(identity))
        assert again.public_key == identity.public_key
        assert again.exchange_private == identity.exchange_private


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("\n", "\r\n"),
        GOOD.rstrip("\n"),
        "\n" + GOOD.replace("\n", "\n\n"),
        f"  {TITLE}  \npublic={PUBLIC}\n\tsecret =  {SECRET} \n",
        f"{TITLE}\nsecret = {SECRET}\npublic = {PUBLIC}\n",
    ],
    ids=["CRLF", "no final newline", "empty lines", "other spaces", "other order"],
)
def test_harmless_differences_are_accepted(text: str) -> None:
    assert key_text(decode_key_file(text).public_key) == PUBLIC


CORRUPT = {
    "empty": ("", "is empty"),
    "white space": (" \n\t\n", "is empty"),
    "zero bytes after a power cut": ("\0" * len(GOOD), "does not begin with"),
    "other title": (GOOD.replace("identity 1", "identity 2"), "does not begin with"),
    "no title": (GOOD.split("\n", 1)[1], "does not begin with"),
    "a PEM file": ("-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----\n", "does not begin with"),
    "title only": (TITLE + "\n", "has no line 'public"),
    "no secret": (GOOD.replace(f"secret = {SECRET}\n", ""), "has no line 'secret"),
    "no public": (GOOD.replace(f"public = {PUBLIC}\n", ""), "has no line 'public"),
    "cut off": (GOOD[:-10], "'secret' has 34 characters instead of 43"),
    "secret empty": (GOOD.replace(SECRET, ""), "'secret' has 0 characters instead of 43"),
    "secret too long": (GOOD.replace(SECRET, SECRET + "A"), "'secret' has 44 characters instead of 43"),
    "secret not base64": (GOOD.replace(SECRET, "*" + SECRET[1:]), "'secret' has a character that is not a letter"),
    "secret not ASCII": (GOOD.replace(SECRET, "\u00e4" + SECRET[1:]), "'secret' has a character that is not a letter"),
    "secret not canonical": (GOOD.replace(SECRET, SECRET[:-1] + "9"), "'secret' is not in canonical base64 form"),
    "secret of another": (GOOD.replace(SECRET, OTHER_SECRET), "'secret' does not belong to 'public'"),
    "one character changed": (GOOD.replace(SECRET, "B" + SECRET[1:]), "'secret' does not belong to 'public'"),
    "public changed": (GOOD.replace(PUBLIC, "B" + PUBLIC[1:]), "'secret' does not belong to 'public'"),
    "secret twice": (GOOD + f"secret = {SECRET}\n", "has 'secret' twice"),
    "public twice": (GOOD + f"public = {PUBLIC}\n", "has 'public' twice"),
    "unknown line": (GOOD + "comment = none\n", "line 4 is neither"),
    "line without =": (GOOD.replace("secret =", "secret"), "line 3 is neither"),
}


@pytest.mark.parametrize(("text", "problem"), CORRUPT.values(), ids=CORRUPT.keys())
def test_corruption_is_named_with_a_fix(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        decode_key_file(text)
    assert caught.value.field == "key_file"
    assert problem in caught.value.problem
    assert "omni keygen" in caught.value.fix
    for secret in (SECRET, OTHER_SECRET, SECRET[1:], SECRET[:-10]):
        assert secret not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_random_damage_never_yields_another_identity(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(2000):
        damaged = list(GOOD)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] = chr(rng.randrange(256))
        try:
            identity = decode_key_file("".join(damaged))
        except ConfigError:
            continue
        assert key_text(identity.public_key) == PUBLIC  # the damage hit white space


def test_a_wiped_identity_is_not_written() -> None:
    identity = Identity.from_seed(SEED)
    identity.wipe()
    with pytest.raises(LocalMisuse):
        encode_key_file(identity)
