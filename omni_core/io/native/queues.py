"""A TAP device for the native engine: a queue for each of its workers, frames with a virtio-net header in front.

The header lets the kernel leave checksums open and hand over super-frames of up to 64 KiB, both ways. The device stays
when nobody has it open, so that it outlives an engine that is killed; undoing the journal removes it.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Sequence

from omni_core.errors import SystemRefused
from omni_core.io.tap import IFF_TUN_EXCL, open_device, persist

# linux/if_tun.h
_TUNSETOFFLOAD = 0x400454D0
_TUNSETVNETHDRSZ = 0x400454D8
_IFF_MULTI_QUEUE = 0x0100
_IFF_VNET_HDR = 0x4000
_F_CSUM, _F_TSO4, _F_TSO6, _F_TSO_ECN, _F_USO4, _F_USO6 = 0x01, 0x02, 0x04, 0x08, 0x20, 0x40
_TCP = _F_CSUM | _F_TSO4 | _F_TSO6 | _F_TSO_ECN
_HEADER = 10  # struct virtio_net_hdr


class TapQueues:
    """``fds``: one a queue, non-blocking."""

    def __init__(self, name: str, fds: Sequence[int]) -> None:
        self.name = name
        self.fds = list(fds)

    @classmethod
    def open(cls, name: str, queues: int) -> TapQueues:
        """Make the device. Raises ConfigError("interface") or SystemRefused; nothing is left behind."""
        made = cls._open(name, queues, IFF_TUN_EXCL)
        try:
            persist(name, made.fds[0])
        except BaseException:
            made.close()
            raise
        return made

    @classmethod
    def join(cls, name: str, queues: int) -> TapQueues:
        """Of a device that ``open`` has made, and that nobody has open. Raises as ``open``."""
        return cls._open(name, queues, 0)

    @classmethod
    def _open(cls, name: str, queues: int, flags: int) -> TapQueues:
        made = cls(name, [])
        try:
            for number in range(queues):
                exclusive = flags if number == 0 else 0
                made.fds.append(open_device(name, _IFF_VNET_HDR | _IFF_MULTI_QUEUE | exclusive))
            _offload(name, made.fds[0])
        except BaseException:
            made.close()
            raise
        return made

    def close(self) -> None:
        """Our copies. The device stays once it was made. Idempotent."""
        while self.fds:
            os.close(self.fds.pop())


def _offload(name: str, fd: int) -> None:
    """For all queues of the device. UDP super-frames came with Linux 6.2."""
    try:
        fcntl.ioctl(fd, _TUNSETVNETHDRSZ, struct.pack("i", _HEADER))
        try:
            fcntl.ioctl(fd, _TUNSETOFFLOAD, _TCP | _F_USO4 | _F_USO6)
        except OSError:
            fcntl.ioctl(fd, _TUNSETOFFLOAD, _TCP)
    except OSError as error:
        raise SystemRefused(name, f"the kernel does not offload ({error.strerror})", "use another engine") from None
