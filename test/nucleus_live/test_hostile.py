"""A hostile host on the network of a real Nucleus process, real UDP: refused and counted, and the honest edges go on.

    Nucleus (process) <── loopback ──> 300 honest edges, each with an address
                      <── loopback ──> intruders: junk, replays, sessions of their own

Honest edges miss no registration: none loses its Nucleus, none departs, all answers are right, memory is bounded.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.udp_intruder import Insider, Intruder, initiation, registered

from bench.nucleus.load import Load
from bench.nucleus.processes import NucleusProcess, nucleus_process
from omni_core.constants import REGISTER_BURST
from omni_core.crypto.identity import Identity
from omni_core.crypto.kdf import admission_key, admission_proof
from omni_core.crypto.record import signed
from omni_core.signaling.messages import Heartbeat, QueryPeer
from omni_core.wire.control import SIGNALING_MAX, ControlType

pytestmark = pytest.mark.alone

HONEST = 300
INTERVAL = 4.0  # s between heartbeats
MEMORY_GROWTH = 48 << 20  # bytes
SECRET = b"the fleet's secret"
N = 100_000


@pytest.fixture
def rng(seed: int) -> random.Random:
    return random.Random(seed)


@pytest.fixture
def nucleus(tmp_path: Path, rng: random.Random) -> Iterator[NucleusProcess]:
    """Cluster fleet with a secret, cluster open without."""
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_bytes(SECRET)
    config = {
        "clusters": ["fleet", "open"],
        "secret_files": [f"fleet={secret}"],
        "heartbeat_interval": INTERVAL,
        "max_edges": 400,
        "drain_time": 0.0,
    }
    with nucleus_process(tmp_path / "nucleus", Identity.generate(rng.randbytes), **config) as process:
        yield process


class Honest:
    """``load``'s edges, and what the Nucleus says of them."""

    def __init__(self, load: Load, nucleus: NucleusProcess) -> None:
        self.load, self.nucleus = load, nucleus
        self.memory = nucleus.memory()
        self.drops_before = nucleus.status()["drops"]

    def drops(self) -> dict[str, int]:
        """Since the honest edges were there."""
        now = self.nucleus.status()["drops"]
        return {reason: n - self.drops_before.get(reason, 0) for reason, n in now.items()}

    async def go_on(self, cycles: int = 2) -> None:
        """Nobody was disturbed; the attack was just before, or is still going on."""
        await asyncio.sleep(0)
        requests = self.nucleus.status()["requests"]["heartbeat"]
        await self.load.until(
            lambda: self.nucleus.status()["requests"]["heartbeat"] >= requests + cycles * HONEST,
            cycles * 20,
            "everyone's heartbeats",
            every=0.5,
        )
        assert self.load.tally.lost == [] and self.load.registered == HONEST
        assert not self.load.tally.refused
        assert await self.load.check_all() == []
        status = self.nucleus.status()
        (fleet,) = (cluster for cluster in status["clusters"] if cluster["name"] == "fleet")
        assert (fleet["edges"], fleet["joins"], fleet["departures"], fleet["leaves"]) == (HONEST, HONEST, 0, 0)
        assert fleet["moves"] == 0, "nobody was moved by a packet of somebody else's"
        assert self.nucleus.memory() - self.memory < MEMORY_GROWTH


@pytest_asyncio.fixture
async def honest(nucleus: NucleusProcess, seed: int) -> AsyncIterator[Honest]:
    load = Load(
        [nucleus.settings],
        ["fleet"],
        seed=seed + 1,  # not the Nucleus's key
        admission_key=admission_key(SECRET, "fleet"),
        heartbeat_interval=INTERVAL,
    )
    load.ports.seen = []
    try:
        await load.start(HONEST, 150)
        await load.until(lambda: load.registered == HONEST, 30, "the honest edges register")
        yield Honest(load, nucleus)
    finally:
        await load.close()


