"""The in-memory store: look-up by any address, conflicts, isolation, expiry."""

from __future__ import annotations

import random

import pytest
from support.edges import make_edge

from omni_core.signaling.edge import Edge
from omni_core.signaling.store import ChangeKind, Conflict, MemoryStore


def put(store: MemoryStore, edge: Edge, deadline: float, now: float) -> Conflict | None:
    """Register; the answer comes at once."""
    answers: list[Conflict | None] = []
    store.claim(edge, deadline, now, lambda conflict, _: answers.append(conflict))
    (conflict,) = answers
    return conflict


def expire(store: MemoryStore, now: float) -> list[Edge]:
    store.take_changes()
    store.handle_timer(now)
    changes = store.take_changes()
    assert all(change.kind is ChangeKind.DEPARTED for change in changes)
    return [change.edge for change in changes]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(epoch=1)


def test_found_by_every_address_in_its_cluster_only(store: MemoryStore) -> None:
    edge = make_edge(1)
    assert put(store, edge, 90.0, 0.0) is None
    for address in (edge.vip4, edge.vip6, edge.mac, edge.key):
        assert store.find("fleet", address) is edge
        assert store.find("other", address) is None
    assert store.get(edge.key) is edge
    assert (len(store), store.size("fleet"), store.size("other"), store.head("fleet")) == (1, 1, 0, 1)


def test_without_vip4(store: MemoryStore) -> None:
    for number in (1, 2):
        assert put(store, make_edge(number, vip4=b""), 90.0, 0.0) is None
    assert store.find("fleet", b"") is None


@pytest.mark.parametrize("field", ["vip4", "vip6", "mac"])
def test_an_address_of_another_live_edge(store: MemoryStore, field: str) -> None:
    holder = make_edge(1)
    put(store, holder, 90.0, 0.0)
    taken = getattr(holder, field)
    assert put(store, make_edge(2, **{field: taken}), 90.0, 0.0) == (taken, holder.key, holder.observed)
    assert store.size("fleet") == 1 and store.head("fleet") == 1
    for address in make_edge(2, **{field: taken}).addresses:
        assert store.find("fleet", address) in (None, holder), "nothing of the refused edge is left"
    assert put(store, make_edge(2, "other", **{field: taken}), 90.0, 0.0) is None, "clusters do not know each other"
    store.remove(holder.key, 0.0)
    assert put(store, make_edge(3, **{field: taken}), 90.0, 0.0) is None, "free again"


def test_a_newer_registration_replaces_its_own(store: MemoryStore) -> None:
    old, new = make_edge(1), make_edge(1, version=2, vip4=b"\x0a\x4d\x01\x01")
    put(store, old, 90.0, 0.0)
    assert put(store, new, 95.0, 5.0) is None
    assert store.find("fleet", old.vip4) is None
    assert store.find("fleet", new.vip4) is store.find("fleet", new.mac) is new
    assert store.size("fleet") == 1 and store.head("fleet") == 2


def test_a_replacement_that_conflicts_leaves_the_old(store: MemoryStore) -> None:
    old, other = make_edge(1), make_edge(2)
    put(store, old, 90.0, 0.0)
    put(store, other, 90.0, 0.0)
    assert put(store, make_edge(1, version=2, vip4=other.vip4), 95.0, 5.0) == (other.vip4, other.key, other.observed)
    assert store.find("fleet", old.vip4) is old and store.get(old.key) is old


def test_one_key_is_in_one_cluster(store: MemoryStore) -> None:
    put(store, make_edge(1), 90.0, 0.0)
    moved = make_edge(1, "other")
    assert put(store, moved, 90.0, 0.0) is None
    assert store.find("fleet", moved.key) is None and store.size("fleet") == 0
    assert store.find("other", moved.key) is moved and len(store) == 1
    assert store.delta("fleet", 1, 1000).leaves == (moved.key,)


def test_expiry_follows_the_heartbeats(store: MemoryStore) -> None:
    one, two, three = (make_edge(n) for n in (1, 2, 3))
    for at, edge in enumerate((one, two, three)):
        put(store, edge, 90.0 + at, float(at))
    store.touch(one, 120.0)
    assert store.next_timer() == 91.0
    assert expire(store, 90.9) == []
    assert expire(store, 92.0) == [two, three]
    assert store.next_timer() == 120.0 and store.size("fleet") == 1
    assert expire(store, 120.0) == [one]
    assert store.next_timer() is None and len(store) == 0
    for edge in (one, two, three):
        assert all(store.find("fleet", address) is None for address in edge.addresses)
    assert set(store.delta("fleet", 3, 1000).leaves) == {one.key, two.key, three.key}


def test_move_is_a_change(store: MemoryStore) -> None:
    edge = make_edge(1)
    put(store, edge, 90.0, 0.0)
    store.move(edge, b"\x0a\0\0\x63\x01\0", (b"\xc0\xa8\0\x01\x01\0",), 5.0)
    delta = store.delta("fleet", 1, 1000)
    assert [entry.endpoints for entry in delta.joins] == [(b"\x0a\0\0\x63\x01\0", b"\xc0\xa8\0\x01\x01\0")]


def test_against_a_naive_table(seed: int) -> None:
    rng = random.Random(seed)
    store = MemoryStore(epoch=1)
    naive: dict[bytes, Edge] = {}
    now = 0.0
    for _ in range(3000):
        now += rng.random()
        vip4 = bytes([10, 77, 0, rng.randrange(1, 25)])
        edge = make_edge(rng.randrange(1, 20), rng.choice(("a", "b")), vip4=vip4, version=rng.randrange(9))
        action = rng.random()
        if action < 0.6:
            conflict = put(store, edge, now + 30, now)
            others = [e for e in naive.values() if e.cluster == edge.cluster and e.key != edge.key]
            expected = {e.key for e in others if set(e.addresses) & set(edge.addresses)}
            assert (conflict is None) == (not expected)
            if conflict is None:
                naive[edge.key] = edge
            else:
                assert conflict.holder in expected
        elif action < 0.75:
            store.remove(edge.key, now)
            naive.pop(edge.key, None)
            assert store.get(edge.key) is None
        elif action < 0.9 and edge.key in naive:
            store.touch(naive[edge.key], now + 30)
        else:
            gone = {e.key for e in naive.values() if e.deadline <= now}
            assert {e.key for e in expire(store, now)} == gone
            naive = {key: e for key, e in naive.items() if key not in gone}
        for cluster in ("a", "b"):
            table = {address: e for e in naive.values() if e.cluster == cluster for address in e.addresses}
            assert store.size(cluster) == sum(e.cluster == cluster for e in naive.values())
            assert all(store.find(cluster, address) is e for address, e in table.items())
            assert set(store.live(cluster)) == set(table.values())
    assert naive


def test_changes_are_told_once_in_order(store: MemoryStore) -> None:
    edge, newer = make_edge(1), make_edge(1, version=2)
    put(store, edge, 90.0, 0.0)
    store.move(edge, b"\x0a\0\0\x63\x01\0", (), 5.0)
    put(store, newer, 95.0, 5.0)
    store.remove(edge.key, 6.0)
    kinds = [(change.kind, change.edge) for change in store.take_changes()]
    assert kinds == [
        (ChangeKind.JOINED, edge), (ChangeKind.MOVED, edge), (ChangeKind.JOINED, newer), (ChangeKind.LEFT, newer),
    ]  # fmt: skip
    assert store.take_changes() == []


def test_changes_count_within_an_epoch(store: MemoryStore) -> None:
    assert store.since("fleet", 1, 7) == 7
    assert store.since("fleet", 2, 7) is None
