"""Real Ganglia in the simulator with DDS participants that announce themselves: what they hear, and at what price."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from support.group_frames import udp
from support.participants import GROUP, Participant, joined, learned

from omni_core.constants import CLOCK_REFRESH, CONTROL_MAC, LIVENESS_POLL
from omni_core.engines.discovery.discovery import POLICY_LEASE
from omni_core.engines.status import PeerStatus
from omni_core.sim.edge import SimEdge
from omni_core.sim.fleet import Fleet
from omni_core.sim.link import LinkQuality
from omni_core.sim.network import SimNet
from omni_core.wire.hello import CAPABILITY_BULK

LATENCY = 0.03  # s, one way
ROUND_TRIP = 2 * LATENCY


@pytest.fixture
def net(seed: int, watch: Callable[[SimNet], SimNet]) -> SimNet:
    return watch(SimNet(seed, LinkQuality(latency=LATENCY)))


def make_fleet(net: SimNet, count: int, **settings: object) -> Fleet:
    """Up, each with GROUP joined, and each knows of each what it listens to."""
    fleet = Fleet(net)
    for _ in range(count):
        fleet.add(**settings)
    net.until(fleet.meshed, 30)
    for edge in fleet.edges:
        joined(edge, GROUP)
    net.until(lambda: learned(*fleet.edges), 10)
    return fleet


def data_packets(net: SimNet) -> int:
    return net.trace.delivered["data"]


def data_to(target: SimEdge, domain: int, body: bytes = b"sensor data") -> bytes:
    return udp("239.255.0.1", 7401 + 250 * domain, body)


def test_a_late_joiner_hears_of_all_within_a_round_trip(net: SimNet) -> None:
    fleet = make_fleet(net, 4)
    early = [Participant(edge, 10 * n + k).begin() for n, edge in enumerate(fleet.edges[:3]) for k in (1, 2)]
    net.run(20)
    late = Participant(fleet.edges[3], 99).begin()
    net.run(ROUND_TRIP + 0.01)
    assert {each.prefix for each in early} <= late.known
    assert all(late.prefix in each.known for each in early)
    assert max(late.waited_for(each) for each in early) == 0.0, "from its own Ganglion, without asking anybody"


def test_an_edge_that_comes_late_gets_them_with_its_session(net: SimNet) -> None:
    fleet = make_fleet(net, 2)
    early = [Participant(edge, n + 1).begin() for n, edge in enumerate(fleet.edges)]
    net.run(20)
    edge = fleet.add(start=False)
    late = Participant(edge, 99)
    edge.start()
    net.until(fleet.meshed, 10)
    late.begin()
    net.run(ROUND_TRIP + 0.01)
    assert {each.prefix for each in early} <= late.known and all(late.prefix in each.known for each in early)


def test_a_lost_announcement_is_asked_for(net: SimNet) -> None:
    fleet = make_fleet(net, 2)
    a, b = fleet.edges
    listener = Participant(b, 2).begin()
    net.run(5)
    net.lose = lambda host, data: host is a and data[0] >= 0x10 and len(data) > 200
    speaker = Participant(a, 1).begin()
    net.run(0.2)
    net.lose = None
    assert speaker.prefix not in listener.known
    net.run(0.1 + 2 * ROUND_TRIP)
    assert speaker.prefix in listener.known
    assert b.status().discovery["requests"] == 1


def test_changes_and_ends_cross_at_once(net: SimNet) -> None:
    fleet = make_fleet(net, 3)
    a, b, c = (Participant(edge, n + 1).begin() for n, edge in enumerate(fleet.edges))
    net.run(10)
    before = len(b.heard[a.prefix])
    a.change(b"something else")
    net.run(LATENCY + 0.001)
    assert len(b.heard[a.prefix]) == before + 1
    net.run(1)
    a.end()
    net.run(LATENCY + 0.001)
    assert a.prefix not in b.known | c.known
    late = Participant(fleet.edges[2], 4).begin()
    net.run(2)
    assert late.known == {b.prefix}, "who has ended is given to nobody"


def test_a_crashed_participant_is_forgotten_after_its_lease(net: SimNet) -> None:
    fleet = make_fleet(net, 2)
    a, b = (Participant(edge, n + 1).begin() for n, edge in enumerate(fleet.edges))
    net.run(10)
    a.end(says_so=False)
    net.run(2 * a.speaker.lease)  # type: ignore[operator]
    assert b.heard[a.prefix][-1] < net.now - 15
    late = Participant(fleet.edges[1], 3).begin()
    net.run(2)
    assert a.prefix not in late.known
    assert [edge.status().discovery["remote_participants"] for edge in fleet.edges] == [2, 0]


def test_leases_are_renewed_as_on_a_lan(net: SimNet) -> None:
    """A participant of 10 s lease that announces itself each 8 s, as Cyclone DDS; and one as Fast DDS."""
    fleet = make_fleet(net, 2)
    cyclone = Participant(fleet.edges[0], 1, lease=10.0, period=8.0).begin()
    fast = Participant(fleet.edges[0], 2).begin()
    listener = Participant(fleet.edges[1], 3).begin()
    net.run(120)
    for speaker, longest in ((cyclone, 9.0), (fast, 6.5)):
        times = listener.heard[speaker.prefix]
        assert max(b - a for a, b in itertools.pairwise(times)) < longest
        assert times[-1] > net.now - longest


def test_one_domain_gets_nothing_of_another(net: SimNet) -> None:
    fleet = make_fleet(net, 4)
    three, seven = fleet.edges[:2], fleet.edges[2:]
    speakers = [Participant(edge, n + 1, domain=3).begin() for n, edge in enumerate(three)]
    others = [Participant(edge, n + 5, domain=7).begin() for n, edge in enumerate(seven)]
    net.run(5)
    net.until(lambda: learned(*fleet.edges), 5)
    for edge in seven:
        edge.frames.clear()
    speakers[0].change(b"news")
    three[0].send_frame(data_to(three[1], 3))
    late = Participant(three[1], 9, domain=3).begin()
    net.run(10)
    assert [frame for edge in seven for _, frame in edge.frames if frame[:6] == GROUP and domain_of(frame) == 3] == []
    assert late.known == {speakers[0].prefix} and data_to(three[1], 3) in [frame for _, frame in three[1].frames]
    assert {others[1].prefix} == others[0].known
    assert three[0].status().domains == [3]
    assert {tuple(peer.domains) for peer in three[0].status().peers} == {(3,), (7,)}


def domain_of(frame: bytes) -> int:
    return (int.from_bytes(frame[36:38], "big") - 7400) // 250


def test_a_new_domain_at_an_edge_is_served_within_a_round_trip(net: SimNet) -> None:
    fleet = make_fleet(net, 2)
    a, b = fleet.edges
    Participant(a, 1, domain=3).begin()
    speaker = Participant(b, 2, domain=7).begin()
    net.run(10)
    late = Participant(a, 3, domain=7).begin()
    net.run(ROUND_TRIP + 0.01)
    assert late.known == {speaker.prefix} and late.prefix in speaker.known


def test_who_only_listens_still_gets_all(net: SimNet) -> None:
    """No participant was seen there: all domains; the kernel's table not read there: all groups."""
    fleet = make_fleet(net, 2)
    silent = fleet.add()
    net.until(fleet.meshed, 30)
    net.run(5)
    a = fleet.edges[0]
    speaker = Participant(a, 1, domain=42).begin()
    net.run(1)
    other = udp("239.1.2.3", 5000)
    a.send_frame(other)
    a.send_frame(data_to(silent, 42))
    net.run(1)
    heard = [frame for _, frame in silent.frames]
    assert speaker.speaker.says() in heard and other in heard and data_to(silent, 42) in heard
    assert other not in [frame for _, frame in fleet.edges[1].frames], "it listens to GROUP only"


