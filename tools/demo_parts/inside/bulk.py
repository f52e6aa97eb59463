"""One TCP transfer of known content.

bulk.py serve PORT                  takes one connection, answers with the number of bytes it got
bulk.py send ADDRESS PORT BYTES     prints {"bytes": ..., "seconds": ...}; the clock stops at the answer
"""

from __future__ import annotations

import json
import socket
import sys
import time

PATTERN = b"omni demo bulk transfer, in clear. "
TIMEOUT = 30.0  # s


def serve(port: int) -> None:
    with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        server.settimeout(TIMEOUT)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(TIMEOUT)
            total = 0
            while data := connection.recv(1 << 16):
                total += len(data)
            connection.sendall(str(total).encode())


def send(address: str, port: int, size: int) -> None:
    content = memoryview((PATTERN * (size // len(PATTERN) + 1))[:size])
    with socket.create_connection((address, port), timeout=TIMEOUT) as connection:
        began = time.perf_counter()
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        got = int(connection.recv(64) or 0)
        seconds = time.perf_counter() - began
    if got != size:
        raise SystemExit(f"{address} got {got} of {size} bytes")
    print(json.dumps({"bytes": size, "seconds": seconds}))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
