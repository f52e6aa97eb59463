"""The forwarding table against a slow one that is right at a glance: random operations from one seeded generator."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from omni_core.fdb import Fdb, FdbRow
from omni_core.types import Mac, PeerId


@dataclass
class Sighting:
    mac: Mac
    vlan: int
    owner: PeerId | None
    seen: float
    order: int  # when it reached ``seen``: decides between equal times


class NaiveFdb:
    """Lists and scans."""

    def __init__(self, ageing: float, max_per_peer: int, max_local: int) -> None:
        self.ageing, self.max_per_peer, self.max_local = ageing, max_per_peer, max_local
        self.learned: list[Sighting] = []
        self.pins: dict[tuple[Mac, int | None], PeerId | None] = {}
        self.orders = 0

    def where(self, mac: Mac, vlan: int) -> tuple[PeerId | None] | None:
        for pin in ((mac, vlan), (mac, None)):
            if pin in self.pins:
                return (self.pins[pin],)
        for each in self.learned:
            if (each.mac, each.vlan) == (mac, vlan):
                return (each.owner,)
        return None

    def learn(self, mac: Mac, vlan: int, owner: PeerId | None, now: float) -> bool:
        if mac[0] & 1:
            return False
        if (mac, vlan) in self.pins or (mac, None) in self.pins:
            return self.where(mac, vlan) == (owner,)
        self.orders += 1
        for each in self.learned:
            if (each.mac, each.vlan, each.owner) == (mac, vlan, owner):
                if each.seen != now:
                    each.seen, each.order = now, self.orders
                return True
        self.learned = [each for each in self.learned if (each.mac, each.vlan) != (mac, vlan)]
        own = [each for each in self.learned if each.owner == owner]
        if len(own) == (self.max_local if owner is None else self.max_per_peer):
            self.learned.remove(min(own, key=lambda each: (each.seen, each.order)))
        self.learned.append(Sighting(mac, vlan, owner, now, self.orders))
        return True

    def set_static(self, mac: Mac, owner: PeerId | None, vlan: int | None) -> None:
        self.pins[mac, vlan] = owner
        self.learned = [each for each in self.learned if each.mac != mac or vlan not in (None, each.vlan)]

    def remove_static(self, mac: Mac, vlan: int | None) -> None:
        self.pins.pop((mac, vlan), None)

    def remove_owner(self, owner: PeerId | None) -> None:
        self.learned = [each for each in self.learned if each.owner != owner]
        self.pins = {pin: at for pin, at in self.pins.items() if at != owner}

    def age(self, now: float) -> None:
        self.learned = [each for each in self.learned if now - each.seen < self.ageing]

    def rows(self, now: float) -> set[FdbRow]:
        pinned = {FdbRow(mac, vlan, owner, True, 0.0) for (mac, vlan), owner in self.pins.items()}
        return pinned | {FdbRow(e.mac, e.vlan, e.owner, False, now - e.seen) for e in self.learned}


VLANS = (0, 0, 0, 1, 5, 4095)


@pytest.mark.parametrize("addresses", [6, 40, 400])
@pytest.mark.parametrize(("max_per_peer", "max_local"), [(1, 1), (5, 3), (1000, 1000)])
def test_random_operations(seed: int, addresses: int, max_per_peer: int, max_local: int) -> None:
    draw = random.Random(f"{seed} {addresses} {max_per_peer}")
    ageing = 60.0
    fdb, naive = Fdb(ageing, max_per_peer, max_local), NaiveFdb(ageing, max_per_peer, max_local)
    macs = [bytes([draw.choice((0, 0, 0, 2, 1)), *draw.randbytes(5)]) for _ in range(addresses)]
    unicast = [mac for mac in macs if not mac[0] & 1] or [bytes(6)]
    owners = (None, None, 0, 0, 0, 0, 1, 2)
    now = 0.0
    for step in range(10_000):
        if draw.random() < 0.1:
            now += draw.choice((0.125, 1.0, 1.0, 30.0, 60.0)) / 4  # exact in binary: both sides compare alike
        mac, vlan, owner = draw.choice(macs), draw.choice(VLANS), draw.choice(owners)
        pinned, pin_vlan = draw.choice(unicast), draw.choice((None, *VLANS))
        match draw.choices(range(6), (400, 4, 4, 1, 6, 5))[0]:
            case 0:
                assert fdb.learn(mac, vlan, owner, now) == naive.learn(mac, vlan, owner, now), step
            case 1:
                fdb.set_static(pinned, owner, pin_vlan)
                naive.set_static(pinned, owner, pin_vlan)
            case 2:
                fdb.remove_static(pinned, pin_vlan)
                naive.remove_static(pinned, pin_vlan)
            case 3:
                fdb.remove_owner(owner)
                naive.remove_owner(owner)
            case 4:
                fdb.age(now)
                naive.age(now)
            case 5:
                rows = list(fdb.rows(now))
                assert len(rows) == len(set(rows)) == len(fdb), step
                assert set(rows) == naive.rows(now), step
        entry = fdb.find(mac, vlan)
        assert (None if entry is None else (entry.owner,)) == naive.where(mac, vlan), step