def test_a_bridge_gets_all_groups(net: SimNet) -> None:
    fleet = make_fleet(net, 2)
    a, b = fleet.edges
    bridge = fleet.add(bridged=True)
    station = bytes.fromhex("020000000077")  # behind b: its Ganglion was not told of a bridge
    report = bytes.fromhex("01005e000016") + station + bytes.fromhex(
        "080046c00028000040000102f9ab0a4d0001e0000016940400002200e9fd0000000104000000efff0001"
    )  # fmt: skip
    net.until(fleet.meshed, 30)
    joined(bridge, GROUP)
    net.until(lambda: learned(*fleet.edges), 10)
    other = udp("239.1.2.3", 5000)
    for from_b in (False, True):
        if from_b:
            b.send_frame(report)
            net.run(1)
            assert report in [frame for _, frame in a.frames], "a report goes to all"
        a.send_frame(other)
        net.run(1)
        assert (other in [frame for _, frame in b.frames]) is from_b
    assert [frame for _, frame in bridge.frames].count(other) == 2


def test_a_peer_that_knows_nothing_of_this_gets_every_frame(net: SimNet) -> None:
    fleet = make_fleet(net, 1)
    old = fleet.add(capabilities=CAPABILITY_BULK)
    net.until(fleet.meshed, 30)
    a, b = Participant(fleet.edges[0], 1).begin(), Participant(old, 2).begin()
    net.run(30)
    assert len(b.heard[a.prefix]) == len(a.heard[b.prefix]) == 5 + 9
    assert old.plane.drops() == {} and "control_malformed" not in old.status().drops
    assert fleet.edges[0].status().discovery["suppressed"] == 0
    assert only_peer(old).multicast == only_peer(fleet.edges[0]).multicast == "flood"


