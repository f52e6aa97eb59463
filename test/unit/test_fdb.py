"""The forwarding table, rule by rule. Random operations against an oracle are in test/property/test_fdb_oracle.py."""

from __future__ import annotations

import pytest

from omni_core.errors import LocalMisuse
from omni_core.fdb import Fdb, FdbRow
from omni_core.types import BROADCAST, Mac, PeerId

LOCAL = None
A, B = 1, 2


def mac(n: int) -> Mac:
    return (0x02_00_00_00_00_00 + n).to_bytes(6, "big")


def owner_of(fdb: Fdb, address: Mac, vlan: int = 0) -> PeerId | str | None:
    entry = fdb.find(address, vlan)
    return "unknown" if entry is None else entry.owner


def test_learns_ages_and_refreshes() -> None:
    fdb = Fdb(ageing=300.0)
    assert fdb.learn(mac(1), 0, A, 10.0)
    assert fdb.learn(mac(2), 0, LOCAL, 10.0)
    assert fdb.learn(mac(2), 0, LOCAL, 200.0)
    fdb.age(309.9)
    assert owner_of(fdb, mac(1)) == A
    fdb.age(310.0)
    assert owner_of(fdb, mac(1)) == "unknown"
    assert owner_of(fdb, mac(2)) is LOCAL
    fdb.age(500.0)
    assert len(fdb) == 0


def test_a_learned_address_moves() -> None:
    fdb = Fdb()
    for owner in (A, B, LOCAL, A):
        assert fdb.learn(mac(1), 0, owner, 1.0)
        assert owner_of(fdb, mac(1)) == owner
        assert len(fdb) == 1


def test_vlans_are_separate_and_untagged_is_one_of_them() -> None:
    fdb = Fdb()
    fdb.learn(mac(1), 0, A, 1.0)
    fdb.learn(mac(1), 5, B, 1.0)
    assert owner_of(fdb, mac(1)) == A
    assert owner_of(fdb, mac(1), 5) == B
    assert owner_of(fdb, mac(1), 6) == "unknown"
    assert set(fdb.rows(3.0)) == {FdbRow(mac(1), 0, A, False, 2.0), FdbRow(mac(1), 5, B, False, 2.0)}


def test_group_sources_are_refused() -> None:
    fdb = Fdb()
    assert not fdb.learn(BROADCAST, 0, A, 1.0)
    assert not fdb.learn(bytes.fromhex("01005e000001"), 7, LOCAL, 1.0)
    assert len(fdb) == 0
    assert fdb.find(BROADCAST) is None


@pytest.mark.parametrize("vlan", [0, 5])
def test_static_on_one_vlan(vlan: int) -> None:
    fdb = Fdb(ageing=1.0)
    fdb.learn(mac(1), vlan, B, 1.0)
    fdb.set_static(mac(1), A, vlan)
    assert owner_of(fdb, mac(1), vlan) == A
    assert fdb.learn(mac(1), vlan, A, 2.0)
    assert not fdb.learn(mac(1), vlan, B, 2.0)
    assert not fdb.learn(mac(1), vlan, LOCAL, 2.0)
    fdb.age(1e9)
    assert list(fdb.rows(1e9)) == [FdbRow(mac(1), vlan, A, True, 0.0)]
    assert fdb.learn(mac(1), 9, B, 2.0), "another VLAN is free"
    fdb.remove_static(mac(1))
    assert owner_of(fdb, mac(1), vlan) == A, "that was no pin on every VLAN"
    fdb.remove_static(mac(1), vlan)
    assert owner_of(fdb, mac(1), vlan) == "unknown"
    assert fdb.learn(mac(1), vlan, B, 3.0)


def test_static_on_every_vlan() -> None:
    fdb = Fdb(ageing=1.0)
    for vlan in (0, 1, 4095):
        fdb.learn(mac(1), vlan, B, 1.0)
    fdb.set_static(mac(1), LOCAL)
    for vlan in (0, 1, 77, 4095):
        assert owner_of(fdb, mac(1), vlan) is LOCAL
        assert not fdb.learn(mac(1), vlan, B, 2.0)
        assert fdb.learn(mac(1), vlan, LOCAL, 2.0)
    fdb.age(1e9)
    assert list(fdb.rows(1e9)) == [FdbRow(mac(1), None, LOCAL, True, 0.0)]
    fdb.remove_static(mac(1), 0)
    assert owner_of(fdb, mac(1)) is LOCAL, "that was no pin on VLAN 0"
    fdb.remove_static(mac(1))
    assert len(fdb) == 0


