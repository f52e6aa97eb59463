"""The allow list of a cluster: the public keys that may register, one a line, with the name and VIP4 each must have.

    # comment
    T-8gb5i1wpLqkowohhDq9CCJGqGPmQt47fCdX7LRoFg name=robot-7 vip4=10.77.0.7/24   # comment

What is not given is free. A VIP4 is reserved for its key: others are refused with it, and no pool leases it to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Interface
from types import MappingProxyType

from omni_core.config.values import parse_name, parse_public_key, parse_vip4
from omni_core.crypto.identity import key_text
from omni_core.errors import ConfigError
from omni_core.signaling.leases import Lease
from omni_core.types import PublicKey

ENTRIES_MAX = 1_000_000
_FIELD = "allow_files"
_FORM = 'write "<public key> [name=robot-7] [vip4=10.77.0.7/24]"'


@dataclass(frozen=True)
class AllowedKey:
    key: PublicKey
    line: int  # in the file, from 1
    name: str = ""  # "": any
    vip4: IPv4Interface | None = None  # None: any that is free

    @property
    def lease(self) -> Lease | None:
        """The VIP4 that an edge without one of its own gets."""
        return None if self.vip4 is None else Lease(self.vip4.ip.packed, self.vip4.network.prefixlen)


@dataclass(frozen=True)
class AllowList:
    origin: str  # the file, for people
    keys: Mapping[PublicKey, AllowedKey] = field(default_factory=lambda: MappingProxyType({}))
    reserved: Mapping[bytes, AllowedKey] = field(default_factory=lambda: MappingProxyType({}))  # by VIP4, 4 bytes

    def __len__(self) -> int:
        return len(self.keys)


def parse_allow_list(text: str, origin: str, before: AllowList | None = None) -> AllowList:
    """Raises ConfigError with file, line, problem and fix. ``before``: its keys are not checked again, which takes
    0.2 ms each."""
    checked = {key_text(key): key for key in before.keys} if before is not None else {}
    keys: dict[PublicKey, AllowedKey] = {}
    reserved: dict[bytes, AllowedKey] = {}
    names: dict[str, AllowedKey] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        place = f"{origin}, line {number}"
        entry = _entry(words, number, place, checked)
        if entry.key in keys:
            raise ConfigError(
                _FIELD, f"{place}: this key is in line {keys[entry.key].line} already", "remove one of the two lines"
            )
        keys[entry.key] = entry
        if entry.name and names.setdefault(entry.name, entry) is not entry:
            raise ConfigError(
                _FIELD, f"{place}: {entry.name} is the name in line {names[entry.name].line} already",
                "give one of the two another name",
            )  # fmt: skip
        if entry.vip4 is not None and reserved.setdefault(entry.vip4.ip.packed, entry) is not entry:
            first = reserved[entry.vip4.ip.packed].line
            raise ConfigError(
                _FIELD, f"{place}: {entry.vip4.ip} is reserved in line {first} already",
                "give one of the two another vip4",
            )  # fmt: skip
        if len(keys) > ENTRIES_MAX:
            raise ConfigError(_FIELD, f"{origin} has more than {ENTRIES_MAX} keys", "use several clusters")
    return AllowList(origin, MappingProxyType(keys), MappingProxyType(reserved))


def _entry(words: list[str], number: int, place: str, checked: Mapping[str, PublicKey]) -> AllowedKey:
    try:
        key = checked.get(words[0]) or parse_public_key(words[0])
    except ValueError as error:
        raise ConfigError(_FIELD, f"{place}: {error}", f"{_FORM}, the key as omni keygen prints it") from None
    values: dict[str, str] = {}
    for word in words[1:]:
        option, equals, value = word.partition("=")
        if option not in ("name", "vip4") or not equals or option in values:
            problem = f"{option} is given twice" if option in values else f"{word[:60]!r} is not understood"
            raise ConfigError(_FIELD, f"{place}: {problem}", _FORM)
        values[option] = value
    try:
        name = parse_name(values["name"]) if "name" in values else ""
        vip4 = parse_vip4(values["vip4"]) if "vip4" in values else None
    except ValueError as error:
        raise ConfigError(_FIELD, f"{place}: {error}", _FORM) from None
    return AllowedKey(key, number, name, vip4)
