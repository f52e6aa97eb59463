"""The SPDP cache: announcements cross the underlay once, and are given to whoever comes later.

    from the local port                            to each up peer that listens to its group and domain
    new, or with another content                   SPDP, at once
    the same again                                 nothing but its name in SPDP_ALIVE, at most once in lease / 4
    the participant leaves                         SPDP, at once

    from a peer                                    to the local port
    SPDP                                           its frame; kept for its lease
    SPDP_ALIVE of what is kept                     the frame again, so that the lease in DDS is renewed as on a LAN
    SPDP_ALIVE of what is not                      nothing: SPDP_REQUEST, and the peer sends it (its SPDP was lost)

    a new participant at the local port            all that is kept of its domain and group, from peers that are up
    a peer newly up, or that listens to more       to it, all of ours that it did not get
    a peer back after a silence                    to it, SPDP_ALIVE of all: it asks for what has expired there

A peer that does not understand this, and a frame that does not fit into the overlay's MTU with our header: the frame
itself, each time. What is not kept for want of room is sent as if there were no cache.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from omni_core.dataplane.port import DataPlane
from omni_core.engines.control_link import ControlLink
from omni_core.engines.discovery.tables import LocalEntry, LocalTable, RemoteEntry, RemoteTable
from omni_core.engines.peers import Peer
from omni_core.session.timers import Deadlines
from omni_core.types import Mac, PeerId
from omni_core.wire.hello import CAPABILITY_GROUPS
from omni_core.wire.inband import CONTROL_OVERHEAD, NAME_SIZE, ControlKind, join_names, split_names
from omni_core.wire.interest import Interest
from omni_core.wire.rtps import Announcement, parse_announcement

BATCH: Final = 0.25  # s that a repetition waits for others: one SPDP_ALIVE for all
ALIVE_PER_LEASE: Final = 4
CHECKS: Final = (0.25, 1.0, 3.0)  # s after an SPDP: SPDP_ALIVE of it, whose answer says whether it was lost
REPLAYS: Final = (0.1, 0.5)  # s; a participant may announce itself before all its sockets listen
REPLAYS_MAX: Final = 64
RENEW_GAP: Final = 0.2  # s between two deliveries of one frame because its peer says so, or two answers to requests

_Check = tuple[float, int]  # when, and which of CHECKS


class _Side:
    """One peer, while it is up."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.sent: dict[bytes, float] = {}  # key of what it was sent -> when
        self.checks: dict[bytes, _Check] = {}

    @property
    def understands(self) -> bool:
        return bool(self.peer.capabilities & CAPABILITY_GROUPS)


