"""What became of every packet: a short memory to print when a test fails, and a digest of all of it."""

from __future__ import annotations

import zlib
from collections import Counter, deque
from hashlib import blake2b
from typing import NamedTuple

from omni_core.constants import FIRST_DATA_BYTE
from omni_core.wire.control import ControlType

DELIVERED = "delivered"
KEPT = 2000  # packets remembered

_TYPE_NAMES = {int(kind): kind.name.lower().replace("_", " ") for kind in ControlType}


def packet_type(data: bytes) -> str:
    if not data:
        return "empty"
    if data[0] >= FIRST_DATA_BYTE:
        return "data"
    return _TYPE_NAMES.get(data[0], f"unknown {data[0]:#04x}")


class Fate(NamedTuple):
    """One copy of one packet at its end. Addresses are those on the wire where it ended."""

    sent: float
    ended: float
    source: str  # host name
    source_address: tuple[str, int]
    target: str  # host or NAT name; "" if it never got near one
    target_address: tuple[str, int]
    type: str
    size: int
    verdict: str

    def __str__(self) -> str:
        source = f"{self.source} ({self.source_address[0]}:{self.source_address[1]})"
        target = f"{self.target or '?'} ({self.target_address[0]}:{self.target_address[1]})"
        took = f"{1000 * (self.ended - self.sent):8.3f} ms"
        return f"{self.sent:12.6f} {took}  {source} -> {target}  {self.type} {self.size} B: {self.verdict}"


class Trace:
    def __init__(self, kept: int = KEPT) -> None:
        self.fates: deque[Fate] = deque(maxlen=kept)
        self.verdicts: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()  # packets by type
        self.delivered_bytes = 0
        self._digest = blake2b(digest_size=16)

    def add(self, fate: Fate, data: bytes) -> None:
        self.fates.append(fate)
        self.verdicts[fate.verdict] += 1
        if fate.verdict == DELIVERED:
            self.delivered[fate.type] += 1
            self.delivered_bytes += fate.size
        self._digest.update(b"%r %d\n" % (fate, zlib.crc32(data)))

    def digest(self) -> str:
        """Of every packet so far: when, from where, to where, its bytes, its fate."""
        return self._digest.hexdigest()

    def dump(self, last: int = 60) -> str:
        fates = list(self.fates)[-last:]
        lines = [f"last {len(fates)} of {sum(self.verdicts.values())} packets; {dict(self.verdicts)}"]
        return "\n".join(lines + [str(fate) for fate in fates])
