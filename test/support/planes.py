"""Two data planes back to back, and a digest of a plane's whole state. For tests of the data plane."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from omni_core.constants import FIRST_DATA_BYTE
from omni_core.crypto.aead import Aead
from omni_core.dataplane.port import Datagram, DataPlane, SessionKeys
from omni_core.dataplane.userspace import UserspaceDataPlane
from omni_core.drops import DropCounters
from omni_core.types import Endpoint, Mac, PeerId

MAC_A: Mac = bytes.fromhex("02000000000a")
MAC_B: Mac = bytes.fromhex("02000000000b")
AT_A, AT_B = Endpoint("192.0.2.1", 51820), Endpoint("192.0.2.2", 51820)
PEER_B, PEER_A = 2, 1  # what A calls B, and what B calls A


def session_id(draw: random.Random) -> int:
    return int.from_bytes(bytes([draw.randrange(FIRST_DATA_BYTE, 256)]) + draw.randbytes(7), "little")


def key_pair(draw: random.Random, first: PeerId = PEER_B, second: PeerId = PEER_A) -> tuple[SessionKeys, SessionKeys]:
    """The keys of one session as its two ends hold them, and what each calls the other."""
    there, back = session_id(draw), session_id(draw)
    key_there, key_back = draw.randbytes(32), draw.randbytes(32)
    return (
        SessionKeys(first, there, back, bytearray(key_there), bytearray(key_back)),
        SessionKeys(second, back, there, bytearray(key_back), bytearray(key_there)),
    )


def frame(destination: Mac, source: Mac, ethertype: int = 0x0800, size: int = 60, tag: bytes = b"") -> bytes:
    head = destination + source + tag + ethertype.to_bytes(2, "big")
    return head + bytes(i & 0xFF for i in range(size - len(head)))


def seal(keys: SessionKeys, sequence: int, nonce: int, inner: bytes) -> bytes:
    """A packet to whoever receives with ``keys.send_id``, with any header."""
    header = b"".join(each.to_bytes(8, "little") for each in (keys.send_id, sequence, nonce))
    return header + Aead(keys.send_key).seal(nonce, inner, header)


class Pair:
    """A and B with one session in use both ways; each knows the other's path, floods to it, and has its MAC pinned."""

    def __init__(
        self, draw: random.Random, now: float = 100.0, a: DataPlane | None = None, b: DataPlane | None = None
    ) -> None:
        """``a``, ``b``: other engines than the python one, new, each with its MAC pinned to the local port."""
        self.draw = draw
        self.now = now
        self.a: Any = a or UserspaceDataPlane(MAC_A)  # tests of the python engine look inside it
        self.b: Any = b or UserspaceDataPlane(MAC_B)
        for plane, peer, mac, endpoint in ((self.a, PEER_B, MAC_B, AT_B), (self.b, PEER_A, MAC_A, AT_A)):
            plane.set_path(peer, endpoint)
            plane.set_flood([peer])
            plane.set_static(mac, peer)
        self.keys_a, self.keys_b = self.add_session()
        self.use(self.keys_a, self.keys_b)

    def add_session(self) -> tuple[SessionKeys, SessionKeys]:
        keys_a, keys_b = key_pair(self.draw)
        self.a.add_session(keys_a, self.now)
        self.b.add_session(keys_b, self.now)
        return keys_a, keys_b

    def use(self, keys_a: SessionKeys, keys_b: SessionKeys) -> None:
        self.a.use_session(keys_a.receive_id)
        self.b.use_session(keys_b.receive_id)

    def sealed_by_a(self, frames: Sequence[bytes]) -> list[bytes]:
        self.a.frames_from_port(frames, self.now)
        return [packet for packet, _ in self.a.take_datagrams()]

    def sealed_by_b(self, frames: Sequence[bytes]) -> list[bytes]:
        self.b.frames_from_port(frames, self.now)
        return [packet for packet, _ in self.b.take_datagrams()]

    def into_b(self, packets: Sequence[bytes], source: tuple[str, int] = AT_A) -> list[bytes]:
        """What B's local port gets. Also checks what holds for every datagram: B sends nothing because of it."""
        arrivals: list[Datagram] = [(packet, source) for packet in packets]
        self.b.datagrams_from_underlay(arrivals, self.now)
        assert self.b.take_datagrams() == []
        return self.b.take_frames()

    def into_a(self, packets: Sequence[bytes], source: tuple[str, int] = AT_B) -> list[bytes]:
        self.a.datagrams_from_underlay([(packet, source) for packet in packets], self.now)
        assert self.a.take_datagrams() == []
        return self.a.take_frames()


def digest(thing: object) -> object:
    """Everything that an object holds, however deep, as plain comparable values; without drop counters and ciphers."""
    return _digest(thing, set())


def _digest(thing: Any, seen: set[int]) -> object:
    if thing is None or isinstance(thing, (bool, int, float, str, bytes)):
        return thing
    if isinstance(thing, (DropCounters, Aead)):
        return type(thing).__name__
    if id(thing) in seen:
        return "seen above"
    seen.add(id(thing))
    if isinstance(thing, dict):  # in order: the order of an FDB's entries is state
        return tuple((_digest(key, seen), _digest(value, seen)) for key, value in thing.items())
    if isinstance(thing, frozenset):
        return tuple(sorted(map(repr, thing)))
    if isinstance(thing, (list, tuple)):
        return tuple(_digest(each, seen) for each in thing)
    names = list(getattr(thing, "__dict__", ())) + [s for c in type(thing).__mro__ for s in getattr(c, "__slots__", ())]
    assert names, f"no idea how to digest {type(thing)}"
    return tuple((name, _digest(getattr(thing, name), seen)) for name in names)
