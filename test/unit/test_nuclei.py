"""The Nuclei of one edge, with real engines on virtual time: what goes to whom, and what is told."""

from __future__ import annotations

import pytest
from support.nucleus_net import LATENCY, Net, RovingEdge

from omni_core.constants import (
    FAILBACK_AFTER,
    FAILBACK_JITTER,
    FAILOVER_ATTEMPTS,
    NAT_KEEPALIVE,
    NUCLEUS_LOST_AFTER,
    REQUEST_RETRY,
    SIGNALING_REKEY_AFTER_TIME,
    STANDBY_DELAY,
    STANDBY_INTERVAL,
)
from omni_core.drops import DropReason
from omni_core.session.limits import SessionLimits
from omni_core.signaling.client_events import NucleusLost, PeerJoined, PeerLeft, Punch, QueryAnswered, Registered
from omni_core.signaling.store import Hint
from omni_core.types import Endpoint
from omni_core.wire.control import ControlType

FAILOVER = NAT_KEEPALIVE + 1.2 * FAILOVER_ATTEMPTS * REQUEST_RETRY + 1


@pytest.fixture(params=[1, 2], ids=["one key", "two keys"])
def net(seed: int, request: pytest.FixtureRequest) -> Net:
    return Net(seed, nuclei=2, nucleus_keys=request.param)


def settled(net: Net, count: int = 1) -> list[RovingEdge]:
    edges = [net.roving_edge().start() for _ in range(count)]
    assert net.run(5, net.all_registered)
    net.run(STANDBY_DELAY + 1)
    for edge in edges:
        assert [link.state for link in edge.nuclei.links(net.now)] == ["registered", "standby"]
    return edges


def test_the_standby_knows_nothing_of_us_but_that_we_are_there(net: Net) -> None:
    (edge,) = settled(net)
    net.run(300)
    first, second = (server.engine.status(net.now) for server in net.nuclei)
    assert (first.clusters[0].edges, second.clusters[0].edges) == (1, 0)
    assert second.clusters[0].joins == second.clusters[0].refusals == 0
    assert edge.used == 0 and len(edge.of(Registered)) == 1
    assert edge.nuclei.drops.total == 0


def test_a_standby_costs_two_packets_a_minute_and_a_handshake_in_ten(net: Net) -> None:
    settled(net)
    net.run(60)
    net.record = True
    net.seen.clear()
    net.run(3600)
    of_standby = [data for data, source, target in net.seen if net.nuclei[1].at in (source, target)]
    asked = sum(data[0] == ControlType.SIGNALING for data in of_standby)
    print(f"standby: {len(of_standby)} packets, {sum(map(len, of_standby)) / 60:.0f} B a minute")
    handshakes = len(of_standby) - asked
    assert handshakes <= 2 * 3600 / (0.8 * SIGNALING_REKEY_AFTER_TIME)
    assert asked <= 2 * 3600 / (0.8 * STANDBY_INTERVAL) + handshakes + 4


def test_failover_tells_one_thing(net: Net) -> None:
    edges = settled(net, 3)
    known = [dict(edge.known) for edge in edges]
    net.nuclei[0].up = False
    assert net.run(FAILOVER, lambda: all(edge.used == 1 for edge in edges))
    net.run(300)
    for edge, before in zip(edges, known, strict=True):
        told = edge.of(Registered)
        assert len(told) == 2
        assert told[1].nucleus == net.nuclei[1].at
        assert told[1].why == f"the one at {net.nuclei[0].at} does not answer"
        assert not edge.of(NucleusLost) and not edge.of(PeerLeft)
        assert edge.known == before


def test_a_failover_is_made_before_the_break(net: Net) -> None:
    """When the one that is used drains, there is no moment without a registration."""
    (edge,) = settled(net)
    net.nuclei[0].engine.drain(net.now, 10.0)
    net.pump_nucleus()
    gaps = []
    assert net.run(5, lambda: gaps.append(edge.registered) or edge.used == 1)  # type: ignore[func-returns-value]
    assert all(gaps)
    net.run(1)
    assert net.nuclei[0].engine.drained
    assert edge.nuclei.links(net.now)[0].draining


