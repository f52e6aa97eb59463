"""Consumer of a BPF ring buffer (BPF_MAP_TYPE_RINGBUF) by mmap.

Layout (kernel/bpf/ringbuf.c, Documentation/bpf/ringbuf.rst): one page with the consumer's position, ours to write; one
page with the producers' position; the data, mapped twice in a row, so that no record ever wraps. Positions count
bytes and never wrap either. A record is an 8-byte header and its bytes, rounded up to 8:

     0          30 31 32         64
     | length  |D |B | (kernel)  | bytes ... |        B: busy, not yet committed; D: discarded, to be skipped
"""

from __future__ import annotations

import mmap
import threading

from omni_core.io.synapse.syscalls import BpfMap

_BUSY = 1 << 31
_DISCARDED = 1 << 30
_HEADER = 8


class RingBuffer:
    """Reads the records of ``map`` in order. One consumer per map; the map stays its owner's to close.

    ``fileno`` is readable (epoll, level-triggered) while there is a record. OSError where the map cannot be mapped.
    """

    def __init__(self, map: BpfMap) -> None:
        self._map = map
        self._mask = map.max_entries - 1
        page = mmap.PAGESIZE
        self._consumer_page = mmap.mmap(map.fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        try:
            size = page + 2 * map.max_entries
            self._producer_pages = mmap.mmap(map.fd, size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        except BaseException:
            self._consumer_page.close()
            raise
        # Native items of a cast memoryview are read and written by one instruction each.
        self._consumer = memoryview(self._consumer_page).cast("Q")
        self._producer = memoryview(self._producer_pages)[:page].cast("Q")
        self._data = memoryview(self._producer_pages)[page:]
        self._headers = self._data.cast("I")
        self._lock = threading.Lock()

    def fileno(self) -> int:
        return self._map.fd

    def read(self, limit: int = 1 << 30) -> list[bytes]:
        """The records that are there, at most ``limit``, oldest first. Stops before one that is still being written."""
        records: list[bytes] = []
        position: int = self._consumer[0]
        while len(records) < limit and position < self._producer[0]:
            self._fence()
            at = position & self._mask
            header = self._headers[at >> 2]
            if header & _BUSY:
                break
            self._fence()
            length = header & ~_DISCARDED
            if not header & _DISCARDED:
                records.append(bytes(self._data[at + _HEADER : at + _HEADER + length]))
            position += _HEADER + (length + 7 & ~7)
            self._fence()
            self._consumer[0] = position
        return records

    def close(self) -> None:
        """Unmaps; may be called twice. Records not read stay for the next consumer."""
        for view in (self._consumer, self._producer, self._headers, self._data):
            view.release()
        self._producer_pages.close()
        self._consumer_page.close()

    def _fence(self) -> None:
        """Loads and stores before it stay before those after it, on ARM too.

        Python has no fence. What precedes the release of a lock cannot move behind it, what follows its next
        acquisition cannot move before that, and the second acquisition sees the first release.
        """
        with self._lock:
            pass
        with self._lock:
            pass
