"""What two Ganglia tell each other in the handshake, encrypted: name, VIP4, capabilities. A CBOR map, integer keys.

VIP6 and MAC are not sent: they follow from the public key, which the handshake proves.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from omni_core.drops import DropReason
from omni_core.errors import RemoteViolation
from omni_core.types import is_name
from omni_core.wire import cbor

CAPABILITY_BULK: Final = 1  # opens stream 1, which the sender's bulk lane seals on
CAPABILITY_GROUPS: Final = 2  # understands INTEREST and the SPDP messages of wire/inband.py
CAPABILITY_GOSSIP: Final = 4  # understands GOSSIP

_NAME, _VIP4, _CAPABILITIES = 1, 2, 3


@dataclass(frozen=True)
class Hello:
    name: str  # "": none
    vip4: IPv4Address | None
    capabilities: int = 0  # bit set; unknown bits are ignored

    @property
    def opens_bulk(self) -> bool:
        return bool(self.capabilities & CAPABILITY_BULK)


def encode_hello(hello: Hello) -> bytes:
    body: dict[int, cbor.Value] = {_NAME: hello.name, _CAPABILITIES: hello.capabilities}
    if hello.vip4 is not None:
        body[_VIP4] = hello.vip4.packed
    return cbor.encode(body)


def decode_hello(body: bytes) -> Hello:
    """Unknown keys are ignored: later versions add some. Raises RemoteViolation(BAD_PAYLOAD)."""
    fields = cbor.decode_map(body, DropReason.BAD_PAYLOAD)
    name, vip4, capabilities = fields.get(_NAME), fields.get(_VIP4), fields.get(_CAPABILITIES)
    if not isinstance(name, str) or (name and not is_name(name)):
        raise RemoteViolation(DropReason.BAD_PAYLOAD, "hello name")
    if vip4 is not None and not (isinstance(vip4, bytes) and len(vip4) == 4):
        raise RemoteViolation(DropReason.BAD_PAYLOAD, "hello vip4")
    if not isinstance(capabilities, int) or isinstance(capabilities, bool):
        raise RemoteViolation(DropReason.BAD_PAYLOAD, "hello capabilities")
    return Hello(name, IPv4Address(vip4) if vip4 else None, capabilities)
