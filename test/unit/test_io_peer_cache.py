"""The file of known peers: private, whole, bounded, rarely written; what is wrong with it is one warning."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import stat

import pytest

from omni_core.constants import KNOWN_PEER_AGE, KNOWN_PEERS_MAX
from omni_core.crypto.identity import Identity
from omni_core.crypto.record import RECORD_MAX as LONGEST_RECORD
from omni_core.crypto.record import signed
from omni_core.drops import DropReason
from omni_core.engines import known_peers
from omni_core.engines.known_peers import ENDPOINTS_MAX, FILE_MAX, KnownPeer, KnownPeers, decode_known, encode_known
from omni_core.errors import RemoteViolation
from omni_core.io import peer_cache
from omni_core.io.peer_cache import PeerCache
from omni_core.types import Endpoint
from omni_core.wire import cbor
from omni_core.wire.gossip import RECORD_END

OWNER, CLUSTER, NOW = b"o" * 32, "fleet", 1_700_000_000


def known(rng: random.Random, seen: int = NOW, *endpoints: Endpoint) -> KnownPeer:
    record = signed(Identity.generate(rng.randbytes), CLUSTER, version=seen, name=f"r{seen}")
    return KnownPeer(record, endpoints or (Endpoint("10.0.0.1", 51820), Endpoint("fd00::1", 4)), seen)


@pytest.fixture
def rng(seed):
    return random.Random(seed)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "key.peers")


def test_round_trip(rng):
    peers = [known(rng, NOW - n) for n in range(5)]
    assert decode_known(encode_known(OWNER, CLUSTER, peers), OWNER, CLUSTER) == peers


def test_what_there_may_be_fits(rng):
    assert max(known_peers.RECORD_MAX, RECORD_END) >= LONGEST_RECORD
    longest = KnownPeer(bytes(known_peers.RECORD_MAX), (Endpoint("fd00::1", 65535),) * ENDPOINTS_MAX, 1 << 63)
    assert len(encode_known(OWNER, "c" * 63, [longest] * KNOWN_PEERS_MAX)) <= FILE_MAX


@pytest.mark.parametrize(
    "fields",
    [
        {1: 2, 2: OWNER, 3: CLUSTER, 4: []},
        {1: 1, 2: b"x" * 32, 3: CLUSTER, 4: []},
        {1: 1, 2: OWNER, 3: "other", 4: []},
        {1: 1, 2: OWNER, 3: CLUSTER},
        {1: 1, 2: OWNER, 3: CLUSTER, 4: [[]] * (KNOWN_PEERS_MAX + 1)},
        {1: 1, 2: OWNER, 3: CLUSTER, 4: [[bytes(100), [], True]]},
        {1: 1, 2: OWNER, 3: CLUSTER, 4: [[bytes(96), [], 1]]},
        {1: 1, 2: OWNER, 3: CLUSTER, 4: [[bytes(100), [bytes(6)], 1]]},
        {1: 1, 2: OWNER, 3: CLUSTER, 4: [[bytes(100), [b"\xe0\0\0\1\1\1"], 1]]},
    ],
    ids=["format", "owner", "cluster", "no peers", "too many", "no time", "no record", "no endpoint", "group"],
)
def test_what_is_refused(fields):
    with pytest.raises(RemoteViolation):
        decode_known(cbor.encode(fields), OWNER, CLUSTER)


def test_corrupt_bytes_are_refused(rng):
    good = encode_known(OWNER, CLUSTER, [known(rng)])
    for _ in range(300):
        bad = bytearray(good[: rng.randrange(len(good) + 1)])
        if bad:
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        try:
            decode_known(bytes(bad), OWNER, CLUSTER)
        except RemoteViolation as violation:
            assert violation.reason in (DropReason.BAD_RECORD, DropReason.SIGNALING_MALFORMED)


def test_the_table_is_bounded_and_forgets(rng):
    table = KnownPeers()
    old = known(rng, NOW - int(KNOWN_PEER_AGE))
    table.load([old, *(peers := [known(rng, NOW - n) for n in range(3)])], NOW)
    assert table.latest(NOW) == peers
    table.forget(peers[1].public_key)
    assert table.latest(NOW) == [peers[0], peers[2]]
    assert table.latest(NOW + int(KNOWN_PEER_AGE) - 1) == peers[:1]
    assert table.latest(0) == peers[:1], "a clock that was set back makes nobody old"
    crowd = [KnownPeer(bytes(64) + n.to_bytes(32, "big") + b"body", (), NOW + n) for n in range(KNOWN_PEERS_MAX + 10)]
    table.update(crowd)
    assert table.latest(NOW) == crowd[:9:-1]


def test_kept_in_a_private_file(rng, path):
    peers = [known(rng)]

    async def run() -> None:
        cache = PeerCache(path, OWNER, CLUSTER)
        assert cache.load() == []
        cache.begin(lambda: peers)
        await cache.end()
        await cache.end()

    asyncio.run(run())
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert PeerCache(path, OWNER, CLUSTER).load() == peers
    assert os.listdir(os.path.dirname(path)) == ["key.peers"]


def test_nothing_known_makes_no_file(path):
    async def run() -> None:
        cache = PeerCache(path, OWNER, CLUSTER)
        cache.load()
        cache.begin(list)
        await cache.end()

    asyncio.run(run())
    assert not os.path.exists(path)


def test_written_rarely(rng, path, monkeypatch):
    writes: list[bytes] = []
    monkeypatch.setattr(peer_cache, "write_atomic", lambda path, data: writes.append(data))
    monkeypatch.setattr(peer_cache, "SETTLE", 0.01)
    monkeypatch.setattr(peer_cache, "PEER_CACHE_INTERVAL", 0.5)
    peers = [known(rng)]

    async def run() -> None:
        cache = PeerCache(path, OWNER, CLUSTER)
        cache.begin(lambda: peers)
        for n in range(40):
            peers[0] = KnownPeer(peers[0].record, (Endpoint("10.0.0.9", n + 1),), NOW + n)
            cache.changed()
            await asyncio.sleep(0.005)
        assert len(writes) == 1
        await cache.end()
        assert len(writes) == 2
        peers[0] = KnownPeer(peers[0].record, peers[0].endpoints, NOW + 100)
        cache.begin(lambda: peers)
        await cache.end()
        assert len(writes) == 2, "only the time is another"

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["junk", "directory", "long", "fifo", "foreign", "link"])
def test_a_file_that_is_none_is_one_warning(rng, path, kind, caplog):
    if kind == "directory":
        os.mkdir(path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        os.symlink("/dev/zero", path)
    else:
        content = {"junk": b"\xff" * 50, "long": bytes(FILE_MAX + 1), "foreign": encode_known(b"x" * 32, CLUSTER, [])}
        with open(path, "wb") as file:
            file.write(content[kind])
    with caplog.at_level(logging.WARNING):
        assert PeerCache(path, OWNER, CLUSTER).load() == []
    assert len(caplog.records) == 1 and path in caplog.text


def test_a_directory_that_cannot_be_written_is_one_warning(rng, tmp_path, caplog):
    async def run() -> None:
        cache = PeerCache(str(tmp_path / "none" / "key.peers"), OWNER, CLUSTER)
        for _ in range(3):
            cache.begin(lambda: [known(rng)])
            await cache.end()

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert len(caplog.records) == 1
