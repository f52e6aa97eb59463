"""Who gets a group frame, and which ones the Ganglion looks at: one frame of each kind."""

from __future__ import annotations

import pytest
from support.group_frames import ROWS, GroupFrame, group_mac, udp
from support.planes import MAC_A, MAC_B, frame

from omni_core.dataplane.groups import GroupPolicy, group_key, is_watched, targets
from omni_core.types import BROADCAST

GROUP = group_mac("239.1.2.3")


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_what_a_frame_is(row: GroupFrame) -> None:
    assert group_key(row.frame) == row.key
    assert is_watched(row.frame) == row.watched


def test_a_frame_to_one_station_is_not_watched() -> None:
    watched = next(row.frame for row in ROWS if row.name == "SPDP, IPv4")
    assert is_watched(watched)
    assert not is_watched(MAC_B + watched[6:])


FLOOD = (5, 3, 9, 7)
POLICY = GroupPolicy(
    {(GROUP, 0): frozenset({3, 5, 8}), (GROUP, 5000): frozenset({9, 8}), (GROUP, 5001): frozenset()}, frozenset({7, 8})
)


@pytest.mark.parametrize(
    ("data", "policy", "expected"),
    [
        (udp("239.1.2.3", 5000), POLICY, (9,)),
        (udp("239.1.2.3", 5001), POLICY, ()),
        (udp("239.1.2.3", 5002), POLICY, (5, 3)),
        (udp("239.129.2.3", 5002), POLICY, (5, 3)),  # the same MAC
        (udp("239.1.2.4", 5000), POLICY, (7,)),
        (udp("239.1.2.4", 5000), GroupPolicy(), ()),
        (udp("239.1.2.3", 5000), None, FLOOD),
        (udp("224.0.0.1", 5000), GroupPolicy(), FLOOD),
        (frame(BROADCAST, MAC_A), GroupPolicy(), FLOOD),
        (b"", GroupPolicy(), FLOOD),
    ],
)
def test_targets(data: bytes, policy: GroupPolicy | None, expected: tuple[int, ...]) -> None:
    assert targets(data, FLOOD, policy) == expected
