"""The parts of discovery, each by its rules: what we listen to, telling it, who gets what, the announcements kept."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from support.announcing import GROUP, Speaker
from support.group_frames import group_mac, udp

from omni_core.dataplane.groups import targets
from omni_core.engines.discovery.exchange import FIRST_RETRY, LAST_RETRY, InterestExchange
from omni_core.engines.discovery.group_policy import POLICY_GROUPS_MAX, make_policy
from omni_core.engines.discovery.listening import DOMAIN_LINGER, SETTLE, SPDP_GROUPS_MAX, Listening, grows
from omni_core.engines.discovery.spdp_cache import RENEW_GAP, SpdpCache
from omni_core.engines.discovery.tables import LOCAL_MAX, REMOTE_MAX
from omni_core.engines.peers import Peer
from omni_core.errors import RemoteViolation
from omni_core.types import PeerId
from omni_core.wire.hello import CAPABILITY_GROUPS
from omni_core.wire.inband import ControlKind, ControlMessage, join_names
from omni_core.wire.interest import GROUPS_MAX, Interest, decode_interest, encode_interest
from omni_core.wire.rtps import parse_announcement

MAC, OTHER_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
A, B = group_mac("239.1.2.3"), group_mac("ff15::7:3")
LINK_LOCAL = [group_mac(group) for group in ("224.0.0.251", "ff02::1", "ff02::1:ff00:1")]


# --- what we listen to ------------------------------------------------------------------------------------------------


def listening(**changes: bool) -> Listening:
    made = Listening(MAC, **{"narrows": True, "bridged": False, **changes})
    made.set_memberships([A, B, *LINK_LOCAL])
    return made


def test_groups_of_the_kernel_but_those_that_all_get_anyway() -> None:
    assert listening().interest(0.0) == Interest(frozenset({A, B}))


def test_unknown_is_all() -> None:
    unknown = listening()
    unknown.set_memberships(None)
    many = listening()
    many.set_memberships([b"\x01\x00\x5e\x01" + n.to_bytes(2, "big") for n in range(GROUPS_MAX + 1)])
    for each in (unknown, many, listening(bridged=True), listening(narrows=False)):
        assert each.interest(0.0) == Interest()


def test_a_station_behind_the_port_makes_all_groups_wanted() -> None:
    seen = listening()
    seen.heard_from(MAC, 0.0)
    assert seen.interest(0.0).groups is not None
    seen.announced(3, GROUP, 20.0, 1.0)
    seen.heard_from(OTHER_MAC, 1.0)
    assert seen.interest(1.0) == Interest(), "and all domains, until each station has spoken"
    assert seen.interest(1.0 + SETTLE) == Interest(None, frozenset({3}))


def test_domains_of_participants_for_their_lease_and_a_minute() -> None:
    seen = listening()
    seen.announced(3, GROUP, 20.0, 0.0)
    seen.announced(7, A, 10.0, 5.0)
    assert seen.interest(5.0) == Interest(frozenset({A, B, GROUP}), frozenset({3, 7}))
    seen.expire(15.0 + DOMAIN_LINGER)
    assert seen.domains == {3}
    seen.expire(20.0 + DOMAIN_LINGER)
    assert seen.interest(99.0) == Interest(frozenset({A, B})), "none: all domains"


def test_participants_that_were_there_before_us_have_time_to_speak() -> None:
    seen = listening()
    seen.settle(10.0)
    seen.announced(3, GROUP, 20.0, 11.0)
    assert seen.interest(10.0 + SETTLE - 0.1).domains is None
    assert seen.interest(10.0 + SETTLE).domains == {3}


def test_groups_of_announcements_are_bounded() -> None:
    seen = listening()
    for n in range(3 * SPDP_GROUPS_MAX):
        seen.announced(3, b"\x01\x00\x5e\x01\x01" + bytes([n]), 20.0, 0.0)
    assert len(seen.spdp_groups) == SPDP_GROUPS_MAX + 1 and GROUP in seen.spdp_groups


def test_what_grows() -> None:
    some, more = Interest(frozenset({A}), frozenset({3})), Interest(frozenset({A, B}), frozenset({3}))
    assert grows(some, more) and grows(some, Interest()) and grows(some, Interest(frozenset({A})))
    assert not grows(more, some) and not grows(Interest(), some) and not grows(some, some)


# --- telling it -------------------------------------------------------------------------------------------------------


class Sent(list[tuple[PeerId, ControlKind, int, bytes]]):
    def __call__(self, peer: Peer, kind: ControlKind, now: float, token: int, body: bytes) -> None:
        self.append((peer.id, kind, token, body))

    def kinds(self) -> list[ControlKind]:
        kinds = [kind for _, kind, _, _ in self]
        self.clear()
        return kinds


def peer(number: int = 1, capabilities: int = CAPABILITY_GROUPS) -> Peer:
    made = Peer(bytes([number]) * 32, number)
    made.capabilities = capabilities
    return made


def interest(token: int, said: Interest = Interest()) -> ControlMessage:  # noqa: B008
    return ControlMessage(ControlKind.INTEREST, token, encode_interest(said))


def test_it_is_repeated_until_acknowledged() -> None:
    sent = Sent()
    exchange = InterestExchange(7, sent)
    exchange.begin(peer(), 0.0)
    delays, now = [], 0.0
    for _ in range(7):
        due = exchange.next_timer()
        assert due is not None
        exchange.handle_timer(due)
        delays.append(due - now)
        now = due
    assert delays == [FIRST_RETRY, 1.0, 2.0, 4.0, LAST_RETRY, LAST_RETRY, LAST_RETRY]
    assert {(token, body) for _, _, token, body in sent} == {(7, b"\xa1\x03\xf5")} and len(sent) == 8
    exchange.acknowledged(peer(), 6)
    assert exchange.next_timer() is not None
    exchange.acknowledged(peer(), 7)
    assert exchange.next_timer() is None
    exchange.change(Interest(frozenset({A})), now)
    assert sent[-1][1:3] == (ControlKind.INTEREST, 8) and exchange.next_timer() == now + FIRST_RETRY


def test_generations_wrap_and_old_ones_are_acknowledged_only() -> None:
    sent = Sent()
    exchange, other = InterestExchange(0xFFFFFFFF, sent), peer()
    exchange.begin(other, 0.0)
    exchange.change(Interest(frozenset({A})), 0.0)
    assert sent[-1][2] == 0
    sent.clear()
    one, two = Interest(frozenset({A})), Interest(frozenset({B}))
    assert exchange.heard(other, interest(0xFFFFFFFF, one), 0.0) == one
    assert exchange.heard(other, interest(0, two), 0.0) == two
    assert exchange.heard(other, interest(0xFFFFFFFF, one), 0.0) is None, "overtaken"
    assert exchange.heard(other, interest(0, one), 0.0) is None, "again"
    assert exchange.told == {1: two} and sent.kinds() == [ControlKind.INTEREST_ACK] * 4
    assert exchange.heard(other, interest(0x90000000, one), 0.0) == one, "another run of its Ganglion"


def test_asking() -> None:
    sent = Sent()
    exchange, other = InterestExchange(7, sent), peer()
    exchange.begin(other, 0.0)
    assert decode_interest(sent[-1][3]).ask
    asked = Interest(frozenset({A}), ask=True)
    assert exchange.heard(other, interest(1, asked), 0.1) == Interest(frozenset({A})), "both began: ours is on its way"
    assert sent.kinds() == [ControlKind.INTEREST, ControlKind.INTEREST_ACK]
    exchange.acknowledged(other, 7)
    assert exchange.heard(other, interest(0x70000000, asked), 60.0) == asked, "it has been restarted"
    assert not decode_interest(sent[-1][3]).ask, "it has told"
    assert sent.kinds() == [ControlKind.INTEREST_ACK, ControlKind.INTEREST]
    exchange.end(other.id)
    assert exchange.told == {} and exchange.next_timer() is None
    assert exchange.heard(other, interest(2), 0.0) is None and sent == []


# --- who gets what ----------------------------------------------------------------------------------------------------


def hears(said: Interest, mac: bytes, domain: int | None) -> bool:
    return (said.groups is None or mac in said.groups) and (
        said.domains is None or domain is None or domain in said.domains
    )


def test_policy_against_the_rule(seed: int) -> None:
    """Each frame reaches every peer that has not told, or told that it hears it; and as few others as can be."""
    draw = random.Random(seed)
    groups = [f"239.1.2.{n}" for n in range(4)] + ["239.255.0.1"]
    for _ in range(200):
        flood = draw.sample(range(1, 20), draw.randrange(8))
        told = {}
        for each in draw.sample(flood, draw.randrange(len(flood) + 1)):
            macs = frozenset(map(group_mac, draw.sample(groups, draw.randrange(5))))
            numbers = frozenset(draw.sample((0, 3, 7, 232), draw.randrange(1, 4)))
            told[each] = Interest(draw.choice((None, macs)), draw.choice((None, numbers)))
        policy = make_policy(flood, told, {GROUP}, {3})
        known = {3}.union(*(each.domains or () for each in told.values()))
        assert policy.watch
        for group in (*groups, "239.77.1.1"):
            for port in (5000, 7400, 8150, 8151, 9150, 9151, 65400, 65401):
                domain = (port - 7400) // 250
                by_domain = group == "239.255.0.1" and (port - 7400) % 250 < 2 and domain in known

                wanted = [
                    each
                    for each in flood
                    if hears(told.get(each, Interest()), group_mac(group), domain if by_domain else None)
                ]
                assert list(targets(udp(group, port), flood, policy)) == wanted, (group, port)


def test_a_peer_with_too_many_groups_floods_only_itself() -> None:
    def many(number: int, count: int) -> Interest:
        return Interest(frozenset(b"\x01\x00\x5e\x02" + bytes([number, n]) for n in range(count)))

    told = {each: many(each, GROUPS_MAX) for each in range(1, 12)} | {20: Interest(frozenset({A}))}
    policy = make_policy(list(told), told, {GROUP}, set())
    assert len(policy.groups) <= POLICY_GROUPS_MAX
    assert 20 not in policy.elsewhere and policy.groups[A, 0] == policy.elsewhere | {20}
    assert 0 < len(policy.elsewhere) < 12


# --- announcements ----------------------------------------------------------------------------------------------------


@dataclass
class FakePlane:
    to_port: list[bytes] = field(default_factory=list)
    to_peer: list[tuple[PeerId, bytes]] = field(default_factory=list)

    def frames_to_port(self, frames: list[bytes], now: float) -> None:
        self.to_port += frames

    def frames_to_peer(self, peer_id: PeerId, frames: list[bytes], now: float) -> None:
        self.to_peer += [(peer_id, frame) for frame in frames]


class Cache:
    """With one peer that is up, and one that is not asked."""

    def __init__(self, mtu: int = 1418) -> None:
        self.plane, self.sent = FakePlane(), Sent()
        self.peer, self.other = peer(1), peer(2)
        self.interests: dict[PeerId, Interest] = {}
        self.cache = SpdpCache(
            self.plane,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            MAC,
            mtu + 14,
            interest_of=lambda each: self.interests.get(each, Interest()),
            station={self.peer.mac: self.peer, self.other.mac: self.other}.get,
        )
        self.cache.begin(self.peer, 0.0)

    def send(self, to: Peer, kind: ControlKind, now: float, token: int = 0, body: bytes = b"") -> None:
        self.sent(to, kind, now, token, body)

    def says(self, frame: bytes, now: float) -> bool | None:
        said = parse_announcement(frame)
        assert said is not None
        return self.cache.announced(said, frame, now)

    def names(self, kind: ControlKind) -> list[bytes]:
        bodies = [body for _, each, _, body in self.sent if each is kind]
        self.sent.clear()
        return [body[at : at + 16] for body in bodies for at in range(0, len(body), 16)]

    def run(self, until: float) -> None:
        while (due := self.cache.next_timer()) is not None and due <= until:
            self.cache.handle_timer(due)


def name_of(frame: bytes) -> bytes:
    said = parse_announcement(frame)
    assert said is not None
    return said.name


def test_repetitions_become_names_each_quarter_of_a_lease() -> None:
    cache = Cache()
    frames = [Speaker(n).says() for n in range(3)]
    for frame in frames:
        assert cache.says(frame, 0.0) is True
    assert cache.sent.kinds() == [ControlKind.SPDP] * 3
    cache.run(4.0)
    assert cache.names(ControlKind.SPDP_ALIVE) == [name_of(frame) for frame in frames] * 3, "three checks"
    told = []
    for step in range(80):  # 40 s of a period of 0.5 s each, in turn
        assert cache.says(frames[step % 3], 4.0 + step / 2) is False
        cache.run(4.0 + step / 2)
        names = cache.names(ControlKind.SPDP_ALIVE)
        told += [len(names)] if names else []
    assert told == [3] * len(told) and 6 <= len(told) <= 8


def test_checks_end_and_an_end_is_told() -> None:
    cache = Cache()
    cache.says(Speaker(1).says(), 0.0)
    cache.says(Speaker(1).says(ends=True), 0.5)
    assert cache.sent.kinds() == [ControlKind.SPDP, ControlKind.SPDP]
    cache.run(100.0)
    assert cache.sent == []


def test_who_does_not_hear_is_told_nothing_and_all_when_it_does() -> None:
    cache = Cache()
    cache.interests[1] = Interest(None, frozenset({7}))
    frame = Speaker(1, domain=3).says()
    cache.says(frame, 0.0)
    cache.says(frame, 3.0)
    cache.run(10.0)
    cache.cache.requested(cache.peer, name_of(frame), 10.0)
    assert cache.sent == [] and cache.plane.to_peer == []
    cache.interests[1] = Interest(None, frozenset({3, 7}))
    cache.cache.interest_changed(cache.peer, 10.0)
    assert cache.sent.kinds() == [ControlKind.SPDP]
    cache.cache.interest_changed(cache.peer, 10.0)
    assert cache.sent == []


def test_a_full_table_keeps_no_more() -> None:
    cache = Cache()
    kept = [cache.says(Speaker(n).says(), 0.0) for n in range(LOCAL_MAX + 5)]
    assert kept == [True] * LOCAL_MAX + [None] * 5
    cache.cache.expire(30.0)
    assert cache.says(Speaker(999).says(), 30.0) is True


def test_a_hostile_peer_fills_its_own_table_only() -> None:
    cache = Cache()
    cache.cache.begin(cache.other, 0.0)
    good = Speaker(5000, mac=cache.other.mac).says()
    cache.cache.told(cache.other, good, 0.0)
    for n in range(3 * REMOTE_MAX):
        cache.cache.told(cache.peer, Speaker(n).says(), 0.0)
    stolen = Speaker(5000).says(ends=True)  # somebody else's participant
    cache.cache.told(cache.peer, stolen, 0.0)
    assert cache.cache.status()["remote_participants"] == REMOTE_MAX + 1
    cache.plane.to_port.clear()
    cache.cache.alive(cache.other, name_of(good), 1.0)
    assert cache.plane.to_port == [good]


@pytest.mark.parametrize("what", ["ours", "another peer's", "a group", "no announcement", "unicast"])
def test_announcements_that_cannot_be_the_peers(what: str) -> None:
    cache = Cache()
    frame = {
        "ours": Speaker(mac=MAC).says(),
        "another peer's": Speaker(mac=cache.other.mac).says(),
        "a group": Speaker(mac=GROUP).says(),
        "no announcement": udp("239.255.0.1", 7400, b"RTPS" + bytes(20)),
        "unicast": OTHER_MAC + Speaker().says()[6:],
    }[what]
    assert cache.cache.told(cache.peer, frame, 0.0) is None
    assert cache.plane.to_port == [] and cache.cache.counts["refused"] == 1


def test_a_frame_is_given_again_not_faster_than_makes_sense() -> None:
    cache = Cache()
    frame = Speaker().says()
    cache.cache.told(cache.peer, frame, 0.0)
    for step in range(100):
        cache.cache.alive(cache.peer, join_names([name_of(frame)] * 50), step * 0.01)
    assert len(cache.plane.to_port) <= 1 + 1.0 / RENEW_GAP
    cache.says(frame, 0.0)
    cache.sent.clear()
    for step in range(100):
        cache.cache.requested(cache.peer, name_of(frame), step * 0.01)
    assert len(cache.sent) <= 1.0 / RENEW_GAP


def test_names_that_are_not_known_are_asked_for_in_messages_that_fit() -> None:
    cache = Cache(mtu=1280)
    cache.cache.alive(cache.peer, bytes(range(16)) * 200, 0.0)
    assert [len(body) for _, _, _, body in cache.sent] == [79 * 16, 79 * 16, 42 * 16]
    assert all(22 + len(body) <= 1280 + 14 for _, _, _, body in cache.sent)
    for call in (cache.cache.alive, cache.cache.requested):
        with pytest.raises(RemoteViolation):
            call(cache.peer, bytes(17), 0.0)


def test_what_is_kept_of_a_peer_that_is_down_is_not_given() -> None:
    cache = Cache()
    cache.cache.told(cache.peer, Speaker(1).says(), 0.0)
    cache.plane.to_port.clear()
    cache.cache.end(cache.peer.id)
    cache.says(Speaker(2).says(), 1.0)
    cache.run(2.0)
    assert cache.plane.to_port == []
    cache.cache.begin(cache.peer, 3.0)
    cache.says(Speaker(3).says(), 3.0)
    assert cache.plane.to_port == [Speaker(1).says()]
    cache.cache.forget(cache.peer.id)
    assert cache.cache.status()["remote_participants"] == 0


def test_participants_that_start_together_share_what_is_given_again() -> None:
    cache = Cache()
    cache.cache.told(cache.peer, Speaker(1).says(), 0.0)
    cache.plane.to_port.clear()
    for n in range(20):
        cache.run(n * 0.02)
        cache.says(Speaker(10 + n).says(), n * 0.02)
    cache.run(2.0)
    assert 20 + 2 <= len(cache.plane.to_port) <= 20 + 15
    cache.plane.to_port.clear()
    cache.says(Speaker(99).says(), 3.0)
    cache.run(3.6)
    assert len(cache.plane.to_port) == 3, "alone: at once, and twice again"


def test_what_comes_back_from_the_local_port_is_known() -> None:
    cache = Cache()
    said = parse_announcement(Speaker(1).says())
    assert said is not None and not cache.cache.looped(said)
    cache.cache.told(cache.peer, Speaker(1).says(), 0.0)
    assert cache.cache.looped(said)