class SpdpCache:
    """``interest_of(peer)``: as far as it has told. ``frame_max``: bytes of the longest in-session control frame.
    ``station(mac)``: the peer whose overlay address that is."""

    def __init__(
        self,
        plane: DataPlane,
        link: ControlLink,
        mac: Mac,
        frame_max: int,
        *,
        interest_of: Callable[[PeerId], Interest],
        station: Callable[[Mac], Peer | None],
    ) -> None:
        self._plane = plane
        self._link = link
        self._mac = mac
        self._frame_max = frame_max
        self._interest_of = interest_of
        self._station = station
        self._local = LocalTable()
        self._remote = RemoteTable()
        self._sides: dict[PeerId, _Side] = {}
        self._flush_at: float | None = None
        self._checks: Deadlines[PeerId] = Deadlines()
        self._replays: list[tuple[float, int, Mac]] = []  # when, domain, group
        self.counts: Counter[str] = Counter()

    # --- the local port ---

    def announced(self, said: Announcement, frame: bytes, now: float) -> bool | None:
        """A participant at the local port. Whether it is new; None: it is not for the cache, send it as any other."""
        self.counts["announcements"] += 1
        known = self._local.get(said.key)
        if known is not None and not known.lives(now):
            self._local.remove(said.key)
            known = None
        if said.ends:
            self._local.remove(said.key)
            self._tell_end(said, frame, now)
            return False
        if known is not None and known.said.name == said.name:
            self._repeated(known, frame, now)
            return False
        entry = LocalEntry(said, frame, seen=now, told=now)
        if not self._local.put(entry):
            return None
        for side in self._sides.values():
            self._send(side, entry, now)
        if known is None:
            self._replay(said.domain, said.group, now)
            self._plan_replays(said.domain, said.group, now)
        return known is None

    def _repeated(self, entry: LocalEntry, frame: bytes, now: float) -> None:
        entry.frame, entry.seen = frame, now
        suppressed = True
        for side in self._sides.values():
            if not side.understands or not self._fits(entry):
                suppressed = False
                self._send(side, entry, now)
        self.counts["suppressed"] += suppressed
        if self._fits(entry):
            entry.repeated = True
            due = max(now, entry.told + entry.said.lease / ALIVE_PER_LEASE) + BATCH
            self._flush_at = due if self._flush_at is None else min(self._flush_at, due)

    def _tell_end(self, said: Announcement, frame: bytes, now: float) -> None:
        self.counts["left"] += 1
        fits = CONTROL_OVERHEAD + len(frame) <= self._frame_max
        for side in self._sides.values():
            side.checks.pop(said.key, None)
            # Also to who was told and has lost interest since: it may still give it to others.
            if side.sent.pop(said.key, None) is None and not self._hears(side, said):
                continue
            if side.understands and fits:
                self._link.send(side.peer, ControlKind.SPDP, now, body=frame)
            else:
                self._plane.frames_to_peer(side.peer.id, [frame], now)

    def _plan_replays(self, domain: int, group: Mac, now: float) -> None:
        """Of participants that start together, each makes do with what another has planned for about then."""
        planned = [when for when, *what in self._replays if what == [domain, group]]
        for delay in REPLAYS:
            if not any(now + delay / 2 <= when <= now + delay for when in planned):
                self._replays.append((now + delay, domain, group))
        del self._replays[:-REPLAYS_MAX]

    def _replay(self, domain: int, group: Mac, now: float) -> None:
        frames = []
        for peer_id, entry in self._remote.live(now):
            if peer_id in self._sides and (entry.said.domain, entry.said.group) == (domain, group):
                entry.given = now
                frames.append(entry.frame)
        self._give(frames, now)

    # --- peers ---

    def begin(self, peer: Peer, now: float) -> None:
        """Newly up, or it has told that it knows nothing any more: all that it may want."""
        side = self._sides[peer.id] = _Side(peer)
        self._checks.set(peer.id, None)
        self._send_missing(side, now)

    def end(self, peer_id: PeerId) -> None:
        """Down. What it has told is kept for when it is back."""
        self._sides.pop(peer_id, None)
        self._checks.set(peer_id, None)

    def forget(self, peer_id: PeerId) -> None:
        self.end(peer_id)
        self._remote.forget(peer_id)

    def interest_changed(self, peer: Peer, now: float) -> None:
        side = self._sides.get(peer.id)
        if side is None:
            return
        for key in list(side.sent):
            entry = self._local.get(key)
            if entry is None or not self._hears(side, entry.said):
                del side.sent[key]
                side.checks.pop(key, None)
        self._send_missing(side, now)

    def back(self, peer: Peer, now: float) -> None:
        """It was silent for a while, and perhaps deaf."""
        side = self._sides.get(peer.id)
        if side is not None and side.understands:
            self._tell_alive(side, self._local.live(now), now)

    def looped(self, said: Announcement) -> bool:
        """What a peer told and we gave to the local port has come back."""
        return any(self._remote.is_from(peer_id, said.key, said.source) for peer_id in self._sides)

    # --- in-session control; each raises RemoteViolation ---

    def told(self, peer: Peer, frame: bytes, now: float) -> Announcement | None:
        """SPDP. None: it is refused, or the peer is not up."""
        said = parse_announcement(frame)
        owner = self._station(said.source) if said is not None else None
        if said is None or said.source == self._mac or said.source[0] & 1 or owner not in (None, peer):
            self.counts["refused"] += 1
            return None
        if said.ends:
            self._remote.remove(peer.id, said.key)
        else:
            self._remote.put(peer.id, RemoteEntry(said, frame, heard=now, given=now))
        self._plane.frames_to_port([frame], now)
        return said

    def alive(self, peer: Peer, body: bytes, now: float) -> None:
        """SPDP_ALIVE."""
        missing, frames = [], []
        for name in split_names(body):
            entry = self._remote.named(peer.id, name)
            if entry is None or not entry.lives(now):
                missing.append(name)
                continue
            entry.heard = now
            if now - entry.given >= RENEW_GAP:
                entry.given = now
                frames.append(entry.frame)
        self._give(frames, now)
        self.counts["requests"] += len(missing)
        self._send_names(peer, ControlKind.SPDP_REQUEST, missing, now)

    def requested(self, peer: Peer, body: bytes, now: float) -> None:
        """SPDP_REQUEST."""
        side = self._sides.get(peer.id)
        for name in split_names(body) if side is not None else []:
            entry = self._local.named(name)
            if side is None or entry is None or not entry.lives(now):
                continue
            sent = side.sent.get(entry.said.key)
            if sent is None or now - sent >= RENEW_GAP:
                self.counts["resent"] += 1
                self._send(side, entry, now)

    # --- timers ---

    def next_timer(self) -> float | None:
        times = (self._flush_at, self._checks.next(), min((due for due, _, _ in self._replays), default=None))
        return min((t for t in times if t is not None), default=None)

    def handle_timer(self, now: float) -> None:
        if self._flush_at is not None and self._flush_at <= now:
            self._flush(now)
        for peer_id in self._checks.pop_due(now):
            self._check(self._sides[peer_id], now)
        due = [each for each in self._replays if each[0] <= now]
        if due:
            self._replays = [each for each in self._replays if each[0] > now]
            for _, domain, group in dict.fromkeys((0.0, domain, group) for _, domain, group in due):
                self._replay(domain, group, now)

    def expire(self, now: float) -> None:
        self._local.expire(now)
        self._remote.expire(now)

    def status(self) -> dict[str, int]:
        gauges = {
            "local_participants": self._local.participants(),
            "remote_participants": self._remote.participants(),
        }
        return gauges | {name: self.counts[name] for name in _COUNTERS}

    def _flush(self, now: float) -> None:
        """All that was repeated, also before its time: so they share one message from then on."""
        self._flush_at = None
        repeated = [entry for entry in self._local.live(now) if entry.repeated]
        for entry in repeated:
            entry.repeated, entry.told = False, now
        for side in self._sides.values():
            if side.understands:
                self._tell_alive(side, repeated, now)

    def _check(self, side: _Side, now: float) -> None:
        entries = []
        for key, (when, number) in list(side.checks.items()):
            if when > now:
                continue
            entry = self._local.get(key)
            if entry is not None and entry.lives(now):
                entries.append(entry)
            if entry is not None and number + 1 < len(CHECKS):
                side.checks[key] = (when - CHECKS[number] + CHECKS[number + 1], number + 1)
            else:
                del side.checks[key]
        self._tell_alive(side, entries, now)
        self._plan_check(side)

    def _plan_check(self, side: _Side) -> None:
        self._checks.set(side.peer.id, min((when for when, _ in side.checks.values()), default=None))

    # --- sending ---

    def _hears(self, side: _Side, said: Announcement) -> bool:
        return self._interest_of(side.peer.id).hears(said.group, said.domain)

    def _fits(self, entry: LocalEntry) -> bool:
        return CONTROL_OVERHEAD + len(entry.frame) <= self._frame_max

    def _send_missing(self, side: _Side, now: float) -> None:
        for entry in self._local.live(now):
            if entry.said.key not in side.sent:
                self._send(side, entry, now)

    def _send(self, side: _Side, entry: LocalEntry, now: float) -> None:
        key = entry.said.key
        if not self._hears(side, entry.said):
            side.sent.pop(key, None)
            side.checks.pop(key, None)
            return
        side.sent[key] = now
        self.counts["told"] += 1
        if side.understands and self._fits(entry):
            self._link.send(side.peer, ControlKind.SPDP, now, body=entry.frame)
            side.checks[key] = (now + CHECKS[0], 0)
            self._plan_check(side)
        else:
            self._plane.frames_to_peer(side.peer.id, [entry.frame], now)

    def _tell_alive(self, side: _Side, entries: Sequence[LocalEntry], now: float) -> None:
        names = [entry.said.name for entry in entries if self._fits(entry) and self._hears(side, entry.said)]
        self._send_names(side.peer, ControlKind.SPDP_ALIVE, names, now)

    def _send_names(self, peer: Peer, kind: ControlKind, names: Iterable[bytes], now: float) -> None:
        names, each = list(names), max(1, (self._frame_max - CONTROL_OVERHEAD) // NAME_SIZE)
        for at in range(0, len(names), each):
            if kind is ControlKind.SPDP_ALIVE:
                self.counts["alive"] += 1
            self._link.send(peer, kind, now, body=join_names(names[at : at + each]))

    def _give(self, frames: list[bytes], now: float) -> None:
        if frames:
            self.counts["replayed"] += len(frames)
            self._plane.frames_to_port(frames, now)


_COUNTERS: Final = (
    "announcements",  # of participants at the local port
    "suppressed",  # of them: the same again, and not sent
    "left",  # of them: a participant has ended
    "told",  # announcements sent to a peer
    "alive",  # SPDP_ALIVE sent
    "replayed",  # announcements given to the local port again
    "requests",  # announcements of peers that were asked for
    "resent",  # announcements that peers asked for
    "refused",  # announcements of peers that cannot be theirs
)
