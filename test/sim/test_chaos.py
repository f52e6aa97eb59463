"""Random mishaps for a while, then peace: the cluster must be whole again, and no frame may ever come twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from omni_core.constants import HEARTBEAT_INTERVAL, HEARTBEATS_MISSED, MESH_LIMIT, RECONNECT_MAX
from omni_core.sim.fleet import Fleet, one_session
from omni_core.sim.flow import Flow
from omni_core.sim.link import LinkQuality
from omni_core.sim.nat import FULL_CONE, PORT_RESTRICTED, RESTRICTED_CONE
from omni_core.sim.network import SimNet

pytestmark = pytest.mark.sim

EDGES = 7
MISHAPS = 60
PEACE = HEARTBEAT_INTERVAL * HEARTBEATS_MISSED + 2 * RECONNECT_MAX


def one_mishap(net: SimNet, fleet: Fleet) -> str:
    rng = net.random
    edge, other = rng.sample(fleet.edges, 2)
    nat = rng.choice(list(net.nats.values()))
    kind = rng.choice(
        ["crash", "stop", "start", "start", "roam", "hide", "cut", "heal", "nucleus", "reset", "renumber", "quality"]
    )
    if kind == "crash" and edge.running:
        edge.crash()
    elif kind == "stop" and edge.running:
        edge.stop()
    elif kind == "start" and not edge.running:
        edge.start()
    elif kind == "roam" and edge.running:
        edge.roam()
    elif kind == "hide" and edge.running:
        edge.roam(behind=nat)
    elif kind == "cut":
        net.cut(edge, other, back=rng.random() < 0.5)
    elif kind == "heal":
        net.heal_all()
    elif kind == "nucleus":
        fleet.nucleus.crash() if fleet.nucleus.running else fleet.nucleus.start()
    elif kind == "reset":
        nat.table.reset()
    elif kind == "renumber":
        net.renumber(nat)
    elif kind == "quality":
        net.set_quality(LinkQuality(rng.uniform(0, 0.2), 0.02, rng.choice([0, 0.1, 0.3]), 0.05, 0.05))
    return f"{net.now:.1f} {kind} {edge.name} {other.name} {nat.name}"


@pytest.mark.parametrize("mesh_limit", [MESH_LIMIT, 3])
@pytest.mark.parametrize("case", range(4))
def test_whole_again_after_mishaps(seed: int, watch: Callable[[SimNet], SimNet], case: int, mesh_limit: int) -> None:
    net = watch(SimNet(seed + case))
    fleet = Fleet(net, secret=b"a secret", mesh_limit=mesh_limit)
    for name, nat_kind in (("nat-a", FULL_CONE), ("nat-b", RESTRICTED_CONE), ("nat-c", PORT_RESTRICTED)):
        net.add_nat(name, nat_kind, timeout=60.0, hairpin=True)
    for _ in range(EDGES):
        fleet.add()
    flows = [Flow(a, b, 1.3) for a in fleet.edges for b in fleet.edges if a is not b]
    for flow in flows:
        flow.start()
    for _ in range(MISHAPS):
        print(one_mishap(net, fleet))
        net.run(net.random.choice([0.05, 0.5, 5.0, 30.0]))
    print(f"{net.now:.1f} peace")
    net.set_quality(LinkQuality(latency=0.05))
    net.heal_all()
    for edge in fleet.edges:
        if not edge.running:
            edge.start()
    if not fleet.nucleus.running:
        fleet.nucleus.start()
    net.run(PEACE)
    assert fleet.registered()
    assert fleet.nucleus.status().clusters[0].edges == EDGES
    sent = [flow.sent for flow in flows]
    net.run(60)
    for flow in flows:
        flow.stop()
    net.run(2)
    for flow, since in zip(flows, sent, strict=True):
        assert [number for number in flow.missing if number >= since] == []
        assert flow.repeated == []
    pairs = [(a, b) for a in fleet.edges for b in fleet.edges if a is not b]
    net.until(lambda: all(one_session(a, b) for a, b in pairs), 5, "no rekey under way", every=0.1)
