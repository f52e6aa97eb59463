"""Two real Ganglia that know each other (no Nucleus): sessions come up, stay up, and come back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from omni_core.constants import DEAD_AFTER, LIVENESS_POLL, REKEY_AFTER_TIME, REKEY_RETRY, REKEY_RETRY_JITTER, TIE_RETRY
from omni_core.sim.edge import SimEdge
from omni_core.sim.fleet import Fleet, connected, one_session
from omni_core.sim.flow import Flow
from omni_core.sim.link import LinkQuality
from omni_core.sim.network import SimNet

pytestmark = pytest.mark.sim

ROUGH = LinkQuality(latency=0.03, jitter=0.02, loss=0.1, duplicate=0.05, reorder=0.05)
A_RETRY = REKEY_RETRY + REKEY_RETRY_JITTER


def pair(net: SimNet, start: bool = True) -> tuple[SimEdge, SimEdge]:
    """Two edges that are static peers of each other, without a Nucleus."""
    fleet = Fleet(net, secret=b"a secret")
    a, b = (fleet.add(start=False, nuclei=()) for _ in range(2))
    fleet.introduce(a, b)
    if start:
        a.start()
        b.start()
    return a, b


def both_up(a: SimEdge, b: SimEdge) -> Callable[[], bool]:
    return lambda: connected(a, b) and connected(b, a) and one_session(a, b)


def test_frames_cross_both_ways(net: SimNet) -> None:
    a, b = pair(net)
    net.until(both_up(a, b), 1)
    flows = [Flow(a, b).start(), Flow(b, a).start()]
    net.run(10)
    for flow in flows:
        flow.stop()
    net.run(1)
    for flow in flows:
        assert flow.sent >= 100
        assert (flow.missing, flow.repeated) == ([], [])
    assert net.trace.delivered["data"] > 200


def test_frames_sent_before_the_session_wait_for_it(net: SimNet) -> None:
    a, b = pair(net)
    flow = Flow(a, b)
    for _ in range(10):
        flow.send_one()
    net.until(lambda: len(flow.arrived) == 10, 1)
    assert flow.repeated == []


def test_no_frame_is_lost_in_half_an_hour_of_rekeys(net: SimNet) -> None:
    net.set_quality(LinkQuality(latency=0.04, jitter=0.02))
    a, b = pair(net)
    net.until(both_up(a, b), 1)
    flows = [Flow(a, b, 0.05).start(), Flow(b, a, 0.05).start()]
    keys = set()
    for _ in range(1800):
        net.run(1)
        keys.add(a.engine.sessions.keypairs(b.key)[0].receive_id)
    for flow in flows:
        flow.stop()
    net.run(1)
    assert len(keys) >= 1800 // (REKEY_AFTER_TIME + 20)
    for flow in flows:
        assert (flow.missing, flow.repeated) == ([], [])
    assert net.trace.verdicts.keys() == {"delivered"}
    net.until(lambda: one_session(a, b), 1, "no rekey under way")


def test_sessions_stay_up_without_any_traffic(net: SimNet) -> None:
    a, b = pair(net)
    net.until(both_up(a, b), 1)
    for _ in range(1800):
        net.run(1)
        assert connected(a, b)
        assert connected(b, a)


def test_rough_link_half_an_hour(net: SimNet) -> None:
    """10 % loss, 20 ms jitter, duplication, reordering: up, up all the time, and no frame twice."""
    net.set_quality(ROUGH)
    a, b = pair(net)
    took = net.until(both_up(a, b), 60)
    print(f"up after {took:.2f} s")
    flows = [Flow(a, b, 0.1).start(), Flow(b, a, 0.1).start()]
    for _ in range(1800):
        net.run(1)
        assert connected(a, b)
        assert connected(b, a)
    for flow in flows:
        flow.stop()
    net.run(1)
    for flow in flows:
        assert flow.repeated == []
        lost = len(flow.missing) / flow.sent
        assert 0.08 < lost < 0.12, "the link's loss, and no more"
    for edge in (a, b):
        ups = [event for _, event in edge.events if type(event).__name__ == "PeerUp"]
        assert len(ups) == 1


@pytest.mark.parametrize("loss", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("case", range(30))
def test_simultaneous_initiation(seed: int, watch: Callable[[SimNet], SimNet], case: int, loss: float) -> None:
    """Both start at the same virtual instant; delays differ. One session is left, and from then on no frame is lost."""
    net = watch(SimNet(seed + case))
    a, b = pair(net, start=False)
    net.set_link(a, b, LinkQuality(latency=net.random.uniform(0, 0.3), loss=loss), back=False)
    net.set_link(b, a, LinkQuality(latency=net.random.uniform(0, 0.3), loss=loss), back=False)
    net.at(net.now + 1, a.start)
    net.at(net.now + 1, b.start)
    net.run(1)
    flows = [Flow(a, b, 0.2).start(), Flow(b, a, 0.2).start()]
    if loss:
        net.until(both_up(a, b), 60)
        net.set_link(a, b, LinkQuality(latency=0.1))
    else:
        assert net.until(both_up(a, b), 60) < 2 * 0.6 + TIE_RETRY
    first = [flow.sent for flow in flows]
    net.run(5)
    assert one_session(a, b)
    net.run(300)
    for flow in flows:
        flow.stop()
    net.run(1)
    net.until(lambda: one_session(a, b), 1, "no rekey under way")
    for flow, since in zip(flows, first, strict=True):
        assert [number for number in flow.missing if number >= since or not loss] == []
        assert flow.repeated == []
    for edge, other in ((a, b), (b, a)):
        assert len(edge.engine.sessions.keypairs(other.key)) <= 2


def test_simultaneous_rekey(net: SimNet) -> None:
    """Both decide to rekey in the same instant, again and again."""
    net.set_quality(LinkQuality(latency=0.1))
    a, b = pair(net)
    net.until(both_up(a, b), 2)
    flows = [Flow(a, b, 0.05).start(), Flow(b, a, 0.05).start()]
    for _ in range(20):
        net.run(5)
        for edge, other in ((a, b), (b, a)):
            edge.engine.sessions.rekey(other.key, net.now)
            edge.engine.handle_timer(net.now)
            edge.pump()
        net.run(3)
        assert one_session(a, b)
    for flow in flows:
        flow.stop()
    net.run(1)
    for flow in flows:
        assert (flow.missing, flow.repeated) == ([], [])


@pytest.mark.parametrize("down", [0.5, 30.0, 400.0])
def test_peer_restart_is_recovered_within_one_handshake(net: SimNet, down: float) -> None:
    a, b = pair(net)
    net.until(both_up(a, b), 1)
    net.run(10)
    b.crash()
    net.run(down)
    before = net.trace.delivered["response"]
    b.start()
    took = net.until(both_up(a, b), 5)
    assert took < 0.1 + TIE_RETRY
    assert net.trace.delivered["response"] - before == 1
    flows = [Flow(a, b).start(), Flow(b, a).start()]
    net.run(30)
    for flow in flows:
        flow.stop()
    net.run(1)
    for flow in flows:
        assert (flow.missing, flow.repeated) == ([], [])


def test_peer_that_restarts_without_wanting_us_is_found_again(net: SimNet) -> None:
    """The restarted one has no reason to connect; the other notices the silence and does."""
    fleet = Fleet(net, secret=b"a secret")
    a, b = (fleet.add(start=False, nuclei=()) for _ in range(2))
    fleet.introduce(a, b)
    b.settings = fleet.edges[1].settings.__class__(b.settings.cluster, b.settings.name, psk=b.settings.psk)
    a.start()
    b.start()
    net.until(both_up(a, b), 1)
    flow = Flow(a, b).start()
    net.run(10)
    b.crash()
    b.start()
    net.until(both_up(a, b), DEAD_AFTER + 2 * LIVENESS_POLL)
    sent = flow.sent
    net.run(30)
    flow.stop()
    net.run(1)
    assert [number for number in flow.missing if number > sent] == []


@pytest.mark.parametrize("talking", [False, True])
def test_roaming(net: SimNet, talking: bool) -> None:
    a, b = pair(net)
    net.until(both_up(a, b), 1)
    flows = [Flow(a, b).start(), Flow(b, a).start()] if talking else []
    for _ in range(5):
        net.run(20)
        a.roam()
        net.run(0.1)
        peer = b.engine.book.get(a.key)
        assert peer is not None
        assert peer.path == (a.addresses[0], a.port)
    handshakes = net.trace.delivered["response"]
    for flow in flows:
        flow.stop()
    net.run(1)
    assert handshakes == 1, "a new address needs no new handshake"
    if talking:
        assert flows[0].missing == []
        assert len(flows[1].missing) <= 5, "only what was under way to the old address"


def test_both_roam_at_once(net: SimNet) -> None:
    """Neither knows where the other is, and there is no Nucleus to ask: all comes back when one returns."""
    a, b = pair(net)
    net.until(both_up(a, b), 1)
    home = a.addresses[0]
    a.roam()
    b.roam()
    flow = Flow(a, b).start()
    net.run(100)
    assert flow.arrived == {}
    a.roam(home)
    net.until(lambda: bool(flow.arrived), A_RETRY + 1)
    sent = flow.sent
    net.run(10)
    flow.stop()
    net.run(1)
    assert [number for number in flow.missing if number >= sent] == []


@pytest.mark.parametrize("outage", [5.0, 60.0, 170.0, 300.0, 3600.0])
def test_cut_link_heals_by_itself(net: SimNet, outage: float) -> None:
    a, b = pair(net)
    net.until(both_up(a, b), 1)
    flows = [Flow(a, b, 1.0).start(), Flow(b, a, 1.0).start()]
    net.run(30)
    net.cut(a, b)
    net.run(outage)
    net.heal(a, b)
    arrived = [len(flow.arrived) for flow in flows]
    took = net.until(lambda: all(len(f.arrived) > n for f, n in zip(flows, arrived, strict=True)), 70)
    print(f"frames cross {took:.1f} s after an outage of {outage} s")
    sent = [flow.sent for flow in flows]
    net.run(60)
    for flow in flows:
        flow.stop()
    net.run(1)
    for flow, since in zip(flows, sent, strict=True):
        assert [number for number in flow.missing if number > since] == []
        assert flow.repeated == []


def test_one_way_cut(net: SimNet) -> None:
    """a hears b, b does not hear a: nothing can work, and all comes back afterwards."""
    a, b = pair(net)
    net.until(both_up(a, b), 1)
    net.cut(a, b, back=False)
    net.run(400)
    assert not connected(a, b)
    net.heal(a, b)
    net.until(both_up(a, b), 70)


def test_wrong_secret_never_connects(net: SimNet) -> None:
    a, b = pair(net, start=False)
    b.settings = b.settings.__class__(
        b.settings.cluster, b.settings.name, psk=bytes(32), static_peers=b.settings.static_peers
    )
    a.start()
    b.start()
    net.run(200)
    assert not connected(a, b)
    assert not connected(b, a)
    assert net.trace.delivered.keys() == {"initiation"}, "silence"
