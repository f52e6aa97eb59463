"""A model of the Redis that several Nuclei share, for virtual time: a real one has a clock and a socket of its own.

It does in plain python what the scripts of io/redis_scripts do; a test gives both the same commands and compares the
replies. Each Nucleus has a wire to it, with a latency, that can be cut.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from omni_core.constants import STORE_RETRY
from omni_core.signaling.shared.commands import Command, Reply
from omni_core.signaling.shared.entries import digits
from omni_core.signaling.shared.store import SharedStore
from omni_core.types import RandomBytes

STREAM_MAX = 16384  # as in common.lua
GONE_MAX = 8192

Schedule = Callable[..., None]  # (when, callback, *arguments)


class _Entry:
    """What a script reads of an entry."""

    def __init__(self, data: bytes) -> None:
        self.number, self.version, at = data[:20], data[20:40], 40
        fields: list[bytes] = []
        for _ in range(5):
            end = at + 1 + data[at]
            fields.append(data[at + 1 : end])
            at = end
        self.cluster, self.nucleus, *self.addresses = fields


@dataclass
class Contents:
    meta: dict[str, bytes] = field(default_factory=dict)
    lineage: dict[bytes, bytes] = field(default_factory=dict)
    changes: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    edges: dict[bytes, bytes] = field(default_factory=dict)
    addresses: dict[bytes, bytes] = field(default_factory=dict)
    deadlines: dict[bytes, float] = field(default_factory=dict)
    gone: dict[bytes, bytes] = field(default_factory=dict)  # by number
    leases: dict[bytes, bytes] = field(default_factory=dict)
    leased: dict[bytes, bytes] = field(default_factory=dict)
    denied: dict[bytes, bytes] = field(default_factory=dict)


class RedisModel:
    def __init__(self, clock: Callable[[], float], random: RandomBytes) -> None:
        """``clock``: s."""
        self.data = Contents()
        self.up = True
        self.stalled = False  # nothing is answered, connections stay
        self.run_id = random(20).hex()
        self._random = random
        self._clock = clock
        self._saved = deepcopy(self.data)
        self.wires: list[RedisWire] = []

    # --- what happens to it ---------------------------------------------------------------------------------------

    def save(self) -> None:
        """As a snapshot on disk."""
        self._saved = deepcopy(self.data)

    def kill(self) -> None:
        self.up = False
        for wire in self.wires:
            wire.drop("was killed")

    def start(self, *, kept: str = "all") -> None:
        """``kept``: "all" of its contents, what was "saved" last, or "nothing"."""
        if kept != "all":
            self.data = deepcopy(self._saved) if kept == "saved" else Contents()
        self.run_id = self._random(20).hex()
        self.up = True
        self.stalled = False

    # --- scripts --------------------------------------------------------------------------------------------------

    def execute(self, script: str, args: tuple[bytes | int, ...]) -> Reply:
        words = [b"%d" % arg if isinstance(arg, int) else arg for arg in args]
        if script not in ("hello", "hint") and self.data.meta.get("epoch") != words[0]:
            return [b"EPOCH"]
        reply: Reply = getattr(self, f"_{script}")(*words)
        return reply

    @property
    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _append(self, kind: bytes, value: bytes) -> int:
        number = int(self.data.meta.get("head", b"0")) + 1
        self.data.meta["head"] = b"%d" % number
        self.data.changes.append((number, kind, value))
        del self.data.changes[:-STREAM_MAX]
        for wire in self.wires:
            wire.news()
        return number

    def _remove_edge(self, key: bytes, edge: _Entry, kind: bytes, lease_time: int) -> int:
        data = self.data
        del data.edges[key]
        data.deadlines.pop(key, None)
        self._release(edge)
        name = edge.cluster + b"\0" + key
        if name in data.leases:
            data.leases[name] = data.leases[name][:4] + digits(self._now + lease_time)
        number = self._append(kind, name)
        data.gone.pop(key, None)
        data.gone[key] = digits(number) + digits(self._now) + edge.version + edge.cluster
        if len(data.gone) > GONE_MAX:
            oldest = next(iter(data.gone))
            data.meta["floor"] = b"%d" % int(data.gone.pop(oldest)[:20])
        return number

    def _release(self, edge: _Entry) -> None:
        for address in filter(None, edge.addresses):
            self.data.addresses.pop(edge.cluster + b"\0" + address, None)

    def _hello(self, run_id: bytes, fresh: bytes) -> Reply:
        data = self.data
        head, epoch = data.meta.get("head", b"0"), data.meta.get("epoch")
        if data.meta.get("run_id") != run_id:
            for name, number in data.lineage.items():
                if int(number) > int(head):
                    data.lineage[name] = head
            if epoch is not None:
                data.lineage[epoch] = head
            epoch = fresh
            data.meta |= {"run_id": run_id, "epoch": epoch, "head": head}
        return [b"OK", epoch, [word for pair in data.lineage.items() for word in pair]]

    def _load(self, epoch: bytes) -> Reply:
        data = self.data
        tables = (data.edges, data.gone, data.leases, data.denied)
        flat = [[word for pair in table.items() for word in pair] for table in tables]
        return [b"OK", digits(self._now), data.meta["head"], data.meta.get("floor", b"0"), *flat]

    def _claim(
        self, epoch: bytes, key: bytes, body: bytes, kind: bytes, ago: bytes, life: bytes, lease_time: bytes
    ) -> Reply:
        data, now = self.data, self._now
        heard = now - int(ago)
        edge = _Entry(digits(0) + body)
        was = _Entry(data.edges[key]) if key in data.edges else None
        moved = kind == b"m"
        other = was is not None and (was.version, was.cluster) != (edge.version, edge.cluster)
        if was is not None and (was.version > edge.version or (moved and other)):
            return [b"STALE", digits(now)]
        if moved and was is None:
            return [b"GONE", digits(now)]
        if int(ago) > 0:
            gone = data.gone.get(key) if was is None else None
            if gone is not None and int(gone[20:40]) >= heard and gone[40:60] >= edge.version:
                return [b"GONE", digits(now)]
            others = was is not None and was.nucleus != edge.nucleus and was.version == edge.version
            if others and data.deadlines.get(key, 0) - int(life) > heard:
                return [b"THEIRS", digits(now)]
        for address in filter(None, edge.addresses):
            holder = data.addresses.get(edge.cluster + b"\0" + address)
            if holder is not None and holder != key:
                return [b"TAKEN", digits(now), address, holder]
        if edge.addresses[0]:
            holder = data.leased.get(edge.cluster + b"\0" + edge.addresses[0])
            if holder is not None and holder != key:
                lease = data.leases.get(edge.cluster + b"\0" + holder)
                if lease is not None and int(lease[4:]) > now:
                    return [b"TAKEN", digits(now), edge.addresses[0], holder]
        if was is not None and was.cluster != edge.cluster:
            self._remove_edge(key, was, b"l", int(lease_time))
        elif was is not None:
            self._release(was)
        for address in filter(None, edge.addresses):
            data.addresses[edge.cluster + b"\0" + address] = key
        number = digits(int(data.meta["head"]) + 1)
        data.edges[key] = number + body
        data.deadlines[key] = heard + int(life)
        data.gone.pop(key, None)
        self._append(kind, key + number + body)
        return [b"OK", digits(now), number]

    def _touch(self, epoch: bytes, life: bytes, *keys: bytes) -> Reply:
        for key in keys:
            if key in self.data.deadlines:
                self.data.deadlines[key] = self._now + int(life)
        return [b"OK", digits(self._now)]

    def _remove(
        self, epoch: bytes, key: bytes, kind: bytes, lease_time: bytes, version: bytes, nucleus: bytes, number: bytes
    ) -> Reply:
        if key in self.data.edges:
            edge = _Entry(self.data.edges[key])
            if edge.version <= version and (number in (b"", edge.number) or edge.nucleus == nucleus):
                return [b"OK", digits(self._now), digits(self._remove_edge(key, edge, kind, int(lease_time)))]
        return [b"GONE", digits(self._now)]

    def _expire(self, epoch: bytes, life: bytes, lease_time: bytes, silence: bytes, limit: bytes) -> Reply:
        data, now, gone = self.data, self._now, 0
        looked = data.meta.get("looked")
        if looked is None or now - int(looked) > int(silence):
            data.meta["grace"] = b"%d" % (now + int(life))
        data.meta["looked"] = b"%d" % now
        if now >= int(data.meta["grace"]):
            due = sorted((when, key) for key, when in data.deadlines.items() if when <= now)[: int(limit)]
            for _, key in due:
                self._remove_edge(key, _Entry(data.edges[key]), b"d", int(lease_time))
            gone = len(due)
        return [b"OK", digits(now), digits(gone)]

    def _lease(
        self, epoch: bytes, cluster: bytes, key: bytes, lease_time: bytes, only_new: bytes, *wanted: bytes
    ) -> Reply:
        data, now = self.data, self._now
        until, name = digits(now + int(lease_time)), cluster + b"\0" + key
        mine = data.leases.get(name)
        if only_new == b"1" and mine is not None:
            return [b"NONE", digits(now)]
        for address in wanted:
            place = cluster + b"\0" + address
            holder = data.leased.get(place)
            if data.addresses.get(place, key) != key:
                continue
            if holder is not None and holder != key:
                if only_new == b"1" or int(data.leases[cluster + b"\0" + holder][4:]) > now:
                    continue
                del data.leases[cluster + b"\0" + holder]
            if mine is not None:
                del data.leased[cluster + b"\0" + mine[:4]]
            data.leased[place] = key
            data.leases[name] = address + until
            return [b"OK", digits(now), digits(self._append(b"L", address + until + key + cluster)), address]
        return [b"NONE", digits(now)]

    def _deny(self, epoch: bytes, key: bytes, time: bytes, reason: bytes) -> Reply:
        text = (digits(self._now + int(time)) if time else b"") + b" " + reason
        self.data.denied[key] = text
        return [b"OK", digits(self._now), digits(self._append(b"x", key + text))]

    def _undeny(self, epoch: bytes, key: bytes) -> Reply:
        if self.data.denied.pop(key, None) is None:
            return [b"GONE", digits(self._now)]
        return [b"OK", digits(self._now), digits(self._append(b"u", key))]

    def _hint(self, channel: bytes, text: bytes) -> Reply:
        for wire in self.wires:
            wire.hint(channel.decode(), text)
        return [b"OK", digits(self._now)]


class RedisWire:
    """One Nucleus's connection: what io/redis_store.py is to a real one. ``on_progress``: the store heard something."""

    def __init__(
        self, model: RedisModel, store: SharedStore, now: Callable[[], float], at: Schedule,
        on_progress: Callable[[], None], latency: float = 0.001,
    ) -> None:  # fmt: skip
        self.cut = False
        self.latency = latency
        self._model, self._store, self._now, self._at, self._on_progress = model, store, now, at, on_progress
        self._generation = -1  # of a connection that is none
        self._reading = False
        self._open = True
        model.wires.append(self)
        self._connect()

    def close(self) -> None:
        self._open = False
        self._model.wires.remove(self)

    def drop(self, reason: str) -> None:
        """The other side closed the connection."""
        if self._open and not self.cut:
            self._store.on_lost(reason, self._now())
            self._generation = -1
            self._again()

    def flush(self) -> None:
        """After every call of the store."""
        if self._store.generation != self._generation:
            if self._generation != -1:  # the store did not wait any longer
                self._generation = -1
                self._again()
            return
        commands = self._store.take_commands()
        if commands:
            self._at(self._now() + self.latency, self._arrive, commands)

    def news(self) -> None:
        if not self._reading and self._reachable:
            self._reading = True
            self._at(self._now() + self.latency, self._read)

    def hint(self, channel: str, text: bytes) -> None:
        if channel == self._store.channel and self._reachable:
            self._store.on_hint(text)
            self._at(self._now() + self.latency, self._on_progress)

    @property
    def _reachable(self) -> bool:
        return self._open and self._model.up and not self._model.stalled and not self.cut

    def _again(self) -> None:
        self._on_progress()
        self._at(self._now() + STORE_RETRY, self._connect)

    def _connect(self) -> None:
        if not self._open or self._generation != -1:
            return
        if not self._reachable:
            self._store.on_lost("cannot be connected", self._now())
            self._again()
            return
        self._store.on_connected(self._model.run_id, self._now())
        self._generation = self._store.generation
        self.flush()

    def _arrive(self, commands: list[Command]) -> None:
        if not self._reachable:
            return  # nobody answers; the store does not wait for long
        replies = [(command, self._model.execute(command.script, command.args)) for command in commands]
        self._at(self._now() + self.latency, self._answer, replies)

    def _answer(self, replies: list[tuple[Command, Reply]]) -> None:
        if self._open and not self.cut:
            for command, reply in replies:
                self._store.on_reply(command, reply, self._now())
            self.news()
            self._on_progress()
            self.flush()

    def _read(self) -> None:
        self._reading = False
        position = self._store.position
        if position is None or not self._reachable or self._store.generation != self._generation:
            return
        changes: list[Any] = self._model.data.changes
        first = changes[0][0] if changes else 0
        start = max(0, position + 1 - first) if position >= first else 0
        if start < len(changes):
            self._store.on_entries(changes[start:], self._now())
            self._on_progress()
            self.flush()
