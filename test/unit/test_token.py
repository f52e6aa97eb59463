"""Join tokens: golden form, round trips, and each mistake named with its fix and without the secret."""

from __future__ import annotations

import random

import pytest

from omni_core.constants import DEFAULT_PORT
from omni_core.crypto.identity import Identity, key_text
from omni_core.crypto.token import SECRET_MAX, TOKEN_MAX, JoinToken
from omni_core.errors import ConfigError
from omni_core.types import Endpoint

KEY = Identity.from_seed(bytes(range(32))).public_key
K = key_text(KEY)
SECRET = "hunter2-and-more"
GOOD = f"omni://nucleus.example.org:51820/warehouse?nucleus-key={K}&secret={SECRET}"


def test_golden() -> None:
    token = JoinToken((Endpoint("nucleus.example.org", 51820),), "warehouse", (KEY,), SECRET.encode())
    assert token.format() == GOOD
    assert JoinToken.parse(GOOD) == token


@pytest.mark.parametrize(
    ("authority", "nucleus"),
    [
        ("192.0.2.1:7", [("192.0.2.1", 7)]),
        ("192.0.2.1", [("192.0.2.1", DEFAULT_PORT)]),
        ("[2001:db8::1]:7", [("2001:db8::1", 7)]),
        ("[2001:db8::1]", [("2001:db8::1", DEFAULT_PORT)]),
        ("localhost", [("localhost", DEFAULT_PORT)]),
        ("robot_1.local.:9", [("robot_1.local.", 9)]),
        ("a:1,[::1]:2,10.0.0.3", [("a", 1), ("::1", 2), ("10.0.0.3", DEFAULT_PORT)]),
    ],
)
def test_addresses(authority: str, nucleus: list[tuple[str, int]]) -> None:
    token = JoinToken.parse(f"omni://{authority}/c?nucleus-key={K}")
    assert list(token.nucleus) == nucleus
    assert token.secret is None
    assert JoinToken.parse(token.format()) == token


def test_nuclei_with_a_key_each() -> None:
    other = Identity.from_seed(bytes(32)).public_key
    token = JoinToken((Endpoint("a", 1), Endpoint("b", 2)), "c", (KEY, other))
    assert token.format() == f"omni://a:1,b:2/c?nucleus-key={K},{key_text(other)}"
    assert JoinToken.parse(token.format()) == token
    assert token.nuclei == ((("a", 1), KEY), (("b", 2), other))
    assert JoinToken.parse(f"omni://a:1,b:2/c?nucleus-key={K}").nuclei == ((("a", 1), KEY), (("b", 2), KEY))


def test_white_space_around_is_ignored() -> None:
    assert JoinToken.parse(f"  {GOOD}\n") == JoinToken.parse(GOOD)


def test_the_secret_may_come_first() -> None:
    assert JoinToken.parse(f"omni://h/c?secret=s&nucleus-key={K}").secret == b"s"


def test_any_secret_round_trips(seed: int) -> None:
    rng = random.Random(seed)
    secrets = [b"&=?/#%+ ", "pässwörd".encode(), b"\0\xff", b"a" * SECRET_MAX]
    secrets += [rng.randbytes(rng.randrange(1, SECRET_MAX)) for _ in range(200)]
    for secret in secrets:
        token = JoinToken((Endpoint("h", 1),), "c", (KEY,), secret)
        assert len(token.format()) <= TOKEN_MAX
        assert JoinToken.parse(token.format()) == token


