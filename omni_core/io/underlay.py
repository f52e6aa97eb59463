"""What the underlay looks like from here: addresses that peers could reach, the MTU, names of Nuclei, and changes."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from omni_core.config.ganglion import IPV4_COST, IPV6_COST, MIN_MTU
from omni_core.io.netlink import NO_CHANGES, Changes, ChangeSocket, Netlink
from omni_core.types import Endpoint

logger = logging.getLogger(__name__)

RESOLVE_TIMEOUT = 4.0  # s for one look-up; a robot that boots before its Wi-Fi has no DNS for a while
RESOLVE_RETRY = 5.0  # s
RESOLVE_REFRESH = 300.0  # s; a Nucleus may move to another address
SETTLE_TIME = 0.2  # s; a roam changes several addresses at once
FALLBACK_MTU = 1500


def overlay_mtu(endpoints: Sequence[Endpoint], netlink: Netlink) -> int:
    """MTU for the overlay: of the way to the first endpoint that has one, less what the tunnel adds, never below 1280.

    ``endpoints`` numeric. Without a way: of the smallest interface that is up. What exceeds a path nevertheless is
    fragmented on the underlay.
    """
    for endpoint in endpoints:
        way = netlink.mtu_towards(endpoint.host)
        if way is not None:
            return max(MIN_MTU, way[1] - (IPV6_COST if endpoint.is_ipv6 else IPV4_COST))
    up = [link.mtu for link in netlink.links() if link.up and not link.loopback]
    cost = IPV6_COST if any(endpoint.is_ipv6 for endpoint in endpoints) else IPV4_COST
    return max(MIN_MTU, min(up, default=FALLBACK_MTU) - cost)


@dataclass(frozen=True)
class Underlay:
    """``endpoints``: where a peer on the same network could reach us, IPv4 first. ``links``: indices of the interfaces
    that have them. ``hosts``: every address of this machine that our sockets listen on."""

    endpoints: tuple[Endpoint, ...]
    links: frozenset[int]
    hosts: frozenset[str]


def look_around(
    port: int, overlay: Iterable[int], families: Iterable[int], netlink: Netlink, listen: Sequence[str] = ()
) -> Underlay:
    """Usable addresses of running interfaces make endpoints.

    Without loopback, link-local, and interfaces of the overlay (their indices in ``overlay``): the tunnel must not run
    through itself. ``listen``: the addresses that the sockets are bound to; empty: all.
    """
    excluded = set(overlay)
    links = {link.index: link for link in netlink.links()}
    endpoints: dict[Endpoint, None] = {}
    carriers, hosts = set(), set()
    for address in netlink.addresses():
        link = links.get(address.index)
        ip = address.interface.ip
        family = socket.AF_INET6 if ip.version == 6 else socket.AF_INET
        if link is None or address.index in excluded or family not in families or (listen and str(ip) not in listen):
            continue
        hosts.add(str(ip))
        if link.loopback or not link.running or not address.usable:
            continue
        if not (ip.is_link_local or ip.is_loopback or ip.is_unspecified):
            endpoints[Endpoint(str(ip), port)] = None
            carriers.add(link.index)
    ordered = sorted(endpoints, key=lambda endpoint: (endpoint.is_ipv6, endpoint.host))
    return Underlay(tuple(ordered), frozenset(carriers), frozenset(hosts))


class Names:
    """Addresses of host names. A look-up runs in a daemon thread of its own: a resolver that hangs must not hold up the
    end of the program, as the event loop's executor would. Remembers the last answer of each name."""

    def __init__(self) -> None:
        self._answers: dict[str, list[str]] = {}
        self._running: dict[str, asyncio.Future[None]] = {}

    async def look_up(self, endpoints: Iterable[Endpoint], timeout: float = RESOLVE_TIMEOUT) -> None:
        """Ask for every name among ``endpoints``; returns when all are answered, or after ``timeout`` s."""
        names = {endpoint.host for endpoint in endpoints if not _is_numeric(endpoint.host)}
        if names:
            await asyncio.wait([self._start(name) for name in names], timeout=timeout)

    def addresses(self, endpoint: Endpoint) -> list[Endpoint]:
        """Every known address of an endpoint, in the resolver's order of preference; [] while there is none."""
        if _is_numeric(endpoint.host):
            return [Endpoint(str(ipaddress.ip_address(endpoint.host)), endpoint.port)]
        return [Endpoint(host, endpoint.port) for host in self._answers.get(endpoint.host, ())]

    def _start(self, name: str) -> asyncio.Future[None]:
        if name not in self._running:
            loop = asyncio.get_running_loop()
            self._running[name] = loop.create_future()
            threading.Thread(target=self._ask, args=(name, loop), name=f"resolve {name}", daemon=True).start()
        return self._running[name]

    def _ask(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        try:
            answers = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
            hosts = list(dict.fromkeys(str(address[0]) for *_, address in answers))
        except (OSError, UnicodeError) as error:
            logger.info("the name %s has no address now: %s", name, error)
            hosts = []
        try:
            loop.call_soon_threadsafe(self._answered, name, hosts)
        except RuntimeError:
            pass  # the loop has ended meanwhile

    def _answered(self, name: str, hosts: list[str]) -> None:
        if hosts:
            self._answers[name] = hosts
        future = self._running.pop(name)
        if not future.done():
            future.set_result(None)


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class ChangeWatch:
    """Calls back, once things have settled, when a link, an address or a route of this machine changed."""

    def __init__(self, callback: Callable[[Changes], None]) -> None:
        """Needs a running loop. Raises OSError when the kernel gives no netlink socket."""
        self._callback = callback
        self._seen = NO_CHANGES
        self._loop = asyncio.get_running_loop()
        self._socket = ChangeSocket()
        self._timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._socket.fileno(), self._on_change)

    def close(self) -> None:
        """Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _on_change(self) -> None:
        self._seen |= self._socket.drain()
        if self._timer is None:
            self._timer = self._loop.call_later(SETTLE_TIME, self._settled)

    def _settled(self) -> None:
        self._timer = None
        seen, self._seen = self._seen, NO_CHANGES
        self._callback(seen)