async def test_junk(honest: Honest, rng: random.Random) -> None:
    """Random datagrams of all first bytes and lengths; truncated, lengthened and bit-flipped genuine ones."""
    assert honest.load.ports.seen
    genuine = [data for data, _, _ in honest.load.ports.seen]
    honest.load.ports.seen = None

    def junk() -> Iterator[bytes]:
        for number in range(N):
            yield bytes([number % 256]) + rng.randbytes(number // 256 % 1500)
        for number in range(N // 2):
            data = bytearray(rng.choice(genuine))
            if number % 3 == 0:
                data = data[: rng.randrange(len(data))]
            elif number % 3 == 1:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            else:
                data += rng.randbytes(rng.choice((1, 16, SIGNALING_MAX)))
            yield bytes(data)

    intruder = Intruder(honest.nucleus.settings)
    try:
        await asyncio.to_thread(intruder.flood, junk())
        await honest.go_on()
        # Nothing is answered, but initiations with a right mac1, by a Nucleus under load: with less than they were.
        assert {data[0] for data in intruder.heard()} <= {ControlType.COOKIE_REPLY}
    finally:
        intruder.close()
    drops = honest.drops()
    assert intruder.sent > N
    # What the socket's buffer does not hold is dropped by the kernel and counted there.
    assert sum(drops.values()) > N / 20
    assert {"too_short", "unknown_type", "bad_mac1", "unknown_session", "signaling_forged"} <= drops.keys()


async def test_replays(honest: Honest, rng: random.Random) -> None:
    """Every datagram of the honest edges again, as it was: from where it came from, and from elsewhere."""
    seen = honest.load.ports.seen
    assert seen
    honest.load.ports.seen = None
    kinds = {data[0] for data, _, _ in seen}
    assert {ControlType.INITIATION, ControlType.SIGNALING} <= kinds
    intruder = Intruder(honest.nucleus.settings)
    try:
        for number, (data, at, source) in enumerate(seen):
            honest.load.ports.send(data, at, source, honest.nucleus.settings.endpoints[0])
            intruder.send(data)
            if number % 20 == 19:
                await asyncio.sleep(0.005)
        await honest.go_on()
        answers = {data[0] for data in intruder.heard()}
    finally:
        intruder.close()
    assert answers <= {ControlType.COOKIE_REPLY}, "to an initiation, by a Nucleus that is under load; smaller than that"
    drops = honest.drops()
    assert drops["signaling_replayed"] >= HONEST and drops["handshake_replayed"] + drops.get("bad_mac2", 0) >= HONEST


async def test_forged_registrations(honest: Honest, rng: random.Random) -> None:
    """With a session of his own: other people's records, other people's VIPs, no secret; bodies that are no message."""
    victim = next(iter(honest.load.edges.values()))
    nucleus = honest.nucleus.settings
    key = admission_key(SECRET, "fleet")

    def attack() -> list[str]:
        insider = Insider(nucleus, rng.randbytes)
        said: list[str] = []

        def tell(record: bytes | None = None, cluster: str = "fleet", proof: bytes | None = None) -> None:
            right = admission_proof(key, insider.link.handshake_hash, insider.identity.public_key, cluster)
            answer = insider.ask(insider.register(record, cluster, right if proof is None else proof))
            said.append(registered(answer))

        try:
            tell(proof=b"")
            tell(proof=rng.randbytes(32))
            tell(cluster="another")
            tell(signed(victim.identity, "fleet", version=time.time_ns(), vip4="10.66.0.1/8"))
            tell(insider.record(cluster="open"))
            tell(insider.record()[:-1] + b"\0")
            tell(insider.record(vip4=f"10.0.0.{victim.number}/8"))
            said.append(registered(insider.ask(Heartbeat(2, 1, 1, 1, ()))))
            said.append(registered(insider.ask(QueryPeer(3, victim.key))))
            # bodies: deep, wide, long, empty, not a map
            for body in (
                b"\x81" * 1000, b"\xa1\x00" * 500, b"\x9b" + b"\xff" * 8, b"\xbb" + b"\xff" * 8, b"", b"\x00",
                b"\x5b" + b"\xff" * 8, b"\xbf" + b"\x00" * 900, rng.randbytes(1100), b"\xc1" * 1000,
            ):  # fmt: skip
                insider.send(insider.link.seal(body))
            insider.send(insider.link.seal(bytes(60_000)))
            assert insider.answers() == []
        finally:
            insider.close()
        return said

    said = await asyncio.to_thread(attack)
    assert said == [
        "BAD_PROOF", "BAD_PROOF", "UNKNOWN_CLUSTER", "BAD_RECORD", "BAD_RECORD", "BAD_RECORD", "ADDRESS_TAKEN",
        "NOT_REGISTERED", "NOT_REGISTERED",
    ]  # fmt: skip
    drops = honest.drops()
    assert drops["not_admitted"] >= 4 and drops["bad_record"] == 3 and drops["not_registered"] == 2
    assert drops["signaling_malformed"] >= 9
    await honest.go_on()


async def test_a_flood_of_registrations_from_one_key(honest: Honest, rng: random.Random) -> None:
    """A new record each time, so that each would be a change that the whole cluster is told."""
    nucleus = honest.nucleus.settings

    def attack() -> None:
        insider = Insider(nucleus, rng.randbytes)
        try:
            for _ in range(5000):
                insider.say(insider.register(insider.record(cluster="open"), "open"))
                if insider.sent % 50 == 0:
                    time.sleep(0.01)
        finally:
            insider.close()

    await asyncio.to_thread(attack)
    await honest.go_on()
    (attacked,) = (cluster for cluster in honest.nucleus.status()["clusters"] if cluster["name"] == "open")
    assert attacked["edges"] == 1 and attacked["joins"] <= 2 * REGISTER_BURST
    drops = honest.drops()
    assert drops["rate_limited"] > 1000 and drops["registers_too_often"] > 0


async def test_a_flood_of_keys_from_many_addresses(honest: Honest, rng: random.Random) -> None:
    """Handshakes that are never finished, then whole ones with registrations: of the open cluster, until it is full,
    and of the other one, without its secret."""
    nucleus = honest.nucleus.settings

    def initiations() -> None:
        for number in range(60):
            intruder = Intruder(nucleus, f"127.67.{number}.1")
            intruder.flood([initiation(nucleus, rng.randbytes) for _ in range(25)])
            intruder.close()

    await asyncio.to_thread(initiations)
    load = Load([nucleus], ["open", "fleet"], seed=rng.getrandbits(32), heartbeat_interval=INTERVAL)
    try:
        await load.start(1000, 2000)
        await load.until(lambda: load.registered >= 400, 30, "the open cluster is full", every=0.2)
        await honest.go_on()
        status = honest.nucleus.status()
        (attacked,) = (cluster for cluster in status["clusters"] if cluster["name"] == "open")
        assert attacked["edges"] == 400, "as many as a cluster may have"
        drops = honest.drops()
        assert drops["not_admitted"] >= 100, "without the secret"
        assert drops.get("bad_mac2", 0) > 0, "who floods is asked for a cookie"
    finally:
        await load.close()
