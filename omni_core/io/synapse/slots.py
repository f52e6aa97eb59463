"""Sessions in the kernel: one slot of each of four arrays.

Keys are only ever written here, and read back for one purpose: to give them to a native engine that takes the place of
a dead one (``read_keys``).
"""

from __future__ import annotations

import ctypes
import struct
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from omni_core.errors import LocalMisuse
from omni_core.io.synapse import abi, syscalls
from omni_core.io.synapse.syscalls import BpfMap

_SLOT = struct.Struct("=I")
_ID = struct.Struct("=Q")
_NO_KEYS = bytes(2 * abi.KEY_SIZE)
_NO_SESSION = bytes(ctypes.sizeof(abi.Session))
_NO_NOTE = bytes(ctypes.sizeof(abi.Note))
_NO_STREAM = bytes(ctypes.sizeof(abi.Stream))


class SessionSlots:
    """``maps``: those of the module. Raises OSError where the kernel refuses a map operation."""

    def __init__(self, maps: Mapping[str, BpfMap]) -> None:
        self._sessions = maps["sessions"]
        self._streams = maps["streams"]
        self._keys = maps["session_keys"]
        self._notes = maps["notes"]
        self._index = maps["session_slots"]
        self._slots: dict[int, int] = {_ID.unpack(key)[0]: _SLOT.unpack(value)[0] for key, value in self._index.items()}
        used = set(self._slots.values())
        self._free = [slot for slot in reversed(range(abi.SESSIONS)) if slot not in used]
        self._leaving: deque[int] = deque()  # slots that no packet finds any more
        self._wiper = ThreadPoolExecutor(1, thread_name_prefix="synapse-wipe")  # one: map objects are not shared
        self._wiper_maps = [BpfMap(syscalls.duplicate(held.fd)) for held in (self._keys, self._sessions, self._notes)]
        self._wiper_streams = BpfMap(syscalls.duplicate(self._streams.fd))

    def __contains__(self, receive_id: int) -> bool:
        return receive_id in self._slots

    def ids(self) -> list[int]:
        return list(self._slots)

    def slot(self, receive_id: int) -> int:
        """Raises LocalMisuse when there is no such session."""
        try:
            return self._slots[receive_id]
        except KeyError:
            raise LocalMisuse("there is no session with this receive id") from None

    def add(
        self,
        peer: int,
        send_id: int,
        receive_id: int,
        keys: bytearray,
        expires: int,
        before: Callable[[int], None] = lambda slot: None,
    ) -> None:
        """``keys``: send then receive key, wiped on return. ``expires`` in ns. LocalMisuse when no slot is free.
        ``before`` is called with the slot when everything is in it, and no packet finds it yet."""
        if not self._free:
            self._wiper.submit(lambda: None).result()  # slots on their way back
        if not self._free:
            keys[:] = bytes(len(keys))
            raise LocalMisuse(f"the kernel data plane holds {abi.SESSIONS} sessions already")
        slot = self._free.pop()
        at = _SLOT.pack(slot)
        session = abi.Session(peer=peer, send_id=send_id, receive_id=receive_id, expires=expires)
        self._sessions.update(at, bytes(session))
        for index in _streams_of(slot):
            self._streams.update(index, _NO_STREAM)
        self._notes.update(at, _NO_NOTE)
        self._keys.update_secret(at, keys)
        before(slot)
        self._index.update(_ID.pack(receive_id), at)  # from now on packets find it
        self._slots[receive_id] = slot

    def read(self, receive_id: int) -> abi.Session:
        value = self._sessions.lookup(_SLOT.pack(self.slot(receive_id)))
        assert value is not None, "an array has all its entries"
        return abi.Session.from_buffer_copy(value)

    def read_streams(self, receive_id: int) -> list[abi.Stream]:
        """Replay windows of both, and of stream 1 what is counted."""
        values = self._streams.lookup_many(_streams_of(self.slot(receive_id)))
        return [abi.Stream.from_buffer_copy(value) for value in values if value is not None]

    def read_keys(self, receive_id: int) -> tuple[bytearray, bytearray]:
        """Send and receive key, for the caller to wipe."""
        both = self._keys.lookup_secret(_SLOT.pack(self.slot(receive_id)))
        assert both is not None
        send, receive = both[: abi.KEY_SIZE], both[abi.KEY_SIZE :]
        both[:] = bytes(len(both))
        return send, receive

    def remove(self, receive_id: int) -> None:
        """No packet finds it any more; wiped as soon as no program may still be using it, a few milliseconds later."""
        slot = self._slots.pop(receive_id)
        self._index.delete(_ID.pack(receive_id))
        self._leaving.append(slot)
        self._wiper.submit(self._wipe)

    def remember(self, receive_id: int, note: bytes) -> None:
        value = abi.Note(length=len(note))
        ctypes.memmove(value.bytes, note, len(note))
        self._notes.update(_SLOT.pack(self.slot(receive_id)), bytes(value))

    def note(self, receive_id: int) -> bytes:
        value = self._notes.lookup(_SLOT.pack(self.slot(receive_id)))
        assert value is not None
        note = abi.Note.from_buffer_copy(value)
        return bytes(note.bytes[: note.length])

    def close(self) -> None:
        """Waits for the last wipe. Sessions that were not removed stay, for an adoption. Idempotent."""
        self._wiper.shutdown(wait=True)
        for held in (*self._wiper_maps, self._wiper_streams):
            held.close()

    def _wipe(self) -> None:
        """On the wiper's thread. A frame that is being sealed must not go on with half of a zeroed key. The wait is the
        same for one slot and for many, so all that left until it began are wiped."""
        slots = [self._leaving.popleft() for _ in range(len(self._leaving))]
        if not slots:
            return  # an earlier run took it along
        syscalls.grace()
        for slot in slots:
            at = _SLOT.pack(slot)
            for held, nothing in zip(self._wiper_maps, (_NO_KEYS, _NO_SESSION, _NO_NOTE), strict=True):
                held.update(at, nothing)
            for index in _streams_of(slot):
                self._wiper_streams.update(index, _NO_STREAM)
            self._free.append(slot)


def _streams_of(slot: int) -> list[bytes]:
    return [_SLOT.pack(slot * abi.STREAMS + stream) for stream in range(abi.STREAMS)]
