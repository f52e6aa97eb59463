"""Tests of the programs as tables: what goes in, and everything that must come of it."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from support.outer import packet
from support.planes import frame, key_pair, seal
from support.synapse import HERE_4, HERE_6, PORT, Rig, Verdict

from omni_core.crypto.aead import Aead
from omni_core.dataplane.port import SessionKeys
from omni_core.io.synapse import abi
from omni_core.types import Endpoint, Mac, PeerId

OWN: Mac = bytes.fromhex("020000000001")  # pinned to the local port
FRIEND: Mac = bytes.fromhex("020000000007")  # pinned to peer FOUR
SIXTH: Mac = bytes.fromhex("020000000008")  # pinned to peer SIX
SILENT: Mac = bytes.fromhex("020000000009")  # pinned to peer NOBODY
STRANGER: Mac = bytes.fromhex("0200000000ff")

FOUR, SIX, NOBODY = 7, 8, 9  # peers: over IPv4, over IPv6, without a session
AT = {FOUR: Endpoint("192.0.2.7", 7007), SIX: Endpoint("2001:db8::8", 8008)}
ME_4, ME_6 = Endpoint(HERE_4, PORT), Endpoint(HERE_6, PORT)
DATA = frame(OWN, FRIEND)


class World:
    """This host and its peers FOUR and SIX, each with one session in use both ways; NOBODY has none."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.rig, self.plane = rig, rig.plane
        self.draw = random.Random(seed)
        self.now = time.monotonic()
        self.here: dict[PeerId, SessionKeys] = {}
        self.there: dict[PeerId, SessionKeys] = {}
        for peer, mac in ((FOUR, FRIEND), (SIX, SIXTH)):
            self.here[peer], self.there[peer] = key_pair(self.draw, peer)
            self.plane.add_session(self.here[peer], self.now)
            self.plane.use_session(self.here[peer].receive_id)
            self.plane.set_path(peer, AT[peer])
            self.plane.set_static(mac, peer)
        self.plane.set_static(SILENT, NOBODY)

    def sealed(
        self,
        inner: bytes = DATA,
        sequence: int = 0,
        peer: PeerId = FOUR,
        *,
        nonce: int | None = None,
        source: Endpoint | None = None,
        destination: Endpoint | None = None,
        cut: int | None = None,
        **outer: Any,
    ) -> bytes:
        """A packet of the underlay with ``inner``, sealed by the peer. ``cut``: bytes of the UDP payload that stay."""
        payload = seal(self.there[peer], sequence, sequence if nonce is None else nonce, inner)
        here = destination or (ME_6 if peer == SIX else ME_4)
        return packet(payload[:cut], source or AT[peer], here, **outer)

    def sealer(self, inner: bytes = DATA, peer: PeerId = FOUR) -> Callable[[int], bytes]:
        """``sealed(inner, sequence)``, fast: for tests with thousands of packets over IPv4. No UDP checksum."""
        head = self.sealed(inner, checksum=False)[: 14 + 20 + 8]
        send_id = self.there[peer].send_id.to_bytes(8, "little")
        aead = Aead(self.there[peer].send_key)

        def make(sequence: int) -> bytes:
            header = send_id + 2 * sequence.to_bytes(8, "little")
            return head + header + aead.seal(sequence, inner, header)

        return make

    def expected(self, inner: bytes, sequence: int = 0, peer: PeerId = FOUR) -> bytes:
        """What synapse_tx must make of ``inner``, to the last byte."""
        payload = seal(self.here[peer], sequence, sequence, inner)
        mark = self.rig.mark() + bytes(2) + (3).to_bytes(4, "little")
        return packet(payload, ME_6 if peer == SIX else ME_4, AT[peer], ethernet=mark, checksum=peer == SIX)


def prefix(
    kind: abi.SlowKind,
    peer: PeerId = 0,
    receive_id: int = 0,
    endpoint: Endpoint | None = None,
    slots: Iterable[int] = (),
) -> bytes:
    """struct slow_prefix, field by field. ``slots``: in the flood set, of the peers that get a group frame."""
    bits = sum(1 << slot for slot in slots).to_bytes(16, "little")
    address, port = (bits, 0) if endpoint is None else (abi.pack_address(endpoint.host), endpoint.port)
    ends = peer.to_bytes(4, "little") + port.to_bytes(2, "big") + bytes(2) + receive_id.to_bytes(8, "little")
    return bytes.fromhex("026f6d6e6901 000000000000 88b6") + bytes([kind, 0]) + ends + address


@dataclass
class Row:
    """``make`` gives the packet; ``prepare`` comes before. ``after``: None where the packet was dropped, and what is
    left of it is of no interest. ``ways``: counters that moved, each by one unless a Counter says otherwise.
    ``quiet``: no map may have changed. ``events``: made of the world, compared in order. ``gso``: see Rig.run."""

    what: str
    make: Callable[[World], bytes]
    code: int
    ways: list[int]
    after: Callable[[World], bytes] | None = None
    prepare: Callable[[World], object] = lambda world: None
    events: Callable[[World], list[object]] = lambda world: []
    quiet: bool = True
    program: str = "rx"
    from_tap: bool = False
    gso: int = 0
    check: Callable[[World], None] = field(default=lambda world: None)

    def run(self, world: World) -> None:
        rig = world.rig
        self.prepare(world)
        rig.plane.read_events(world.now)
        rig.plane.take_events()
        sent = self.make(world)
        ways, maps = rig.ways(), rig.snapshot()
        verdict: Verdict = rig.run_from_tap(sent) if self.from_tap else rig.run(self.program, sent, self.gso)
        assert rig.ways() - ways == Counter(self.ways)
        assert verdict.code == self.code
        if self.after is not None:
            assert verdict.data.hex() == self.after(world).hex()
        rig.plane.read_events(world.now)
        assert rig.plane.take_events() == self.events(world)
        if self.quiet:
            now = rig.snapshot()
            assert [name for name in maps if now[name] != maps[name]] == [], "maps that changed"
        self.check(world)
