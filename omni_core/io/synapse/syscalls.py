"""BPF maps and programs by file descriptor, without bcc: only bpf(2).

Errors are OSError with the kernel's errno; ``bpf_call.translated`` makes sentences of them. Standard library only.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, TypeVar

from omni_core.io.synapse import bpf_call
from omni_core.io.synapse.bpf_call import Command, MapType

ANY, NOEXIST, EXIST = 0, 1, 2  # flags of update()
LOCK = 4  # flag of update() and lookup(): under the value's bpf_spin_lock

_PER_CPU = {MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH}
_ARRAYS = {MapType.ARRAY, MapType.PERCPU_ARRAY}
_BATCHED = _ARRAYS | {MapType.HASH, MapType.LRU_HASH, MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH}
_BATCH = 1024  # entries of one MAP_LOOKUP_BATCH; more where one bucket has more
_BATCH_BYTES = 1 << 20
_NOT_SUPPORTED = 524  # ENOTSUPP of the kernel
_ELEMENT = struct.Struct("=IIQQQ")  # map fd, padding, key, value or next key, flags


@cache
def possible_cpus() -> int:
    """CPUs that a per-CPU map has values for, present or not."""
    last = Path("/sys/devices/system/cpu/possible").read_text().strip().replace(",", "-").split("-")[-1]
    return int(last) + 1


_Owner = TypeVar("_Owner", bound="_Descriptor")


class _Descriptor:
    """An owned file descriptor of a BPF object. ``close`` may be called twice."""

    fd: int

    def fileno(self) -> int:
        return self.fd

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self: _Owner) -> _Owner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class BpfMap(_Descriptor):
    """A map. Owns ``fd``. Keys and values are bytes of exactly ``key_size`` and ``value_size``.

    A value of a per-CPU map is those of all possible CPUs one after the other, ``cpu_stride`` bytes each (the value
    size rounded up to 8). The buffers of a call are reused: one thread at a time per object.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        info = _info(fd, 80)
        kind, self.id, self.key_size, self.value_size, self.max_entries, self.map_flags, name = struct.unpack_from(
            "=6I16s", info
        )
        self.type = MapType(kind) if kind in MapType._value2member_map_ else kind
        self.name = name.split(b"\0")[0].decode()
        self.cpus = possible_cpus() if self.type in _PER_CPU else 1
        self.cpu_stride = (self.value_size + 7) // 8 * 8 if self.type in _PER_CPU else self.value_size
        self._value_bytes = self.cpu_stride * self.cpus
        self._key = ctypes.create_string_buffer(max(self.key_size, 1))
        self._next = ctypes.create_string_buffer(max(self.key_size, 1))
        self._value = ctypes.create_string_buffer(max(self._value_bytes, 1))
        self._flags = 0  # in the attributes
        self._attributes = ctypes.create_string_buffer(_ELEMENT.size)
        _ELEMENT.pack_into(self._attributes, 0, fd, 0, ctypes.addressof(self._key), ctypes.addressof(self._value), 0)
        self._walk = bpf_call.attributes("IIQQQ", fd, 0, 0, ctypes.addressof(self._next), 0)

    def __repr__(self) -> str:
        return f"BpfMap({self.name!r}, id {self.id}, {self.key_size} -> {self.value_size}, {self.max_entries} entries)"

    def lookup(self, key: bytes, flags: int = 0) -> bytes | None:
        """The value, or None where there is none."""
        self._set_key(key, flags)
        if bpf_call.quick(Command.MAP_LOOKUP_ELEM, self._attributes, _ELEMENT.size) < 0:
            if ctypes.get_errno() == errno.ENOENT:
                return None
            raise bpf_call.error(Command.MAP_LOOKUP_ELEM)
        value: bytes = self._value.raw
        return value

    def lookup_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        """``lookup`` of each, in order. A few microseconds each."""
        lookup = self.lookup
        return [lookup(key) for key in keys]

    def lookup_cpus(self, key: bytes) -> list[bytes] | None:
        """The value of each possible CPU of a per-CPU map (the only value of any other), each ``value_size`` bytes."""
        value = self.lookup(key)
        if value is None:
            return None
        return [value[at : at + self.value_size] for at in range(0, self._value_bytes, self.cpu_stride)]

    def update(self, key: bytes, value: bytes | ctypes.Array[ctypes.c_char], flags: int = ANY) -> None:
        """Writes an entry. On a per-CPU map a value of ``value_size`` goes to every CPU.

        OSError: E2BIG map full, EEXIST/ENOENT as ``flags`` asked.
        """
        if len(value) != self._value_bytes:
            if len(value) != self.value_size:
                raise ValueError(f"map {self.name}: a value has {self.value_size} bytes, not {len(value)}")
            value = bytes(value).ljust(self.cpu_stride, b"\0") * self.cpus
        self._set_key(key, flags)
        ctypes.memmove(self._value, value, len(value))
        if bpf_call.quick(Command.MAP_UPDATE_ELEM, self._attributes, _ELEMENT.size) < 0:
            raise bpf_call.error(Command.MAP_UPDATE_ELEM)

    def update_secret(self, key: bytes, value: bytearray) -> None:
        """``update`` with key material: ``value`` and the copy in this object are wiped on return."""
        try:
            self.update(key, (ctypes.c_char * len(value)).from_buffer(value))
        finally:
            value[:] = bytes(len(value))
            ctypes.memset(self._value, 0, len(self._value))

    def lookup_secret(self, key: bytes) -> bytearray | None:
        """``lookup`` of key material: for the caller to wipe; the copy in this object is wiped already."""
        self._set_key(key, 0)
        try:
            if bpf_call.quick(Command.MAP_LOOKUP_ELEM, self._attributes, _ELEMENT.size) < 0:
                if ctypes.get_errno() == errno.ENOENT:
                    return None
                raise bpf_call.error(Command.MAP_LOOKUP_ELEM)
            return bytearray(memoryview(self._value)[: self._value_bytes])
        finally:
            ctypes.memset(self._value, 0, len(self._value))

    def delete(self, key: bytes) -> bool:
        """Whether there was such an entry."""
        self._set_key(key, 0)
        # Up to and with the key: old kernels refuse attributes behind the last one that they know.
        if bpf_call.quick(Command.MAP_DELETE_ELEM, self._attributes, 16) < 0:
            if ctypes.get_errno() == errno.ENOENT:
                return False
            raise bpf_call.error(Command.MAP_DELETE_ELEM)
        return True

    def keys(self) -> list[bytes]:
        """All keys, in the map's order. Entries that come or go meanwhile may or may not be in it; no key is twice."""
        if self.type in _ARRAYS:
            return [struct.pack("=I", index) for index in range(self.max_entries)]
        if (batches := self._read_batches()) is not None:
            return list(batches)
        found: dict[bytes, None] = {}
        key: bytes | None = None
        # A key that was deleted under us sends the walk back to the start, so its length is bounded here.
        for _ in range(4 * self.max_entries + 16):
            key = self._key_after(key)
            if key is None:
                break
            found[key] = None
        return list(found)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All entries; batched where kernel and map type allow, else key by key. The same promise as ``keys``."""
        if (batches := self._read_batches()) is not None:
            yield from batches.items()
            return
        for key in self.keys():
            value = self.lookup(key)
            if value is not None:
                yield key, value

    def _set_key(self, key: bytes, flags: int) -> None:
        if len(key) != self.key_size:
            raise ValueError(f"map {self.name}: a key has {self.key_size} bytes, not {len(key)}")
        ctypes.memmove(self._key, key, len(key))
        if flags != self._flags:
            struct.pack_into("=Q", self._attributes, 24, flags)
            self._flags = flags

    def _key_after(self, key: bytes | None) -> bytes | None:
        if key is not None:
            ctypes.memmove(self._key, key, len(key))
        struct.pack_into("=Q", self._walk, 8, 0 if key is None else ctypes.addressof(self._key))
        if bpf_call.quick(Command.MAP_GET_NEXT_KEY, self._walk, 24) < 0:
            if ctypes.get_errno() == errno.ENOENT:
                return None
            raise bpf_call.error(Command.MAP_GET_NEXT_KEY)
        return self._next.raw[: self.key_size]

    def _read_batches(self) -> dict[bytes, bytes] | None:
        """All entries by MAP_LOOKUP_BATCH, or None where this kernel does not do it for this type."""
        if self.type not in _BATCHED:
            return None
        room = max(1, min(self.max_entries, _BATCH, _BATCH_BYTES // (self._value_bytes + self.key_size)))
        found: dict[bytes, bytes] = {}
        position = ctypes.create_string_buffer(max(self.key_size, 4))
        start = 0  # NULL: from the beginning
        keys = values = None
        while True:
            if keys is None or values is None:
                keys = ctypes.create_string_buffer(room * self.key_size)
                values = ctypes.create_string_buffer(room * self._value_bytes)
            at = ctypes.addressof(position)
            attributes = bpf_call.attributes(
                "QQQQIIQQ", start, at, ctypes.addressof(keys), ctypes.addressof(values), room, self.fd, 0, 0
            )
            code = 0
            if bpf_call.quick(Command.MAP_LOOKUP_BATCH, attributes, len(attributes)) < 0:
                code = ctypes.get_errno()
            if code in (_NOT_SUPPORTED, errno.EINVAL, errno.EOPNOTSUPP) and not found:
                return None
            if code == errno.ENOSPC:  # one bucket has more entries than there is room
                room, keys = min(2 * room, 2 * self.max_entries), None
                continue
            if code not in (0, errno.ENOENT):
                raise bpf_call.error(Command.MAP_LOOKUP_BATCH, code)
            (count,) = struct.unpack_from("=I", attributes, 32)
            key_bytes, value_bytes = keys.raw, values.raw
            k, v = self.key_size, self._value_bytes
            for i in range(count):
                found[key_bytes[i * k : i * k + k]] = value_bytes[i * v : i * v + v]
            if code == errno.ENOENT:  # that was the rest
                return found
            start = at


class TestResult(NamedTuple):
    """What BPF_PROG_TEST_RUN gave: the verdict, the packet and the context after it, nanoseconds of one run."""

    retval: int
    data: bytes
    ctx: bytes
    duration_ns: int


class BpfProgram(_Descriptor):
    """A loaded program. Owns ``fd``."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        info = _info(fd, 232)
        self.type, self.id, tag, self.jited_bytes, xlated_bytes = struct.unpack_from("=II8sII", info)
        self.tag = tag.hex()  # hash over the instructions
        self.instructions = xlated_bytes // 8  # after the verifier's rewriting; 0 where we may not see it
        self.name = info[64:80].split(b"\0")[0].decode()
        (self.verified_instructions,) = struct.unpack_from("=I", info, 216)  # that the verifier walked; 0 before 5.16

    def __repr__(self) -> str:
        return f"BpfProgram({self.name!r}, id {self.id}, tag {self.tag})"

    def test_run(
        self,
        data: bytes,
        ctx: bytes | None = None,
        repeat: int = 1,
        data_out_size: int | None = None,
        flags: int = 0,
        cpu: int = 0,
    ) -> TestResult:
        """Runs the program on ``data`` (from the Ethernet header on), ``repeat`` times on what the run before left.

        ``ctx``: struct xdp_md or __sk_buff, or None. ``data_out_size``: room for the packet afterwards, by default
        what it was and 512 bytes more; OSError ENOSPC where it is too small.
        """
        packet = ctypes.create_string_buffer(data, len(data))
        after = ctypes.create_string_buffer(max(len(data) + 512 if data_out_size is None else data_out_size, 1))
        context = ctypes.create_string_buffer(ctx, len(ctx)) if ctx else None
        context_after = ctypes.create_string_buffer(len(ctx)) if ctx else None
        attributes = bpf_call.attributes(
            "IIIIQQIIIIQQIIII",
            *(self.fd, 0, len(data), len(after), ctypes.addressof(packet), ctypes.addressof(after), repeat, 0),
            *(len(ctx) if ctx else 0, len(ctx) if ctx else 0),
            *(ctypes.addressof(context) if context else 0, ctypes.addressof(context_after) if context_after else 0),
            *(flags, cpu, 0, 0),
        )
        bpf_call.call(Command.PROG_TEST_RUN, attributes)
        _, retval, _, size = struct.unpack_from("=4I", attributes)
        _, duration, _, context_size = struct.unpack_from("=4I", attributes, 32)
        left = context_after.raw[:context_size] if context_after else b""
        return TestResult(retval, after.raw[:size], left, duration)

    def map_ids(self) -> list[int]:
        """Ids of the maps that the program uses."""
        (count,) = struct.unpack_from("=I", _info(self.fd, 80), 52)
        ids = (ctypes.c_uint32 * max(count, 1))()
        request = bytearray(80)
        struct.pack_into("=IQ", request, 52, count, ctypes.addressof(ids))
        (count,) = struct.unpack_from("=I", _info(self.fd, 80, request), 52)
        return list(ids[:count])


