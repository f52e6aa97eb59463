"""Sessions: how they come up, are renewed, recover and end."""

from __future__ import annotations

import pytest
from support.session_pair import EPOCH_NS, Pair, Side

from omni_core.constants import (
    NUCLEUS_HANDSHAKES_PER_SECOND,
    NUCLEUS_SHARED_HANDSHAKES_PER_SECOND,
    REJECT_AFTER_TIME,
    REKEY_AFTER_MESSAGES,
    REKEY_AFTER_TIME,
    REKEY_ATTEMPT_TIME,
    REKEY_RETRY,
    REKEY_RETRY_JITTER,
    RESPONDER_REKEY_GRACE,
    SOURCE_HANDSHAKE_BURST,
    SOURCE_HANDSHAKES_PER_SECOND,
)
from omni_core.drops import DropReason
from omni_core.session.events import SessionCreated, SessionLost, SessionRetired, SessionUsable
from omni_core.session.handshake import Profile
from omni_core.session.limits import NUCLEUS_LIMITS, HandshakeLimits, SessionLimits
from omni_core.session.machine import State
from omni_core.session.sessions import Sessions
from omni_core.types import Endpoint
from omni_core.wire.control import ControlType


@pytest.fixture(params=[None, b"k" * 32], ids=["IK", "IKpsk2"])
def pair(request: pytest.FixtureRequest, seed: int) -> Pair:
    return Pair(seed, psk=request.param)


def kinds(pair: Pair, side: Side) -> list[int]:
    return [datagram[0] for sender, datagram in pair.sent if sender is side]


def test_two_messages_make_a_session(pair: Pair) -> None:
    pair.connect(pair.a, b"from a")
    pair.pump()
    pair.assert_joined()
    assert [d[0] for _, d in pair.sent] == [ControlType.INITIATION, ControlType.RESPONSE]
    created_a = next(e for e in pair.a.events if isinstance(e, SessionCreated))
    created_b = next(e for e in pair.b.events if isinstance(e, SessionCreated))
    assert (created_a.body, created_a.usable, created_a.endpoint) == (b"answer", True, pair.b.endpoint)
    assert (created_b.body, created_b.usable, created_b.endpoint) == (b"from a", False, pair.a.endpoint)
    assert created_a.keypair.handshake_hash == created_b.keypair.handshake_hash


def test_responder_does_not_send_before_the_session_is_confirmed(pair: Pair) -> None:
    pair.carry = lambda sender, datagram: [] if datagram[0] == ControlType.RESPONSE else [datagram]
    pair.connect(pair.a)
    pair.pump()
    assert pair.b.sessions.state(pair.a.key) is State.ANSWERED
    assert pair.b.sending is None and pair.b.sessions.sending(pair.a.key) is None


def test_wrong_secret_is_met_with_silence(seed: int) -> None:
    pair = Pair(seed, psk=b"right" + bytes(27), psk_b=b"wrong" + bytes(27))
    pair.connect(pair.a)
    pair.pump()
    assert kinds(pair, pair.b) == []
    assert pair.b.sessions.drops.as_dict() == {DropReason.NOT_ADMITTED: 1}
    assert len(pair.b.sessions) == 0


def test_refused_peer_is_met_with_silence(pair: Pair) -> None:
    pair.b.admitted = False
    pair.connect(pair.a)
    pair.pump()
    assert kinds(pair, pair.b) == [] and len(pair.b.sessions) == 0
    assert pair.b.sessions.drops[DropReason.NOT_ADMITTED] == 1
    pair.b.admitted = True
    pair.advance(REKEY_RETRY + 1)
    pair.assert_joined()


@pytest.mark.parametrize("profile", [Profile("nucleus", "c"), Profile("peer", "other")], ids=["role", "cluster"])
def test_other_role_or_cluster_cannot_be_read(seed: int, profile: Profile) -> None:
    pair = Pair(seed)
    pair.a.sessions.connect(pair.b.key, [pair.b.endpoint], pair.now, profile=profile)
    pair.pump()
    assert kinds(pair, pair.b) == []
    assert pair.b.sessions.drops.as_dict() == {DropReason.HANDSHAKE_FORGED: 1}


