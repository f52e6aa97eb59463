"""The system call bpf(2): numbers, the call itself, and its refusals as sentences.

Layouts and numbers are those of linux/bpf.h (UAPI, append-only). Standard library only.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from omni_core.errors import SystemRefused


class Command(IntEnum):
    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    PROG_LOAD = 5
    OBJ_PIN = 6
    OBJ_GET = 7
    PROG_TEST_RUN = 10
    PROG_GET_FD_BY_ID = 13
    MAP_GET_FD_BY_ID = 14
    OBJ_GET_INFO_BY_FD = 15
    MAP_LOOKUP_BATCH = 24


class MapType(IntEnum):
    """The map types that we meet; any other number is kept as it is."""

    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    LPM_TRIE = 11
    ARRAY_OF_MAPS = 12
    DEVMAP = 14
    CPUMAP = 16
    RINGBUF = 27


class ProgramType(IntEnum):
    SCHED_CLS = 3
    XDP = 6


_NUMBERS = {  # machine -> bpf, membarrier (asm/unistd.h)
    "x86_64": (321, 324),
    "i386": (357, 375),
    "i686": (357, 375),
    "aarch64": (280, 283),
    "riscv64": (280, 283),
    "loongarch64": (280, 283),
    "armv7l": (386, 389),
    "armv8l": (386, 389),
    "ppc64le": (361, 365),
    "s390x": (351, 356),
}
_MACHINE = platform.machine()
if ctypes.sizeof(ctypes.c_void_p) == 4:  # a 32-bit python on a 64-bit kernel
    _MACHINE = {"x86_64": "i386", "aarch64": "armv8l"}.get(_MACHINE, _MACHINE)
_NR_BPF, NR_MEMBARRIER = _NUMBERS.get(_MACHINE, (0, 0))

# Map operations take less than a microsecond, so they keep the interpreter lock; what may take long gives it back.
_holding = ctypes.PyDLL(None, use_errno=True).syscall
_yielding = ctypes.CDLL(None, use_errno=True).syscall
_holding.restype = _yielding.restype = ctypes.c_long


def quick(command: int, attributes: ctypes.Array[ctypes.c_char], size: int) -> int:
    """bpf(2) without giving the interpreter lock back. Returns -1 on error; ``ctypes.get_errno()`` tells which."""
    result: int = _holding(_NR_BPF, command, attributes, size)
    return result


def call(command: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
    """bpf(2) with all of ``attributes``. OSError with the kernel's errno where it refuses."""
    if not _NR_BPF:
        raise OSError(errno.ENOSYS, f"bpf(2): its number on {_MACHINE} is not known")
    result: int = _yielding(_NR_BPF, command, attributes, len(attributes))
    if result < 0:
        raise error(command)
    return result


def raw_syscall(number: int, *arguments: int) -> int:
    """Any system call with integer arguments. OSError with its errno."""
    result: int = _yielding(number, *(ctypes.c_long(argument) for argument in arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def error(command: int, code: int = 0) -> OSError:
    """The error of a call that just failed."""
    code = code or ctypes.get_errno()
    return OSError(code, f"bpf({Command(command).name}): {os.strerror(code) if code != 524 else 'not supported'}")


def attributes(layout: str, *values: int | bytes) -> ctypes.Array[ctypes.c_char]:
    """A packed ``union bpf_attr``, native byte order, no padding but what ``layout`` says."""
    data = struct.pack("=" + layout, *values)
    return ctypes.create_string_buffer(data, len(data))


def raise_memlock_limit() -> bool:
    """Kernels before 5.11 charge maps to RLIMIT_MEMLOCK. Whether there was something to raise."""
    try:
        if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
            return False
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        return False
    return True


def refusal(what: str, problem: OSError) -> SystemRefused:
    """The sentence for a user: what the machine does not allow, and what to do about it."""
    said = f"{problem.strerror or problem}"
    if problem.errno in (errno.EPERM, errno.EACCES):
        return SystemRefused(
            what,
            f"not permitted ({said})",
            "run as root, or grant CAP_SYS_ADMIN and CAP_NET_ADMIN (systemd: AmbientCapabilities=CAP_SYS_ADMIN"
            " CAP_NET_ADMIN; docker: --cap-add), or use the engine native",
        )
    if problem.errno == errno.ENOSYS:
        return SystemRefused(what, f"this kernel has no BPF ({said})", "use a kernel with BPF, or the engine python")
    if problem.errno in (errno.EINVAL, 524, errno.E2BIG):
        return SystemRefused(
            what,
            f"this kernel does not know what is asked of it ({said})",
            "use Linux 5.15 or newer, or the engine python",
        )
    if problem.errno == errno.ENOMEM:
        return SystemRefused(what, f"no memory for it ({said})", "free memory, or use the engine python")
    return SystemRefused(what, said, "see the kernel's log (dmesg), or use the engine python")


@contextmanager
def translated(what: str) -> Iterator[None]:
    """The boundary: an OSError inside leaves as SystemRefused about ``what``."""
    try:
        yield
    except OSError as problem:
        raise refusal(what, problem) from problem
