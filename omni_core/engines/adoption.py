"""A Ganglion that starts over a data plane in which an earlier one left sessions takes the peers over. Part of the
Ganglion engine.

While no Ganglion is there, the data plane goes on sealing, opening and learning. Nothing is lost as long as

- the session in use lasts. It ends REJECT_AFTER_TIME (180 s) after its handshake, and is renewed after
  REKEY_AFTER_TIME (120 s): a Ganglion that went just before a rekey has 60 s less a handshake to come back, one that
  went just after it has 180 s. Peers cannot renew a session alone, so 60 s is what to rely on;
- the path stays. A peer that moves meanwhile is found again by its first packet after the adoption, and a NAT in front
  of us forgets us after some 30 s without a frame of ours;
- frames need nothing but what is there: no unknown destination is looked up, no new peer gets a session.

The peers' PINGs stay unanswered, which alone harms nothing (session/liveness.py). The Nucleus lets us go after
HEARTBEATS_MISSED intervals (90 s), and tells everyone when we register again; a peer then renews its session with us,
as with anyone who started again.

Taken over are sessions of the same owner (notes.py) with peers that may still be admitted. The others end, at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from omni_core.constants import REJECT_AFTER_TIME
from omni_core.crypto.identity import Identity
from omni_core.dataplane.port import AdoptedSession, DataPlane
from omni_core.engines.ganglion_events import GanglionEvent, Warned
from omni_core.engines.notes import Note, decode_note
from omni_core.engines.peers import PeerBook
from omni_core.engines.settings import GanglionSettings
from omni_core.session.adoption import LeftSession
from omni_core.types import Endpoint, Mac, PeerId, PublicKey

if TYPE_CHECKING:
    from omni_core.engines.peering import Peering

_SLACK = 1.0  # s; a data plane may round times

_UNREADABLE = "with a note that makes no sense"
_FOREIGN = "of another identity, cluster, secret or version"


@dataclass
class LeftPeer:
    """One peer as an earlier control plane left it. ``note``: the one with the latest timestamp."""

    id: PeerId
    note: Note
    path: Endpoint | None
    sessions: list[LeftSession] = field(default_factory=list)
    roles: dict[int, bool] = field(default_factory=dict)  # receive id -> whether we were initiator


def take_over(
    plane: DataPlane,
    book: PeerBook,
    peering: Peering,
    identity: Identity,
    settings: GanglionSettings,
    emit: Callable[[GanglionEvent], None],
    now: float,
) -> None:
    """``peering`` admits the peers; whom it does not want, and what nobody may have, leaves the data plane."""
    left = plane.adopted()
    peers, refused = read_left(left, peering.owner, now)
    for receive_id in refused:
        plane.remove_session(receive_id)
    if refused:
        emit(Warned(sentence_about(refused)))
    for each in left:
        book.reserve(each.peer)
    peering.adopt(peers, now)
    for peer_id in {each.peer for each in left}:
        if book.by_id(peer_id) is None:
            plane.remove_peer(peer_id)
    remove_stale_pins(plane, book, identity, settings, now)


def read_left(sessions: Sequence[AdoptedSession], owner: bytes, now: float) -> tuple[list[LeftPeer], dict[int, str]]:
    """The peers of this owner, and the sessions that are not to be taken over: receive id -> why."""
    peers: dict[PeerId, LeftPeer] = {}
    ids: dict[PublicKey, PeerId] = {}
    refused: dict[int, str] = {}
    for each in sessions:
        note, peer = decode_note(each.note), peers.get(each.peer)
        created = each.expires - REJECT_AFTER_TIME
        if note is not None and note.owner != owner:
            refused[each.receive_id] = _FOREIGN
            continue
        if (
            note is None
            or created > now + _SLACK
            or (peer is not None and peer.note.public_key != note.public_key)
            or ids.setdefault(note.public_key, each.peer) != each.peer
        ):
            refused[each.receive_id] = _UNREADABLE
            continue
        if peer is None:
            peer = peers[each.peer] = LeftPeer(each.peer, note, each.path)
        if (note.heard or 0) > (peer.note.heard or 0):
            peer.note = note
        peer.roles[each.receive_id] = note.initiator
        peer.sessions.append(
            LeftSession(each.send_id, each.receive_id, note.initiator, each.sending, each.confirmed, created)
        )
    return list(peers.values()), refused


def remove_stale_pins(
    plane: DataPlane, book: PeerBook, identity: Identity, settings: GanglionSettings, now: float
) -> None:
    """Static entries that an earlier configuration has left in the FDB."""
    wanted: set[tuple[Mac, int | None, PeerId | None]] = {
        (identity.mac, None, None),
        *((peer.mac, None, peer.id) for peer in book),
    }
    for pin in settings.static_macs:
        peer = book.get(pin.peer) if pin.peer is not None else None
        if pin.peer is None or peer is not None:
            wanted.add((pin.mac, pin.vlan, peer.id if peer else None))
    for entry in plane.fdb(now):
        if entry.static and (entry.mac, entry.vlan, entry.peer) not in wanted:
            plane.remove_static(entry.mac, entry.vlan)


def sentence_about(refused: Mapping[int, str]) -> str:
    counts = ", ".join(f"{count} {why}" for why, count in sorted(Counter(refused.values()).items()))
    return f"sessions that an earlier Ganglion left were ended, not taken over: {counts}"
