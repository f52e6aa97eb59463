"""UDP round trips, one at a time: the same program measures every subject. Runs inside a namespace.

    echo.py serve PORT
    echo.py measure ADDRESS PORT SECONDS BYTES        prints one JSON object; times in microseconds

Its own share (two python processes that wake each other) is the same for every subject, and in the raw figure too.
"""

from __future__ import annotations

import json
import socket
import sys
import time

TIMEOUT = 1.0  # s, then a packet is lost


def serve(port: int) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", port))
        while True:
            data, sender = server.recvfrom(65536)
            server.sendto(data, sender)


def measure(address: str, port: int, seconds: float, size: int) -> dict[str, float]:
    """Raises SystemExit when nothing comes back."""
    times: list[int] = []
    lost = 0
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((address, port))
        client.settimeout(TIMEOUT)
        end = time.monotonic() + seconds
        number = 0
        while time.monotonic() < end:
            number += 1
            request = number.to_bytes(8, "big").ljust(size, b"\0")
            began = time.perf_counter_ns()
            client.send(request)
            try:
                while client.recv(65536) != request:
                    pass  # a late answer to an earlier request
            except (TimeoutError, ConnectionRefusedError):
                lost += 1
                continue
            times.append(time.perf_counter_ns() - began)
    if not times:
        raise SystemExit(f"no answer from {address} port {port}: {lost} requests lost")
    times.sort()
    return {
        "p50_us": percentile(times, 0.50) / 1000,
        "p99_us": percentile(times, 0.99) / 1000,
        "min_us": times[0] / 1000,
        "count": len(times),
        "lost": lost,
    }


def percentile(ordered: list[int], share: float) -> int:
    """Nearest rank."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    print(json.dumps(measure(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))))
