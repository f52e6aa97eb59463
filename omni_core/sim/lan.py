"""A virtual host on an edge's local port: resolves by ARP, answers ARP, sends and receives UDP over IPv4."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Protocol

from omni_core.sim.frames import Udp, arp, parse_arp, parse_udp, udp
from omni_core.types import BROADCAST, Mac

PORT = 7400  # DDS discovery of domain 0
ARP_RETRY = 1.0  # s, as Linux does
ARP_TRIES = 3


class LocalPort(Protocol):
    """What a LanHost is plugged into: a SimEdge."""

    def plug(self, listener: Callable[[bytes], None]) -> None: ...
    def send_frame(self, frame: bytes) -> None: ...
    def call_later(self, delay: float, callback: Callable[..., None], *arguments: object) -> None: ...


class LanHost:
    def __init__(self, port: LocalPort, mac: Mac, address: str) -> None:
        self.mac = mac
        self.address = IPv4Address(address)
        self.neighbours: dict[IPv4Address, Mac] = {}
        self.received: list[Udp] = []
        self.on_udp: Callable[[], None] | None = None  # told after each
        self._port = port
        self._waiting: defaultdict[IPv4Address, list[Udp]] = defaultdict(list)
        port.plug(self._on_frame)

    @property
    def payloads(self) -> list[bytes]:
        return [packet.payload for packet in self.received]

    def send(self, address: str | IPv4Address, payload: bytes) -> None:
        """UDP to another host of the overlay; asks for its MAC first if need be, as a kernel does."""
        target = IPv4Address(address)
        packet = Udp(self.address, target, PORT, PORT, payload)
        mac = self.neighbours.get(target)
        if mac is not None:
            self._port.send_frame(udp(mac, self.mac, packet))
            return
        self._waiting[target].append(packet)
        if len(self._waiting[target]) == 1:
            self._ask(target, ARP_TRIES)

    def broadcast(self, payload: bytes) -> None:
        packet = Udp(self.address, IPv4Address("255.255.255.255"), PORT, PORT, payload)
        self._port.send_frame(udp(BROADCAST, self.mac, packet))

    def _ask(self, target: IPv4Address, tries: int) -> None:
        if target in self.neighbours:
            return
        if not tries:
            del self._waiting[target]
            return
        self._port.send_frame(arp(1, self.mac, self.address, BROADCAST, target))
        self._port.call_later(ARP_RETRY, self._ask, target, tries - 1)

    def _on_frame(self, frame: bytes) -> None:
        if frame[:6] not in (self.mac, BROADCAST):
            return
        question = parse_arp(frame)
        if question is not None:
            self.neighbours[question.sender] = question.sender_mac
            for waiting in self._waiting.pop(question.sender, []):
                self._port.send_frame(udp(question.sender_mac, self.mac, waiting))
            if question.operation == 1 and question.target == self.address:
                self._port.send_frame(arp(2, self.mac, self.address, question.sender_mac, question.sender))
            return
        packet = parse_udp(frame)
        if packet is not None:
            self.received.append(packet)
            if self.on_udp is not None:
                self.on_udp()
