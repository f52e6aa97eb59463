"""Keeps an engine and its port told of the underlay: our addresses on it, those of the names, the MTU of paths. Part
of the Ganglion's driver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from omni_core.config.ganglion import GanglionConfig
from omni_core.engines.ganglion import GanglionEngine
from omni_core.errors import SystemRefused
from omni_core.io import overlay
from omni_core.io.clock import monotonic
from omni_core.io.local_port import LocalPort
from omni_core.io.membership import Membership
from omni_core.io.netlink import Changes, Netlink
from omni_core.io.tasks import in_thread, wait_until
from omni_core.io.udp import UdpPort
from omni_core.io.underlay import RESOLVE_REFRESH, RESOLVE_RETRY, Names, Underlay, look_around
from omni_core.types import Endpoint


def named_places(config: GanglionConfig, membership: Membership) -> list[Endpoint]:
    """Nuclei and configured peers, by name or numeric."""
    nuclei = [place.endpoint for place in membership.nuclei]
    return [*nuclei, *(peer.endpoint for peer in config.static_peers)]


class UnderlayFollower:
    """``look`` first. ``flush`` carries out what the engine decides; ``on_fault`` hears that the port cannot go on."""

    def __init__(
        self,
        config: GanglionConfig,
        membership: Membership,
        names: Names,
        udp: UdpPort,
        port: LocalPort,
        *,
        flush: Callable[[], None],
        on_fault: Callable[[SystemRefused], None],
    ) -> None:
        self._config = config
        self._nuclei = membership.nuclei
        self._places = named_places(config, membership)
        self._names = names
        self._udp = udp
        self._port = port
        self._flush = flush
        self._on_fault = on_fault
        self._seen: Underlay | None = None
        self._fault: SystemRefused | None = None
        self._changed = asyncio.Event()
        self.is_bridged = False  # the interface, by us or by somebody else

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where a peer on the same network could reach us, as of the last look."""
        return self._seen.endpoints if self._seen is not None else ()

    def on_change(self, seen: Changes) -> None:
        """For ChangeWatch."""
        if Changes.LINKS in seen:
            self.look_soon()
        elif self._seen is not None:
            self._port.follow(self._seen)

    def look_soon(self) -> None:
        """``until_changed`` returns."""
        self._changed.set()

    def begin_look(self) -> None:
        """What changes from now on is news to ``until_changed``."""
        self._changed.clear()

    async def look(self) -> None:
        """Tells the port."""
        self._port.follow(await in_thread(self._look_around))

    async def tell(self, engine: GanglionEngine) -> None:
        """Addresses first: they are here at once, while a name may take its time."""
        underlay = await in_thread(self._look_around)
        if self._fault is not None:
            self._on_fault(self._fault)
        self._port.follow(underlay)
        engine.set_local_endpoints(underlay.endpoints, monotonic())
        self._flush()
        await self._names.look_up(self._places)
        for number, place in enumerate(self._nuclei):
            addresses = self._names.addresses(place.endpoint)
            if addresses:
                engine.set_nucleus_endpoints(number, addresses, monotonic())
        for peer in self._config.static_peers:
            addresses = self._names.addresses(peer.endpoint)
            if addresses:
                engine.set_static_endpoints(peer.public_key, addresses, monotonic())
        self._flush()

    async def until_changed(self) -> None:
        """Or until it is time to look again. Of the MTU of a path, which ICMP tells the kernel, comes no news: the port
        looks now and then."""
        unresolved = any(not self._names.addresses(place) for place in self._places)
        end = monotonic() + (RESOLVE_RETRY if unresolved else RESOLVE_REFRESH)
        while (left := end - monotonic()) > 0:
            if await wait_until(self._changed, min(left, self._port.look_every)):
                return
            if self._seen is not None:
                self._port.follow(self._seen)

    def _look_around(self) -> Underlay:
        with Netlink() as netlink:
            inside = overlay.overlay_indices(self._config.interface, netlink)
            self.is_bridged = len(inside) > 1
            seen = look_around(self._udp.port, inside, self._udp.families, netlink, self._config.listen_address)
            fault = self._port.look_around(seen, netlink)
        self._seen = seen
        self._fault = fault
        return seen
