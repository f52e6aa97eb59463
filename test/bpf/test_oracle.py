"""The kernel engine beside the python one: the same sessions, frames and datagrams for both, step by step.

After each step both must have sealed the same bytes for the same places, delivered the same frames, told the same and
dropped for the same reasons. By design they differ in two things. Frames to a group go to the peers that can get
them; of the others python tells, and the kernel counts a drop (support/driven.py). And where a table is full.
"""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest
from support.driven import DrivenPlane
from support.group_frames import ROWS as GROUP_FRAMES
from support.group_frames import cut_or_flipped
from support.planes import frame, key_pair
from support.synapse import HERE_4, HERE_6, MAX_FRAME, UNDERLAY, MakeRig

from omni_core.constants import CONTROL_ETHERTYPE, CONTROL_MAC, DATA_OVERHEAD, REPLAY_WINDOW
from omni_core.crypto.aead import Aead
from omni_core.dataplane import userspace
from omni_core.dataplane.groups import GroupPolicy
from omni_core.dataplane.port import DataPlaneEvent, SessionKeys, Unresolved
from omni_core.dataplane.userspace import UserspaceDataPlane
from omni_core.drops import DropReason
from omni_core.io.netlink import RouteInfo
from omni_core.io.synapse import plane
from omni_core.io.synapse.abi import Way
from omni_core.types import BROADCAST, Endpoint, Mac
from omni_core.wire.header import make_nonce

pytestmark = pytest.mark.netns

STEPS = 6000
OWN: Mac = bytes.fromhex("020000000001")
MACS = [OWN, *(bytes([2, 0, 0, 0, 1, number]) for number in range(12)), BROADCAST, CONTROL_MAC]
WEIGHTS = [4, *([3] * 12), 2, 1]
TAGS = [bytes.fromhex(tag) for tag in ("", "", "", "81000005", "81006005", "81000006", "8100c000", "88a80006")]
PLACES = [
    *(Endpoint(f"192.0.2.{number}", 1000 + number) for number in (2, 3, 4, 66)),
    *(Endpoint(f"2001:db8::{number}", 1000 + number) for number in (2, 3, 66)),
]
SIZES = [14, 15, 17, 18, 42, 60, 61, 64, 500, 1432, 1433, MAX_FRAME]


def route(endpoint: Endpoint) -> RouteInfo | None:
    """There is none to places that end in 66: what is sealed for those goes through the socket."""
    if endpoint.host.endswith("66"):
        return None
    return RouteInfo(UNDERLAY, HERE_6 if endpoint.is_ipv6 else HERE_4, 1500)


class Remote:
    """The other end of a session: what it seals, in any order and more than once."""

    def __init__(self, keys: SessionKeys, theirs: SessionKeys, draw: random.Random) -> None:
        self.keys, self.draw = keys, draw
        self._aead = Aead(theirs.send_key)
        self._next = [0, 0]
        self.sent: list[bytes] = []
        self.held_back: list[bytes] = []

    def seal(self, inner: bytes) -> bytes:
        stream = self.draw.choice((0, 0, 0, 1))
        self._next[stream] += self.draw.choice((1, 1, 1, 1, 1, 2, 60, REPLAY_WINDOW)) if self.draw.random() < 0.1 else 1
        sequence = self._next[stream]
        nonce = make_nonce(sequence, stream, self.draw.choice((0, 0, 0, 5)))
        header = b"".join(each.to_bytes(8, "little") for each in (self.keys.receive_id, sequence, nonce))
        packet = header + self._aead.seal(nonce, inner, header)
        self.sent.append(packet)
        return packet


