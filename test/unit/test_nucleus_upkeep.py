"""Backup, restore and drain by `omni nucleus admin`, with a Nucleus on loopback."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import stat
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from support import redis_server
from support.command_line import Outcome, omni_process
from support.edges import make_edge

from omni_core.config import nucleus
from omni_core.crypto.identity import Identity, key_text
from omni_core.io.clock import monotonic
from omni_core.io.nucleus_driver import NucleusDriver
from omni_core.io.nucleus_state import NucleusState, SavedLease, decode_state, encode_state
from omni_core.io.nucleus_upkeep import sort_out
from omni_core.signaling.denials import FOREVER, Denial
from omni_core.signaling.leases import Vip4Pool
from omni_core.signaling.store import MemoryStore

POOL = Vip4Pool(ipaddress.IPv4Address("10.77.0.100"), ipaddress.IPv4Address("10.77.31.255"), 16)


def key(n: int) -> bytes:
    return Identity.from_seed(n.to_bytes(32, "big")).public_key


def vip4(n: int) -> bytes:
    return ipaddress.IPv4Address(f"10.77.{n >> 8}.{n & 255}").packed


def lease(driver: NucleusDriver, n: int, address: bytes = b"") -> None:
    driver.engine.store.lease("fleet", key(n), address, POOL, monotonic(), lambda *_: None)


def leases(driver: NucleusDriver) -> dict[bytes, bytes]:
    return {held.key: held.address for held in driver.engine.store.leases("fleet")}


async def begin(directory: Path, **changes: Any) -> NucleusDriver:
    values = {
        "key_file": str(directory / "nucleus.key"),
        "clusters": ["fleet"],
        "listen_address": ["127.0.0.1"],
        "listen_port": 0,
        "http_listen": "",
        "run_dir": str(directory),
        "vip4_pools": ["fleet=10.77.0.100-10.77.31.255/16"],
        **changes,
    }
    driver = NucleusDriver(nucleus.validate(values))
    await driver.activate()
    return driver


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[NucleusDriver]:
    running = await begin(tmp_path / "first")
    yield running
    await running.cleanup()


async def admin(driver: NucleusDriver, *arguments: str) -> Outcome:
    words = ("nucleus", "admin", *arguments, "--run-dir", driver.config.run_dir)
    return await asyncio.get_running_loop().run_in_executor(None, lambda: omni_process(*words))


async def test_what_was_backed_up_is_restored_elsewhere(driver: NucleusDriver, tmp_path: Path) -> None:
    for n in range(1, 6501):  # more than one request
        lease(driver, n)
    driver.engine.admin.deny(Denial(key(9), FOREVER, "stolen"), monotonic())
    file = tmp_path / "backup.json"
    made = await admin(driver, "backup", str(file))
    assert made.code == 0 and "6500 leases, 1 keys" in made.out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    other = await begin(tmp_path / "second")
    try:
        other.engine.store.claim(make_edge(9, key=key(9), vip4=b""), monotonic() + 90, monotonic(), lambda *_: None)
        # Somebody else has an address of the backup by now, and one key another address.
        taken = leases(driver)[key(1)]
        lease(other, 99_999, taken)
        used = set(leases(driver).values())
        free = next(address for address in map(vip4, range(256, 0x1FFF)) if address not in used)
        lease(other, 2, free)
        restored = await admin(other, "restore", str(file), "--json")
        assert restored.code == 0, restored
        answer = json.loads(restored.out)
        assert (answer["restored"], answer["denied"], answer["held"], answer["there"]) == (6498, 1, 2, 0)
        assert {"cluster": "fleet", "vip4": str(ipaddress.IPv4Address(taken)), "public_key": key_text(key(1))} in (
            answer["held_leases"]
        )
        expected = {**leases(driver), key(2): free, key(99_999): taken}
        del expected[key(1)]
        assert leases(other) == expected
        assert other.engine.store.denied(key(9), monotonic()) is not None and other.engine.store.get(key(9)) is None
        again = await admin(other, "restore", str(file))
        assert "0 leases restored" in again.out and "6498 that are there already" in again.out
        assert "left out: 2 that are held otherwise now" in again.out
    finally:
        await other.cleanup()
    state = decode_state((tmp_path / "second/nucleus.key.state").read_text(), "")
    assert len(state.leases["fleet"]) == 6500  # it outlives the next restart


@pytest.mark.skipif(redis_server.PROGRAM is None, reason="there is no redis-server here")
async def test_from_memory_into_a_redis_that_nuclei_share(driver: NucleusDriver, tmp_path: Path) -> None:
    for n in range(1, 101):
        lease(driver, n)
    driver.engine.admin.deny(Denial(key(9), FOREVER, "stolen"), monotonic())
    assert (await admin(driver, "backup", str(tmp_path / "backup.json"))).code == 0
    redis = redis_server.RedisServer(tmp_path)
    redis.start()
    nuclei = [await begin(tmp_path / str(number), store=redis.url) for number in range(2)]
    try:
        await until(lambda: all(each.status().store.available for each in nuclei))
        restored = await admin(nuclei[0], "restore", str(tmp_path / "backup.json"))
        assert "100 leases restored, 1 keys" in restored.out
        for each in nuclei:
            await until(lambda each=each: leases(each) == leases(driver))
            await until(lambda each=each: each.engine.store.denied(key(9), monotonic()) is not None)
        again = await admin(nuclei[1], "backup", str(tmp_path / "again.json"))
        assert "100 leases, 1 keys" in again.out
    finally:
        for each in nuclei:
            await each.cleanup()
        redis.kill()


async def until(condition: Callable[[], bool], timeout: float = 20.0) -> None:
    end = monotonic() + timeout
    while not condition():
        assert monotonic() < end
        await asyncio.sleep(0.02)


async def test_files_that_are_no_backup(driver: NucleusDriver, tmp_path: Path) -> None:
    (await admin(driver, "restore", str(tmp_path / "none"))).assert_refused(2, "FILE", "cannot be read")
    (tmp_path / "odd").write_text("{}")
    (await admin(driver, "restore", str(tmp_path / "odd"))).assert_refused(2, "state", "not a Nucleus's state")
    (await admin(driver, "backup", str(tmp_path / "no/such/place"))).assert_refused(2, "FILE", "cannot be written")


async def test_drain_by_hand(driver: NucleusDriver) -> None:
    (await admin(driver, "drain", "--time", "-1")).assert_refused(2, "time", "0 to 600")
    drained = await admin(driver, "drain", "--time", "5")
    assert drained.code == 0 and "nobody is here" in drained.out
    assert driver.status().draining and driver.status().drained


def test_what_fits_and_what_does_not() -> None:
    store, now, wall = MemoryStore(1), 100.0, time.time()
    store.lease("fleet", key(1), vip4(300), POOL, now, lambda *_: None)
    edge = make_edge(7, key=key(7), vip4=vip4(301))
    store.claim(edge, now + 90, now, lambda *_: None)
    state = NucleusState(
        {
            "fleet": [
                SavedLease(key(1), vip4(300), wall + 9),  # there
                SavedLease(key(1), vip4(302), wall + 9),  # its key has another
                SavedLease(key(2), vip4(300), wall + 9),  # another has its address
                SavedLease(key(3), vip4(301), wall + 9),  # an edge has it without a lease
                SavedLease(edge.key, vip4(301), wall + 9),  # but not this one
                SavedLease(key(4), vip4(303), wall - 1),  # run out
                SavedLease(key(5), vip4(304), wall + 9),
            ],
            "gone": [SavedLease(key(6), vip4(305), wall + 9)],
        },
        [Denial(key(8), wall - 1, ""), Denial(key(9), FOREVER, "")],
    )
    found = sort_out(state, store, ("fleet",), wall)
    assert [saved.key for saved in found.fit.leases["fleet"]] == [edge.key, key(5)]
    assert [saved.key for _, saved in found.held] == [key(1), key(2), key(3)]
    assert (found.there, found.expired, found.unknown_clusters) == (1, 1, {"gone": 1})
    assert [denial.key for denial in found.fit.denied] == [key(9)]
    assert decode_state(encode_state(found.fit), "").denied == found.fit.denied
