"""A DDS participant that says only that it is there: announcements (SPDP) as whole Ethernet frames."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from support.group_frames import group_mac
from support.group_frames import udp as group_udp

from omni_core.types import Mac

GROUP = group_mac("239.255.0.1")
PORT_BASE, DOMAIN_GAIN = 7400, 250


@dataclass
class Speaker:
    """One participant. ``lease`` None: not said."""

    number: int = 1
    mac: Mac = b"\x02\0\0\0\0\x0a"
    domain: int = 0
    lease: float | None = 20.0

    @property
    def prefix(self) -> bytes:
        return b"\x01\x0f" + self.number.to_bytes(10, "big")

    def says(
        self,
        *,
        data: bytes = b"here",
        domain: int | None = None,
        group: str = "239.255.0.1",
        big: bool = False,
        vlan: int | None = None,
        sequence: int = 1,
        ends: bool = False,
        size: int = 0,
    ) -> bytes:
        """``size``: bytes more of payload."""
        order = ">" if big else "<"

        def parameter(number: int, value: bytes) -> bytes:
            value += bytes(-len(value) % 4)
            return struct.pack(f"{order}HH", number, len(value)) + value

        end = parameter(1, b"")
        guid = parameter(0x50, self.prefix + bytes.fromhex("000001c1"))
        if ends:
            flags, qos = 0x0A, parameter(0x71, bytes([0, 0, 0, 3])) + end
            said = guid
        else:
            flags, qos = 0x04, b""
            said = guid + parameter(0x62, data)
            if self.lease is not None:
                whole = int(self.lease)
                said += parameter(2, struct.pack(f"{order}iI", whole, int((self.lease - whole) * 2**32)))
            said += parameter(0x8001, bytes(size)) if size else b""
        payload = bytes([0, 2 if big else 3, 0, 0]) + said + end
        head = struct.pack(f"{order}HH4s4sII", 0, 16, bytes(4), bytes.fromhex("000100c2"), 0, sequence)
        body = head + qos + payload
        message = b"RTPS\x02\x03\x01\x0f" + self.prefix
        little = 0 if big else 1
        message += struct.pack(f"{order}BBHII", 9, little, 8, 1_700_000_000, sequence)
        message += struct.pack(f"{order}BBH", 0x15, flags | little, len(body)) + body
        number = self.domain if domain is None else domain
        tags = () if vlan is None else ((0x8100, vlan),)
        frame = group_udp(group, PORT_BASE + DOMAIN_GAIN * number, message, tags=tags)
        return frame[:6] + self.mac + frame[12:]
