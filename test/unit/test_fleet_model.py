"""The model behind the fleet view of rqt: rows, links, who is silent."""

from __future__ import annotations

import math

from support.fleet_messages import LOST, drop, fleet, peer, status

from omni_ros2.rqt.layout import arrange, circle
from omni_ros2.rqt.model import SILENT_AFTER, FleetModel, duration, percent, size


def model_of(*messages: object, now: float = 100.0) -> FleetModel:
    model = FleetModel()
    for message in messages:
        model.update(message, now)
    return model


def test_one_robot_shows_its_peers_as_a_star() -> None:
    model = model_of(status(1, [peer(2), peer(3)]))
    assert [(node.label, node.level) for node in model.nodes(100)] == [("robot-1", 0), ("robot-2", -1), ("robot-3", -1)]
    assert [(edge.a, edge.b, edge.state) for edge in model.edges(100)] == [
        ("key0001", "key0002", "up"),
        ("key0001", "key0003", "up"),
    ]


def test_what_two_robots_say_of_a_link_is_one_edge_the_worse() -> None:
    one = status(1, [peer(2, rtt=0.01, loss=0.1)])
    other = status(2, [peer(1, rtt=0.02, state=LOST, loss=math.nan)])
    (edge,) = model_of(one, other).edges(100)
    assert (edge.state, edge.rtt, edge.loss) == ("lost", 0.02, 0.1)


def test_rows_show_what_is_broken_first() -> None:
    good, slow, lost = peer(2), peer(3, loss=0.05), peer(4, state=LOST, rtt=math.nan)
    rows = model_of(status(1, [good, slow, lost])).rows(100)
    assert [(row.peer, row.level) for row in rows] == [("robot-4", 2), ("robot-3", 1), ("robot-2", 0)]
    assert rows[0].rtt is None and rows[2].rtt == 0.0042


def test_clocks_that_differ_are_pointed_out() -> None:
    (row,) = model_of(status(1, [peer(2, clock_offset=-0.2)])).rows(100)
    assert (row.level, row.offset) == (1, -0.2)


def test_a_robot_that_says_nothing_any_more_is_silent_and_its_links_are_idle() -> None:
    model = model_of(status(1, [peer(2)]))
    later = 100 + SILENT_AFTER + 0.1
    assert model.nodes(later)[0].detail == "silent" and model.nodes(later)[0].level == 2
    assert model.edges(later)[0].state == "idle"
    assert "1 silent" in model.summary(later)
    model.update(status(1, [peer(2)]), later)
    assert model.edges(later)[0].state == "up"


def test_traffic_is_what_a_link_carried_between_two_messages() -> None:
    model = model_of(status(1, [peer(2, tx_bytes=1000, rx_bytes=0)]), now=10)
    assert model.edges(10)[0].traffic == 0
    model.update(status(1, [peer(2, tx_bytes=1000, rx_bytes=4000), peer(3)]), 12)
    assert [edge.traffic for edge in model.edges(12)] == [2000, 0]
    model.update(status(1, [peer(2, tx_bytes=0, rx_bytes=0)]), 13)  # the Ganglion started again
    assert model.edges(13)[0].traffic == 0


def test_drops_of_all_robots() -> None:
    model = model_of(status(1, [], drops=[drop("bad_tag", 2)]), status(2, [], drops=[drop("queue_full", 9)]))
    assert model.drops() == [("robot-2", "queue_full", 9), ("robot-1", "bad_tag", 2)]


def test_an_unknown_number_of_a_later_version_is_no_error() -> None:
    model = model_of(status(1, [peer(2, state=255)], nucleus_state=77))
    assert model.rows(100)[0].state == "unknown" and model.edges(100)[0].state == "unknown"


def test_the_summary_counts() -> None:
    assert FleetModel().summary(0).startswith("no robot heard yet")
    assert (
        model_of(status(1, [peer(2), peer(3, state=LOST)])).summary(100)
        == "1 robot heard of 3, 1 of 2 links up, 1 lost"
    )


def test_a_large_fleet_is_whole_and_placed_apart() -> None:
    model = model_of(*fleet(30, seed=5))
    nodes, edges = model.nodes(100), model.edges(100)
    assert len(nodes) == 30 and len(edges) == 30 * 29 // 2
    places = arrange([node.key for node in nodes], [(edge.a, edge.b) for edge in edges])
    assert len({(round(x, 3), round(y, 3)) for x, y in places.values()}) == 30
    assert all(-1 <= value <= 1 for place in places.values() for value in place)


def test_the_layout_puts_a_chain_in_order() -> None:
    keys = ["a", "b", "c", "d", "e", "f"]
    placed = arrange(keys, [("a", "b")])
    assert set(placed) == set(keys)
    assert arrange(keys, [("a", "b")]) == placed  # the same each time
    assert circle(0) == [] and circle(1) == [(0.0, 0.0)]


def test_texts() -> None:
    assert [duration(value) for value in (None, 0.00085, -0.0123, 1.5)] == ["–", "0.85 ms", "-12.3 ms", "1.50 s"]
    assert [percent(value) for value in (None, 0.0, 0.0125)] == ["–", "0", "1.25 %"]
    assert [size(value) for value in (5, 1500, 2e6, 3e9, 4e12)] == ["5 B", "1.5 kB", "2.0 MB", "3.0 GB", "4.0 TB"]
