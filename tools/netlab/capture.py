"""Every frame that hosts hand to the internet of a lab, written to a pcap file.

Run as a program inside the internet's namespace it captures on all bridge ports, incoming direction only: each frame
once, as its host sent it. It says "ready" when the socket is open, and on SIGTERM drains the socket and reports what
the kernel had to drop, because a proof from a capture with holes is none.
"""

from __future__ import annotations

import json
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.netlab.pcap import PcapWriter

if TYPE_CHECKING:
    from tools.netlab.process import LabProcess

ETH_P_ALL = 0x0003
SOL_PACKET = 263
PACKET_STATISTICS = 6
PACKET_IGNORE_OUTGOING = 23  # Linux 4.20
SO_RCVBUFFORCE = 33
RECEIVE_BUFFER = 64 << 20
LARGEST_FRAME = 1 << 18  # GSO super-frames cross a veth whole
IDLE_LOOK = 0.2  # s between two looks at the stop flag while nothing arrives


@dataclass(frozen=True)
class CaptureResult:
    path: Path
    frames: int
    bytes: int
    kernel_drops: int  # frames that the kernel could not keep for us


class Capture:
    """A running capture. ``stop()`` is idempotent."""

    def __init__(self, process: LabProcess, path: Path) -> None:
        self._process = process
        self.path = path
        process.wait_log("^ready$", timeout=10)

    def stop(self) -> CaptureResult:
        self._process.stop(grace=10)
        counters = json.loads(self._process.wait_log(r"^\{.*\}$", timeout=1).group())
        return CaptureResult(self.path, counters["frames"], counters["bytes"], counters["kernel_drops"])


def main(path: str, ports: str) -> None:
    """``ports``: only interfaces whose name starts with it (not the bridge itself: that would count twice)."""
    stopping = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    receiver = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    receiver.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    receiver.settimeout(IDLE_LOOK)
    buffer = bytearray(LARGEST_FRAME)
    view = memoryview(buffer)
    frames = total = 0
    with open(path, "wb", buffering=1 << 20) as stream:
        writer = PcapWriter(stream)
        stream.flush()
        print("ready", flush=True)
        while True:
            try:
                size, address = receiver.recvfrom_into(buffer)
            except (TimeoutError, BlockingIOError):
                stream.flush()
                if stopping:
                    break
                continue
            if stopping:
                receiver.setblocking(False)  # what is queued now, and no more
            if address[0].startswith(ports):
                writer.write(view[:size], time.time_ns())
                frames += 1
                total += size
    _, drops = struct.unpack("II", receiver.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
    print(json.dumps({"frames": frames, "bytes": total, "kernel_drops": drops}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
