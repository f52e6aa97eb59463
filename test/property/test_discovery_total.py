"""What a peer that is authentic and hostile can say of groups and participants: any bytes get an answer, and tables
stay within their bounds."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from support import announcements as captured
from support.announcing import Speaker
from support.ganglia import Wire

from omni_core.dataplane.groups import targets
from omni_core.engines.discovery.tables import REMOTE_MAX
from omni_core.errors import RemoteViolation
from omni_core.wire.inband import NAME_SIZE, ControlKind, decode_control, encode_control, split_names
from omni_core.wire.interest import DOMAIN_END, DOMAINS_MAX, GROUPS_MAX, Interest, decode_interest, encode_interest
from omni_core.wire.listening import listening_from
from omni_core.wire.rtps import LEASE_MAX, LEASE_MIN, parse_announcement

MAC = bytes.fromhex("021122334455")
FRAMES = [getattr(captured, name) for name in dir(captured) if name.isupper()]
FRAMES += [Speaker().says(), Speaker().says(ends=True), Speaker().says(big=True, vlan=3, group="ff15::7f00:1")]

groups = st.frozensets(st.binary(min_size=6, max_size=6).map(lambda m: bytes([m[0] | 1]) + m[1:]), max_size=GROUPS_MAX)
domains = st.frozensets(st.integers(0, DOMAIN_END - 1), max_size=DOMAINS_MAX)


@given(st.builds(Interest, st.none() | groups, st.none() | domains, st.booleans()))
@settings(max_examples=100, deadline=None)
def test_interest_round_trip(interest: Interest) -> None:
    assert decode_interest(encode_interest(interest)) == interest


@given(st.binary(max_size=80))
@settings(max_examples=500, deadline=None)
def test_interest_and_names_are_total(body: bytes) -> None:
    try:
        interest = decode_interest(body)
        assert interest.domains is None or all(0 <= domain < DOMAIN_END for domain in interest.domains)
    except RemoteViolation:
        pass
    try:
        assert all(len(name) == NAME_SIZE for name in split_names(body))
    except RemoteViolation:
        assert len(body) % NAME_SIZE


@given(st.sampled_from(ControlKind), st.binary(min_size=6, max_size=200))
@settings(max_examples=500, deadline=None)
def test_control_is_total(kind: ControlKind, rest: bytes) -> None:
    frame = encode_control(kind, MAC)[:15] + bytes([kind]) + rest
    try:
        message = decode_control(frame)
    except RemoteViolation:
        return
    assert message.kind is kind and len(message.body) <= len(rest)


@given(st.sampled_from(FRAMES), st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), max_size=6), st.data())
@settings(max_examples=1000, deadline=None)
def test_announcements_are_total(frame: bytes, changes: list[tuple[int, int]], data: st.DataObject) -> None:
    changed = bytearray(frame)
    for at, value in changes:
        changed[at % len(frame)] = value
    del changed[data.draw(st.integers(len(frame) // 2, len(frame))) :]
    listening_from(bytes(changed))
    said = parse_announcement(bytes(changed))
    if said is not None:
        assert LEASE_MIN <= said.lease <= LEASE_MAX and 0 <= said.domain < DOMAIN_END
        assert (len(said.prefix), len(said.name)) == (12, NAME_SIZE) and said.group[0] & 1


def test_a_hostile_peer_confuses_nobody_else(seed: int) -> None:
    """3,000 messages of all kinds, junk and near misses, from one of three."""
    draw = random.Random(seed)
    wire = Wire(seed, 3)
    wire.know_each_other()
    wire.start()
    wire.advance(3.0)
    victim, other, enemy = wire.edges
    good = Speaker(7, other.mac).says()
    other.engine.receive_frames([good], wire.now)
    wire.take_frames()
    target = enemy.engine.book.get(victim.key)
    assert target is not None
    names = [bytes([n]) * NAME_SIZE for n in range(20)]
    for step in range(3_000):
        kind = draw.choice([kind for kind in ControlKind if kind is not ControlKind.GOODBYE])
        body = draw.choice(
            [
                draw.randbytes(draw.randrange(60)),
                Speaker(draw.randrange(10**6), draw.choice((enemy.mac, other.mac, victim.mac, MAC))).says(
                    domain=draw.randrange(5), ends=draw.random() < 0.1
                ),
                b"".join(draw.sample(names, 5)),
                encode_interest(Interest(frozenset({draw.randbytes(6)}), frozenset({draw.randrange(233)}), True))
                if step % 5
                else b"\xa0",
            ]
        )
        frame = bytearray(encode_control(ControlKind.SPDP, enemy.mac, draw.getrandbits(32), body))
        frame[15] = kind
        enemy.plane.frames_to_peer(target.id, [bytes(frame)], wire.now)
        if step % 100 == 0:
            wire.advance(0.1)
    wire.advance(1.0)
    discovery = victim.engine.discovery
    assert discovery is not None
    status = victim.engine.status(wire.now).discovery
    assert status["remote_participants"] <= REMOTE_MAX + 1 and status["refused"] > 0
    assert len(discovery.exchange.told) == 2 and len(victim.frames) < 5_000
    friend = victim.engine.book.get(other.key)
    assert friend is not None
    for domain in range(5):  # who has told that it listens to all still gets all
        frame = Speaker().says(domain=domain)
        assert friend.id in targets(frame, tuple(victim.engine.peering.flood), victim.plane._groups)
    wire.take_frames()
    victim.engine.receive_frames([Speaker(9, victim.mac).says()], wire.now)
    assert good in wire.take_frames()[0], "a new participant hears of the friend's"