def test_lost_messages_are_tried_again_with_jitter_until_the_attempt_is_over(pair: Pair) -> None:
    pair.carry = lambda sender, datagram: []
    start = pair.now
    pair.connect(pair.a)
    pair.pump()
    pair.advance(REKEY_ATTEMPT_TIME + 2 * REKEY_RETRY)
    tries = len(kinds(pair, pair.a))
    early = 3  # after FIRST_RETRY, and twice and four times that
    least, most = REKEY_ATTEMPT_TIME / (REKEY_RETRY + REKEY_RETRY_JITTER), REKEY_ATTEMPT_TIME / REKEY_RETRY
    assert least - 1 <= tries <= most + 1 + early
    assert len({d for _, d in pair.sent}) == tries, "each try is a new initiation"
    lost = [e for e in pair.a.events if isinstance(e, SessionLost)]
    assert len(lost) == 1 and "no answer" in lost[0].reason
    assert pair.a.sessions.next_timer() is None and pair.now > start


@pytest.mark.parametrize("first", ["a", "b"])
def test_simultaneous_initiation_leaves_one_session(pair: Pair, first: str) -> None:
    pair.connect(pair.a)
    pair.connect(pair.b)
    order = [pair.a, pair.b] if first == "a" else [pair.b, pair.a]
    crossing = [(side, side.sessions.take_datagrams()) for side in order]
    for side, datagrams in crossing:
        for datagram, _ in datagrams:
            pair.other(side).sessions.receive(datagram, side.endpoint, pair.now)
    pair.pump()
    pair.assert_joined()
    assert pair.b.sessions.sending(pair.a.key).initiator, "the side with the greater key is the initiator"  # type: ignore[union-attr]
    assert pair.b.sessions.drops.as_dict() == {DropReason.LOST_TIE: 1}
    pair.advance(3 * REKEY_RETRY)
    assert len(pair.a.sessions.keypairs(pair.b.key)) == len(pair.b.sessions.keypairs(pair.a.key)) == 1


def test_tie_winner_insists_where_the_losers_initiation_came_from(pair: Pair) -> None:
    pair.b.sessions.connect(pair.a.key, [Endpoint("10.9.9.9", 9)], pair.now)  # a stale address: nothing arrives
    pair.b.sessions.take_datagrams()
    pair.connect(pair.a)
    before = pair.now
    pair.pump()
    pair.advance(1.0)
    pair.assert_joined()
    assert pair.now - before < REKEY_RETRY, "without waiting for the ordinary retry"


def test_rekey_after_time_keeps_the_old_session_receiving(pair: Pair) -> None:
    pair.connect(pair.a)
    pair.pump()
    old = pair.a.sessions.sending(pair.b.key)
    assert old is not None
    pair.advance(REKEY_AFTER_TIME + 1)
    pair.assert_joined()
    assert pair.a.sessions.sending(pair.b.key) is not old
    assert old.receive_id in pair.a.receiving and old.send_id in pair.b.receiving
    pair.advance(old.expires - pair.now + 0.1)
    assert old.receive_id not in pair.a.receiving and old.send_id not in pair.b.receiving
    assert not any(old.send_key) and not any(old.receive_key), "zeroed"


def test_the_responder_rekeys_when_the_initiator_does_not(pair: Pair) -> None:
    pair.connect(pair.a)
    pair.connect(pair.b)  # both want the session; then a's initiations are lost
    pair.pump()
    pair.assert_joined()
    initiator = pair.a if pair.a.sessions.sending(pair.b.key).initiator else pair.b  # type: ignore[union-attr]
    responder = pair.other(initiator)
    pair.sent.clear()
    pair.carry = lambda sender, datagram: (
        [] if sender is initiator and datagram[0] == ControlType.INITIATION else [datagram]
    )
    pair.advance(REKEY_AFTER_TIME + RESPONDER_REKEY_GRACE + 2)
    assert ControlType.INITIATION in kinds(pair, responder)
    pair.advance(REKEY_RETRY)
    pair.assert_joined()


def test_rekey_by_count(pair: Pair) -> None:
    pair.connect(pair.a)
    pair.pump()
    before = pair.a.sending
    pair.a.sessions.count_sent(pair.b.key, REKEY_AFTER_MESSAGES - 1, pair.now)
    pair.pump()
    assert pair.a.sending == before
    pair.a.sessions.count_sent(pair.b.key, REKEY_AFTER_MESSAGES, pair.now)
    pair.pump()
    pair.assert_joined()
    assert pair.a.sending != before


