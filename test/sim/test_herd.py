"""Everybody at once: a fleet that is switched on by one switch, and a Nucleus that comes back to all of it."""

from __future__ import annotations

import pytest

from omni_core.constants import HEARTBEAT_INTERVAL, LOAD_HANDSHAKES_PER_SECOND
from omni_core.sim.fleet import Fleet
from omni_core.sim.link import LinkQuality
from omni_core.sim.nat import PORT_RESTRICTED
from omni_core.sim.network import SimNet

pytestmark = pytest.mark.sim

EDGES = LOAD_HANDSHAKES_PER_SECOND + 50


@pytest.mark.parametrize("same_site", [False, True], ids=["everywhere", "behind one NAT"])
def test_all_start_in_one_instant(net: SimNet, same_site: bool) -> None:
    """The Nucleus is under load: it asks for cookies, and still nobody waits long."""
    net.set_quality(LinkQuality(latency=0.03, jitter=0.02))
    fleet = Fleet(net, secret=b"a secret", mesh_limit=8)
    site = net.add_nat("site", PORT_RESTRICTED) if same_site else None
    for _ in range(EDGES):
        net.at(net.now + 1, fleet.add(start=False, behind=site).start)
    net.run(1)
    took = net.until(fleet.registered, 5, every=0.05)
    print(f"{EDGES} edges registered after {took:.2f} s; {net.trace.delivered['cookie reply']} cookie replies")
    assert net.trace.delivered["cookie reply"] > 0
    net.run(60)
    fleet.nucleus.crash()
    net.run(1)
    fleet.nucleus.start()
    took = net.until(lambda: fleet.nucleus.status().clusters[0].edges == EDGES, HEARTBEAT_INTERVAL + 20, every=0.1)
    print(f"all registered again {took:.1f} s after its restart")