def only_peer(edge: SimEdge) -> PeerStatus:
    [peer] = edge.status().peers
    return peer


def test_without_the_cache_announcements_are_sent_as_they_are(net: SimNet) -> None:
    fleet = make_fleet(net, 2, spdp_cache=False)
    a, b = (Participant(edge, n + 1).begin() for n, edge in enumerate(fleet.edges))
    net.run(30)
    assert len(b.heard[a.prefix]) == len(a.heard[b.prefix]) == 5 + 9
    assert only_peer(fleet.edges[0]).multicast == "learned"


def test_one_side_without_the_cache(net: SimNet) -> None:
    fleet = make_fleet(net, 1)
    fleet.add(spdp_cache=False)
    net.until(fleet.meshed, 30)
    a, b = (Participant(edge, n + 1).begin() for n, edge in enumerate(fleet.edges))
    net.run(30)
    assert a.prefix in b.known and b.prefix in a.known
    assert fleet.edges[1].status().discovery["requests"] == 0


def test_flooding_with_the_cache(net: SimNet) -> None:
    """``multicast: flood``: all groups to all, and announcements are cached all the same."""
    fleet = make_fleet(net, 2, multicast_learn=False)
    a, b = fleet.edges
    speaker, listener = Participant(a, 1, domain=3).begin(), Participant(b, 2, domain=3).begin()
    net.run(10)
    other = udp("239.1.2.3", 5000)
    a.send_frame(other)
    net.run(1)
    assert other in [frame for _, frame in b.frames]
    assert speaker.prefix in listener.known and a.status().discovery["suppressed"] > 0
    assert (only_peer(a).domains, only_peer(a).groups) == ([], 0)


def test_with_both_off_nothing_of_this_runs(net: SimNet) -> None:
    fleet = Fleet(net)
    for _ in range(2):
        fleet.add(capabilities=CAPABILITY_BULK)
    net.until(fleet.meshed, 30)
    assert fleet.edges[0].engine.discovery is None and fleet.edges[0].plane._groups is None
    assert fleet.edges[0].status().discovery == {}


@pytest.mark.parametrize("mtu", [1280, 1418])
def test_what_does_not_fit_crosses_as_it_is(net: SimNet, mtu: int) -> None:
    fleet = make_fleet(net, 2, interface_mtu=mtu)
    a, b = fleet.edges
    frame = Participant(a, 1).speaker.says(size=1100)
    heard = []
    for _ in range(4):
        a.send_frame(frame)
        net.run(3)
        heard.append([each for _, each in b.frames].count(frame))
    assert heard[0] >= 1 and heard[-1] >= 2
    assert (heard == [1, 2, 3, 4]) is (len(frame) + 22 > mtu + 14)
    assert b.status().discovery["requests"] == 0


def test_after_an_outage_of_30_s_all_is_back_with_the_session(net: SimNet) -> None:
    fleet = make_fleet(net, 2)
    a, b = fleet.edges
    one, two = Participant(a, 1).begin(), Participant(b, 2, lease=10.0, period=8.0).begin()
    net.run(30)
    net.cut(a, b)
    net.run(30)
    ended, sessions = net.now, [edge.engine.sessions.sending(other.key) for edge, other in ((a, b), (b, a))]
    net.heal(a, b)
    net.until(
        lambda: (
            [edge.engine.sessions.sending(other.key) for edge, other in ((a, b), (b, a))] != sessions
            or one.heard[two.prefix][-1] > ended
        ),
        20,
    )
    session = net.now
    net.until(lambda: one.heard[two.prefix][-1] > ended and two.heard[one.prefix][-1] > ended, 20)
    assert net.now - session < 2.0, "back with the session"
    assert net.now - ended < 8.0


def test_a_ganglion_that_is_restarted_over_its_data_plane(net: SimNet) -> None:
    """It has forgotten all, its peers have not; meanwhile everything is flooded."""
    fleet = make_fleet(net, 3)
    a, b, c = fleet.edges
    one, two, three = (Participant(edge, n + 1).begin() for n, edge in enumerate(fleet.edges))
    net.run(20)
    a.behead()
    other = udp("239.1.2.3", 5000)
    net.run(POLICY_LEASE)
    a.send_frame(other)
    a.send_frame(one.speaker.says())
    net.run(1)
    assert other in [frame for _, frame in b.frames], "nobody widens a set any more: all to all"
    heard = len(one.heard[two.prefix])
    began = net.now
    a.start()
    net.run(ROUND_TRIP + 0.01)
    assert len(one.heard[two.prefix]) > heard, "told again because it asked"
    net.until(lambda: learned(*fleet.edges), 5)
    joined(a, GROUP)
    net.run(10)
    assert a.status().discovery["local_participants"] == 1 and a.status().discovery["remote_participants"] == 2
    assert a.engine.discovery is not None and a.engine.discovery.exchange.ours.domains is None, "there may be others"
    net.run(35 - (net.now - began))
    assert a.engine.discovery.exchange.ours.domains == frozenset({0})
    late = Participant(c, 9).begin()
    net.run(ROUND_TRIP)
    assert {one.prefix, two.prefix, three.prefix} >= late.known >= {one.prefix, two.prefix}


