"""Same seed, same trace: bytes, times and fates of every packet, in any process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from omni_core.sim.echo import EchoHost
from omni_core.sim.fleet import Fleet
from omni_core.sim.flow import Flow
from omni_core.sim.host import EngineStuck, SimHost
from omni_core.sim.link import LinkQuality
from omni_core.sim.nat import PORT_RESTRICTED, SYMMETRIC
from omni_core.sim.network import SimNet
from omni_core.sim.scale import run_scale

ROUGH = LinkQuality(latency=0.02, jitter=0.02, loss=0.1, duplicate=0.05, reorder=0.05)


def echo_trace(seed: int) -> str:
    net = SimNet(seed, ROUGH)
    nat = net.add_nat("nat", SYMMETRIC)
    server, clients = EchoHost("server", echo=True), [EchoHost(f"c{i}") for i in range(5)]
    net.add_host(server)
    for client in clients:
        net.add_host(client, behind=nat)
    for i in range(500):
        client = net.random.choice(clients)
        net.at(net.now + i * 0.01, client.send, net.random.randbytes(20), (server.addresses[0], server.port))
    net.run(10)
    return net.trace.digest()


def fleet_trace(seed: int) -> str:
    """Real engines over bad links, with roaming, restarts and a Nucleus that is away for a while."""
    net = SimNet(seed, ROUGH)
    fleet = Fleet(net, secret=b"a secret")
    nat = net.add_nat("nat", PORT_RESTRICTED)
    for i in range(6):
        fleet.add(behind=nat if i % 2 else None)
    flows = [Flow(a, b, 0.7).start() for a in fleet.edges for b in fleet.edges if a is not b]
    net.run(30)
    fleet.edges[0].roam()
    fleet.edges[1].crash()
    fleet.nucleus.crash()
    net.run(60)
    fleet.edges[1].start()
    fleet.nucleus.start()
    net.run(120)
    assert any(flow.arrived for flow in flows)
    return net.trace.digest()


def test_same_seed_same_trace(seed: int) -> None:
    assert echo_trace(seed) == echo_trace(seed)
    assert echo_trace(seed) != echo_trace(seed + 1)


@pytest.mark.sim
def test_engines_are_deterministic(seed: int) -> None:
    assert fleet_trace(seed) == fleet_trace(seed)
    assert fleet_trace(seed) != fleet_trace(seed + 1)


@pytest.mark.sim
def test_engines_are_deterministic_across_processes(seed: int) -> None:
    """Another hash seed gives sets of keys and names another order: no engine may depend on it."""
    program = f"from omni_core.sim.scale import run_scale; print(run_scale({seed}, 40, 150.0, mesh_limit=8).digest)"
    here = run_scale(seed, 40, 150.0, mesh_limit=8).digest
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": hash_seed}
        there = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        ).stdout
        assert there.strip() == here


class _Spinning(SimHost):
    """Its timer is always due."""

    def engine_next_timer(self) -> float | None:
        return self.net.now

    def engine_handle_timer(self, now: float) -> None:
        pass

    def engine_take_datagrams(self) -> list[tuple[bytes, tuple[str, int]]]:
        return []


def test_an_engine_that_would_spin_is_caught(net: SimNet) -> None:
    host = _Spinning("host")
    net.add_host(host)
    host.pump()
    with pytest.raises(EngineStuck, match="host at"):
        net.run(1)
