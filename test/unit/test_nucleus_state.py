"""What a Nucleus remembers over a restart: the file, and the clocks."""

from __future__ import annotations

import asyncio
import json
import random
import stat
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from support.edges import make_edge
from support.nucleus_net import Net

from omni_core.crypto.identity import Identity
from omni_core.errors import ConfigError
from omni_core.io.nucleus_state import (
    NucleusState,
    SavedLease,
    StateFile,
    decode_state,
    encode_state,
    restore_state,
    take_state,
)
from omni_core.signaling.denials import FOREVER, Denial
from omni_core.signaling.leases import Vip4Pool
from omni_core.signaling.store import MemoryStore

POOL = Vip4Pool(IPv4Address("10.77.0.1"), IPv4Address("10.77.0.99"), 24)
DAY = 86400.0
THEN, NOW = 100.0, 5.0  # s of two monotonic clocks
WALL = 1_790_000_000.0


def key(number: int) -> bytes:
    return Identity.from_seed(bytes([number]) * 32).public_key


def leased(store: MemoryStore, number: int, now: float, wanted: bytes = b"") -> bytes:
    found: list[bytes] = []
    store.lease("fleet", key(number), wanted, POOL, now, lambda lease, _: found.append(lease.address if lease else b""))
    return found[0]


def test_leases_and_denials_go_over_to_another_clock() -> None:
    store = MemoryStore(1, lease_time=DAY)
    addresses = [leased(store, number, THEN + number) for number in range(5)]
    store.deny(Denial(key(7), FOREVER, "stolen"), THEN)
    store.deny(Denial(key(8), THEN + 3600, ""), THEN)
    store.deny(Denial(key(9), THEN + 1, ""), THEN)
    text = encode_state(take_state(store, ["fleet"], THEN + 10, WALL))
    state = decode_state(text, "state")
    after = MemoryStore(2, lease_time=DAY)
    assert restore_state(state, after, ["fleet"], NOW, WALL + 100) == 5
    assert [leased(after, number, NOW) for number in range(5)] == addresses
    assert leased(after, 6, NOW) not in addresses
    assert [(d.key, d.reason) for d in after.denials(NOW)] == [(key(7), "stolen"), (key(8), "")]
    left = after.denied(key(8), NOW)
    assert left is not None and left.until == pytest.approx(NOW + 3600 - 110, abs=0.2)
    assert after.denied(key(8), NOW + 3600) is None and after.denied(key(7), NOW + 1e9) is not None


def test_the_lease_of_an_edge_that_is_there_begins_anew_when_it_is_written() -> None:
    store = MemoryStore(1, lease_time=DAY)
    address = leased(store, 1, THEN)
    store.claim(make_edge(1, key=key(1), vip4=address), THEN + 10 * DAY, THEN, lambda *_: None)
    state = take_state(store, ["fleet"], THEN + 5 * DAY, WALL)
    assert state.leases["fleet"] == [SavedLease(key(1), address, WALL + DAY)]


def test_a_clock_that_was_wrong_makes_no_endless_lease() -> None:
    store = MemoryStore(1, lease_time=DAY)
    state = NucleusState({"fleet": [SavedLease(key(1), bytes([10, 77, 0, 1]), WALL + DAY)]})
    assert restore_state(state, store, ["fleet"], NOW, 0.0) == 1
    (held,) = store.leases("fleet")
    assert held.until <= NOW + DAY
    assert restore_state(state, MemoryStore(1), ["fleet"], NOW, WALL + 2 * DAY) == 0
    assert restore_state(state, MemoryStore(1), ["other"], NOW, WALL) == 0


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "null", '{"version": 2, "leases": {}, "denied": []}',
        '{"version": 1, "leases": [], "denied": []}',
        '{"version": 1, "leases": {"a": [{"key": "x", "vip4": "10.0.0.1", "until": 1}]}, "denied": []}',
        '{"version": 1, "leases": {"a": [{}]}, "denied": []}', '{"version": 1, "leases": {}, "denied": [1]}',
        '{"version": 1, "leases": {}}', "[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_state_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        decode_state(text, "/etc/omni/nucleus.key.state")
    assert str(caught.value).startswith("state: /etc/omni/nucleus.key.state")


def test_damaged_text_raises_nothing_else(seed: int) -> None:
    rng = random.Random(seed)
    store = MemoryStore(1)
    for number in range(3):
        leased(store, number, THEN)
    store.deny(Denial(key(7), FOREVER, "stolen"), THEN)
    good = encode_state(take_state(store, ["fleet"], THEN, WALL))
    for _ in range(2000):
        damaged = list(good)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.choice('{}[]",:0e9-xn \0')
        try:
            decode_state("".join(damaged), "state")
        except ConfigError:
            pass


async def test_the_file_is_written_when_something_changes_and_at_the_end(tmp_path: Path, seed: int) -> None:
    net = Net(seed)
    path = tmp_path / "nucleus.key.state"
    file = StateFile(str(path), ["fleet"])
    file.load()
    file.start(net.nucleus)
    await file.write()
    assert not path.exists(), "there is nothing to remember"
    net.nucleus.admin.deny(Denial(key(1), FOREVER, "stolen"), 0.0)
    file.look()
    for _ in range(500):
        if path.exists():
            break
        await asyncio.sleep(0.01)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry["reason"] for entry in json.loads(path.read_text())["denied"]] == ["stolen"]
    net.nucleus.admin.undeny(key(1), 0.0)
    await file.stop()
    assert json.loads(path.read_text())["denied"] == []


async def test_a_file_that_is_damaged_is_put_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "state"
    path.write_text("rubbish")
    StateFile(str(path), ["fleet"]).load()
    assert not path.exists() and (tmp_path / "state.broken").read_text() == "rubbish"
    assert "are lost" in caplog.text
