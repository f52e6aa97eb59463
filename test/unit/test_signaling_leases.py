"""VIP4 leases: sticky, exclusive, and given again only when they have expired."""

from __future__ import annotations

import random
from ipaddress import IPv4Address

import pytest
from support.edges import make_edge

from omni_core.signaling.lease_book import HeldLease
from omni_core.signaling.leases import Lease, Vip4Pool
from omni_core.signaling.store import MemoryStore

TIME = 100.0  # s of a lease


def pool(first: str, last: str, **options: frozenset[bytes]) -> Vip4Pool:
    return Vip4Pool(IPv4Address(first), IPv4Address(last), 24, **options)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(epoch=1, lease_time=TIME)


def lease(store: MemoryStore, key: bytes, where: Vip4Pool, now: float, wanted: bytes = b"") -> Lease | None:
    answers: list[Lease | None] = []
    store.lease("fleet", key, wanted, where, now, lambda answer, _: answers.append(answer))
    (answer,) = answers
    return answer


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_everyone_gets_another_one_and_keeps_it(store: MemoryStore) -> None:
    where = pool("10.77.0.10", "10.77.0.19")
    given = {number: lease(store, key(number), where, 0.0) for number in range(10)}
    assert len({each.address for each in given.values() if each}) == 10
    assert all(each and each.address in where and each.prefix_length == 24 for each in given.values())
    assert lease(store, key(10), where, 0.0) is None, "the pool is empty"
    assert {number: lease(store, key(number), where, TIME - 1) for number in range(10)} == given


def test_the_one_that_expired_first_is_given_again(store: MemoryStore) -> None:
    where = pool("10.77.0.10", "10.77.0.12")
    given = [lease(store, key(number), where, float(number)) for number in range(3)]
    assert lease(store, key(9), where, TIME - 0.1) is None
    assert lease(store, key(9), where, TIME + 1.5) == given[0]
    assert lease(store, key(0), where, TIME + 1.6) == given[1], "it lost its own"


def test_a_restarted_nucleus_gives_back_what_an_edge_had(store: MemoryStore) -> None:
    where = pool("10.77.0.10", "10.77.0.250")
    had = IPv4Address("10.77.0.200").packed
    assert lease(store, key(1), where, 0.0, wanted=had) == Lease(had, 24)
    other = lease(store, key(2), where, 0.0, wanted=had)
    assert other is not None and other.address != had, "held"
    outside = lease(store, key(3), where, 0.0, wanted=IPv4Address("10.77.1.1").packed)
    assert outside is not None and outside.address in where


def test_addresses_in_use_and_excluded_ones_are_left_out(store: MemoryStore) -> None:
    edge = make_edge(1, vip4=IPv4Address("10.77.0.10").packed)
    store.claim(edge, 90.0, 0.0, lambda conflict, _: None)
    where = pool("10.77.0.10", "10.77.0.12", excluded=frozenset({IPv4Address("10.77.0.11").packed}))
    assert lease(store, key(2), where, 0.0) == Lease(IPv4Address("10.77.0.12").packed, 24)
    assert lease(store, key(3), where, 0.0) is None
    assert lease(store, edge.key, where, 0.0) == Lease(edge.vip4, 24), "its own"


def test_a_leased_address_is_refused_to_others_while_its_holder_is_away(store: MemoryStore) -> None:
    holder = make_edge(1)
    where = pool("10.77.0.1", "10.77.0.1")
    wanted = lease(store, holder.key, where, 0.0)
    assert wanted is not None
    thief = make_edge(2, vip4=wanted.address)
    answers: list[object] = []
    store.claim(thief, 90.0, 1.0, lambda conflict, _: answers.append(conflict))
    assert answers == [(wanted.address, holder.key, None)]
    store.claim(thief, TIME + 90.0, TIME + 1.0, lambda conflict, _: answers.append(conflict))
    assert answers[1] is None, "the lease has expired"


def test_a_lease_counts_from_when_its_holder_was_last_there(store: MemoryStore) -> None:
    where = pool("10.77.0.1", "10.77.0.1")
    given = lease(store, make_edge(1).key, where, 0.0)
    assert given is not None
    store.claim(make_edge(1, vip4=given.address), 5 * TIME, 1.0, lambda conflict, _: None)
    assert lease(store, key(9), where, 4 * TIME) is None, "in use"
    store.remove(make_edge(1).key, 4 * TIME)
    assert lease(store, key(9), where, 5 * TIME - 1) is None, "still its holder's"
    assert lease(store, key(9), where, 5 * TIME + 1) == given


def test_backup_and_restore(store: MemoryStore) -> None:
    where = pool("10.77.0.10", "10.77.0.19")
    given = [lease(store, key(number), where, float(number)) for number in range(5)]
    saved = list(store.leases("fleet"))
    fresh = MemoryStore(epoch=2, lease_time=TIME)
    taken = lease(fresh, key(77), where, 0.0, wanted=saved[1].address)
    assert taken is not None
    expired = [HeldLease(key(50), IPv4Address("10.77.0.19").packed, 1.0)]
    assert fresh.restore_leases("fleet", [*saved, *expired], 2.0) == 4
    assert [lease(fresh, key(number), where, 3.0) for number in (0, 2, 3, 4)] == [given[n] for n in (0, 2, 3, 4)]
    assert [held.until for held in fresh.leases("fleet")] == sorted(held.until for held in fresh.leases("fleet"))


def test_never_two_holders_of_one_address(store: MemoryStore, seed: int) -> None:
    rng = random.Random(seed)
    where = pool("10.77.0.10", "10.77.0.29")
    now, last = 0.0, {}
    for _ in range(3000):
        now += rng.random() * 10
        who = key(rng.randrange(40))
        given = lease(store, who, where, now)
        if given is not None:
            others = [k for k, (address, when) in last.items() if k != who and address == given.address]
            assert all(last[k][1] + TIME <= now for k in others), "still somebody else's"
            for k in others:
                del last[k]
            last[who] = given.address, now
    held = list(store.leases("fleet"))
    assert len({h.address for h in held}) == len({h.key for h in held}) == len(held) == 20
