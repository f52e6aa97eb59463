"""The change log of a cluster: what a delta holds, pages, and what is left out."""

from __future__ import annotations

import pytest
from support.edges import make_edge

from omni_core.constants import DEPARTED_MAX
from omni_core.signaling.changes import ChangeLog
from omni_core.signaling.edge import Edge
from omni_core.signaling.messages import LEAVE_SIZE, Delta

ROOM = 1000


def keys(*numbers: int) -> tuple[bytes, ...]:
    return tuple(n.to_bytes(32, "big") for n in numbers)


def filled(n: int, mesh_limit: int = 128) -> tuple[ChangeLog, list[Edge]]:
    log = ChangeLog(mesh_limit)
    edges = [make_edge(i + 1) for i in range(n)]
    for at, edge in enumerate(edges):
        log.joined(edge, float(at))
    return log, edges


def records(delta: Delta) -> list[bytes]:
    return [entry.record for entry in delta.joins]


def test_nothing_new() -> None:
    log, _ = filled(3)
    assert log.delta(3, ROOM) == Delta(3, 3, 3)
    assert log.delta(99, ROOM) == Delta(3, 3, 3), "a number from nowhere"
    assert ChangeLog(128).delta(0, ROOM) == Delta(0, 0, 0)


def test_exactly_what_was_missed() -> None:
    log, edges = filled(4)
    log.left(edges[0].key)
    delta = log.delta(2, ROOM)
    assert (delta.since, delta.until, delta.size, delta.more, delta.lost, delta.omitted) == (2, 5, 3, *[False] * 3)
    assert records(delta) == [edges[2].record, edges[3].record]
    assert delta.leaves == (edges[0].key,)


def test_only_the_latest_change_of_an_edge() -> None:
    log, edges = filled(2)
    log.left(edges[0].key)
    log.joined(edges[0], 9.0)
    log.joined(edges[1], 10.0)
    delta = log.delta(0, ROOM)
    assert records(delta) == [edges[0].record, edges[1].record] and delta.leaves == () and delta.until == 5
    log.left(edges[1].key)
    assert log.delta(5, ROOM).leaves == (edges[1].key,)


def test_pages_cover_everything_once_and_in_order() -> None:
    log, edges = filled(20)
    for edge in edges[5:8]:
        log.left(edge.key)
    seen, joined, left, pages = 0, [], [], 0
    while True:
        delta = log.delta(seen, 75)
        assert delta.since == seen < delta.until
        joined += records(delta)
        left += delta.leaves
        seen, pages = delta.until, pages + 1
        if not delta.more:
            break
    assert seen == log.head == 23 and pages > 5
    assert joined == [e.record for e in edges[:5] + edges[8:]]
    assert left == [e.key for e in edges[5:8]]


def test_a_page_that_ends_before_trailing_holes_reaches_the_head() -> None:
    """Numbers without a surviving change lie at the end of what was asked for."""
    log, edges = filled(1)
    log.left(edges[0].key)
    log.joined(edges[0], 3.0)
    log.joined(edges[0], 4.0)
    assert (log.delta(1, ROOM).until, log.delta(1, ROOM).more) == (4, False)


def test_departures_are_forgotten_at_last_and_it_says_so() -> None:
    log, _ = filled(0)
    for n in range(DEPARTED_MAX + 2):
        log.joined(make_edge(n + 1), 0.0)
        log.left(make_edge(n + 1).key)
    log.joined(make_edge(9999), 0.0)
    assert log.delta(0, ROOM).lost and log.delta(3, ROOM).lost
    assert not log.delta(4, ROOM).lost, "change 4 was the second and last departure forgotten"
    assert log.delta(0, ROOM).leaves[0] == make_edge(3).key


def test_a_live_edge_is_never_forgotten() -> None:
    log, edges = filled(1)
    for n in range(1, 3 * DEPARTED_MAX):
        log.joined(make_edge(n + 1), 0.0)
        log.left(make_edge(n + 1).key)
    assert records(log.delta(0, ROOM)) == [edges[0].record]


def test_above_the_mesh_limit_joins_are_left_out() -> None:
    log, edges = filled(5, mesh_limit=4)
    assert not log.is_mesh
    assert log.delta(2, ROOM) == Delta(2, 5, 5, omitted=True)
    log.left(edges[0].key)
    assert log.is_mesh, "at the limit"
    delta = log.delta(2, ROOM)
    assert records(delta) == [e.record for e in edges[2:]] and delta.leaves == (edges[0].key,)


def test_above_the_mesh_limit_the_newest_departures_are_told() -> None:
    log, edges = filled(30, mesh_limit=4)
    for edge in edges[:10]:
        log.left(edge.key)
    delta = log.delta(30, 3 * LEAVE_SIZE)
    assert delta.leaves == keys(10, 9, 8) and delta.lost and delta.until == 40 and not delta.more
    assert log.delta(37, 3 * LEAVE_SIZE).leaves == keys(10, 9, 8) and not log.delta(37, 3 * LEAVE_SIZE).lost


@pytest.mark.parametrize(("moment", "number"), [(-1.0, 0), (0.0, 1), (2.5, 3), (4.0, 5), (99.0, 5)])
def test_before(moment: float, number: int) -> None:
    """Edge n joined at n - 1 seconds with change n."""
    assert filled(5)[0].before(moment) == number
    assert filled(5, mesh_limit=4)[0].before(moment) == 5


def test_before_counts_the_latest_change() -> None:
    log, edges = filled(3)
    log.joined(edges[0], 50.0)
    assert log.before(40.0) == 3
