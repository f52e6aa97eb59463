"""Why a packet or frame was dropped. Numbers are part of the interface: never reuse one.

The BPF programs count under the same numbers; a test keeps both in step. 0 is "not dropped".
Ranges: 1-19 receiving data, 20-39 sending, 40-59 handshakes, 60-69 signaling, 70-79 in-session control.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import IntEnum, unique


@unique
class DropReason(IntEnum):
    # receiving data packets
    TOO_SHORT = 1
    TOO_LONG = 2
    UNKNOWN_TYPE = 3
    UNKNOWN_SESSION = 4
    BAD_NONCE = 5  # the nonce's low 56 bits are not the sequence, or the stream is not ours
    REPLAYED = 6
    BAD_TAG = 7
    SESSION_EXPIRED = 8
    BAD_INNER_FRAME = 9  # authenticated, yet no Ethernet frame inside
    SOURCE_MAC_REFUSED = 10  # group source, or a MAC that is statically another's
    PORT_REFUSED = 11  # the local port (TAP) did not take the frame: link down, or no memory
    PAUSED = 12  # the data plane stands still: nothing is sealed or opened
    NOT_LISTENING = 13  # a control message while no Ganglion has the port open
    # sending frames
    NO_SESSION = 20
    UNKNOWN_DESTINATION = 21
    QUEUE_FULL = 22  # oldest frame waiting for a handshake or look-up gave way
    FRAME_TOO_LONG = 23
    SEQUENCE_EXHAUSTED = 24
    NO_PATH = 25
    FRAME_TOO_SHORT = 26
    QUEUE_EXPIRED = 27  # waited for a handshake that did not come
    SPLIT_HORIZON = 28  # would have gone back to the overlay
    RESERVED_DESTINATION = 29  # a local program used the control MAC
    SEND_FAILED = 30  # the socket refused the datagram
    NOT_MARKED = 31  # reached the internal interfaces without having been sealed
    NO_ROOM = 32  # a packet has no room for its headers, or a program is missing
    # handshakes and cookies
    BAD_VERSION = 40
    BAD_MAC1 = 41
    BAD_MAC2 = 42  # under load, and the cookie is missing or wrong
    HANDSHAKE_FORGED = 43
    HANDSHAKE_REPLAYED = 44
    NOT_ADMITTED = 45
    UNKNOWN_INDEX = 46
    BAD_PAYLOAD = 47
    RATE_LIMITED = 48
    UNEXPECTED_MESSAGE = 49  # the handshake table has no such transition
    LOST_TIE = 50  # simultaneous initiation, ours wins
    IDENTITY_MISMATCH = 51  # the announced key is not the Noise static key
    BAD_COOKIE = 52
    # signaling
    SIGNALING_FORGED = 60
    SIGNALING_REPLAYED = 61
    SIGNALING_MALFORMED = 62
    NOT_REGISTERED = 63
    BAD_RECORD = 64  # a peer record whose signature or contents are wrong
    STALE_RECORD = 65
    REGISTERS_TOO_OFTEN = 66  # of one key, at a Nucleus
    SOURCE_REGISTERS_TOO_OFTEN = 67  # of new keys from one address, at a Nucleus
    # in-session control
    CONTROL_MALFORMED = 70
    GOSSIP_REFUSED = 71  # of a peer that has departed, or whom only a Nucleus may bring
    GOSSIP_TOO_OFTEN = 72


class DropCounters:
    """Counts by DropReason. One per engine; cheap enough for the hot path."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: Counter[DropReason] = Counter()

    def add(self, reason: DropReason, n: int = 1) -> None:
        self._counts[reason] += n

    def __getitem__(self, reason: DropReason) -> int:
        return self._counts[reason]

    @property
    def total(self) -> int:
        return sum(self._counts.values())

    def as_dict(self) -> dict[DropReason, int]:
        return {reason: n for reason, n in sorted(self._counts.items()) if n}

    def update(self, other: Mapping[DropReason, int]) -> None:
        self._counts.update(other)