def test_an_unwanted_session_expires_and_leaves_nothing(pair: Pair) -> None:
    pair.connect(pair.a)
    pair.pump()
    pair.a.sessions.forget(pair.b.key, pair.now)
    pair.advance(REJECT_AFTER_TIME + 1)
    assert isinstance(pair.b.events[-1], SessionLost)
    assert not pair.b.receiving and len(pair.a.sessions) == len(pair.b.sessions) == 0
    assert pair.b.sessions.next_timer() is None


def test_a_peer_that_restarted_is_back_after_one_handshake(pair: Pair) -> None:
    pair.connect(pair.a)
    pair.connect(pair.b)
    pair.advance(50.0)
    old_b = pair.b
    pair.b = Side(old_b.identity, old_b.endpoint, Profile("peer", "c", pair.a.sessions._accept.psk), pair.rng)  # type: ignore[union-attr]
    pair.sent.clear()
    pair.connect(pair.b)
    pair.pump()
    pair.assert_joined()
    assert [d[0] for _, d in pair.sent] == [ControlType.INITIATION, ControlType.RESPONSE]


def test_endpoint_of_a_working_session_is_not_moved_by_an_initiation(pair: Pair) -> None:
    pair.connect(pair.a)
    pair.pump()
    pair.a.sessions.rekey(pair.b.key, pair.now)
    [(initiation, _)] = pair.a.sessions.take_datagrams()
    pair.b.sessions.receive(initiation, Endpoint("192.0.2.66", 666), pair.now)
    assert pair.b.sessions.endpoint(pair.a.key) == pair.a.endpoint


def test_replayed_initiation_is_not_answered(pair: Pair) -> None:
    pair.connect(pair.a)
    pair.pump()
    initiation = pair.sent[0][1]
    pair.b.sessions.receive(initiation, pair.a.endpoint, pair.now)
    assert pair.b.sessions.take_datagrams() == [] and pair.b.sessions.take_events() == []
    assert pair.b.sessions.drops.as_dict() == {DropReason.HANDSHAKE_REPLAYED: 1}
    pair.assert_joined()


def test_a_forged_response_does_not_hurt_the_handshake(pair: Pair) -> None:
    pair.connect(pair.a)
    [(initiation, _)] = pair.a.sessions.take_datagrams()
    pair.b.sessions.receive(initiation, pair.a.endpoint, pair.now)
    [(response, _)] = pair.b.sessions.take_datagrams()
    from omni_core.crypto.cookies import mac1

    forged = bytearray(response[:-32])
    forged[40] ^= 1
    whole = bytes(forged) + mac1(pair.a.identity.exchange_public, bytes(forged)) + bytes(16)
    pair.a.sessions.receive(whole, pair.b.endpoint, pair.now)
    assert pair.a.sessions.drops.as_dict() == {DropReason.HANDSHAKE_FORGED: 1}
    pair.a.sessions.receive(response, pair.b.endpoint, pair.now)
    pair.b.drain()
    pair.pump()
    pair.assert_joined()


def test_under_load_a_cookie_is_asked_for_and_the_handshake_goes_on(seed: int) -> None:
    pair = Pair(seed)
    pair.b.sessions._gate._limits = HandshakeLimits(SessionLimits(free_per_second=0.0))
    pair.connect(pair.a)
    pair.pump()
    assert kinds(pair, pair.b) == [ControlType.COOKIE_REPLY]
    assert pair.b.sessions.drops.as_dict() == {DropReason.BAD_MAC2: 1} and len(pair.b.sessions) == 0
    pair.advance(1.0)
    pair.assert_joined()


def test_under_load_one_source_gets_a_bounded_number(seed: int) -> None:
    limits = HandshakeLimits()
    allowed = sum(limits.allow("10.0.0.1", 5.0) for _ in range(100))
    assert 1 <= allowed <= 10
    assert limits.allow("10.0.0.2", 5.0) and limits.allow("10.0.0.1", 6.0)


def test_a_cookie_reply_that_answers_nothing_is_counted(pair: Pair) -> None:
    pair.connect(pair.a)
    [(initiation, _)] = pair.a.sessions.take_datagrams()
    index = initiation[4:8]
    forged = bytes([ControlType.COOKIE_REPLY, 1, 0, 0]) + index + bytes(56)
    pair.a.sessions.receive(forged, pair.b.endpoint, pair.now)
    assert pair.a.sessions.drops.as_dict() == {DropReason.BAD_COOKIE: 1}


