"""A herd towards one Nucleus that needs its time for each datagram: admitted by limits and jitter, not by collapse.

A tenth of 10,000 edges and of every limit, and a Nucleus that is ten times slower: bench/nucleus/herd.py has the full
size.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from omni_core.constants import MESH_LIMIT
from omni_core.engines.nucleus import NucleusEngine
from omni_core.session.limits import NUCLEUS_LIMITS, SessionLimits
from omni_core.sim.herd import Costs, Herd

pytestmark = pytest.mark.sim

EDGES = 600
SCALE = EDGES / 10_000
LIMITS = replace(
    NUCLEUS_LIMITS,
    free_per_second=SCALE * NUCLEUS_LIMITS.free_per_second,
    loaded_per_second=SCALE * NUCLEUS_LIMITS.loaded_per_second,
    behind_per_second=SCALE * NUCLEUS_LIMITS.behind_per_second,
    shared_per_second=SCALE * NUCLEUS_LIMITS.shared_per_second,
)
NO_LIMITS = SessionLimits(free_per_second=1e9)
SLOW = Costs().slower(1 / SCALE)
BUFFER = int(SCALE * (32 << 20))
MESH = max(2, round(SCALE * MESH_LIMIT))
BATCH = max(2, round(SCALE * 32))


def herd(seed: int, *, limits: SessionLimits = LIMITS, costs: Costs = SLOW, **options: object) -> Herd:
    return Herd(seed, EDGES, limits=limits, costs=costs, socket_buffer=BUFFER, batch=BATCH, mesh_limit=MESH, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("same_site", [False, True], ids=["everywhere", "behind one NAT"])
def test_a_site_is_switched_on(seed: int, same_site: bool) -> None:
    everyone = herd(seed, same_site=same_site, loss=0.01)
    everyone.start_all(1.0)
    assert everyone.run(40, until_registered=True)
    print(everyone.report.as_text())
    assert everyone.report.after[90] < 25
    assert everyone.report.lost == 0, "the socket's buffer has room for everyone"
    assert everyone.report.handshakes < 1.1 * EDGES, "none is answered too late"


@pytest.mark.parametrize("down", [1.0, 30.0], ids=["restart", "outage"])
def test_the_nucleus_comes_back_to_everyone(seed: int, down: float) -> None:
    """After a restart each edge misses an answer first: up to 25 s to the heartbeat, 15 s to give up, and jitter."""
    everyone = herd(seed, loss=0.01)
    everyone.start_all(1.0)
    assert everyone.run(60, until_registered=True)
    everyone.run(40)  # heartbeats have left step
    everyone.crash()
    everyone.run(down)
    everyone.restart()
    everyone.watch()
    assert everyone.run(60, until_registered=True)
    print(everyone.report.as_text())
    assert everyone.report.after[100] < 50
    assert everyone.report.handshakes < 1.1 * EDGES


def test_a_slow_nucleus_is_no_reason_to_collapse(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times as slow: not even the rates of the limits can be kept. It admits what it can do in time. The control
    is the same herd and a Nucleus that answers whoever comes: when the answers arrive, the edges have begun others."""
    slow = Costs().slower(3 / SCALE)
    everyone = herd(seed, costs=slow)
    everyone.start_all(1.0)
    assert everyone.run(70, until_registered=True)
    print(everyone.report.as_text())
    assert everyone.report.handshakes < 1.1 * EDGES and everyone.report.lost == 0
    monkeypatch.setattr(NucleusEngine, "set_behind", lambda *_: None)
    control = herd(seed, limits=NO_LIMITS, costs=slow)
    control.start_all(1.0)
    control.run(20, until_registered=True)
    print(f"answering everyone: {control.report.as_text()}")
    assert control.report.longest_queue > 2 * everyone.report.longest_queue
    assert control.report.handshakes > 1.2 * EDGES
