"""The data-plane port: what the Ganglion asks of any engine (python, kernel, native), and what it hears back.

The Ganglion decides (who is a peer, which session sends, where a path leads); the data plane moves frames. Keys and
sequence numbers live in the data plane, because a kernel engine never shows them to userspace again.

Rules for every implementation
- All ``add_*``/``set_*``/``remove_*`` calls are idempotent and take effect before the call returns.
- ``add_session`` makes a session valid for *receiving*; nothing is sealed with it until ``use_session``. Several
  sessions of one peer are valid for receiving at once (rekey), exactly one is used for sending.
- No session seals or opens past REJECT_AFTER_TIME and REJECT_AFTER_MESSAGES, whatever the control plane does.
- Feedback is pulled with ``take_events``; a kernel engine fills it from a ring buffer, the python engine inline.
- An engine that does not see frames in this process (kernel) still gets the slow path through ``frames_from_port`` and
  ``frames_to_peer``.
- Split horizon: a frame from the underlay only ever goes to the local port, a frame from the port only to the underlay.
- An unknown unicast destination is never flooded by the data plane: Unresolved, and the Ganglion decides.
- A plane may outlive the control plane (a kernel engine does, pinned): it goes on sealing, opening and learning with
  what it has, and offers its sessions to the next control plane through ``adopted``. What that one needs to know of a
  session and the plane does not, the earlier one has left with it through ``remember``.
- ``PeerId``s grow and are never reused, also across an adoption: a new control plane counts on above the greatest one
  that it was offered.
- What a rule leaves open is as in ``userspace.py``, whose docstring lists what becomes of each frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol, TypeAlias

from omni_core.dataplane.groups import GroupPolicy
from omni_core.drops import DropReason
from omni_core.types import Endpoint, Mac, PeerId

Datagram: TypeAlias = tuple[bytes, tuple[str, int]]  # payload and remote endpoint (an Endpoint or its plain tuple)
NOTE_MAX: Final = 512  # bytes of a control plane's note on a session


@dataclass(frozen=True)
class SessionKeys:
    """Everything a data plane needs of one session. ``repr`` hides the keys."""

    peer: PeerId
    send_id: int  # 64-bit session id written on what we send, little-endian on the wire
    receive_id: int  # 64-bit session id on what we receive
    send_key: bytearray = field(repr=False)  # 32 bytes; the data plane copies and wipes its copy on removal
    receive_key: bytearray = field(repr=False)


@dataclass
class SessionStats:
    """Counters of one session, both directions. Times are the engine's ``now``; 0.0 means never."""

    tx_frames: int = 0
    tx_bytes: int = 0  # inner frame bytes
    rx_frames: int = 0
    rx_bytes: int = 0
    rx_expected: int = 0  # highest sequence accepted + 1, sum of the streams: less rx_frames, it is what was lost
    last_tx: float = 0.0
    last_rx: float = 0.0  # authenticated and fresh
    last_tx_data: float = 0.0  # without in-session control
    last_rx_data: float = 0.0
    last_unicast: float = 0.0  # either way, not control, to one station: broadcasts alone do not make a peer wanted


@dataclass(frozen=True)
class AdoptedSession:
    """A session that an earlier control plane left in this plane."""

    peer: PeerId
    send_id: int
    receive_id: int
    sending: bool  # ``use_session`` chose it
    confirmed: bool  # an authentic packet has come
    expires: float  # the engine's ``now``: ``add_session`` was called REJECT_AFTER_TIME before
    path: Endpoint | None  # of the peer
    note: bytes = field(repr=False)  # as remembered


class UnresolvedReason(Enum):
    UNKNOWN_DESTINATION = "unknown destination"
    NO_SESSION = "no session"


@dataclass(frozen=True)
class Unresolved:
    """A frame from the local port that the data plane could not send. The Ganglion queues it or lets it go."""

    frame: bytes
    reason: UnresolvedReason
    peer: PeerId | None  # known for NO_SESSION


@dataclass(frozen=True)
class Confirmed:
    """First authentic packet of a session arrived: the responder may now send with it."""

    receive_id: int


@dataclass(frozen=True)
class EndpointMoved:
    """An authentic packet, the newest so far, came from another endpoint than the peer's path (roaming, NAT rebinding).

    Once per endpoint, until ``set_path``. The path itself stays as it is.
    """

    receive_id: int
    source: Endpoint


@dataclass(frozen=True)
class ControlFrame:
    """An authentic in-session control frame (EtherType 0x88B5 to CONTROL_MAC), still with its Ethernet header."""

    receive_id: int
    frame: bytes
    source: Endpoint


