"""The simulator's model of Redis against a real one: the same commands get the same replies, and the same changes."""

from __future__ import annotations

import random
import re
import time
from typing import Any

import redis as redis_py
from support.edges import make_edge
from support.redis_server import RedisServer

from omni_core.io.redis_store import STREAM, load_scripts
from omni_core.signaling.shared.entries import digits, pack_edge
from omni_core.sim.redis import RedisModel

COMMANDS = 3000
LIFE, LEASE = 60_000, 100_000  # ms; nothing of that ends meanwhile, for the clocks differ


_DAY = digits(round(time.time() * 1000))[:12]  # and some hours
_TIME = re.compile(rb"%s[0-9]{8}" % _DAY)  # ms in 20 digits


def _like(reply: Any) -> Any:
    """Without times."""
    if isinstance(reply, (list, tuple)):
        return [_like(each) for each in reply]
    return _TIME.sub(b"time", b"%d" % reply if isinstance(reply, int) else bytes(reply))


def _sorted(reply: list[Any]) -> list[Any]:
    """Of load: hashes have no order."""
    tables = [sorted(zip(table[::2], table[1::2], strict=True)) for table in reply[4:]]
    return [*reply[:4], *tables]


def test_they_do_the_same(redis: RedisServer, seed: int) -> None:
    rng = random.Random(seed)
    real = redis_py.Redis(unix_socket_path=str(redis.socket), protocol=2)
    scripts = {name: real.register_script(text) for name, text in load_scripts().items()}
    wall = real.time()
    model = RedisModel(lambda: wall[0] + 0.5, rng.randbytes)
    epoch = digits(rng.getrandbits(64))

    def both(script: str, *args: bytes | int) -> list[Any]:
        theirs, ours = scripts[script](args=args), model.execute(script, args)
        if script == "load":
            theirs, ours = _sorted(theirs), _sorted(ours)
        assert _like(ours) == _like(theirs), (script, args)
        return theirs

    both("hello", b"run-1", epoch)
    words = set[bytes]()
    for step in range(COMMANDS):
        key, cluster = rng.randrange(12), rng.choice(["fleet", "other"])
        edge = make_edge(key, cluster, version=rng.randint(1, 3), vip4=bytes([10, 0, 0, rng.randrange(8)]))
        nucleus, what = rng.choice(["one", "two"]), rng.random()
        if what < 0.45:
            body = pack_edge(edge, nucleus, edge.observed, edge.local)
            ago = rng.choice([0, 0, 0, 5_000])
            reply = both("claim", epoch, edge.key, body, rng.choice([b"j", b"j", b"m"]), ago, LIFE, LEASE)
        elif what < 0.65:
            number = rng.choice([b"", digits(rng.randrange(step + 1))])
            kind = rng.choice([b"l", b"d"])
            reply = both("remove", epoch, edge.key, kind, LEASE, digits(edge.version), nucleus.encode(), number)
        elif what < 0.8:
            wanted = [bytes([10, 0, 0, rng.randrange(8)]) for _ in range(rng.randrange(1, 4))]
            lasts = rng.choice([LEASE, -1000])  # one that has lapsed at once
            reply = both("lease", epoch, cluster.encode(), edge.key, lasts, rng.choice([b"0", b"1"]), *wanted)
        elif what < 0.86:
            reply = both("deny", epoch, edge.key, rng.choice([b"", LEASE]), b"reason")
        elif what < 0.92:
            reply = both("undeny", epoch, edge.key)
        elif what < 0.95:
            reply = both("touch", epoch, LIFE, edge.key, bytes(32))
        elif what < 0.97:
            reply = both("expire", epoch, LIFE, LEASE, 15_000, 500)
        elif what < 0.98:
            reply = both("touch", digits(1), LIFE, edge.key)
        elif what < 0.99:
            epoch = digits(rng.getrandbits(64))
            reply = both("hello", b"run-%d" % step, epoch)
        else:
            reply = both("load", epoch)
        words.add(bytes(reply[0]))
    assert words == {b"OK", b"TAKEN", b"STALE", b"GONE", b"NONE", b"THEIRS", b"EPOCH"}
    changes = [(int(n.split(b"-")[0]), f[b"k"], f[b"v"]) for n, f in real.xrange(STREAM)]
    assert _like(changes) == _like(model.data.changes)
    real.close()
