"""Round trips of ICMP and ICMPv6 echo to several addresses, for as long as it runs. Needs root.

    probe.py SECONDS NAME=ADDRESS...        SECONDS: between two rounds

Prints a JSON line for each answer: {"name": ..., "us": microseconds}.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import time

ECHO_REQUEST: dict[int, int] = {socket.AF_INET: 8, socket.AF_INET6: 128}
ECHO_REPLY: dict[int, int] = {socket.AF_INET: 0, socket.AF_INET6: 129}
HEAD = struct.Struct(">BBHHH")  # RFC 792, RFC 4443: type, code, checksum, identifier, sequence
PAYLOAD = bytes(48)


def checksum(data: bytes) -> int:
    """RFC 1071. The kernel fills that of ICMPv6 in by itself."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def echo_request(family: int, identifier: int, sequence: int) -> bytes:
    head = HEAD.pack(ECHO_REQUEST[family], 0, 0, identifier, sequence)
    if family == socket.AF_INET:
        head = HEAD.pack(ECHO_REQUEST[family], 0, checksum(head + PAYLOAD), identifier, sequence)
    return head + PAYLOAD


def open_socket(address: str) -> socket.socket:
    if ":" in address:
        probe = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    else:
        probe = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    probe.connect((address, 0))  # only what this address sends
    return probe


def round_trip(probe: socket.socket, identifier: int, sequence: int, timeout: float) -> float | None:
    """Seconds, or None: no answer in time, or the address is not reachable."""
    began = time.perf_counter()
    try:
        probe.send(echo_request(probe.family, identifier, sequence))
        while (left := began + timeout - time.perf_counter()) > 0 and select.select([probe], [], [], left)[0]:
            answer = probe.recv(2048)
            if probe.family == socket.AF_INET:
                answer = answer[(answer[0] & 15) * 4 :]  # a raw IPv4 socket hands the IP header too
            kind, _, _, *numbers = HEAD.unpack_from(answer)
            if kind == ECHO_REPLY[probe.family] and numbers == [identifier, sequence]:
                return time.perf_counter() - began
    except OSError:
        pass
    return None


def main(period: str, *targets: str) -> None:
    sockets = {name: open_socket(address) for name, _, address in (target.partition("=") for target in targets)}
    identifier = os.getpid() & 0xFFFF
    sequence = 0
    while True:
        end = time.monotonic() + float(period)
        sequence = (sequence + 1) & 0xFFFF
        for name, probe in sockets.items():
            seconds = round_trip(probe, identifier, sequence, timeout=float(period))
            if seconds is not None:
                print(json.dumps({"name": name, "us": round(seconds * 1e6, 1)}), flush=True)
        time.sleep(max(0.0, end - time.monotonic()))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        pass