class Twins:
    """Both engines, with one step done to both and everything compared."""

    def __init__(self, kernel: DrivenPlane, seed: int) -> None:
        self.draw = random.Random(seed)
        self.kernel, self.python = kernel, UserspaceDataPlane(OWN)
        self.both = (self.python, self.kernel)
        self.remotes: list[Remote] = []
        self.peers = [1, 2, 3]
        self.untold = 0  # of peers that a group frame was not for: python told, the kernel counted
        self.seen: Counter[str] = Counter()

    def held(self) -> set[int]:
        """Receive ids."""
        return set(self.kernel.kernel._slots.ids())

    # --- what may happen ---

    def step(self) -> None:
        action = self.draw.choices(
            (
                self.frames, self.datagrams, self.add_session, self.use, self.remove_session, self.set_path,
                self.pin, self.unpin, self.to_peer, self.flood, self.new_peer, self.tick, self.groups, self.to_port,
            ),
            (120, 160, 6, 6, 3, 6, 2, 2, 20, 2, 2, 1, 3, 3),
        )[0]  # fmt: skip
        self.seen[action.__name__] += 1
        action()
        self.compare()

    def frame(self) -> bytes:
        draw = self.draw
        if draw.random() < 0.2:
            return cut_or_flipped(draw)
        destination, source = draw.choices(MACS, WEIGHTS, k=2)
        ethertype = draw.choice((0x0800, 0x0800, 0x0806, 0x88A4, CONTROL_ETHERTYPE))
        size = draw.choice(SIZES) if draw.random() > 0.01 else MAX_FRAME + 1
        return frame(destination, source, ethertype, max(size, 18), draw.choice(TAGS))[:size]

    def frames(self) -> None:
        sent = self.frame()
        for each in self.both:
            each.frames_from_port([sent], time.monotonic())

    def to_peer(self) -> None:
        peer, sent = self.draw.choice([*self.peers, 4711]), self.frame()
        for each in self.both:
            each.frames_to_peer(peer, [sent], time.monotonic())

    def to_port(self) -> None:
        sent = self.frame()
        for each in self.both:
            each.frames_to_port([sent], time.monotonic())

    def datagrams(self) -> None:
        if self.remotes:
            arrivals = [(self.datagram(), self.draw.choice(PLACES)) for _ in range(self.draw.randint(1, 6))]
            for each in self.both:
                each.datagrams_from_underlay(arrivals, time.monotonic())

    def datagram(self) -> bytes:
        draw = self.draw
        remote = draw.choice(self.remotes)
        kind = draw.random()
        if kind < 0.08 and remote.sent:
            return draw.choice(remote.sent[-200:])  # once more
        if kind < 0.16 and remote.held_back:
            return remote.held_back.pop(draw.randrange(len(remote.held_back)))  # late
        packet = remote.seal(self.frame())
        if kind < 0.26:
            remote.held_back.append(packet)
            packet = remote.seal(self.frame())
        if kind > 0.97:
            return packet[: draw.randrange(len(packet))]
        if kind > 0.93:
            at = draw.randrange(1, len(packet))  # byte 0 could make a control message of it: not for this port
            return packet[:at] + bytes([packet[at] ^ 1 << draw.randrange(8)]) + packet[at + 1 :]
        if kind > 0.91:
            return draw.choice(self.remotes).seal(self.frame())[:24] + packet[24:]
        if kind > 0.90:
            return bytes([draw.randrange(16, 256)]) + draw.randbytes(draw.randrange(120))
        return packet

    def add_session(self, peer: int = 0) -> None:
        peer = peer or self.draw.choice(self.peers)
        here, there = key_pair(self.draw, peer)
        made = time.monotonic() - (200.0 if self.draw.random() < 0.1 else 0.0)  # or long expired
        for each in self.both:
            each.add_session(here, made)
        self.remotes.append(Remote(here, there, self.draw))
        self.remotes = self.remotes[-12:]

    def use(self, remote: Remote | None = None) -> None:
        if self.remotes:
            chosen = (remote or self.draw.choice(self.remotes)).keys.receive_id
            if chosen in self.held():
                for each in self.both:
                    each.use_session(chosen)

    def remove_session(self) -> None:
        if self.remotes:
            chosen = self.draw.choice(self.remotes).keys.receive_id
            for each in self.both:
                each.remove_session(chosen)

    def set_path(self) -> None:
        peer, place = self.draw.choice(self.peers), self.draw.choice(PLACES)
        for each in self.both:
            each.set_path(peer, place)

    def pin(self) -> None:
        mac, peer = self.draw.choice(MACS[2:6]), self.draw.choice([None, *self.peers])
        vlan = self.draw.choice((None, 0, 5))
        for each in self.both:
            each.set_static(mac, peer, vlan)

    def unpin(self) -> None:
        mac, vlan = self.draw.choice(MACS[2:6]), self.draw.choice((None, 0, 5))
        for each in self.both:
            each.remove_static(mac, vlan)

    def flood(self) -> None:
        peers = self.draw.sample(self.peers, self.draw.randint(0, len(self.peers)))
        for each in self.both:
            each.set_flood(peers)

    def groups(self) -> None:
        draw = self.draw

        def some() -> frozenset[int]:
            return frozenset(draw.sample([*self.peers, 4711], draw.randint(0, len(self.peers))))

        listed = {row.key: some() for row in draw.sample(GROUP_FRAMES, draw.randrange(len(GROUP_FRAMES))) if row.key}
        policy = draw.choice(
            (None, GroupPolicy(listed, some(), True), GroupPolicy(listed, some(), draw.random() < 0.5))
        )
        until = time.monotonic() + draw.choice((-1.0, 100.0, 100.0, 100.0))
        for each in self.both:
            each.set_groups(policy, until)

    def new_peer(self) -> None:
        gone = self.peers.pop(self.draw.randrange(len(self.peers)))
        for each in self.both:
            each.remove_peer(gone)
        held = self.held()
        self.remotes = [each for each in self.remotes if each.keys.receive_id in held or self.draw.random() < 0.2]
        self.peers.append(max(self.peers) + 10)
        self.add_session(self.peers[-1])
        self.use(self.remotes[-1])  # nobody knows yet where that peer is
        mac = self.draw.choice(MACS[6:8])
        for each in self.both:
            each.set_static(mac, self.peers[-1])

    def tick(self) -> None:
        for each in self.both:
            each.tick(time.monotonic())

    # --- what must be the same ---

    def compare(self) -> None:
        assert self.kernel.take_datagrams() == self.python.take_datagrams()
        assert self.kernel.take_frames() == self.python.take_frames()
        mine, theirs = self.kernel.take_events(), self.python.take_events()
        self.seen.update(type(event).__name__ for event in theirs)
        if any(to_group(event) for event in theirs):
            self.untold += len(theirs) - len(mine)
            theirs = [event for event in theirs if event in mine or not to_group(event)]
        assert mine == theirs
        drops, expected = Counter(self.kernel.drops()), Counter(self.python.drops())
        more = drops - expected
        assert drops - more == expected
        assert set(more) <= {DropReason.NO_SESSION, DropReason.SESSION_EXPIRED}
        assert more.total() == self.untold

    def compare_all(self) -> None:
        rows = [
            Counter((row.mac, row.vlan, row.peer, row.static) for row in each.fdb(time.monotonic()))
            for each in self.both
        ]
        assert rows[0] == rows[1]
        for receive_id in self.held():
            one, other = (each.session_stats(receive_id) for each in self.both)
            assert vars(one).keys() == vars(other).keys()
            for name, value in vars(one).items():
                close = abs(value - getattr(other, name)) < (2.0 if name.startswith("last_") else 0.5)
                assert close and bool(value) == bool(getattr(other, name)), name


