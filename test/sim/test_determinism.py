"""Same seed, same trace: bytes, times and fates of every packet."""

from __future__ import annotations

from omni_core.sim.echo import EchoHost
from omni_core.sim.link import LinkQuality
from omni_core.sim.nat import SYMMETRIC
from omni_core.sim.network import SimNet

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


def test_same_seed_same_trace(seed: int) -> None:
    assert echo_trace(seed) == echo_trace(seed)
    assert echo_trace(seed) != echo_trace(seed + 1)
