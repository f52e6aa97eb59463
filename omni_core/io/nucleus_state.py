"""What a Nucleus has to remember over a restart: leases of VIP4s and the deny list, in ``<key_file>.state``.

    {"version": 1,
     "leases": {"warehouse": [{"key": "<public key>", "vip4": "10.77.0.100", "until": 1790000000.0}]},
     "denied": [{"key": "<public key>", "until": null, "reason": "stolen"}]}

``until`` is in s since 1970 (null: until it is allowed again); the Store's times are of the monotonic clock. With a
store that several Nuclei share all this is there, and there is no such file.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import json
import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from omni_core.crypto.identity import KEY_SIZE, key_text
from omni_core.engines.nucleus import NucleusEngine
from omni_core.errors import ConfigError
from omni_core.io.clock import monotonic
from omni_core.io.files import write_atomic
from omni_core.io.tasks import end_tasks, in_thread
from omni_core.signaling.denials import FOREVER, Denial
from omni_core.signaling.lease_book import HeldLease
from omni_core.signaling.store import Store, leases_left
from omni_core.types import PublicKey

logger = logging.getLogger(__name__)

VERSION = 1
WRITE_PAUSE = 5.0  # s between two writes
REFRESH_SHARE = 0.25  # of the lease time: leases of robots that stay are written anew after it, so they do not run out


class SavedLease(NamedTuple):
    key: PublicKey
    vip4: bytes  # 4
    until: float  # s since 1970


@dataclass(frozen=True)
class NucleusState:
    """Times are in s since 1970."""

    leases: Mapping[str, Sequence[SavedLease]] = field(default_factory=dict)  # by cluster
    denied: Sequence[Denial] = ()


def take_state(store: Store, clusters: Sequence[str], now: float, wall: float) -> NucleusState:
    """``now`` and ``wall``: the same moment by both clocks. The lease of an edge that is there begins now."""
    leases = {
        cluster: [
            SavedLease(each.lease.key, each.lease.address, wall + each.left)
            for each in leases_left(store, cluster, now)
        ]
        for cluster in clusters
    }
    return NucleusState(leases, [d._replace(until=d.until - now + wall) for d in store.denials(now)])


def restore_state(state: NucleusState, store: Store, clusters: Sequence[str], now: float, wall: float) -> int:
    """How many leases were taken. Clusters that are not served, and what has run out, are left out."""
    taken = 0
    for cluster in clusters:
        # A clock that was wrong then, or is now, must not make a lease that never ends.
        held = [
            HeldLease(saved.key, saved.vip4, now + min(saved.until - wall, store.lease_time))
            for saved in state.leases.get(cluster, ())
        ]
        taken += store.restore_leases(cluster, held, now)
    for denial in state.denied:
        if denial.until > wall:
            store.deny(denial._replace(until=denial.until - wall + now), now)
    return taken


def encode_state(state: NucleusState) -> str:
    leases = {
        cluster: [
            {"key": key_text(saved.key), "vip4": str(ipaddress.IPv4Address(saved.vip4)), "until": round(saved.until, 1)}
            for saved in entries
        ]
        for cluster, entries in state.leases.items()
    }
    denied = [
        {"key": key_text(d.key), "until": None if d.until == FOREVER else round(d.until, 1), "reason": d.reason}
        for d in state.denied
    ]
    return json.dumps({"version": VERSION, "leases": leases, "denied": denied}) + "\n"


def decode_state(text: str, path: str) -> NucleusState:
    """Raises ConfigError("state") naming ``path``."""
    try:
        content = json.loads(text)
        if content["version"] != VERSION:
            raise ConfigError(
                "state", f"{path} has format {content['version']!r}, not {VERSION}", "use the omni_ros2 that wrote it"
            )
        leases = {
            str(cluster): [
                SavedLease(_key(e["key"]), ipaddress.IPv4Address(e["vip4"]).packed, _until(e["until"])) for e in entries
            ]
            for cluster, entries in content["leases"].items()
        }
        denied = [
            Denial(_key(e["key"]), FOREVER if e["until"] is None else _until(e["until"]), str(e["reason"]))
            for e in content["denied"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        detail = f"{type(error).__name__}: {error}".replace("\n", " ")
        raise ConfigError("state", f"{path} is not a Nucleus's state ({detail})", "restore it from a backup") from None
    return NucleusState(leases, denied)


def _key(text: str) -> PublicKey:
    """Not checked to be a point of the curve, which takes 2 s for 10,000: who is not never gets a session."""
    key = base64.urlsafe_b64decode(text + "=")
    if len(key) != KEY_SIZE or key_text(key) != text:
        raise ValueError(f"{text[:60]!r} is no key")
    return key


def _until(value: Any) -> float:
    until = float(value)
    if not math.isfinite(until):
        raise ValueError("a time that is none")
    return until


class StateFile:
    """Reads it, and writes it when something has changed. All but ``load``: on the event loop."""

    def __init__(self, path: str, clusters: Sequence[str]) -> None:
        self.path = path
        self._clusters = tuple(clusters)
        self._state = NucleusState()
        self._written = ""  # what the file has
        self._revision = 0
        self._engine: NucleusEngine | None = None
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def load(self) -> None:
        """A file that cannot be used is put aside, and said. Blocking."""
        try:
            with open(self.path, encoding="utf-8") as file:
                text = file.read()
            self._state, self._written = decode_state(text, self.path), text
        except FileNotFoundError:
            return
        except (OSError, ConfigError, UnicodeDecodeError) as error:
            logger.error("leases and the deny list are lost: %s; it is now %s.broken", error, self.path)
            with contextlib.suppress(OSError):
                os.replace(self.path, f"{self.path}.broken")

    def restore(self, store: Store) -> None:
        restore_state(self._state, store, self._clusters, monotonic(), time.time())

    def start(self, engine: NucleusEngine) -> None:
        self._engine, self._revision = engine, engine.state_revision
        self._changed.set()  # there may have been something to remember before it was active
        self._task = asyncio.create_task(self._follow(engine.store.lease_time * REFRESH_SHARE), name="nucleus state")

    def look(self) -> None:
        """After everything that the engine did."""
        if self._engine is not None and self._engine.state_revision != self._revision:
            self._revision = self._engine.state_revision
            self._changed.set()

    async def write(self) -> None:
        """Now: an administrator waits for it. Failing is reported, no more."""
        if self._engine is None:
            return
        async with self._writing:
            self._state = take_state(self._engine.store, self._clusters, monotonic(), time.time())
            state = self._state
            await in_thread(lambda: self._write(state))

    async def stop(self) -> None:
        """Writes what there is. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            await end_tasks([task])
            await self.write()
        self._engine = None

    async def _follow(self, refresh: float) -> None:
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), refresh)
            self._changed.clear()
            await self.write()
            await asyncio.sleep(WRITE_PAUSE)

    def _write(self, state: NucleusState) -> None:
        text = encode_state(state)
        if text == self._written or (not self._written and not state.denied and not any(state.leases.values())):
            return
        try:
            write_atomic(self.path, text)
        except OSError as error:
            logger.warning(
                "leases and the deny list cannot be written to %s (%s): a restart would forget them",
                self.path,
                error.strerror,
            )
        else:
            self._written = text