def test_timestamps_grow_although_the_clock_stands_still(seed: int) -> None:
    pair = Pair(seed)
    frozen = Sessions(pair.a.identity, None, lambda *_: None, random=pair.rng.randbytes, unix_ns=lambda now: EPOCH_NS)
    for _ in range(3):
        frozen.connect(pair.b.key, [pair.b.endpoint], pair.now, profile=Profile("peer", "c"))
        [(datagram, _)] = frozen.take_datagrams()
        pair.b.sessions.receive(datagram, pair.a.endpoint, pair.now)
        frozen.forget(pair.b.key, pair.now)
    assert pair.b.sessions.drops.total == 0


def test_forget_zeroes_keys_and_says_which_sessions_ended(pair: Pair) -> None:
    pair.connect(pair.a)
    pair.pump()
    keypair = pair.a.sessions.sending(pair.b.key)
    assert keypair is not None
    pair.a.sessions.forget(pair.b.key, pair.now)
    assert pair.a.drain() == [SessionRetired(pair.b.key, keypair.receive_id)]
    assert not any(keypair.send_key) and not any(keypair.receive_key)
    assert pair.a.sessions.state(pair.b.key) is State.DOWN and pair.a.sessions.next_timer() is None


def test_new_candidates_get_the_initiation_in_flight_at_once(pair: Pair) -> None:
    pair.connect(pair.a)
    pair.a.sessions.take_datagrams()
    elsewhere = Endpoint("10.0.0.9", 7)
    pair.a.sessions.connect(pair.b.key, [pair.b.endpoint, elsewhere], pair.now)
    assert [e for _, e in pair.a.sessions.take_datagrams()] == [elsewhere]
    pair.a.sessions.resend(pair.b.key, pair.now)
    assert [e for _, e in pair.a.sessions.take_datagrams()] == [pair.b.endpoint, elsewhere]


def test_sessions_usable_event_comes_once(pair: Pair) -> None:
    pair.connect(pair.a)
    pair.pump()
    for _ in range(3):
        pair.confirm(pair.a)
    pair.pump()
    assert len([e for e in pair.b.events if isinstance(e, SessionUsable)]) == 1


def admitted(limits: HandshakeLimits, hosts: list[str], seconds: int, *, after: float = 100.0) -> dict[str, int]:
    """How many each host gets in that asks 1,000 times a second, with cookies."""
    counts = dict.fromkeys(hosts, 0)
    for tick in range(1000 * seconds):
        for host in hosts:
            counts[host] += limits.allow(host, after + tick / 1000)
    return counts


def test_under_load_a_nucleus_admits_a_bounded_number_from_everywhere() -> None:
    hosts = [f"10.0.{n}.1" for n in range(60)]
    counts = admitted(HandshakeLimits(NUCLEUS_LIMITS), hosts, 4)
    assert sum(counts.values()) <= NUCLEUS_HANDSHAKES_PER_SECOND * 4.25 + 1
    assert min(counts.values()) > 0


def test_one_site_gets_what_others_leave_but_not_all() -> None:
    """A site of thousands behind one NAT gets in; whoever floods from there leaves the rest to others."""
    limits = HandshakeLimits(NUCLEUS_LIMITS)
    alone = admitted(limits, ["10.0.0.1"], 4)["10.0.0.1"] / 4
    shared = NUCLEUS_SHARED_HANDSHAKES_PER_SECOND
    assert shared <= alone <= 1.1 * (shared + SOURCE_HANDSHAKES_PER_SECOND) + SOURCE_HANDSHAKE_BURST
    others = [f"10.0.1.{n}" for n in range(20)]
    late = sum(limits.allow(host, 104.0) for host in others for _ in range(5))
    assert late == 5 * len(others), "each its own burst, although the site has used up what is shared"


def test_one_ipv6_customer_is_one_source() -> None:
    limits = HandshakeLimits()
    assert sum(limits.allow(f"2001:db8:1:2::{n:x}", 5.0) for n in range(1, 100)) == SOURCE_HANDSHAKE_BURST
    assert limits.allow("2001:db8:1:3::1", 5.0) and limits.allow("fe80::1%2", 5.0)
