"""Two Nuclei on one Redis: who is shut out at one is shut out at the other, and a VIP4 is leased to one key only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from support.command_line import Caller
from support.edges import make_edge
from support.redis_server import RedisServer

from omni_core.config import nucleus
from omni_core.crypto.identity import Identity, key_text
from omni_core.io.clock import monotonic
from omni_core.io.driver_thread import DriverThread
from omni_core.io.nucleus_driver import NucleusDriver
from omni_core.signaling.leases import Lease, Vip4Pool
from tools.netlab import wait_for

POOL = Vip4Pool(IPv4Address("10.77.0.1"), IPv4Address("10.77.0.1"), 24)


class Nucleus:
    def __init__(self, directory: Path, url: str) -> None:
        self.run_dir = str(directory / "run")
        config = nucleus.validate(
            {
                "key_file": str(directory / "nucleus.key"), "clusters": ["fleet"], "listen_port": 0, "http_listen": "",
                "listen_address": ["127.0.0.1"], "run_dir": self.run_dir, "drain_time": 0.0, "store": url,
                "vip4_pools": ["fleet=10.77.0.1-10.77.0.1/24"],
            }
        )  # fmt: skip
        self.thread: DriverThread[NucleusDriver] = DriverThread(lambda: NucleusDriver(config))
        self.thread.activate()
        wait_for(lambda: self.thread.driver.status().store.available, 10, "the Redis is there")

    def put(self, number: int, name: str) -> None:
        done: list[object] = []

        async def work() -> None:
            edge = make_edge(number, name=name, key=key(number))
            engine, now = self.thread.driver.engine, monotonic()
            engine.store.claim(edge, now + 90, now, lambda conflict, _: done.append(conflict))
            self.thread.driver.flush()

        self.thread.run(work())
        wait_for(lambda: done == [None], 10, "registered")

    def lease(self, number: int) -> list[Lease | None]:
        """Filled in when the answer is there."""
        answer: list[Lease | None] = []

        async def work() -> None:
            store = self.thread.driver.engine.store
            store.lease("fleet", key(number), b"", POOL, monotonic(), lambda lease, _: answer.append(lease))
            self.thread.driver.flush()

        self.thread.run(work())
        return answer


def key(number: int) -> bytes:
    return Identity.from_seed(bytes([number]) * 32).public_key


@pytest.fixture
def two(redis: RedisServer, tmp_path: Path) -> Iterator[tuple[Nucleus, Nucleus]]:
    found: list[Nucleus] = []
    try:
        for name in "ab":
            (tmp_path / name).mkdir()
            found.append(Nucleus(tmp_path / name, redis.url))
        yield found[0], found[1]
    finally:
        for each in found:
            each.thread.close()


@pytest.fixture
def omni(capsys: pytest.CaptureFixture[str]) -> Caller:
    return Caller(capsys)


def listed(omni: Caller, of: Nucleus) -> dict[str, Any]:
    outcome = omni("nucleus", "admin", "list", "--denied", "--leases", "--json", "--run-dir", of.run_dir)
    assert outcome.code == 0, outcome
    return dict(json.loads(outcome.out))


def test_what_is_done_at_one_holds_at_the_other(two: tuple[Nucleus, Nucleus], omni: Caller) -> None:
    a, b = two
    a.put(1, "robot-1")
    b.put(2, "robot-2")
    for each in two:
        wait_for(lambda at=each: len(listed(omni, at)["edges"]) == 2, 10, "both are listed")  # type: ignore[misc]
    assert len({edge["nucleus"] for edge in listed(omni, a)["edges"]}) == 2, "each says where it is registered"
    assert "nucleus" in omni("nucleus", "admin", "list", "--run-dir", a.run_dir).out
    assert omni("nucleus", "admin", "deny", "robot-2", "--reason", "sold", "--run-dir", a.run_dir).code == 0
    for each in two:
        wait_for(
            lambda at=each: [edge["name"] for edge in listed(omni, at)["edges"]] == ["robot-1"]  # type: ignore[misc]
            and [denial["reason"] for denial in listed(omni, at)["denied"]] == ["sold"],
            10, "it is out at both",
        )  # fmt: skip
    assert omni("nucleus", "admin", "allow", key_text(key(2)), "--run-dir", b.run_dir).code == 0
    wait_for(lambda: listed(omni, a)["denied"] == [], 10, "it may come again")
    assert not (Path(a.run_dir).parent / "nucleus.key.state").exists(), "the Redis remembers"


def test_two_robots_race_for_the_last_address_at_two_nuclei(two: tuple[Nucleus, Nucleus], omni: Caller) -> None:
    answers = [nucleus.lease(number) for number, nucleus in enumerate(two, 1)]
    wait_for(lambda: all(answers), 10, "both are answered")
    assert sorted(str(answer[0]) for answer in answers) == ["10.77.0.1/24", "None"]
    for each in two:
        wait_for(lambda at=each: len(listed(omni, at)["leases"]) == 1, 10, "both know")  # type: ignore[misc]
