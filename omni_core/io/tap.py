"""A TAP device: Ethernet frames of the local port, read and written in batches.

    kernel stack / bridge  <-- write --  omni0 (TAP)  -- read -->  engine

IFF_NO_PI: a frame is a frame, nothing before it. The device lives as long as the file descriptor, so a killed process
leaves none behind; unless ``persist`` was called, then until somebody deletes it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Sequence

from omni_core.config.values import parse_interface_name
from omni_core.constants import ETHERNET_HEADER
from omni_core.errors import ConfigError, SystemRefused
from omni_core.io.capability import no_capability

DEVICE = "/dev/net/tun"

# linux/if_tun.h
_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
IFF_TUN_EXCL = 0x8000  # never join a device that somebody else made
_IFREQ = struct.Struct("16sH22x")

_VLAN_TAGS = 8  # bytes; 802.1ad: two tags come on top of the MTU


class Tap:
    """One open TAP device. Reads and writes never block."""

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self._fd = fd
        self._read_size = 0
        self.set_mtu(1500)
        self.write_failures = 0

    @classmethod
    def open(cls, name: str) -> Tap:
        """Create the device ``name``. Raises ConfigError("interface") or SystemRefused; nothing is left behind."""
        return cls._open(name, IFF_TUN_EXCL)

    @classmethod
    def join(cls, name: str) -> Tap:
        """Open a persistent device that nobody has open. Raises as ``open``; makes it where there is none."""
        return cls._open(name, 0)

    @classmethod
    def _open(cls, name: str, flags: int) -> Tap:
        return cls(name, open_device(name, flags))

    def persist(self) -> None:
        """Let the device outlive this object and the process. Raises SystemRefused."""
        persist(self.name, self._fd)

    def fileno(self) -> int:
        return self._fd

    def set_mtu(self, mtu: int, room: int = 0) -> None:
        """Size of the read buffer. One byte more than the longest frame, so that a longer one shows as too long.

        ``room``: bytes that come on top of a frame.
        """
        self._read_size = mtu + ETHERNET_HEADER + _VLAN_TAGS + room + 1

    def read_batch(self, limit: int) -> list[bytes]:
        """Up to ``limit`` frames that wait. Raises OSError when the device was deleted under us."""
        frames: list[bytes] = []
        read, fd, size = os.read, self._fd, self._read_size
        try:
            for _ in range(limit):
                frames.append(read(fd, size))
        except BlockingIOError:
            pass
        return frames

    def write_batch(self, frames: Sequence[bytes]) -> int:
        """Give frames to the kernel; returns how many it took. What it refuses (link down, no memory) is lost."""
        taken = 0
        write, fd = os.write, self._fd
        for frame in frames:
            try:
                write(fd, frame)
                taken += 1
            except OSError:
                self.write_failures += 1
        return taken

    def close(self) -> None:
        """Idempotent. The kernel removes the device, unless it persists."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def open_device(name: str, flags: int) -> int:
    """A descriptor, non-blocking, of the TAP device ``name``. ``flags`` of TUNSETIFF besides IFF_TAP and IFF_NO_PI.

    Raises ConfigError("interface") or SystemRefused; nothing is left behind.
    """
    try:
        parse_interface_name(name)
    except ValueError as problem:
        raise ConfigError("interface", str(problem), "choose a name such as omni0") from None
    try:
        fd = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _device_refused(error) from None
    try:
        fcntl.ioctl(fd, _TUNSETIFF, _IFREQ.pack(name.encode("ascii"), _IFF_TAP | _IFF_NO_PI | flags))
    except OSError as error:
        os.close(fd)
        raise _interface_refused(name, error) from None
    return fd


def persist(name: str, fd: int) -> None:
    """Let the device outlive all descriptors. Raises SystemRefused."""
    try:
        fcntl.ioctl(fd, _TUNSETPERSIST, 1)
    except OSError as error:
        raise SystemRefused(name, f"it cannot be made to stay ({error.strerror})", "see dmesg") from None


def _device_refused(error: OSError) -> SystemRefused:
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return SystemRefused(DEVICE, "it does not exist", "modprobe tun; in a container add --device /dev/net/tun")
    return SystemRefused(DEVICE, f"it cannot be opened ({error.strerror})", "run as root, or give access to the device")


def _interface_refused(name: str, error: OSError) -> ConfigError | SystemRefused:
    if error.errno == errno.EPERM:
        return no_capability(f"the interface {name} cannot be made without it")
    if error.errno in (errno.EBUSY, errno.EEXIST, errno.EINVAL):
        return ConfigError("interface", f"{name} exists already", "choose another name, or remove that interface")
    return SystemRefused(DEVICE, f"the interface {name} cannot be made ({error.strerror})", "see dmesg")
