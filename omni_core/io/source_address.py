"""Which of this machine's addresses a packet to an endpoint would carry."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from omni_core.io.clock import monotonic
from omni_core.types import Endpoint

KEPT = 10.0  # s; roaming changes the answer, and nobody tells


class SourceAddresses:
    """Answers are remembered for KEPT s. Not for names: DNS may take its time."""

    def __init__(self, listen: Sequence[str] = ()) -> None:
        """``listen``: the addresses that the UDP port is bound to; empty: all."""
        self._listen = {":" in address: address for address in reversed(listen)}
        self._known: dict[str, str] = {}
        self._until = 0.0

    def of(self, endpoint: str) -> str:
        """For ``"192.0.2.7:51820"``; "" where there is no route, or no endpoint."""
        if monotonic() >= self._until:
            self._known.clear()
            self._until = monotonic() + KEPT
        if endpoint not in self._known:
            self._known[endpoint] = self._ask(endpoint) if endpoint else ""
        return self._known[endpoint]

    def _ask(self, endpoint: str) -> str:
        remote = Endpoint.parse(endpoint)
        if remote.is_ipv6 in self._listen:
            return self._listen[remote.is_ipv6]
        try:
            # Connecting a UDP socket sends nothing: the kernel looks the route up and takes its source address.
            with socket.socket(socket.AF_INET6 if remote.is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect((remote.host, remote.port))
                return str(probe.getsockname()[0])
        except OSError:
            return ""