def test_the_pin_on_the_frames_own_vlan_wins() -> None:
    fdb = Fdb()
    fdb.set_static(mac(1), A)
    fdb.set_static(mac(1), B, 5)
    assert [owner_of(fdb, mac(1), vlan) for vlan in (0, 5, 6)] == [A, B, A]
    assert fdb.learn(mac(1), 5, B, 1.0)
    assert not fdb.learn(mac(1), 5, A, 1.0)
    fdb.remove_static(mac(1), 5)
    assert owner_of(fdb, mac(1), 5) == A


def test_pins_are_replaced_and_removing_is_idempotent() -> None:
    fdb = Fdb()
    for vlan in (None, 0, 3):
        for owner in (A, A, B):
            fdb.set_static(mac(1), owner, vlan)
    assert len(fdb) == 3
    assert owner_of(fdb, mac(1), 3) == B
    for vlan in (None, None, 0, 0, 3, 3):
        fdb.remove_static(mac(1), vlan)
    fdb.learn(mac(2), 0, A, 1.0)
    fdb.remove_static(mac(2), 0)
    assert owner_of(fdb, mac(2)) == A, "a learned entry is no pin"
    assert len(fdb) == 1


def test_what_cannot_be_pinned() -> None:
    for bad in (BROADCAST, bytes.fromhex("01005e000001"), b"\x02\x00"):
        with pytest.raises(LocalMisuse):
            Fdb().set_static(bad, A)


@pytest.mark.parametrize("limits", [(0.0, 1, 1), (-1.0, 1, 1), (1.0, 0, 1), (1.0, 1, 0)])
def test_limits_must_be_positive(limits: tuple[float, int, int]) -> None:
    with pytest.raises(LocalMisuse):
        Fdb(*limits)


def test_eviction_takes_the_owners_least_recently_seen() -> None:
    fdb = Fdb(max_per_peer=3, max_local=2)
    for n, now in ((1, 1.0), (2, 2.0), (3, 3.0), (1, 4.0), (4, 5.0)):
        fdb.learn(mac(n), 0, A, now)
    assert [owner_of(fdb, mac(n)) for n in (1, 2, 3, 4)] == [A, "unknown", A, A]
    for n in (11, 12, 13):
        fdb.learn(mac(n), 0, LOCAL, 6.0)
    assert [owner_of(fdb, mac(n)) for n in (11, 12, 13)] == ["unknown", LOCAL, LOCAL]


def test_a_move_into_a_full_owner_evicts_there_only() -> None:
    fdb = Fdb(max_per_peer=2)
    for n in (1, 2):
        fdb.learn(mac(n), 0, A, 1.0)
        fdb.learn(mac(10 + n), 0, B, 1.0)
    fdb.learn(mac(11), 0, A, 2.0)
    assert [owner_of(fdb, mac(n)) for n in (1, 2, 11, 12)] == ["unknown", A, A, B]


def test_pins_do_not_count_against_the_bound() -> None:
    fdb = Fdb(max_per_peer=1)
    for n in range(10):
        fdb.set_static(mac(n), A, n % 2)
    fdb.learn(mac(100), 0, A, 1.0)
    fdb.learn(mac(101), 0, A, 1.0)
    assert len(fdb) == 11
    assert owner_of(fdb, mac(101)) == A


def test_removing_an_owner_takes_all_that_is_his() -> None:
    fdb = Fdb()
    fdb.learn(mac(1), 0, A, 1.0)
    fdb.learn(mac(1), 4, A, 1.0)
    fdb.set_static(mac(2), A, 4)
    fdb.set_static(mac(3), A)
    fdb.learn(mac(4), 0, B, 1.0)
    fdb.set_static(mac(5), LOCAL)
    for _ in range(2):
        fdb.remove_owner(A)
        assert {(row.mac, row.owner) for row in fdb.rows(1.0)} == {(mac(4), B), (mac(5), LOCAL)}


def test_a_flood_evicts_only_the_flooder() -> None:
    """200,000 source addresses from one peer; the others' entries, and the flooder's newest, stay."""
    fdb = Fdb(max_per_peer=4096)
    flooder, others = 7, range(10, 14)
    for n in range(1000):
        fdb.learn(mac(n), 0, LOCAL, 1.0)
        for other in others:
            fdb.learn(mac(other << 16 | n), 0, other, 1.0)
    fdb.set_static(mac(0xFFFFFF), flooder)
    before = {row for row in fdb.rows(0.0) if row.owner != flooder}
    for n in range(200_000):
        assert fdb.learn(mac(1 << 32 | n), 0, flooder, 2.0)
    after = list(fdb.rows(0.0))
    assert {row for row in after if row.owner != flooder} == before
    assert {row.mac for row in after if row.owner == flooder and not row.static} == {
        mac(1 << 32 | n) for n in range(200_000 - 4096, 200_000)
    }
    assert owner_of(fdb, mac(0xFFFFFF)) == flooder