def _info(fd: int, size: int, request: bytes | bytearray = b"") -> bytes:
    """``size`` bytes of struct bpf_map_info or bpf_prog_info; zero where the kernel's is shorter."""
    info = ctypes.create_string_buffer(bytes(request), size)
    bpf_call.call(Command.OBJ_GET_INFO_BY_FD, bpf_call.attributes("IIQ", fd, size, ctypes.addressof(info)))
    return info.raw


def create_map(
    name: str, kind: MapType, key_size: int, value_size: int, max_entries: int, flags: int = 0, inner: int = 0
) -> BpfMap:
    """A new map; sizes in bytes. ``inner``: descriptor of a map like those that a map of maps will hold."""
    attributes = bpf_call.attributes(
        "IIIIIII16s", kind, key_size, value_size, max_entries, flags, inner, 0, name.encode()[:15]
    )
    try:
        fd = bpf_call.call(Command.MAP_CREATE, attributes)
    except OSError as problem:
        if problem.errno != errno.EPERM or not bpf_call.raise_memlock_limit():
            raise
        fd = bpf_call.call(Command.MAP_CREATE, attributes)
    return BpfMap(fd)


def duplicate(fd: int) -> int:
    """Another descriptor of the same object, closed on exec."""
    return os.dup(fd)


