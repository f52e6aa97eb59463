"""What an authentic and hostile peer can say by gossip: any bytes get an answer, tables stay within their bounds,
and what was known of a peer changes only by the peer's own newer record. Checked against a naive model."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from support.ganglia import Wire

from omni_core.constants import (
    HINT_HOLD,
    HINTS_MAX,
    HINTS_PER_TELLER,
    ORPHANED_AFTER,
    STRANGERS_MAX,
    TOMBSTONE_TIME,
    TOMBSTONES_MAX,
)
from omni_core.crypto.identity import Identity
from omni_core.crypto.record import signed
from omni_core.engines.departed import Departed
from omni_core.engines.hints import Hints
from omni_core.engines.settings import NucleusSettings
from omni_core.errors import RemoteViolation
from omni_core.types import Endpoint
from omni_core.wire.gossip import (
    AGE_END,
    ENDPOINTS_MAX,
    ENTRIES_MAX,
    RECORD_END,
    WANTED_MAX,
    GossipEntry,
    GossipMessage,
    decode_gossip,
    encode_gossip,
)
from omni_core.wire.inband import ControlKind

packed = st.one_of(st.binary(min_size=6, max_size=6), st.binary(min_size=18, max_size=18))
entries = st.builds(
    GossipEntry,
    st.binary(max_size=RECORD_END - 1),
    st.lists(packed, max_size=ENDPOINTS_MAX).map(tuple),
    st.integers(0, AGE_END - 1),
)
messages = st.builds(
    GossipMessage,
    st.lists(entries, max_size=ENTRIES_MAX).map(tuple),
    st.lists(st.binary(min_size=32, max_size=32), max_size=WANTED_MAX).map(tuple),
    st.booleans(),
)


@given(messages)
@settings(max_examples=200, deadline=None)
def test_round_trip(message: GossipMessage) -> None:
    assert decode_gossip(encode_gossip(message)) == message


@given(st.one_of(st.binary(max_size=100), messages.map(encode_gossip)), st.integers(0, 1 << 16), st.integers(0, 255))
@settings(max_examples=500, deadline=None)
def test_total(body: bytes, at: int, flip: int) -> None:
    broken = bytearray(body)
    if broken:
        broken[at % len(broken)] ^= flip
    try:
        message = decode_gossip(bytes(broken))
    except RemoteViolation:
        return
    assert decode_gossip(encode_gossip(message)) == message


@given(st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(1, 6), max_size=4), st.floats(0, 30)), max_size=40))
@settings(max_examples=200, deadline=None)
def test_hints_against_a_model(said: list[tuple[int, list[int], float]]) -> None:
    """The latest word of each teller, the latest first; a teller is heard once per HINT_HOLD."""
    hints, model, now = Hints(), [], 0.0
    for number, ports, later in said:
        now += later
        teller, places = bytes([number]), [Endpoint("h", port) for port in dict.fromkeys(ports)]
        new = hints.take(places, teller, now, now)
        mine = [row for row in model if row[1] == teller]
        if mine and now - mine[0][2] < HINT_HOLD:
            assert not new
        else:
            told = [(place, teller, now) for place in places[:HINTS_PER_TELLER]]
            rest = [row for row in model if row[1] != teller and row[0] not in places[:HINTS_PER_TELLER]]
            assert new == any(place not in [row[0] for row in model] for place, _, _ in told)
            model = (told + rest)[:HINTS_MAX]
        assert [h.endpoint for h in hints._hints] == [row[0] for row in model]
        assert len(hints.endpoints(now)) <= HINTS_MAX


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.floats(0, TOMBSTONE_TIME / 3), st.booleans())))
@settings(max_examples=200, deadline=None)
def test_tombstones_against_a_model(steps: list[tuple[int, int, float, bool]]) -> None:
    departed, model, now = Departed(), {}, 0.0
    for number, version, later, back in steps:
        now += later
        key = bytes([number])
        if back:
            departed.clear(key)
            model.pop(key, None)
        else:
            departed.mark(key, version, now)
            before, since = model.get(key, (0, now))
            model[key] = max(version, before if now - since < TOMBSTONE_TIME else 0), now
        for other, (highest, since) in model.items():
            fresh = now - since < TOMBSTONE_TIME
            assert departed.has(other, now) == fresh
            assert departed.holds(other, highest, now) == fresh
            assert not departed.holds(other, highest + 1, now)
    for n in range(2 * TOMBSTONES_MAX):
        departed.mark(n.to_bytes(4, "big"), 1, now)
    assert len(departed) <= TOMBSTONES_MAX


@given(st.integers(0, 1 << 32), st.lists(st.tuples(st.integers(0, 7), st.integers(-3, 3), messages), max_size=12))
@settings(max_examples=25, deadline=None)
def test_an_insider_changes_nothing_but_hints(seed: int, steps: list[tuple[int, int, GossipMessage]]) -> None:
    rng = random.Random(f"others {seed}")
    wire = Wire(seed, 3)
    wire.know_each_other()
    nobody = NucleusSettings(Identity.generate(rng.randbytes).public_key, (Endpoint("10.9.9.9", 1),))
    for edge in wire.edges:
        edge.configure(nuclei=(nobody,))
    wire.start()
    for _ in range(int(ORPHANED_AFTER) + 3):
        wire.advance(1.0)
    liar, victim, honest = wire.edges
    assert victim.engine.peering.orphaned
    peer = victim.engine.book.get(honest.key)
    assert peer is not None and peer.record is not None, "its own word has come"
    version, path, mac = peer.record_version, peer.path, peer.mac
    newest = peer.record
    for kind, later, message in steps:
        identity = (honest.identity, Identity.generate(rng.randbytes), victim.identity)[kind % 3]
        record = signed(identity, "c" if kind < 6 else "other", version=max(0, version + later), name=f"n{kind}")
        if kind % 3 == 0 and kind < 6 and version + later > newest.version:
            newest = victim.engine.gossip._hearsay._open(record) or newest  # type: ignore[union-attr]
        told = GossipMessage((*message.entries[:6], GossipEntry(record, (b"\x0a\x63\0\1\1\1",), 0)), message.wanted)
        target = liar.engine.book.get(victim.key)
        assert target is not None
        liar.engine.link.send(target, ControlKind.GOSSIP, wire.now, 0, encode_gossip(told))
        liar.engine._pump(wire.now)
        wire.advance(0.2)
        assert (peer.record, peer.record_version) == (newest, newest.version)
        assert (peer.path, peer.mac) == (path, mac)
        assert victim.engine.book.get(victim.key) is None
        assert sum(each.stranger for each in victim.engine.book) <= STRANGERS_MAX
        assert all(len(each.hints.endpoints(wire.now)) <= HINTS_MAX for each in victim.engine.book)
