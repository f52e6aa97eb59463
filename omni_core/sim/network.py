"""SimNet: a seeded, deterministic, in-memory underlay on virtual time.

                     the internet (a Segment)
        public host --+----+----------+-- public host
                      |    |
                   SimNat  SimNat           each is a node of its outer segment
                      |    |                and the gateway of its inner one
                hosts +    + SimNat (carrier, then home: they nest)

A link joins two nodes of one segment, so the link between two sites behind NATs is the one between their outermost
NATs. A packet is translated outwards when it is sent and inwards when it arrives, so that holes open in the right
order. Every random draw, of links, NATs and engines, is from one generator: same seed, same trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random

from omni_core.sim.host import SimHost
from omni_core.sim.link import Link, LinkQuality
from omni_core.sim.loop import VirtualLoop
from omni_core.sim.nat import MAPPING_TIMEOUT, Address, NatKind, NatTable, Refusal
from omni_core.sim.trace import DELIVERED, Fate, Trace, packet_type

EPOCH_NS = 1_700_000_000 * 1_000_000_000  # what the engines' calendar says at virtual time 0
LAN = LinkQuality(latency=0.0002)


class SimTimeout(AssertionError):
    """A condition did not come true in time. The message ends with the last packets."""


class Segment:
    """An address space: the internet, or the inside of a NAT."""

    __slots__ = ("default", "gateway", "links", "name", "nodes")

    def __init__(self, name: str, default: LinkQuality, gateway: SimNat | None) -> None:
        self.name = name
        self.default = default
        self.gateway = gateway
        self.nodes: dict[str, SimHost | SimNat] = {}  # by address
        self.links: dict[tuple[str, str], Link] = {}  # by node names, one direction each

    def link(self, source: str, target: str) -> Link:
        link = self.links.get((source, target))
        if link is None:
            link = self.links[source, target] = Link(self.default)
        return link


class SimNat:
    """A NAT between ``outer`` and its own inner segment."""

    def __init__(
        self, name: str, address: str, table: NatTable, outer: Segment, hairpin: bool, lan: LinkQuality
    ) -> None:
        self.name = name
        self.address = address
        self.table = table
        self.outer = outer
        self.inner = Segment(f"inside {name}", lan, self)
        self.hairpin = hairpin  # RFC 4787, REQ-9: inside hosts reach each other by their outside addresses


class _Packet:
    __slots__ = ("data", "sender", "sent", "source", "target")

    def __init__(self, sender: SimHost, data: bytes, source: Address, target: Address, sent: float) -> None:
        self.sender = sender
        self.data = data
        self.source = source
        self.target = target
        self.sent = sent


class SimNet:
    def __init__(self, seed: int, default: LinkQuality | None = None) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.loop = VirtualLoop()
        self.trace = Trace()
        self.hosts: dict[str, SimHost] = {}
        self.nats: dict[str, SimNat] = {}
        self.internet = Segment("internet", default or LinkQuality(), None)
        self.lose: Callable[[SimHost, bytes], bool] | None = None  # for a test that wants one particular packet lost
        self._addresses = 0

    # --- time ---
    @property
    def now(self) -> float:
        return self.loop.now

    def unix_ns(self, now: float) -> int:
        """The engines' calendar: virtual time, never going back."""
        return EPOCH_NS + int(now * 1e9)

    def at(self, when: float, callback: Callable[..., None], *arguments: object) -> None:
        self.loop.at(when, callback, *arguments)

    def run(self, seconds: float) -> None:
        self.loop.run_until(self.now + seconds)

    def until(self, condition: Callable[[], bool], timeout: float, what: str = "", every: float = 0.0) -> float:
        """Run until ``condition`` holds; returns the virtual seconds that took.

        The condition is looked at after each event, or only each ``every`` seconds when looking is dear.
        Raises SimTimeout, with the last packets, if it does not hold by then.
        """
        start = self.now
        limit = start + timeout
        while not condition():
            if self.now >= limit:
                raise SimTimeout(
                    f"after {timeout} virtual seconds (seed {self.seed}): {what or condition}\n{self.trace.dump()}"
                )
            if every:
                self.loop.run_until(min(self.now + every, limit))
            else:
                self.loop.step(limit)
        return self.now - start

    # --- topology ---
    def add_host(self, host: SimHost, address: str | Sequence[str] = "", behind: SimNat | None = None) -> None:
        """``address``: one, or one per family; "" takes the next free one of the segment."""
        if host.name in self.hosts or host.name in self.nats:
            raise ValueError(f"there is already a node called {host.name}")
        self.hosts[host.name] = host
        host.net = self
        self._attach(host, address, behind.inner if behind else self.internet)

    def add_nat(
        self,
        name: str,
        kind: NatKind,
        address: str = "",
        *,
        behind: SimNat | None = None,
        timeout: float = MAPPING_TIMEOUT,
        inbound_refresh: bool = False,
        hairpin: bool = False,
        lan: LinkQuality = LAN,
    ) -> SimNat:
        if name in self.hosts or name in self.nats:
            raise ValueError(f"there is already a node called {name}")
        outer = behind.inner if behind else self.internet
        table = NatTable(kind, self.random, timeout=timeout, inbound_refresh=inbound_refresh)
        nat = self.nats[name] = SimNat(name, address or self._free_address(outer), table, outer, hairpin, lan)
        self._place(nat, nat.address, outer)
        return nat

    def move(self, host: SimHost, address: str | Sequence[str] = "", behind: SimNat | None = None) -> None:
        """The host appears at another address at once; packets on their way to the old one are lost."""
        self._detach(host)
        self._attach(host, address, behind.inner if behind else self.internet)

    def renumber(self, nat: SimNat, address: str = "") -> None:
        """The NAT gets another outside address and forgets its mappings, as after a new DHCP lease or PPP session."""
        del nat.outer.nodes[nat.address]
        nat.address = address or self._free_address(nat.outer)
        self._place(nat, nat.address, nat.outer)
        nat.table.reset()

    # --- links ---
    def link(self, source: SimHost | SimNat, target: SimHost | SimNat) -> Link:
        """The one direction of the link that packets from source to target use."""
        near_nodes, far_nodes = self._way_out(source), self._way_out(target)
        for near, segment in near_nodes:
            for far, other in far_nodes:
                if segment is other:
                    return segment.link(near.name, far.name)
        raise ValueError(f"no segment joins {source.name} and {target.name}")

    def set_quality(self, quality: LinkQuality) -> None:
        """Of all links on the internet, those in use and those to come."""
        self.internet.default = quality
        for link in self.internet.links.values():
            link.quality = quality

    def set_link(self, a: SimHost | SimNat, b: SimHost | SimNat, quality: LinkQuality, back: bool = True) -> None:
        """``back``: the other direction too."""
        self.link(a, b).quality = quality
        if back:
            self.link(b, a).quality = quality

    def cut(self, a: SimHost | SimNat, b: SimHost | SimNat, back: bool = True) -> None:
        """Packets under way are lost too. A cut between hosts at two sites cuts the sites' link."""
        self.link(a, b).cut = True
        if back:
            self.link(b, a).cut = True

    def heal(self, a: SimHost | SimNat, b: SimHost | SimNat) -> None:
        self.link(a, b).cut = self.link(b, a).cut = False

    def partition(self, some: Iterable[SimHost | SimNat], others: Iterable[SimHost | SimNat]) -> None:
        others = list(others)
        for a in some:
            for b in others:
                self.cut(a, b)

    def heal_all(self) -> None:
        for segment in [self.internet] + [nat.inner for nat in self.nats.values()]:
            for link in segment.links.values():
                link.cut = False

    # --- packets ---
    def transmit(self, sender: SimHost, data: bytes, target: tuple[str, int]) -> None:
        """Send one datagram from the host's port, as sendto() would. Refusals are only traced."""
        address = sender.address_for(target[0])
        packet = _Packet(sender, data, (address or "", sender.port), (target[0], target[1]), self.loop.now)
        if address is None:
            self._end(packet, "", "no source address")
            return
        if self.lose is not None and self.lose(sender, data):
            self._end(packet, "", "lost by the test")
            return
        segment, near = sender.segment, sender.name
        while True:
            node = segment.nodes.get(packet.target[0])
            if node is not None:
                break
            nat = segment.gateway
            if nat is None:
                self._end(packet, "", "no such address")
                return
            if packet.target[0] == nat.address and not nat.hairpin:
                self._end(packet, nat.name, "no hairpin")
                return
            port = nat.table.outbound(packet.source, packet.target, packet.sent)
            if port is None:
                self._end(packet, nat.name, "NAT full")
                return
            packet.source = (nat.address, port)
            if packet.target[0] == nat.address:  # hairpin: turns round here, costs the way to the NAT
                node = nat
                break
            segment, near = nat.outer, nat.name
        link = segment.link(near, node.name)
        arrivals = link.arrivals(len(data), packet.sent, self.random)
        if isinstance(arrivals, str):
            self._end(packet, node.name, arrivals)
            return
        for arrival in arrivals:
            self.loop.at(arrival, self._arrive, packet, link, node)

    def _arrive(self, packet: _Packet, link: Link, node: SimHost | SimNat) -> None:
        if link.cut:
            self._end(packet, node.name, "cut")
            return
        target = packet.target
        while isinstance(node, SimNat):
            if target[0] != node.address:
                self._end(packet, node.name, "address gone", target)
                return
            inside = node.table.inbound(target[1], packet.source, self.loop.now)
            if isinstance(inside, Refusal):
                self._end(packet, node.name, inside.value, target)
                return
            target = inside
            behind = node.inner.nodes.get(target[0])
            if behind is None:
                self._end(packet, node.name, "address gone", target)
                return
            node = behind
        if target[0] not in node.addresses:
            self._end(packet, node.name, "address gone", target)
        elif not node.running:
            self._end(packet, node.name, "host down", target)
        elif target[1] != node.port:
            self._end(packet, node.name, "port closed", target)
        else:
            self._end(packet, node.name, DELIVERED, target)
            node.receive(packet.data, packet.source)

    def _end(self, packet: _Packet, node: str, verdict: str, target: Address | None = None) -> None:
        data = packet.data
        fate = Fate(
            packet.sent,
            self.loop.now,
            packet.sender.name,
            packet.source,
            node,
            target or packet.target,
            packet_type(data),
            len(data),
            verdict,
        )
        self.trace.add(fate, data)

    # --- addresses ---
    def _attach(self, host: SimHost, address: str | Sequence[str], segment: Segment) -> None:
        addresses = (address,) if isinstance(address, str) else tuple(address)
        host.addresses = tuple(a or self._free_address(segment) for a in addresses)
        host.segment = segment
        for a in host.addresses:
            self._place(host, a, segment)

    def _detach(self, host: SimHost) -> None:
        for address in host.addresses:
            del host.segment.nodes[address]
        host.addresses = ()

    def _place(self, node: SimHost | SimNat, address: str, segment: Segment) -> None:
        if address in segment.nodes:
            raise ValueError(f"{address} is taken in {segment.name}")
        segment.nodes[address] = node

    def _free_address(self, segment: Segment) -> str:
        """Public ones are never used twice (198.18.0.0/15, RFC 2544); each NAT starts over at 192.168.0.2."""
        if segment is self.internet:
            self._addresses += 1
            n = self._addresses
            return f"198.{18 + (n >> 16)}.{n >> 8 & 255}.{n & 255}"
        return next(a for n in range(2, 65534) if (a := f"192.168.{n >> 8}.{n & 255}") not in segment.nodes)

    def _way_out(self, node: SimHost | SimNat) -> list[tuple[SimHost | SimNat, Segment]]:
        """The node, its NAT, that one's NAT ..., each with the segment in which it is a node."""
        way: list[tuple[SimHost | SimNat, Segment]] = []
        segment = node.outer if isinstance(node, SimNat) else node.segment
        way.append((node, segment))
        while segment.gateway is not None:
            way.append((segment.gateway, segment.gateway.outer))
            segment = segment.gateway.outer
        return way
