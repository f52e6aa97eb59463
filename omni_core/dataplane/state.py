"""What the python engine keeps of each peer and each session."""

from __future__ import annotations

from omni_core.constants import REJECT_AFTER_TIME
from omni_core.crypto.aead import Aead
from omni_core.dataplane.port import SessionKeys, SessionStats
from omni_core.session.replay import ReplayWindow
from omni_core.types import Endpoint, PeerId

STREAMS = 2  # that may arrive. 0: the kernel, or the only engine; 1: bulk


class PeerState:
    __slots__ = ("endpoint", "id", "moved", "sending", "sessions")

    def __init__(self, peer_id: PeerId) -> None:
        self.id = peer_id
        self.endpoint: Endpoint | None = None
        self.moved: tuple[str, int] | None = None  # an endpoint that EndpointMoved has been emitted for
        self.sending: SessionState | None = None  # the session that seals
        self.sessions: list[SessionState] = []


class SessionState:
    """Made at ``now``, usable for REJECT_AFTER_TIME. Raises LocalMisuse when a key is not 32 bytes."""

    __slots__ = (
        "confirmed",
        "expires",
        "next_sequence",
        "note",
        "opener",
        "peer",
        "receive_id",
        "sealer",
        "send_id",
        "stats",
        "windows",
    )

    def __init__(self, keys: SessionKeys, peer: PeerState, now: float) -> None:
        self.peer = peer
        self.send_id = keys.send_id
        self.receive_id = keys.receive_id
        self.sealer = Aead(keys.send_key)
        self.opener = Aead(keys.receive_key)
        self.expires = now + REJECT_AFTER_TIME
        self.next_sequence = 0
        self.windows: list[ReplayWindow | None] = [None] * STREAMS  # made by the first authentic packet of the stream
        self.confirmed = False
        self.note = b""  # the control plane's, for the one that comes after it
        self.stats = SessionStats()

    def wipe(self) -> None:
        self.sealer.wipe()
        self.opener.wipe()