BAD = {
    "empty": ("", "is empty", "omni token"),
    "blank": (" \n", "is empty", "omni token"),
    "other scheme": (GOOD.replace("omni://", "https://"), "does not begin with omni://", "omni token"),
    "scheme only": ("omni://", "names no cluster", "/cluster"),
    "too long": (GOOD + "a" * TOKEN_MAX, f"at most {TOKEN_MAX}", "omni token"),
    "line break inside": (GOOD.replace("?", "?\n"), "white space", "copy all of it"),
    "space inside": (GOOD.replace("secret=", "secret= "), "white space", "copy all of it"),
    "not ASCII": (GOOD.replace("warehouse", "warehäuse"), "special character", "copy all of it"),
    "no cluster": (f"omni://h?nucleus-key={K}", "names no cluster", "/cluster"),
    "cluster empty": (f"omni://h/?nucleus-key={K}", "names no cluster", "/cluster"),
    "cluster wrong": (f"omni://h/a/b?nucleus-key={K}", "cluster is not a name", "as the Nucleus has it"),
    "cluster escaped wrongly": (f"omni://h/a%2?nucleus-key={K}", "cluster has a '%'", "%25"),
    "cluster of odd bytes": (f"omni://h/%ff?nucleus-key={K}", "cluster is not a name", "as the Nucleus has it"),
    "host missing": (f"omni:///c?nucleus-key={K}", "host is missing", "host:port"),
    "second host missing": (f"omni://h,/c?nucleus-key={K}", "host is missing", "host:port"),
    "port 0": (f"omni://h:0/c?nucleus-key={K}", "port must be 1..65535", "host:port"),
    "port too big": (f"omni://h:65536/c?nucleus-key={K}", "port must be 1..65535", "host:port"),
    "port not a number": (f"omni://h:x/c?nucleus-key={K}", "port must be 1..65535", "host:port"),
    "IPv6 bare": (f"omni://2001:db8::1/c?nucleus-key={K}", "without brackets", "[IPv6]:port"),
    "IPv6 bracket open": (f"omni://[2001:db8::1/c?nucleus-key={K}", "[IPv6]", "[IPv6]:port"),
    "brackets around a name": (f"omni://[host]:1/c?nucleus-key={K}", "brackets around", "[IPv6]:port"),
    "IPv6 wrong": (f"omni://[2001:db8::1::2]:1/c?nucleus-key={K}", "neither an IP address nor a DNS name", "2001:db8"),
    "IPv4 wrong": (f"omni://300.0.0.1/c?nucleus-key={K}", "neither an IP address nor a DNS name", "192.0.2.1"),
    "DNS name wrong": (f"omni://-a.b/c?nucleus-key={K}", "neither an IP address nor a DNS name", "example.org"),
    "user in the address": (f"omni://me@h/c?nucleus-key={K}", "neither an IP address nor a DNS name", "example.org"),
    "no query": ("omni://h/c", "has no nucleus-key", "?nucleus-key="),
    "no key": ("omni://h/c?secret=s", "has no nucleus-key", "?nucleus-key="),
    "key empty": ("omni://h/c?nucleus-key=", "nucleus-key has 0 characters", "public key that the Nucleus prints"),
    "key cut": (
        f"omni://h/c?nucleus-key={K[:-1]}",
        "nucleus-key has 42 characters",
        "public key that the Nucleus prints",
    ),
    "key mistyped": (f"omni://h/c?nucleus-key={'A' * 43}", "nucleus-key is not a valid public key", "Nucleus prints"),
    "key with a wrong sign": (f"omni://h/c?nucleus-key=!{K[1:]}", "nucleus-key has a character", "Nucleus prints"),
    "key twice": (f"omni://h/c?nucleus-key={K}&nucleus-key={K}", "nucleus-key twice", "keep one"),
    "more keys than Nuclei": (f"omni://h/c?nucleus-key={K},{K}", "2 keys for one Nucleus", "in the same order"),
    "fewer keys than Nuclei": (f"omni://g,h,i/c?nucleus-key={K},{K}", "2 keys for 3 Nuclei", "in the same order"),
    "a Nucleus twice": (f"omni://h,h/c?nucleus-key={K}", "is there twice", "once"),
    "second key cut": (
        f"omni://g,h/c?nucleus-key={K},{K[:-1]}",
        "has 42 characters",
        "public key that the Nucleus prints",
    ),
    "secret twice": (GOOD + "&secret=x", "secret twice", "keep one"),
    "secret empty": (f"omni://h/c?nucleus-key={K}&secret=", "secret has 0 bytes", "leave '&secret=' away"),
    "secret too long": (f"omni://h/c?nucleus-key={K}&secret={'s' * 257}", "secret has 257 bytes", "1..256"),
    "secret with a bare %": (GOOD.replace(SECRET, SECRET + "%zz"), "secret has a '%'", "%25"),
    "secret with a bare &": (GOOD.replace(SECRET, "a&" + SECRET), "other than nucleus-key", "%26"),
    "unknown part": (GOOD + "&mtu=1400", "other than nucleus-key", "remove it"),
    "part without value": (GOOD + "&secret", "other than nucleus-key", "remove it"),
    "trailing &": (GOOD + "&", "other than nucleus-key", "remove it"),
}


@pytest.mark.parametrize(("text", "problem", "fix"), BAD.values(), ids=BAD.keys())
def test_mistakes_are_named_with_a_fix(text: str, problem: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        JoinToken.parse(text)
    assert caught.value.field == "token"
    assert problem in caught.value.problem
    assert fix in caught.value.fix
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_random_damage_is_a_config_error_or_a_token(seed: int) -> None:
    rng = random.Random(seed)
    fields = set()
    for _ in range(5000):
        damaged = list(GOOD)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] = chr(rng.randrange(1, 0x250))
        try:
            token = JoinToken.parse("".join(damaged))
        except ConfigError as error:
            fields.add(error.field)
        else:
            assert JoinToken.parse(token.format()) == token
    assert fields == {"token"}


@pytest.mark.parametrize(
    ("nucleus", "cluster", "secret"),
    [
        ((), "c", None),
        ((Endpoint("a b", 1),), "c", None),
        ((Endpoint("a", 1),), "a b", None),
        ((Endpoint("a", 1),), "c", b""),
    ],
    ids=["no Nucleus", "host", "cluster", "secret"],
)
def test_tokens_are_checked_when_made(nucleus: tuple[Endpoint, ...], cluster: str, secret: bytes | None) -> None:
    with pytest.raises(ConfigError):
        JoinToken(nucleus, cluster, (KEY,), secret)


def test_repr_hides_the_secret() -> None:
    token = JoinToken.parse(GOOD)
    for shown in (repr(token), str(token), f"{token}"):
        assert SECRET not in shown
        assert "warehouse" in shown