def test_back_to_the_preferred_one(net: Net) -> None:
    (edge,) = settled(net)
    net.nuclei[0].up = False
    assert net.run(FAILOVER, lambda: edge.used == 1)
    net.run(20)
    net.restart_nucleus()
    assert not net.run(FAILBACK_AFTER, lambda: edge.used == 0)
    assert net.run(FAILBACK_JITTER + 70, lambda: edge.used == 0)
    assert edge.of(Registered)[-1].why.startswith("it is preferred")
    net.run(120)
    assert edge.nuclei.links(net.now)[1].role == "standby"


def test_the_count_of_changes_goes_along(net: Net) -> None:
    """What the second Nucleus does not know of the first's count is told once, and nobody is lost by it."""
    edges = settled(net, 4)
    net.nuclei[0].up = False
    assert net.run(FAILOVER, lambda: all(edge.used == 1 for edge in edges))
    net.run(10)
    assert len({edge.roster.cursor.epoch for edge in edges}) == 1
    edges[0].stop()
    net.run(1)
    for edge in edges[1:]:
        assert [event.public_key for event in edge.of(PeerLeft)] == [edges[0].key]
        assert len(edge.known) == 2
    late = net.roving_edge().start()
    assert net.run(30, lambda: all(late.key in edge.known for edge in edges[1:]))
    assert late.used == 1


def test_with_a_shared_store_nothing_is_told_twice(seed: int) -> None:
    net = Net(seed, nuclei=2, shared=True)
    edges = settled(net, 4)
    net.run(60)
    told = [(len(edge.of(PeerJoined)), len(edge.of(PeerLeft))) for edge in edges]
    cursors = [(edge.roster.cursor.epoch, edge.roster.cursor.seen) for edge in edges]
    net.nuclei[0].up = False
    assert net.run(FAILOVER, lambda: all(edge.used == 1 for edge in edges))
    net.run(300)
    net.restart_nucleus()
    assert net.run(300, lambda: all(edge.used == 0 for edge in edges))
    net.run(200)
    assert [(len(edge.of(PeerJoined)), len(edge.of(PeerLeft))) for edge in edges] == told
    assert [(edge.roster.cursor.epoch, edge.roster.cursor.seen) for edge in edges] == cursors
    assert net.nucleus.status(net.now).clusters[0].edges == 4
    edges[0].stop()
    net.run(60)
    assert all(len(edge.of(PeerLeft)) == 1 for edge in edges[1:])


