"""A DDS participant that says only that it is there, as a program in a host's namespace, each 0.1 s to 239.255.0.1.

announce_tool.py INTERFACE NUMBER DOMAIN      prints "heard N" and "left N" once for each other, "said N" for its own;
                                              on SIGTERM it says that it ends
"""

from __future__ import annotations

import signal
import socket
import struct
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from support.announcing import Speaker  # noqa: E402

from omni_core.wire.rtps import parse_announcement  # noqa: E402

ADDRESS = "239.255.0.1"
PERIOD = 0.1  # s
HEADERS = 14 + 20 + 8  # of the frames that a Speaker makes


def main(interface: str, number: int, domain: int) -> None:
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    index = socket.if_nametoindex(interface)
    host = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    host.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    host.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, bytes(8) + struct.pack("@i", index))
    host.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    request = socket.inet_aton(ADDRESS) + bytes(4) + struct.pack("@i", index)
    host.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    port = 7400 + 250 * domain
    host.bind((ADDRESS, port))
    speaker, heard, left, said = Speaker(number, domain=domain), set[int](), set[int](), 0
    print("ready", flush=True)
    due = time.monotonic()
    while not stopped:
        if time.monotonic() >= due:
            host.sendto(speaker.says()[HEADERS:], (ADDRESS, port))
            said, due = said + 1, due + PERIOD
            print("said", said, flush=True)
        host.settimeout(max(0.001, due - time.monotonic()))
        try:
            message = host.recv(65536)
        except TimeoutError:
            continue
        other = parse_announcement(speaker.says()[:16] + rest_of_frame(message, port))
        if other is None:
            continue
        known, word = (left, "left") if other.ends else (heard, "heard")
        name = int.from_bytes(other.prefix[2:], "big")
        if name not in known:
            known.add(name)
            print(word, name, flush=True)
    host.sendto(speaker.says(ends=True)[HEADERS:], (ADDRESS, port))


def rest_of_frame(message: bytes, port: int) -> bytes:
    """IPv4 and UDP headers around it, but for the first two bytes of IPv4."""
    udp = struct.pack("!4H", 7411, port, 8 + len(message), 0) + message
    return struct.pack("!HHHBBH", 20 + len(udp), 0, 0, 1, 17, 0) + bytes(4) + socket.inet_aton(ADDRESS) + udp


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