DataPlaneEvent: TypeAlias = Unresolved | Confirmed | EndpointMoved | ControlFrame


@dataclass(frozen=True)
class FdbEntry:
    mac: Mac
    vlan: int | None  # 0: untagged; None: static on every VLAN
    peer: PeerId | None  # None: the local port
    static: bool
    age: float  # s since last seen; 0 for static entries


class DataPlane(Protocol):
    """See the module docstring for the rules."""

    @property
    def name(self) -> str:
        """``python``, ``kernel`` or ``native``."""

    # --- sessions and paths ---
    def add_session(self, keys: SessionKeys, now: float) -> None: ...
    def use_session(self, receive_id: int) -> None:
        """Seal the peer's frames with this session from now on. Raises LocalMisuse if it is not there."""

    def remove_session(self, receive_id: int) -> None:
        """Forget the session and wipe its keys. If it was the peer's sending session the peer has none."""

    def session_stats(self, receive_id: int) -> SessionStats:
        """Raises LocalMisuse if the session is not there."""

    def remember(self, receive_id: int, note: bytes) -> None:
        """Keep ``note`` with the session in place of an earlier one, for the control plane that comes next.

        Opaque here, at most NOTE_MAX bytes, without key material. Raises LocalMisuse if it is longer or the session is
        not there.
        """

    def adopted(self) -> list[AdoptedSession]:
        """What an earlier control plane left, for a new one that asks before anything else.

        First, events that nobody took are forgotten: they were for the earlier control plane. What counts of them is in
        the answer (``confirmed``) or is told again (EndpointMoved, once ``set_path`` was called). Then the plane ends
        what it does not offer: sessions without a note (the control plane died between ``add_session`` and
        ``remember``), and peers that are left without a session, with path, flood membership and FDB entries, so that
        nothing is left behind under a PeerId that nobody knows. Expired sessions are offered as the others are; the
        control plane removes what it does not want. All else stays as it is and goes on working meanwhile.
        """

    def set_path(self, peer: PeerId, endpoint: Endpoint) -> None: ...
    def set_streams(self, peer: PeerId, bulk: bool) -> None:
        """Whether the peer opens stream 1; until told, it does not. Who seals on stream 0 only need not know."""

    def remove_peer(self, peer: PeerId) -> None:
        """Sessions, path, flood membership and FDB entries of the peer go."""

    # --- switching ---
    def set_flood(self, peers: Iterable[PeerId]) -> None:
        """Peers that get BUM frames. One without a sending session yields Unresolved(NO_SESSION)."""

    def set_groups(self, policy: GroupPolicy | None, until: float) -> None:
        """Who gets which group frames (groups.py), from now to ``until``; afterwards, and with None, all go to the
        whole flood set and nothing is watched. The owner extends it by calling again: should it die, frames that it
        would have seen or widened a set for are flooded.
        """

    def set_static(self, mac: Mac, peer: PeerId | None, vlan: int | None = None) -> None:
        """Pin a MAC to a peer (None: to the local port); ``vlan`` None: on every VLAN. Learning never moves it."""

    def remove_static(self, mac: Mac, vlan: int | None = None) -> None: ...
    def fdb(self, now: float) -> list[FdbEntry]: ...

    # --- traffic ---
    def frames_from_port(self, frames: Sequence[bytes], now: float) -> None:
        """Frames that the local port (TAP) handed us: switch, seal, queue datagrams."""

    def frames_to_peer(self, peer: PeerId, frames: Sequence[bytes], now: float) -> None:
        """Seal for one peer, whatever the destination MAC: frames that waited, and in-session control.

        What cannot be sealed is dropped and counted: there is no second Unresolved for it.
        """

    def frames_to_port(self, frames: Sequence[bytes], now: float) -> None:
        """Deliver to the local port, as if a peer had sent them; nothing is learned from them."""

    def datagrams_from_underlay(self, datagrams: Sequence[Datagram], now: float) -> None:
        """Data packets (first byte >= 0x10): authenticate, learn, queue frames for the local port."""

    def take_datagrams(self) -> list[Datagram]: ...
    def take_frames(self) -> list[bytes]: ...
    def take_events(self) -> list[DataPlaneEvent]: ...

    # --- housekeeping ---
    def tick(self, now: float) -> None:
        """Age the FDB. Called about once a second."""

    def drops(self) -> Mapping[DropReason, int]: ...
    def close(self) -> None:
        """Wipe all keys. Idempotent."""