def test_a_hint_goes_to_the_nucleus_that_the_peer_uses(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is asked has a session with the peer, too, but one that is only kept warm: its NAT mapping may have
    closed."""
    net = Net(seed, nuclei=2, shared=True)
    assert net.shared is not None
    asker, peer = settled(net, 2)
    first, second = (server.at for server in net.nuclei)
    net.carry = lambda data, source, target: [] if {source, target} == {first, asker.at} else [LATENCY]
    assert net.run(FAILOVER, lambda: asker.used == 1)
    assert peer.used == 0
    hints: list[Hint] = []
    monkeypatch.setattr(net.shared, "hint", lambda target, who: hints.append(Hint(target, who)))
    monkeypatch.setattr(net.shared, "take_hints", lambda: [hints.pop() for _ in hints[:]])
    net.carry = lambda data, source, target: [] if (source, target) == (second, peer.at) else [LATENCY]
    net.record = True
    asker.nuclei.query(peer.key, net.now)
    net.pump(asker)
    assert net.run(1, lambda: bool(asker.of(QueryAnswered)))
    assert hints == [Hint(peer.key, asker.key)]
    assert [target for data, source, target in net.seen if source == second] == [asker.at, peer.at], "here as well"
    assert not peer.of(Punch)
    net.nucleus.follow_store(net.now)
    net.pump_nucleus()
    assert net.run(1, lambda: bool(peer.of(Punch)))
    assert peer.of(Punch)[0].record.public_key == asker.key


def test_a_question_that_the_dead_one_did_not_answer_goes_to_the_next(net: Net) -> None:
    a, b = settled(net, 2)
    net.nuclei[0].up = False
    asked = False

    def ask() -> bool:
        nonlocal asked
        if not asked and a.nuclei.links(net.now)[0].state != "registered":
            assert a.nuclei.can_ask
            a.nuclei.query(b.info.vip6, net.now)
            net.pump(a)
            asked = True
        return a.used == 1

    assert net.run(FAILOVER, lambda: b.used == 1)
    assert net.run(FAILOVER, ask) or a.used == 1
    net.run(2)
    answered = a.of(QueryAnswered)
    assert not asked or (answered[-1].record is not None and answered[-1].record.public_key == b.key)


def test_all_dead_is_said_once_and_why(net: Net) -> None:
    (edge,) = settled(net)
    for server in net.nuclei:
        server.up = False
    net.run(1800)
    (lost,) = edge.of(NucleusLost)
    assert str(net.nuclei[0].at) in lost.reason and f"{net.nuclei[1].at} does not answer" in lost.reason
    net.restart_nucleus(number=1)
    assert net.run(10, lambda: edge.used == 1)


def test_the_name_of_one_leads_elsewhere(net: Net) -> None:
    """Each has its own endpoints: what the name of the second resolves to is nothing to the first."""
    edge = net.roving_edge()
    edge.nuclei.set_nucleus_endpoints(0, [Endpoint("10.0.0.250", 51820)], net.now)
    edge.nuclei.set_nucleus_endpoints(1, [Endpoint("10.0.0.251", 51820), net.nuclei[1].at], net.now)
    edge.start()
    net.record = True
    assert net.run(15, lambda: edge.used == 1)
    edge.nuclei.set_nucleus_endpoints(0, [net.nuclei[0].at], net.now)
    net.pump(edge)
    assert net.run(FAILBACK_AFTER + FAILBACK_JITTER + 70, lambda: edge.used == 0)
    assert [link.endpoint for link in edge.nuclei.links(net.now)] == [str(server.at) for server in net.nuclei]


def test_none_there_at_the_start(net: Net) -> None:
    for server in net.nuclei:
        server.up = False
    edge = net.roving_edge().start()
    net.run(NUCLEUS_LOST_AFTER + 1)
    assert len(edge.of(NucleusLost)) == 1
    net.restart_nucleus(number=1)
    net.run(10, lambda: edge.registered)
    assert edge.used == 1


def test_packets_of_nobody_are_counted_once(net: Net) -> None:
    (edge,) = settled(net)
    stranger = bytes([ControlType.SIGNALING, 1]) + bytes(6) + bytes([0x77] * 8) + bytes(8) + bytes(40)
    edge.receive(stranger, net.nuclei[1].at, net.now)
    assert edge.nuclei.drops.as_dict() == {DropReason.UNKNOWN_SESSION: 1}
    for kind in (ControlType.RESPONSE, ControlType.COOKIE_REPLY, ControlType.INITIATION):
        for size in (1, 8, 64, 288, 480):
            assert not edge.nuclei.receive_handshake(bytes([kind, 1]).ljust(size, b"\x66")[:size], net.nuclei[1].at, 0)


def test_a_packet_of_one_nucleus_from_the_address_of_the_other(net: Net) -> None:
    """Sessions are told apart by their ids, not by where packets come from."""
    (edge,) = settled(net)
    net.carry = lambda data, source, target: [LATENCY]
    swap = {net.nuclei[0].at: net.nuclei[1].at, net.nuclei[1].at: net.nuclei[0].at}
    send = net.send
    net.send = lambda data, source, target: send(data, swap.get(source, source), target)  # type: ignore[method-assign]
    net.run(0.1)
    edge.nuclei.set_local_endpoints([Endpoint("192.168.1.3", 51820)], net.now)
    net.pump(edge)
    net.run(2)
    net.send = send  # type: ignore[method-assign]
    net.run(300)
    assert edge.used == 0
    assert edge.nuclei.drops.total == 0


def test_handshakes_of_nuclei_under_load(seed: int) -> None:
    """They ask for cookies; each answer finds the Sessions that it is for, although the key is one."""
    net = Net(seed, nuclei=2, handshakes=SessionLimits(free_per_second=0.001))
    net.record = True
    settled(net, 3)
    asked = [source for data, source, _ in net.seen if data[0] == ControlType.COOKIE_REPLY]
    assert set(asked) == {server.at for server in net.nuclei}


def test_a_stop_leaves_no_session(net: Net) -> None:
    edges = settled(net, 2)
    edges[0].stop()
    net.run(1)
    assert [server.engine.status(net.now).sessions for server in net.nuclei] == [1, 1]
    assert edges[1].of(PeerLeft) and len(edges[1].of(PeerJoined)) == 1
