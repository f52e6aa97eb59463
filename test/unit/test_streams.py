"""What a peer's Hello says about streams reaches the data plane: for new, rekeyed and adopted sessions."""

from __future__ import annotations

import dataclasses

import pytest
from support.ganglia import EPOCH_NS, Edge, Wire

from omni_core.dataplane.userspace import UserspaceDataPlane
from omni_core.engines.ganglion import GanglionEngine
from omni_core.types import PeerId
from omni_core.wire.hello import CAPABILITY_BULK, Hello, decode_hello, encode_hello


class Recorder(UserspaceDataPlane):
    """Remembers what it was told last of each peer."""

    def __init__(self, mac: bytes) -> None:
        super().__init__(mac)
        self.bulk: dict[PeerId, bool] = {}
        self.at_first_use: dict[PeerId, bool | None] = {}

    def set_streams(self, peer: PeerId, bulk: bool) -> None:
        self.bulk[peer] = bulk

    def use_session(self, receive_id: int) -> None:
        peer = self._sessions[receive_id].peer.id
        self.at_first_use.setdefault(peer, self.bulk.get(peer))
        super().use_session(receive_id)


def start_again(edge: Edge, plane: UserspaceDataPlane, **changes: object) -> None:
    edge.settings = dataclasses.replace(edge.settings, **changes)  # type: ignore[arg-type]
    edge.plane = plane
    edge.engine = GanglionEngine(
        edge.settings,
        edge.identity,
        plane,
        random=edge.rng.randbytes,
        unix_ns=lambda now: EPOCH_NS + int(now * 1e9),
    )


@pytest.fixture
def wire(seed: int) -> Wire:
    """Three edges that are about to connect. The third is of a version that knows of no streams."""
    wire = Wire(seed, 3)
    wire.know_each_other()
    for edge, capabilities in zip(wire.edges, (CAPABILITY_BULK, CAPABILITY_BULK | 1 << 40, 1 << 7), strict=True):
        start_again(edge, Recorder(edge.mac), capabilities=capabilities)
    return wire


def told(edge: Edge) -> list[bool | None]:
    """Of the others, in the order of the wire's edges."""
    assert isinstance(edge.plane, Recorder)
    peers = sorted(edge.engine.book, key=lambda peer: peer.name)
    return [edge.plane.bulk.get(peer.id) for peer in peers]


def test_every_ganglion_says_that_it_opens_stream_1(seed: int) -> None:
    wire = Wire(seed, 1)
    assert wire.edges[0].settings.capabilities & CAPABILITY_BULK


def test_bits_of_a_hello() -> None:
    for capabilities, bulk in ((0, False), (1, True), (2, False), (1 << 63 | 1, True)):
        assert decode_hello(encode_hello(Hello("a", None, capabilities))).opens_bulk is bulk


def test_a_new_session(wire: Wire) -> None:
    wire.start()
    wire.advance(8)
    a, b, c = wire.edges
    assert [told(a), told(b), told(c)] == [[True, False], [True, False], [True, True]]
    assert isinstance(a.plane, Recorder)
    assert None not in a.plane.at_first_use.values(), "known before the first frame is sealed"


def test_another_version_after_a_restart(wire: Wire) -> None:
    wire.start()
    wire.advance(8)
    a, b, c = wire.edges
    for edge, capabilities in ((b, 0), (c, CAPABILITY_BULK)):
        edge.online = False
        start_again(edge, Recorder(edge.mac), capabilities=capabilities)
        edge.online = True
        edge.engine.start(wire.now)
    wire.advance(30)
    assert told(a) == [False, True]


def test_an_adopted_session(wire: Wire) -> None:
    """By its note: the peer says nothing until the next rekey."""
    wire.start()
    wire.advance(8)
    a = wire.edges[0]
    assert isinstance(a.plane, Recorder)
    a.plane.bulk.clear()
    start_again(a, a.plane)
    a.engine.start(wire.now)
    assert told(a) == [True, False]
    start_again(a, a.plane)  # the note that the second one wrote
    wire.advance(1)
    a.engine.start(wire.now)
    assert told(a) == [True, False]
