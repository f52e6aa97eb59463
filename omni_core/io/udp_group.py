"""One UDP port for the Ganglion and a native engine: which socket gets which packet.

All sockets of an address are one SO_REUSEPORT group. Those of the engine's workers come first, 0 to W - 1, and the
Ganglion's own is last: when it goes, the others keep their places, and that of the next Ganglion is W again. A classic
BPF program, attached by the Ganglion, chooses by the UDP payload:

    control message, or too short for a header       W
    beside the engine in the kernel: not stream 1    W   the programs have not seen it: fragments, loopback
    any other data                                   0 to W - 1, by the sender's address and port

So all that one peer sends arrives at one worker, in order, also when its session changes.
While no Ganglion is there, place W is empty; the kernel then chooses by a hash, and the engine drops what is not its.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from collections.abc import Callable

from omni_core.constants import FIRST_DATA_BYTE, HEADER_SIZE, IPV4_HEADER, IPV6_HEADER, STREAM_SHIFT
from omni_core.errors import SystemRefused
from omni_core.io.udp_bind import new_socket

_SO_ATTACH_REUSEPORT_CBPF = 51
_FPROG = struct.Struct("HP")  # struct sock_fprog

# linux/filter.h: struct sock_filter, and the codes that are used here
_INSTRUCTION = struct.Struct("=HBBI")
_LOAD_LENGTH = 0x80  # BPF_LD | BPF_W | BPF_LEN
_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_LOAD_HALF = 0x28
_LOAD_BYTE = 0x30
_STORE = 0x02  # BPF_ST
_RECALL = 0x61  # BPF_LDX | BPF_MEM: X = what was stored
_XOR = 0xAC  # BPF_ALU | BPF_XOR | BPF_X
_MULTIPLY = 0x24  # BPF_ALU | BPF_MUL | BPF_K
_SHIFT_RIGHT = 0x74  # BPF_ALU | BPF_RSH | BPF_K
_MODULO = 0x94  # BPF_ALU | BPF_MOD | BPF_K
_IF_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN_A = 0x16
_RETURN = 0x06  # BPF_RET | BPF_K

_IP = 0xFFF00000  # SKF_NET_OFF: from here on offsets are those in the IP packet
_SOURCE: dict[int, tuple[int, ...]] = {
    socket.AF_INET: (12,),
    socket.AF_INET6: (8, 12, 16, 20),
}  # words of the sender's address
_SOURCE_PORT: dict[int, int] = {socket.AF_INET: IPV4_HEADER, socket.AF_INET6: IPV6_HEADER}
_GOLDEN = 0x9E3779B1  # 2^32 / golden ratio: spreads numbers that differ little
_LANE = HEADER_SIZE - 1  # last byte of the nonce
BULK_STREAM = 1


def bind_group(
    own: socket.socket, workers: int, drain: Callable[[socket.socket], None]
) -> tuple[list[socket.socket], socket.socket]:
    """Sockets for ``workers``, and one in place of ``own``, which is closed, in this order on its address and port.

    ``drain`` is called with ``own`` just before, to read what waits there. At no moment is the port anybody's to take.
    Raises SystemRefused; ``own`` is then as before, or the group is beyond use and closed.
    """
    address = own.getsockname()
    made: list[socket.socket] = []
    try:
        for _ in range(workers + 1):
            sock = new_socket(own.family)
            made.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made[0].bind(address)
        drain(own)
        own.close()  # the kernel moves the last of a group to the place that becomes free: made[0] is the first now
        for sock in made[1:]:
            sock.bind(address)
    except OSError as error:
        for sock in made:
            sock.close()
        raise SystemRefused(
            "UDP socket", f"it cannot be shared ({error.strerror})", "see ulimit -n, and dmesg"
        ) from None
    return made[:-1], made[-1]


def steer(own: socket.socket, workers: int, *, bulk: bool) -> None:
    """Say for the group of ``own`` which socket gets what. Raises SystemRefused."""
    code = ctypes.create_string_buffer(program(own.family, workers, bulk=bulk))
    attached = _FPROG.pack(len(code.raw) // _INSTRUCTION.size, ctypes.addressof(code))
    try:
        own.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, attached)
    except OSError as error:
        raise SystemRefused(
            "UDP socket", f"the kernel does not share it ({error.strerror})", "use another engine"
        ) from None


def leave_group(own: socket.socket) -> None:
    """Nobody else is in it: the port is only ours again."""
    with contextlib.suppress(OSError):
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)


def program(family: int, workers: int, *, bulk: bool) -> bytes:
    """Classic BPF; the packet begins with the UDP payload, and what is returned is a place in the group."""
    lines: list[tuple[int, int, bool]] = [  # code, number, whether to go on to the Ganglion where the test fails
        (_LOAD_LENGTH, 0, False),
        (_IF_AT_LEAST, HEADER_SIZE, True),
        (_LOAD_BYTE, 0, False),
        (_IF_AT_LEAST, FIRST_DATA_BYTE, True),
    ]
    if bulk:
        lines += [(_LOAD_BYTE, _LANE, False), (_SHIFT_RIGHT, STREAM_SHIFT, False), (_IF_EQUAL, BULK_STREAM, True)]
    lines.append((_LOAD_HALF, _IP + _SOURCE_PORT[family], False))
    for at in _SOURCE[family]:
        lines += [(_STORE, 0, False), (_RECALL, 0, False), (_LOAD_WORD, _IP + at, False), (_XOR, 0, False)]
    lines += [(_MULTIPLY, _GOLDEN, False), (_SHIFT_RIGHT, 16, False), (_MODULO, workers, False)]
    lines += [(_RETURN_A, 0, False), (_RETURN, workers, False)]
    last = len(lines) - 1
    return b"".join(
        _INSTRUCTION.pack(code, 0, last - at - 1 if tests else 0, number)
        for at, (code, number, tests) in enumerate(lines)
    )
