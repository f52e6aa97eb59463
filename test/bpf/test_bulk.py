"""The bulk lane in the kernel: synapse_split, synapse_land and stream 1 at synapse_rx (support/rows_bulk.py); times."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.own_network import own_network
from support.rows import OWN, Row, World
from support.rows_bulk import LAND_ROWS, SEGMENT, SPLIT_ROWS, STREAM_ROWS, flows, lane, tcp
from support.synapse import TC_ACT_OK, TC_ACT_REDIRECT, MakeRig

pytestmark = pytest.mark.netns

REPEAT = 200_000


@pytest.fixture(scope="module", autouse=True)
def network() -> Iterator[None]:
    with own_network():
        yield


@pytest.fixture
def world(make_rig: MakeRig, seed: int) -> World:
    return World(make_rig(OWN), seed)


@pytest.mark.parametrize("row", SPLIT_ROWS + LAND_ROWS, ids=lambda row: row.what)
def test_row(world: World, row: Row) -> None:
    row.run(world)


@pytest.mark.parametrize("generic", [False, True])
@pytest.mark.parametrize("row", STREAM_ROWS, ids=lambda row: row.what)
def test_stream_row(world: World, row: Row, generic: bool) -> None:
    replace(row, program="rx_generic" if generic else "rx").run(world)


def test_descriptions_are_different() -> None:
    rows = SPLIT_ROWS + LAND_ROWS + STREAM_ROWS
    assert len({row.what for row in rows}) == len(rows)


def test_what_it_costs(world: World) -> None:
    """Of one frame at omni0's egress, in ns; printed, as machines differ. Most frames are none of ours."""
    run = world.rig.programs["synapse_split"].test_run

    def cost(data: bytes, code: int, gso: int = 0) -> int:
        world.rig.maps["lane"].update(bytes(4), (time.monotonic_ns() + 10**10).to_bytes(8, "little"))  # for a while
        ctx = (bytes(176) + gso.to_bytes(4, "little")).ljust(256, b"\0") if gso else None
        results = [run(data, ctx, repeat=REPEAT) for _ in range(5)]
        assert {result.retval for result in results} == {code}
        return min(result.duration_ns for result in results)

    mouse = tcp(size=100)
    off = cost(mouse, TC_ACT_OK)
    lane(world)
    quiet = cost(mouse, TC_ACT_OK)
    super_ = cost(tcp(port=1001), TC_ACT_REDIRECT, SEGMENT)
    assert len(flows(world)) == 1
    beside = cost(mouse, TC_ACT_OK)
    print(f"no bulk lane: {off} ns; frame {quiet} ns, beside an elephant {beside} ns; super-frame {super_} ns")
