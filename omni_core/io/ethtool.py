"""Offloads of an interface, by the names that `ethtool -k` shows (linux/ethtool.h, over SIOCETHTOOL)."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket
import struct
from collections.abc import Mapping

from omni_core.errors import SystemRefused
from omni_core.io.capability import no_capability

_SIOCETHTOOL = 0x8946
_GSSET_INFO, _GSTRINGS, _GFEATURES, _SFEATURES = 0x37, 0x1B, 0x3A, 0x3B
_ETH_SS_FEATURES = 4
_NAME_SIZE = 32  # ETH_GSTRING_LEN
_IFREQ = struct.Struct("=16sQ16x") if ctypes.sizeof(ctypes.c_void_p) == 8 else struct.Struct("=16sI12x")


def set_features(interface: str, wanted: Mapping[str, bool]) -> list[str]:
    """Switch offloads; returns the names that this kernel does not know or keeps as they are. Raises SystemRefused."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            names = _names(sock, interface)
            blocks = (len(names) + 31) // 32
            valid, requested = [0] * blocks, [0] * blocks
            for name, on in wanted.items():
                if name in names:
                    block, bit = divmod(names.index(name), 32)
                    valid[block] |= 1 << bit
                    requested[block] |= on << bit
            pairs = [word for pair in zip(valid, requested, strict=True) for word in pair]
            _call(sock, interface, struct.pack(f"=II{2 * blocks}I", _SFEATURES, blocks, *pairs))
            now = _active(sock, interface, names)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            raise no_capability(f"cannot set the offloads of {interface}") from None
        raise SystemRefused(
            interface, f"the kernel refused to set its offloads ({error.strerror})", f"see `ethtool -k {interface}`"
        ) from None
    return [name for name, on in wanted.items() if now.get(name) is not on]


def _names(sock: socket.socket, interface: str) -> list[str]:
    answer = _call(sock, interface, struct.pack("=IIQI", _GSSET_INFO, 0, 1 << _ETH_SS_FEATURES, 0))
    (count,) = struct.unpack_from("=I", answer, 16)
    head = struct.pack("=III", _GSTRINGS, _ETH_SS_FEATURES, count)
    answer = _call(sock, interface, head + bytes(count * _NAME_SIZE))[len(head) :]
    return [answer[at : at + _NAME_SIZE].split(b"\0")[0].decode() for at in range(0, count * _NAME_SIZE, _NAME_SIZE)]


def _active(sock: socket.socket, interface: str, names: list[str]) -> dict[str, bool]:
    blocks = (len(names) + 31) // 32
    answer = _call(sock, interface, struct.pack("=II", _GFEATURES, blocks) + bytes(16 * blocks))
    active = [
        words[2] for words in struct.iter_unpack("=4I", answer[8:])
    ]  # available, requested, active, never changed
    return {name: bool(active[i // 32] >> (i % 32) & 1) for i, name in enumerate(names)}


def _call(sock: socket.socket, interface: str, command: bytes) -> bytes:
    buffer = ctypes.create_string_buffer(command, len(command))
    fcntl.ioctl(sock, _SIOCETHTOOL, _IFREQ.pack(interface.encode(), ctypes.addressof(buffer)))
    return buffer.raw
