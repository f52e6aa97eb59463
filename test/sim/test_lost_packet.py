"""One packet of the bring-up is lost, each in turn: the cluster comes up all the same, and soon."""

from __future__ import annotations

import pytest

from omni_core.constants import REKEY_RETRY, REKEY_RETRY_JITTER
from omni_core.sim.fleet import Fleet, connected, one_session
from omni_core.sim.flow import Flow
from omni_core.sim.host import SimHost
from omni_core.sim.network import SimNet

pytestmark = pytest.mark.sim

PACKETS = 14  # that two edges and a Nucleus exchange until both edges send


@pytest.mark.parametrize("start_gap", [0.0, 3.0], ids=["together", "one after the other"])
@pytest.mark.parametrize("lost", range(PACKETS))
def test_any_one_packet_may_be_lost(net: SimNet, lost: int, start_gap: float) -> None:
    fleet = Fleet(net, secret=b"a secret")
    sent: list[bytes] = []

    def lose(sender: SimHost, data: bytes) -> bool:
        sent.append(data)
        return len(sent) == lost + 1

    net.lose = lose
    a = fleet.add()
    net.run(start_gap)
    b = fleet.add()
    took = net.until(lambda: connected(a, b) and connected(b, a), REKEY_RETRY + REKEY_RETRY_JITTER + 0.5)
    print(f"packet {lost} lost: up after {took:.2f} s")
    net.run(10)
    net.lose = None
    assert one_session(a, b)
    flows = [Flow(a, b), Flow(b, a)]
    for flow in flows:
        flow.send_one()
    net.run(1)
    assert all(flow.missing == [] for flow in flows)
