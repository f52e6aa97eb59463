"""Classic pcap files (draft-ietf-opsawg-pcap), nanosecond stamps, Ethernet. Enough for our own captures."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

NANOSECOND_MAGIC = 0xA1B23C4D
MICROSECOND_MAGIC = 0xA1B2C3D4
SNAPLEN = 262144
ETHERNET = 1

_FILE_HEADER = struct.Struct("<IHHiIII")
_RECORD_HEADER = struct.Struct("<IIII")


class CapturedFrame(NamedTuple):
    time_ns: int  # Unix time
    data: bytes
    length: int  # on the wire; more than len(data) when it was cut


class PcapWriter:
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        stream.write(_FILE_HEADER.pack(NANOSECOND_MAGIC, 2, 4, 0, 0, SNAPLEN, ETHERNET))

    def write(self, data: bytes | memoryview, time_ns: int) -> None:
        seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
        self._stream.write(_RECORD_HEADER.pack(seconds, nanoseconds, len(data), len(data)))
        self._stream.write(data)


def read_pcap(path: Path) -> Iterator[CapturedFrame]:
    """Little-endian pcap of Ethernet frames. Raises ValueError on another format or a cut record."""
    with open(path, "rb") as stream:
        head = stream.read(_FILE_HEADER.size)
        if len(head) != _FILE_HEADER.size:
            raise ValueError(f"{path} is too short for a pcap file")
        magic, *_, link = _FILE_HEADER.unpack(head)
        if magic not in (NANOSECOND_MAGIC, MICROSECOND_MAGIC) or link != ETHERNET:
            raise ValueError(f"{path} is no little-endian pcap of Ethernet frames")
        fraction = 1 if magic == NANOSECOND_MAGIC else 1000
        while record := stream.read(_RECORD_HEADER.size):
            if len(record) != _RECORD_HEADER.size:
                raise ValueError(f"{path}: the last record header is cut")
            seconds, part, captured, length = _RECORD_HEADER.unpack(record)
            data = stream.read(captured)
            if len(data) != captured:
                raise ValueError(f"{path}: the last record is cut")
            yield CapturedFrame(seconds * 1_000_000_000 + part * fraction, data, length)
