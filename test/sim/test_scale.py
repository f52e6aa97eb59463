"""A thousand robots with real cryptography: ten virtual minutes. How long that takes in real time is printed."""

from __future__ import annotations

import pytest

from omni_core.sim.scale import run_scale

pytestmark = pytest.mark.sim

EDGES = 1000
# Far above what this fleet needs on demand; with MESH_LIMIT itself the first 128 edges first make 8,128 sessions
# that the grown cluster does not need, and the run takes twice as long (bench/sim_scale.py shows both).
SMALL_MESH = 32


def test_a_thousand_edges_register_stay_and_talk_on_demand(seed: int) -> None:
    result = run_scale(seed, EDGES, mesh_limit=SMALL_MESH)
    print(result.as_text())
    assert result.registered == EDGES
    assert result.known == EDGES
    assert result.departures == 0
    assert result.sent > 10 * EDGES
    assert result.received == result.sent
    assert result.sessions == EDGES, "each pair, both ways"
    assert result.first_answer_max < 1.0