def obj_pin(fd: int, path: Path) -> None:
    """Gives a map or program a name in a bpffs. OSError: EEXIST, EPERM (no bpffs, or a dot in the name)."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    bpf_call.call(Command.OBJ_PIN, bpf_call.attributes("QII", ctypes.addressof(name), fd, 0))


def obj_get(path: Path) -> int:
    """A descriptor of what is pinned at ``path``, for BpfMap or BpfProgram."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    return bpf_call.call(Command.OBJ_GET, bpf_call.attributes("QII", ctypes.addressof(name), 0, 0))


def map_by_id(identifier: int) -> BpfMap:
    return BpfMap(bpf_call.call(Command.MAP_GET_FD_BY_ID, bpf_call.attributes("III", identifier, 0, 0)))


def program_by_id(identifier: int) -> BpfProgram:
    return BpfProgram(bpf_call.call(Command.PROG_GET_FD_BY_ID, bpf_call.attributes("III", identifier, 0, 0)))


def grace() -> None:
    """Returns when every run of a BPF program that was under way has ended. Takes milliseconds: not in an event loop.

    membarrier(MEMBARRIER_CMD_GLOBAL) is synchronize_rcu(), and XDP and TC programs run inside RCU read-side sections.
    It is refused on kernels booted with nohz_full, and may be filtered in a container; then an entry of a map of maps
    is written, after which the kernel waits for the same thing (maybe_wait_bpf_programs()).
    """
    try:
        bpf_call.raw_syscall(bpf_call.NR_MEMBARRIER, 1, 0, 0)
    except OSError:
        with (
            create_map("grace_inner", MapType.ARRAY, 4, 4, 1) as inner,
            create_map("grace", MapType.ARRAY_OF_MAPS, 4, 4, 1, inner=inner.fd) as outer,
        ):
            fd = struct.pack("=I", inner.fd)
            attributes = ctypes.create_string_buffer(_ELEMENT.pack(outer.fd, 0, 0, 0, 0), _ELEMENT.size)
            key, value = ctypes.create_string_buffer(4), ctypes.create_string_buffer(fd, 4)
            struct.pack_into("=QQ", attributes, 8, ctypes.addressof(key), ctypes.addressof(value))
            bpf_call.call(Command.MAP_UPDATE_ELEM, attributes)
