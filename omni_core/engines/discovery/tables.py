"""Announcements of DDS participants: those seen at the local port, and those that peers have told. Bounded tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from omni_core.types import Mac, PeerId
from omni_core.wire.rtps import Announcement

LOCAL_MAX: Final = 256  # announcements kept of our side; others are sent as they come
REMOTE_MAX: Final = 128  # of one peer; others are delivered and not kept


@dataclass
class LocalEntry:
    said: Announcement
    frame: bytes
    seen: float  # s, latest
    told: float  # when peers were told latest that it lives
    repeated: bool = False  # since then

    def lives(self, now: float) -> bool:
        return now < self.seen + self.said.lease


@dataclass
class RemoteEntry:
    said: Announcement
    frame: bytes
    heard: float  # s; that it lives
    given: float  # to the local port

    def lives(self, now: float) -> bool:
        return now < self.heard + self.said.lease


class LocalTable:
    def __init__(self) -> None:
        self._entries: dict[bytes, LocalEntry] = {}  # by key
        self._keys: dict[bytes, bytes] = {}  # by name

    def get(self, key: bytes) -> LocalEntry | None:
        return self._entries.get(key)

    def named(self, name: bytes) -> LocalEntry | None:
        key = self._keys.get(name)
        return self._entries.get(key) if key is not None else None

    def put(self, entry: LocalEntry) -> bool:
        """False when there is no room."""
        if entry.said.key not in self._entries and len(self._entries) >= LOCAL_MAX:
            return False
        self.remove(entry.said.key)
        self._entries[entry.said.key] = entry
        self._keys[entry.said.name] = entry.said.key
        return True

    def remove(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._keys.pop(entry.said.name, None)

    def live(self, now: float) -> list[LocalEntry]:
        return [entry for entry in self._entries.values() if entry.lives(now)]

    def expire(self, now: float) -> None:
        for entry in [entry for entry in self._entries.values() if not entry.lives(now)]:
            self.remove(entry.said.key)

    def participants(self) -> int:
        return len({entry.said.prefix for entry in self._entries.values()})


class RemoteTable:
    """What a peer tells goes into its own part, and nowhere else."""

    def __init__(self) -> None:
        self._peers: dict[PeerId, dict[bytes, RemoteEntry]] = {}  # by key
        self._keys: dict[PeerId, dict[bytes, bytes]] = {}  # by name

    def named(self, peer: PeerId, name: bytes) -> RemoteEntry | None:
        key = self._keys.get(peer, {}).get(name)
        return self._peers[peer].get(key) if key is not None else None

    def put(self, peer: PeerId, entry: RemoteEntry) -> bool:
        """False when there is no room."""
        entries = self._peers.setdefault(peer, {})
        if entry.said.key not in entries and len(entries) >= REMOTE_MAX:
            return False
        self.remove(peer, entry.said.key)
        self._peers[peer] = entries
        entries[entry.said.key] = entry
        self._keys.setdefault(peer, {})[entry.said.name] = entry.said.key
        return True

    def remove(self, peer: PeerId, key: bytes) -> None:
        entry = self._peers.get(peer, {}).pop(key, None)
        if entry is not None:
            self._keys[peer].pop(entry.said.name, None)
            if not self._peers[peer]:
                self.forget(peer)

    def forget(self, peer: PeerId) -> None:
        self._peers.pop(peer, None)
        self._keys.pop(peer, None)

    def live(self, now: float) -> Iterator[tuple[PeerId, RemoteEntry]]:
        for peer, entries in self._peers.items():
            for entry in entries.values():
                if entry.lives(now):
                    yield peer, entry

    def expire(self, now: float) -> None:
        for peer, entries in list(self._peers.items()):
            for entry in [entry for entry in entries.values() if not entry.lives(now)]:
                self.remove(peer, entry.said.key)

    def is_from(self, peer: PeerId, key: bytes, source: Mac) -> bool:
        """The peer has told this announcement, of a station with this address."""
        entry = self._peers.get(peer, {}).get(key)
        return entry is not None and entry.said.source == source

    def participants(self) -> int:
        return sum(len({entry.said.prefix for entry in entries.values()}) for entries in self._peers.values())
