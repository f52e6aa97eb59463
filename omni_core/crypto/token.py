"""The join token: all that a robot needs to find its cluster and to be let in.

    omni://host:port[,host:port...]/cluster?nucleus-key=<43 characters>[,...][&secret=<percent-encoded>]

Several Nuclei, the preferred one first, share one key, or have one each in the same order. A host is an IPv4 address,
an IPv6 address in brackets or a DNS name (all its addresses are of one Nucleus); without a port it is DEFAULT_PORT. The
secret makes the token itself secret: no message and no ``repr`` repeats it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes

from omni_core.constants import DEFAULT_PORT
from omni_core.crypto.identity import key_text, parse_key_text
from omni_core.errors import ConfigError
from omni_core.types import Endpoint, NucleusPlace, PublicKey, is_host, is_name, nucleus_places

SCHEME = "omni://"
TOKEN_MAX = 2048  # characters
SECRET_MAX = 256  # bytes

_KEY, _SECRET = "nucleus-key", "secret"
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_KEYS_FIX = "name each Nucleus once, with one public key for all of them, or one each in the same order"
_AGAIN = "make a new token with `omni token`, and copy all of it"


@dataclass(frozen=True)
class JoinToken:
    nucleus: tuple[Endpoint, ...]  # at least one; hosts as written, DNS names unresolved
    cluster: str
    nucleus_keys: tuple[PublicKey, ...]  # one for all of them, or one each
    secret: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Raises ConfigError("token", ...) when a value is not one that a token can carry."""
        if not self.nucleus:
            raise _error("has no Nucleus", "put host:port of the Nucleus behind omni://")
        for endpoint in self.nucleus:
            _check_host(endpoint.host)
        try:
            nucleus_places(self.nucleus, self.nucleus_keys)
        except ValueError as error:
            raise _error(str(error), _KEYS_FIX) from None
        if not is_name(self.cluster):
            raise _error(
                "the cluster is not a name (1..63 of letters, digits, '.', '_' and '-')",
                "write the cluster's name behind the '/', as the Nucleus has it",
            )
        if self.secret is not None and not 1 <= len(self.secret) <= SECRET_MAX:
            raise _error(
                f"secret has {len(self.secret)} bytes",
                f"give a secret of 1..{SECRET_MAX} bytes, or leave '&secret=' away for a cluster without one",
            )

    @property
    def nuclei(self) -> tuple[NucleusPlace, ...]:
        return nucleus_places(self.nucleus, self.nucleus_keys)

    @classmethod
    def parse(cls, text: str) -> JoinToken:
        """White space around is ignored. Raises ConfigError("token", ...): which part, what is wrong, what to do."""
        text = text.strip()
        if not text:
            raise _error("is empty", _AGAIN)
        if len(text) > TOKEN_MAX:
            raise _error(f"has {len(text)} characters, at most {TOKEN_MAX} are possible", _AGAIN)
        if not text.isascii() or not text.isprintable() or " " in text:
            raise _error("has white space or a special character inside", _AGAIN)
        if not text.startswith(SCHEME):
            raise _error(f"does not begin with {SCHEME}", _AGAIN)
        address, question, query = text[len(SCHEME) :].partition("?")
        authority, slash, cluster = address.partition("/")
        if not slash or not cluster:
            raise _error("names no cluster", "write /cluster behind the Nucleus's host:port")
        fields = _fields(query) if question else {}
        if _KEY not in fields:
            raise _error(f"has no {_KEY}", f"add ?{_KEY}= with the public key that the Nucleus prints at its start")
        try:
            keys = tuple(parse_key_text(part) for part in fields[_KEY].split(","))
        except ValueError as error:
            raise _error(f"{_KEY} {error}", "copy the public key that the Nucleus prints at its start") from None
        return cls(
            nucleus=tuple(_endpoint(part) for part in authority.split(",")),
            cluster=_unquote("cluster", cluster).decode("utf-8", "replace"),
            nucleus_keys=keys,
            secret=_unquote(_SECRET, fields[_SECRET]) if _SECRET in fields else None,
        )

    def format(self) -> str:
        """Inverse of ``parse``, with the secret in it. On purpose not ``str``, which ends up in logs."""
        secret = "" if self.secret is None else f"&{_SECRET}={quote(self.secret, safe='')}"
        authority = ",".join(str(endpoint) for endpoint in self.nucleus)
        keys = ",".join(map(key_text, self.nucleus_keys))
        return f"{SCHEME}{authority}/{self.cluster}?{_KEY}={keys}{secret}"


def _fields(query: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        if name not in (_KEY, _SECRET) or not equals:  # not repeated: it may be the rest of an unquoted secret
            raise _error(
                f"has something other than {_KEY}=... and {_SECRET}=... behind the '?'",
                f"remove it; if it belongs to the secret, write '&' as %26, or {_AGAIN}",
            )
        if name in fields:
            raise _error(f"has {name} twice", f"keep one {name}")
        fields[name] = value
    return fields


def _unquote(part: str, text: str) -> bytes:
    if _BAD_PERCENT.search(text):
        raise _error(f"{part} has a '%' without two hexadecimal digits", "write '%' itself as %25")
    return unquote_to_bytes(text)


def _endpoint(text: str) -> Endpoint:
    fix = "write host:port, [IPv6]:port or a host alone, several with ',' between"
    if not text.startswith("[") and text.count(":") > 1:
        raise _error(f"the Nucleus {text!r} is an IPv6 address without brackets", fix)
    try:
        endpoint = Endpoint.parse(text, DEFAULT_PORT)
    except ValueError as error:
        raise _error(f"the Nucleus {error}", fix) from None
    if text.startswith("[") and ":" not in endpoint.host:
        raise _error(f"the Nucleus {text!r} has brackets around something that is no IPv6 address", fix)
    return endpoint


def _check_host(host: str) -> None:
    if not is_host(host):
        raise _error(
            f"the Nucleus's host {host!r} is neither an IP address nor a DNS name",
            "write an address such as 192.0.2.1 or [2001:db8::1], or a name such as nucleus.example.org",
        )


def _error(problem: str, fix: str) -> ConfigError:
    return ConfigError("token", problem, fix)
