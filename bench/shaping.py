"""A link of a given rate, as Ethernet would count it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.framing import UNSEEN
from tools.netlab import Host
from tools.netlab.support import run_tool

# Tokens for 0.5 ms at 1 Gbit/s, so that a processor that comes a little late to the queue loses nothing. The queue is
# that of a home router. The peak rate is no limit: with it comes the size above which super-frames (of raw, and of
# whoever sends UDP with GSO) are cut before they are counted, as a NIC does.
BUCKET = "burst 64kb latency 50ms peakrate 100gbit mtu 3000"


@contextmanager
def shaped(hosts: Sequence[Host], rate_mbit_s: float | None) -> Iterator[None]:
    """What each of the hosts sends is limited, preamble, FCS and gap of each frame included. None: not limited."""
    if rate_mbit_s is None:
        yield
        return
    limited: list[Host] = []
    try:
        for host in hosts:
            limit = f"tbf rate {rate_mbit_s:g}mbit overhead {UNSEEN} {BUCKET}"
            run_tool(["tc", "-n", host.namespace, "qdisc", "replace", "dev", "eth0", "root", *limit.split()])
            limited.append(host)
        yield
    finally:
        for host in limited:
            run_tool(["tc", "-n", host.namespace, "qdisc", "delete", "dev", "eth0", "root"])
