"""A Ganglion that dies or restarts while its data plane goes on: no frame is lost, and the next one takes over."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from omni_core.constants import (
    DEAD_AFTER,
    FIRST_DATA_BYTE,
    HEARTBEATS_MISSED,
    NAT_KEEPALIVE,
    REJECT_AFTER_TIME,
    REKEY_AFTER_TIME,
    RESPONDER_REKEY_GRACE,
)
from omni_core.engines.ganglion_events import PeerDown, PeerUp, Warned
from omni_core.session.machine import State
from omni_core.sim.edge import SimEdge
from omni_core.sim.fleet import Fleet, connected, one_session
from omni_core.sim.flow import Flow
from omni_core.sim.host import SimHost
from omni_core.sim.link import LinkQuality
from omni_core.sim.network import SimNet
from omni_core.types import BROADCAST

SAFE = REJECT_AFTER_TIME - REKEY_AFTER_TIME - 1.0  # s that a Ganglion may be away whenever it goes


class Nonces:
    """Watches every data packet that is sent: no (session, nonce) twice."""

    def __init__(self, net: SimNet) -> None:
        self.seen: set[bytes] = set()
        net.lose = self._look

    def _look(self, sender: SimHost, data: bytes) -> bool:
        if data[0] >= FIRST_DATA_BYTE:
            key = data[:8] + data[16:24]
            assert key not in self.seen, f"{sender.name} used a nonce twice"
            self.seen.add(key)
        return False


def fleet_of(net: SimNet, count: int, nucleus: bool = True) -> list[SimEdge]:
    """All up, and settled."""
    net.set_quality(LinkQuality(latency=0.03, jitter=0.01))
    fleet = Fleet(net, secret=b"a secret")
    edges = [fleet.add(start=False, **({} if nucleus else {"nuclei": ()})) for _ in range(count)]
    if not nucleus:
        for n, a in enumerate(edges):
            for b in edges[n + 1 :]:
                fleet.introduce(a, b)
    for edge in edges:
        edge.start()
    net.until(lambda: fleet.meshed(), 30)
    net.run(5)
    return edges


def flows_between(edges: list[SimEdge], gap: float = 0.05) -> list[Flow]:
    flows = [Flow(a, b, gap) for a in edges for b in edges if a is not b]
    flows += [Flow(a, b, 0.5, BROADCAST) for a in edges for b in edges if a is not b]
    return [flow.start() for flow in flows]


def assert_nothing_lost(net: SimNet, flows: list[Flow]) -> None:
    for flow in flows:
        flow.stop()
    net.run(1)
    for flow in flows:
        assert flow.sent and (flow.missing, flow.repeated) == ([], [])


def age(edge: SimEdge, other: SimEdge) -> float:
    keypair = edge.engine.sessions.sending(other.key)
    assert keypair is not None
    return edge.net.now - keypair.created


def at_age(edge: SimEdge, other: SimEdge, seconds: float) -> Callable[[], bool]:
    return lambda: seconds <= age(edge, other) < seconds + 5


def events(edge: SimEdge, kind: type, since: float) -> list[str]:
    return [event.text for when, event in edge.events if when >= since and isinstance(event, kind)]


@pytest.mark.parametrize("nucleus", [True, False], ids=["nucleus", "static"])
@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize(
    ("session_age", "away"),
    [
        pytest.param(20.0, 0.0, id="1 back at once"),
        pytest.param(20.0, 2 * DEAD_AFTER, id="2 silent for long"),
        pytest.param(REKEY_AFTER_TIME - 3, SAFE, id="3 gone just before the rekey"),
        pytest.param(REKEY_AFTER_TIME - 3, 10.0, id="4 a rekey fell due meanwhile"),
        pytest.param(2.0, REKEY_AFTER_TIME + 20, id="5 gone after a rekey"),
    ],
)
def test_a_killed_ganglion_loses_no_frame(
    net: SimNet, session_age: float, away: float, victim: int, nucleus: bool
) -> None:
    """Either role: one of the two is the initiator."""
    a, b = edges = fleet_of(net, 2, nucleus)
    robot, other = (a, b) if victim == 0 else (b, a)
    flows = flows_between(edges)
    Nonces(net)
    net.until(at_age(robot, other, session_age), 200)
    robot.behead()
    net.run(away)
    came_back = net.now
    robot.start()
    assert connected(robot, other)
    assert [text for text in events(robot, PeerUp, came_back) if "earlier run" in text]
    assert robot.status().peers[0].adopted
    net.run(2 * REKEY_AFTER_TIME + 60)
    assert one_session(robot, other) and age(robot, other) < REKEY_AFTER_TIME + RESPONDER_REKEY_GRACE
    assert not robot.status().peers[0].adopted
    assert_nothing_lost(net, flows)
    for edge in edges:
        assert events(edge, PeerDown, 0) == events(edge, Warned, 0) == []
    assert net.trace.verdicts.keys() == {"delivered"}


def test_an_orderly_restart_loses_no_frame(net: SimNet) -> None:
    """Again and again, each robot in turn."""
    edges = fleet_of(net, 3)
    flows = flows_between(edges)
    Nonces(net)
    for turn in range(12):
        robot = edges[turn % 3]
        robot.detach()
        net.run(net.random.uniform(0, 20))
        robot.start()
        net.run(net.random.uniform(0, 20))
    net.run(2 * REKEY_AFTER_TIME)
    assert_nothing_lost(net, flows)
    for edge in edges:
        assert events(edge, PeerDown, 0) == events(edge, Warned, 0) == []
        assert {peer.state for peer in edge.status().peers} == {"up"}


def test_all_are_killed_at_once_and_come_back(net: SimNet) -> None:
    edges = fleet_of(net, 3)
    flows = flows_between(edges)
    Nonces(net)
    net.run(40)
    for edge in edges:
        edge.behead()
    for edge in edges:
        net.run(15)
        edge.start()
    net.run(2 * REKEY_AFTER_TIME)
    assert_nothing_lost(net, flows)


def test_a_rekey_that_the_peer_finished_meanwhile(net: SimNet) -> None:
    """The robot answered an initiation and died; the peer sends with the new session, the robot with the old one."""
    a, b = edges = fleet_of(net, 2, nucleus=False)
    flows = flows_between(edges)
    Nonces(net)
    responder = b if a.engine.sessions.keypairs(b.key)[0].initiator else a
    initiator = a if responder is b else b
    net.until(lambda: responder.engine.sessions.state(initiator.key) is State.REANSWERED, 200)
    responder.behead()
    net.run(10)
    assert not one_session_ids(initiator, responder)
    responder.start()
    assert one_session(a, b)
    net.run(2 * REKEY_AFTER_TIME)
    assert_nothing_lost(net, flows)


def one_session_ids(initiator: SimEdge, headless: SimEdge) -> bool:
    keypair = initiator.engine.sessions.sending(headless.key)
    sending = [each.receive_id for each in headless.plane.adopted() if each.sending]
    return keypair is not None and keypair.send_id in sending


def test_a_rekey_whose_answer_is_still_on_its_way(net: SimNet) -> None:
    """Back before the peer has confirmed: the session is still pending, and then it sends."""
    a, b = edges = fleet_of(net, 2, nucleus=False)
    flows = flows_between(edges)
    responder = b if a.engine.sessions.keypairs(b.key)[0].initiator else a
    other = a if responder is b else b
    net.until(lambda: responder.engine.sessions.state(other.key) is State.REANSWERED, 200)
    responder.behead()
    responder.start()
    assert responder.engine.sessions.state(other.key) is State.REANSWERED
    net.until(lambda: one_session(a, b), 1)
    net.run(REKEY_AFTER_TIME)
    assert_nothing_lost(net, flows)


def test_the_robot_died_while_it_was_asking(net: SimNet) -> None:
    """The peer has answered an initiation of which the new Ganglion knows nothing."""
    a, b = edges = fleet_of(net, 2, nucleus=False)
    flows = flows_between(edges)
    initiator = a if a.engine.sessions.keypairs(b.key)[0].initiator else b
    net.until(lambda: initiator.engine.sessions.state((b if initiator is a else a).key) is State.REKEYING, 200)
    initiator.behead()
    net.run(20)
    initiator.start()
    net.until(lambda: one_session(a, b) and age(a, b) < 20, 30)
    net.run(REKEY_AFTER_TIME)
    assert_nothing_lost(net, flows)


@pytest.mark.parametrize("back", [False, True], ids=["towards it", "from it"])
def test_one_way_traffic_and_a_dead_ganglion(net: SimNet, back: bool) -> None:
    """No PONG and no KEEPALIVE comes, and the traffic goes on until the session ends by itself."""
    a, b = fleet_of(net, 2, nucleus=False)
    net.until(at_age(a, b, 2.0), 200)
    flow = Flow(b, a, 0.05) if back else Flow(a, b, 0.05)
    flow.start()
    b.behead()
    net.run(REJECT_AFTER_TIME - 10)
    assert a.status().peers[0].state == "up"
    assert_nothing_lost(net, [flow])
    assert events(a, PeerDown, 0) == []


def test_back_too_late(net: SimNet) -> None:
    """The sessions have expired: nothing of them is used, and the robots find each other as after any restart."""
    a, b = edges = fleet_of(net, 2)
    Nonces(net)
    b.behead()
    net.run(REJECT_AFTER_TIME + 40)
    b.start()
    assert not connected(b, a) and not b.plane.adopted()
    assert events(b, Warned, 0) == []
    net.until(lambda: one_session(a, b), 10)
    flows = flows_between(edges)
    net.run(10)
    assert_nothing_lost(net, flows)


def test_the_peer_moved_meanwhile(net: SimNet) -> None:
    a, b = fleet_of(net, 2)
    b.behead()
    net.run(5)
    a.roam()
    net.run(20)
    b.start()
    flow = Flow(a, b).start()
    net.until(lambda: b.status().peers[0].endpoint == f"{a.addresses[0]}:{a.port}", NAT_KEEPALIVE)
    back = Flow(b, a).start()
    net.run(10)
    assert_nothing_lost(net, [flow, back])


def test_the_peer_started_anew_meanwhile(net: SimNet) -> None:
    """It has no session any more; what the robot took over is worth nothing, and that is soon found out."""
    a, b = edges = fleet_of(net, 2)
    b.behead()
    net.run(5)
    a.crash()
    a.start()
    net.run(10)
    b.start()
    net.until(lambda: one_session(a, b), DEAD_AFTER)
    flows = flows_between(edges)
    net.run(10)
    assert_nothing_lost(net, flows)


def test_a_member_that_left_meanwhile_is_forgotten(net: SimNet) -> None:
    """Nobody tells a Ganglion that registers again who left before: such a peer ends with its session."""
    a, b = fleet_of(net, 2)
    b.behead()
    net.run(1)
    a.stop()
    net.run(40)
    b.start()
    assert connected(b, a)
    net.until(lambda: not b.status().peers, 2 * REJECT_AFTER_TIME)
    net.run(60)
    assert not b.status().peers


def test_a_robot_that_is_away_for_long_is_no_member_but_keeps_its_sessions(net: SimNet) -> None:
    """The Nucleus has let it go. Whoever has unicast traffic with it goes on."""
    a, b = edges = fleet_of(net, 2)
    net.until(at_age(a, b, 2.0), 200)
    flows = [Flow(a, b).start(), Flow(b, a).start()]
    b.behead()
    net.run(HEARTBEATS_MISSED * 30 + 40)
    assert connected(a, b)
    b.start()
    net.until(lambda: len(b.status().peers) == 1 and b.status().nucleus_state == "registered", 10)
    net.run(REKEY_AFTER_TIME)
    assert_nothing_lost(net, flows)
    assert all(edge.status().peers[0].state == "up" for edge in edges)