@pytest.mark.parametrize("away", [3.0, 60.0])
def test_a_ganglion_that_crashed_gets_all_with_its_first_session(net: SimNet, away: float) -> None:
    """Its peers may not even have noticed."""
    fleet = make_fleet(net, 2)
    a, b = fleet.edges
    one, two = Participant(a, 1).begin(), Participant(b, 2).begin()
    net.run(20)
    b.crash()
    net.run(away)
    b.start()
    net.until(lambda: b.status().peers and only_peer(b).state == "up", 30)
    heard = len(two.heard[one.prefix])
    net.run(ROUND_TRIP + 0.01)
    assert len(two.heard[one.prefix]) > heard
    assert only_peer(b).multicast == "learned" and only_peer(b).groups == 1


def spdp_price(net: SimNet, per_edge: int, seconds: float, **settings: object) -> Counter[str]:
    """Data packets that 5 edges with so many participants send in steady state."""
    fleet = make_fleet(net, 5, **settings)
    for n, edge in enumerate(fleet.edges):
        for k in range(per_edge):
            participant = Participant(edge, 100 * n + k)
            net.at(net.now + net.random.uniform(0, 3), participant.begin)
    net.run(30)
    before, alive = data_packets(net), sum(edge.status().discovery["alive"] for edge in fleet.edges)
    net.run(seconds)
    return Counter(
        data=data_packets(net) - before,
        alive=sum(edge.status().discovery["alive"] for edge in fleet.edges) - alive,
        told=sum(edge.status().discovery["told"] for edge in fleet.edges),
    )


def test_the_price_does_not_grow_with_the_square_of_the_participants(seed: int) -> None:
    """5 edges, 1 and 4 participants each: the same packets in steady state, with the cache."""
    seconds = 60.0
    nets = [SimNet(seed, LinkQuality(latency=LATENCY)) for _ in range(3)]
    few, many = spdp_price(nets[0], 1, seconds), spdp_price(nets[1], 4, seconds)
    plain = spdp_price(nets[2], 4, seconds, spdp_cache=False)
    ways = 5 * 4
    assert many["alive"] <= ways * seconds / 5, "one for all participants of an edge, each quarter of a lease"
    assert many["alive"] <= 1.2 * few["alive"]
    assert many["told"] == 4 * few["told"] == 20 * 4, "each announcement once to each peer"
    assert plain["data"] > 20 * 4 * seconds / 3
    assert many["data"] < plain["data"] / 4, f"with {many}, without {plain}"


def test_idle_edges_say_little(net: SimNet) -> None:
    """No participants: nothing is added to keepalives."""
    make_fleet(net, 3)
    net.run(30)
    before = data_packets(net)
    net.run(100)
    assert data_packets(net) - before <= 3 * 2 * 2 * (100 / 25 + 2)


def test_clocks(net: SimNet) -> None:
    fleet = Fleet(net)
    a, b = fleet.add(), fleet.add()
    b.clock_skew_ns = 250_000_000
    net.until(fleet.meshed, 30)
    net.run(3)
    for edge, offset in ((a, 0.25), (b, -0.25)):
        peer = only_peer(edge)
        assert peer.clock_offset_s == pytest.approx(offset, abs=1e-6)
        assert peer.clock_error_s == pytest.approx(LATENCY, abs=1e-6) and peer.loss == 0.0
    b.clock_skew_ns = 0  # somebody has set it
    net.run(CLOCK_REFRESH + 2 * LIVENESS_POLL)
    assert only_peer(a).clock_offset_s == pytest.approx(0.0, abs=1e-6)


def test_loss_is_measured(net: SimNet) -> None:
    fleet = make_fleet(net, 2)
    a, b = fleet.edges
    sent: Iterator[int] = iter(range(10**6))
    net.lose = lambda host, data: host is a and data[0] >= 0x10 and next(sent) % 4 == 0
    for _ in range(400):
        a.send_frame(udp("239.255.0.1", 9999))
        net.run(0.01)
    assert only_peer(b).loss == pytest.approx(0.25, abs=0.05)
    assert only_peer(a).loss == 0.0
    assert CONTROL_MAC not in {frame[:6] for _, frame in b.frames}
