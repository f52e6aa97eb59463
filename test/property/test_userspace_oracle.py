"""The python data plane against a model that handles one frame at a time and remembers nothing but the table.

Few addresses, VLANs and peers, so that batches are full of repeats, moves, loops and refusals: the engine skips
look-ups for a frame like the one before it, and seals runs of frames together, and none of that may show.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
from support.planes import frame, key_pair, seal

from omni_core.constants import CONTROL_ETHERTYPE, CONTROL_MAC, MAX_FRAME
from omni_core.crypto.aead import Aead
from omni_core.dataplane.port import (
    Confirmed,
    ControlFrame,
    DataPlaneEvent,
    EndpointMoved,
    SessionKeys,
    Unresolved,
    UnresolvedReason,
)
from omni_core.dataplane.userspace import UserspaceDataPlane
from omni_core.drops import DropReason
from omni_core.types import BROADCAST, Endpoint, Mac, PeerId
from omni_core.wire import ethernet

NOW = 50.0
OWN = bytes.fromhex("020000000001")
PINNED = bytes.fromhex("020000000002")
TAGS = tuple(map(bytes.fromhex, ("", "", "", "81000005", "81006005", "81000006", "8100c000", "88a80006")))


class Model:
    """Where each frame goes, by the rules in the docstring of userspace.py."""

    def __init__(self, flood: list[PeerId], usable: set[PeerId]) -> None:
        self.flood, self.usable = flood, usable
        self.pins: dict[Mac, PeerId | None] = {OWN: None, PINNED: 1}
        self.table: dict[tuple[Mac, int], PeerId | None] = {}
        self.drops: Counter[DropReason] = Counter()
        self.events: list[DataPlaneEvent] = []
        self.sealed: dict[PeerId, list[bytes]] = {peer: [] for peer in usable}
        self.delivered: list[bytes] = []

    def learn(self, source: Mac, vlan: int, owner: PeerId | None) -> bool:
        if source[0] & 1:
            return False
        if source in self.pins:
            return self.pins[source] == owner
        self.table[source, vlan] = owner
        return True

    def send(self, peer: PeerId, data: bytes) -> None:
        if peer in self.usable:
            self.sealed[peer].append(data)
        else:
            self.events.append(Unresolved(data, UnresolvedReason.NO_SESSION, peer))

    def from_port(self, data: bytes) -> None:
        header = ethernet.parse(data)
        if header is None:
            self.drops[DropReason.FRAME_TOO_SHORT] += 1
        elif len(data) > MAX_FRAME:
            self.drops[DropReason.FRAME_TOO_LONG] += 1
        elif not self.learn(header.source, header.vlan, None):
            group = header.source[0] & 1
            self.drops[DropReason.SOURCE_MAC_REFUSED if group else DropReason.SPLIT_HORIZON] += 1
        elif header.destination == CONTROL_MAC:
            self.drops[DropReason.RESERVED_DESTINATION] += 1
        elif header.destination[0] & 1:
            for peer in self.flood:
                self.send(peer, data)
        else:
            where = {**self.table, **{(mac, header.vlan): owner for mac, owner in self.pins.items()}}
            owner = where.get((header.destination, header.vlan), "nobody")
            if owner == "nobody":
                self.events.append(Unresolved(data, UnresolvedReason.UNKNOWN_DESTINATION, None))
            elif isinstance(owner, int):
                self.send(owner, data)

    def from_peer(self, peer: PeerId, receive_id: int, data: bytes, source: Endpoint) -> None:
        header = ethernet.parse(data)
        assert header is not None
        if header.destination == CONTROL_MAC:
            if data[12:14] == CONTROL_ETHERTYPE.to_bytes(2, "big"):
                self.events.append(ControlFrame(receive_id, data, source))
            else:
                self.drops[DropReason.BAD_INNER_FRAME] += 1
        elif not self.learn(header.source, header.vlan, peer):
            self.drops[DropReason.SOURCE_MAC_REFUSED] += 1
        else:
            self.delivered.append(data)


def order_free(events: list[DataPlaneEvent]) -> list[str]:
    """Frames for different peers may be told in another order than they came."""
    return sorted(map(repr, events))


@pytest.mark.parametrize("repeats", [0.0, 0.5, 0.9])
def test_random_traffic(seed: int, repeats: float) -> None:
    draw = random.Random(f"{seed} {repeats}")
    plane = UserspaceDataPlane(OWN)
    plane.set_static(PINNED, 1)
    remote: dict[PeerId, list[SessionKeys]] = {}
    openers: dict[Endpoint, tuple[PeerId, dict[bytes, Aead]]] = {}
    for peer in (1, 2, 3, 4):  # 4 has only ever been heard: nothing is sent with its session
        endpoint = Endpoint(f"192.0.2.{peer}", 1000 + peer)
        plane.set_path(peer, endpoint)
        remote[peer], keys_here = [], []
        for _ in range(2):
            here, there = key_pair(draw, peer)
            plane.add_session(here, NOW)
            remote[peer].append(there)
            keys_here.append(here)
        if peer != 4:
            plane.use_session(keys_here[peer % 2].receive_id)
        openers[endpoint] = (peer, {k.send_id.to_bytes(8, "little"): Aead(k.send_key) for k in keys_here})
    flood = [1, 2, 4]
    plane.set_flood(flood)
    model = Model(flood, {1, 2, 3})
    macs = [OWN, PINNED, *(bytes([2, 0, 0, 0, 1, n]) for n in range(5)), BROADCAST, CONTROL_MAC]
    weights = [3, 2, 4, 4, 4, 4, 4, 1, 1]
    serial = 0

    def any_frame(previous: bytes) -> bytes:
        nonlocal serial
        serial += 1
        if previous and draw.random() < repeats:
            return previous[:-4] + serial.to_bytes(4, "big")
        destination, source = draw.choices(macs, weights, k=2)
        if previous and draw.random() < repeats:  # the same addresses, tagged otherwise
            destination, source = previous[0:6], previous[6:12]
        if draw.random() < 0.02:
            return frame(destination, source)[: draw.randrange(14)]
        size = draw.choice((22, 60, 60, 64, MAX_FRAME + 1 if draw.random() < 0.02 else 61))
        ethertype = draw.choice((0x0800, 0x0800, 0x88A4, CONTROL_ETHERTYPE))
        return frame(destination, source, ethertype, size, draw.choice(TAGS))[:-4] + serial.to_bytes(4, "big")

    confirmed: set[int] = set()
    sequences: Counter[int] = Counter()
    opened: dict[PeerId, list[bytes]] = {1: [], 2: [], 3: []}
    delivered: list[bytes] = []
    events: list[DataPlaneEvent] = []
    for _ in range(600):
        data = b""
        size = draw.randrange(40)
        if draw.random() < 0.5:
            frames = []
            for _ in range(size):
                data = any_frame(data)
                frames.append(data)
                model.from_port(data)
            plane.frames_from_port(frames, NOW)
        else:
            packets = []
            keys = remote[1][0]
            for _ in range(size):
                data = any_frame(data)
                if len(data) < 14 or len(data) > MAX_FRAME:
                    data = b""
                    continue
                if draw.random() > repeats:
                    keys = draw.choice(remote[draw.choice((1, 2, 3, 4))])
                peer = next(each for each, all_keys in remote.items() if keys in all_keys)
                source = Endpoint(f"192.0.2.{peer}", 1000 + peer)
                packets.append((seal(keys, sequences[keys.send_id], sequences[keys.send_id], data), source))
                sequences[keys.send_id] += 1
                if keys.send_id not in confirmed:
                    confirmed.add(keys.send_id)
                    model.events.append(Confirmed(keys.send_id))
                model.from_peer(peer, keys.send_id, data, source)
            plane.datagrams_from_underlay(packets, NOW)
        for packet, endpoint in plane.take_datagrams():
            peer, aeads = openers[Endpoint(*endpoint)]
            nonce = int.from_bytes(packet[16:24], "little")
            opened[peer].append(aeads[packet[:8]].open(nonce, packet[24:], packet[:24]))
        delivered += plane.take_frames()
        events += plane.take_events()
        rows = {(entry.mac, entry.vlan): entry.peer for entry in plane.fdb(NOW) if not entry.static}
        assert rows == model.table
    assert opened == model.sealed, "to each peer, in the order they came"
    assert delivered == model.delivered
    assert order_free(events) == order_free(model.events)
    assert not any(isinstance(event, EndpointMoved) for event in events)
    assert plane.drops() == model.drops
    assert set(model.drops) >= {DropReason.SPLIT_HORIZON, DropReason.SOURCE_MAC_REFUSED, DropReason.BAD_INNER_FRAME}
