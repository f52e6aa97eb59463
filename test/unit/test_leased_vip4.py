"""What an edge makes of the leases that it is given."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface

import pytest

from omni_core.engines.ganglion_events import GanglionEvent, VipChanged, Warned
from omni_core.engines.leased_vip4 import CHANGE_PAUSE, CHANGES, LeasedVip4
from omni_core.signaling.client_events import Vip4Leased, Vip4NotLeased
from omni_core.signaling.leases import Lease
from omni_core.types import Endpoint

UNDERLAY = (Endpoint("192.0.2.5", 51820), Endpoint("fe80::1%eth0", 51820), Endpoint("198.51.100.1", 51820))


class Edge:
    def __init__(self, current: str = "") -> None:
        self.events: list[GanglionEvent] = []
        self.changes: list[str] = []
        self.prepared: list[str] = []
        self.declined: list[str] = []
        self.vip = LeasedVip4(
            IPv4Interface(current) if current else None,
            change=lambda vip4, _: self.changes.append(str(vip4)),
            prepare=lambda vip4, _: self.prepared.append(str(vip4)),
            decline=lambda reason, _: self.declined.append(reason),
            underlay=lambda: UNDERLAY,
            emit=self.events.append,
        )

    def lease(self, text: str, now: float = 0.0, ahead: bool = False) -> None:
        address, _, length = text.partition("/")
        self.vip.handle(Vip4Leased(Lease(IPv4Address(address).packed, int(length)), ahead), now)

    def told(self) -> list[str]:
        return [type(event).__name__ for event in self.events]


def test_a_lease_is_taken_and_told_once() -> None:
    edge = Edge()
    edge.lease("10.77.0.7/24")
    edge.lease("10.77.0.7/24")
    assert edge.changes == ["10.77.0.7/24"] * 2, "the Nucleus waits for a record each time"
    assert edge.told() == ["VipChanged"] and isinstance(edge.events[0], VipChanged)
    assert edge.events[0].vip4 == edge.vip.current == IPv4Interface("10.77.0.7/24")


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.9/24", "198.51.100.9/16", "10.0.0.1/7", "127.0.0.1/8", "224.0.0.5/24", "0.0.0.0/8",
        "255.255.255.255/32", "10.77.0.0/24", "10.77.0.255/24", "240.0.0.1/24", "10.0.0.1/0", "10.0.0.1/255",
    ],
)  # fmt: skip
def test_what_no_robot_should_put_on_its_interface_is_refused(text: str) -> None:
    edge = Edge("10.77.0.7/24")
    edge.lease(text)
    assert edge.changes == [] and edge.told() == ["Warned"]
    assert edge.vip.current == IPv4Interface("10.77.0.7/24")


def test_an_address_does_not_flutter() -> None:
    edge = Edge()
    for number in range(100):
        edge.lease(f"10.77.{number % 2}.7/24", now=number / 10)
    assert edge.told().count("VipChanged") == CHANGES
    edge.lease("10.88.0.7/24", now=10 + CHANGE_PAUSE)
    assert edge.vip.current == IPv4Interface("10.88.0.7/24")


def test_an_address_that_is_lost_is_given_up_and_one_that_is_not_extended_is_kept() -> None:
    edge = Edge("10.77.0.7/24")
    for _ in range(3):
        edge.vip.handle(Vip4NotLeased("the pool is empty", lost=False), 0.0)
    assert edge.told() == ["Warned"] and edge.changes == []
    assert isinstance(edge.events[0], Warned) and "it keeps VIP 10.77.0.7/24" in edge.events[0].text
    edge.vip.handle(Vip4NotLeased("VIP 10.77.0.7 is held by another", lost=True), 0.0)
    assert edge.changes == ["None"] and edge.vip.current is None
    assert edge.told() == ["Warned", "VipChanged"]


def test_what_the_next_nucleus_leases_is_ours_when_we_are_there() -> None:
    edge = Edge("10.77.0.7/24")
    edge.lease("10.77.0.8/24", ahead=True)
    assert edge.prepared == ["10.77.0.8/24"]
    assert edge.changes == [] and edge.told() == [] and edge.vip.current == IPv4Interface("10.77.0.7/24")
    edge.lease("10.77.0.8/24")
    assert edge.changes == ["10.77.0.8/24"] and edge.told() == ["VipChanged"]
    edge.vip.handle(Vip4NotLeased("held by another", lost=True, ahead=True), 0.0)
    assert edge.prepared[1:] == ["None"] and edge.vip.current == IPv4Interface("10.77.0.8/24")


def test_a_nucleus_whose_lease_cannot_be_is_not_gone_to() -> None:
    edge = Edge("10.77.0.7/24")
    edge.lease("192.0.2.9/24", ahead=True)
    assert not edge.prepared and not edge.changes
    assert edge.told() == ["Warned"] and "underlay" in edge.declined[0]


def test_changes_of_nucleus_do_not_make_an_address_flutter() -> None:
    edge = Edge("10.77.0.7/24")
    for number in range(CHANGES + 5):
        refused = len(edge.declined)
        edge.lease(f"10.77.0.{8 + number}/24", ahead=True)
        if len(edge.declined) == refused:
            edge.lease(f"10.77.0.{8 + number}/24")
    assert len(edge.changes) == CHANGES and len(edge.declined) == 5