def to_group(event: DataPlaneEvent) -> bool:
    return isinstance(event, Unresolved) and bool(event.frame[0] & 1)


@pytest.fixture
def one_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs are compiled for shorter frames than python carries."""
    for module in (userspace, plane):
        monkeypatch.setattr(module, "MAX_FRAME", MAX_FRAME)
    monkeypatch.setattr(userspace, "_MAX_PACKET", DATA_OVERHEAD + MAX_FRAME)


@pytest.mark.usefixtures("one_limit")
def test_both_do_the_same(make_rig: MakeRig, seed: int) -> None:
    twins = Twins(DrivenPlane(make_rig(OWN, route=route)), seed)
    for number in range(STEPS):
        twins.step()
        if number % 50 == 0:
            twins.compare_all()
    twins.compare_all()
    reasons = set(twins.python.drops())
    assert reasons >= {
        DropReason.TOO_SHORT, DropReason.TOO_LONG, DropReason.UNKNOWN_SESSION, DropReason.BAD_NONCE,
        DropReason.REPLAYED, DropReason.BAD_TAG, DropReason.SESSION_EXPIRED, DropReason.BAD_INNER_FRAME,
        DropReason.SOURCE_MAC_REFUSED,
        DropReason.SPLIT_HORIZON, DropReason.RESERVED_DESTINATION, DropReason.NO_SESSION, DropReason.FRAME_TOO_LONG,
        DropReason.NO_PATH,
    }  # fmt: skip
    assert {"Confirmed", "EndpointMoved", "ControlFrame", "Unresolved", "groups", "to_port"} <= set(twins.seen)
    ways = twins.kernel.kernel.ways()
    assert set(ways) >= {Way.TX_FLOODED, Way.TX_NOBODY, Way.TX_WATCHED, Way.TX_GROUP, Way.RX_LOCAL}
