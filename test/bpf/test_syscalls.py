"""Maps and programs by bpf(2), on the running kernel."""

from __future__ import annotations

import errno
import random
import struct
import threading
import time
from pathlib import Path

import pytest
from support.bpf_programs import LoadPrograms

from omni_core.errors import SystemRefused
from omni_core.io.synapse import bpf_call, loader, syscalls
from omni_core.io.synapse.bpf_call import MapType
from omni_core.io.synapse.syscalls import BpfMap, create_map

pytestmark = pytest.mark.netns

BASICS = Path(__file__).parents[2] / "bpf/test/basics.c"
PROGRAMS = {"count_packet": "xdp", "send_event": "xdp", "pass_skb": "sched_cls"}
XDP_DROP, XDP_PASS = 1, 2


def u32(value: int) -> bytes:
    return struct.pack("=I", value)


def u64(value: int) -> bytes:
    return struct.pack("=Q", value)


@pytest.fixture(scope="module")
def basics(load_programs: LoadPrograms) -> loader.Loaded:
    return load_programs(BASICS, {"FACTOR": 2}, PROGRAMS)


def test_what_a_map_says_of_itself() -> None:
    with create_map("of_the_test", MapType.HASH, 6, 24, 100) as made:
        assert (made.name, made.type, made.key_size, made.value_size) == ("of_the_test", MapType.HASH, 6, 24)
        assert made.max_entries == 100 and made.id > 0 and made.fileno() == made.fd
        with syscalls.map_by_id(made.id) as again:
            assert again.id == made.id and again.fd != made.fd
    assert made.fd == -1
    made.close()


@pytest.mark.parametrize("kind", [MapType.HASH, MapType.LRU_HASH, MapType.PERCPU_HASH, MapType.LPM_TRIE])
def test_entries_come_and_go(kind: MapType, seed: int) -> None:
    """Against a dict, with every operation, until the map has seen all of them many times."""
    draw = random.Random(seed)
    prefix = u32(32) if kind is MapType.LPM_TRIE else b""
    flags = 1 if kind is MapType.LPM_TRIE else 0  # BPF_F_NO_PREALLOC, which it insists on
    oracle: dict[bytes, bytes] = {}
    with create_map("entries", kind, len(prefix) + 4, 8, 4096, flags) as made:
        for _ in range(5000):
            key, value = prefix + u32(draw.randrange(300)), draw.randbytes(8)
            match draw.randrange(4):
                case 0 | 1:
                    made.update(key, value)
                    oracle[key] = value * made.cpus
                case 2:
                    assert made.delete(key) == (oracle.pop(key, None) is not None)
                case _:
                    assert made.lookup(key) == oracle.get(key)
        assert dict(made.items()) == oracle
        keys = made.keys()
        assert sorted(keys) == sorted(oracle) and made.lookup_many(keys) == [oracle[key] for key in keys]


@pytest.mark.parametrize("kind", [MapType.ARRAY, MapType.PERCPU_ARRAY])
def test_an_array_has_all_its_entries(kind: MapType) -> None:
    with create_map("array", kind, 4, 12, 3000) as made:
        made.update(u32(7), b"x" * 12)
        items = dict(made.items())
        assert list(items) == made.keys() == [u32(i) for i in range(3000)]
        assert made.lookup_cpus(u32(7)) == [b"x" * 12] * made.cpus
        assert items[u32(7)] == made.lookup(u32(7)) and not any(items[u32(8)])
        with pytest.raises(OSError, match="MAP_DELETE_ELEM") as caught:
            made.delete(u32(7))
        assert caught.value.errno == errno.EINVAL
        with pytest.raises(OSError, match="MAP_UPDATE_ELEM") as caught:
            made.update(u32(3000), b"x" * 12)
        assert caught.value.errno == errno.E2BIG
        assert made.lookup(u32(3000)) is None


def test_values_of_each_cpu() -> None:
    with create_map("per_cpu", MapType.PERCPU_HASH, 4, 5, 10) as made:
        assert made.cpus == syscalls.possible_cpus() and made.cpu_stride == 8
        made.update(u32(1), b"".join(bytes([cpu] * 5 + [0] * 3) for cpu in range(made.cpus)))
        assert made.lookup_cpus(u32(1)) == [bytes([cpu] * 5) for cpu in range(made.cpus)]
        assert made.lookup_cpus(u32(2)) is None


def test_flags_of_an_update() -> None:
    with create_map("flags", MapType.HASH, 4, 8, 10) as made:
        with pytest.raises(OSError) as caught:
            made.update(u32(1), u64(1), syscalls.EXIST)
        assert caught.value.errno == errno.ENOENT
        made.update(u32(1), u64(1), syscalls.NOEXIST)
        with pytest.raises(OSError) as caught:
            made.update(u32(1), u64(2), syscalls.NOEXIST)
        assert caught.value.errno == errno.EEXIST
        made.update(u32(1), u64(3), syscalls.ANY)
        assert made.lookup(u32(1)) == u64(3)


def test_wrong_sizes_never_reach_the_kernel() -> None:
    with create_map("sizes", MapType.HASH, 4, 8, 10) as made:
        for wrong in (b"", b"123", b"12345"):
            for call in (made.lookup, made.delete, lambda key: made.update(key, u64(0))):
                with pytest.raises(ValueError, match="4 bytes"):
                    call(wrong)
        with pytest.raises(ValueError, match="8 bytes"):
            made.update(u32(0), b"1234567")


def test_a_bucket_larger_than_the_room_of_a_batch() -> None:
    """The first request fits no entry of 400 kB twice; the whole map comes nevertheless."""
    with create_map("large", MapType.HASH, 4, 400_000, 8) as made:
        for i in range(8):
            made.update(u32(i), bytes([i]) * 400_000)
        assert {key: value[:1] for key, value in made.items()} == {u32(i): bytes([i]) for i in range(8)}


def test_walking_while_others_write(seed: int) -> None:
    """Entries that stay are seen exactly once, whatever happens to the others meanwhile."""
    with create_map("busy", MapType.HASH, 4, 8, 20_000) as made, syscalls.map_by_id(made.id) as other:
        stay = {u32(i): u64(i) for i in range(0, 4000, 2)}
        for key, value in stay.items():
            made.update(key, value)
        stop = threading.Event()

        def churn() -> None:
            draw = random.Random(seed)
            while not stop.is_set():
                key = u32(draw.randrange(2000) * 2 + 1)
                if not other.delete(key):
                    other.update(key, bytes(8))

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            for _ in range(3):
                assert stay.items() <= dict(made.items()).items()
                keys = made.keys()
                assert set(stay) <= set(keys) and len(keys) == len(set(keys))
        finally:
            stop.set()
            thread.join()


def test_what_a_program_says_of_itself(basics: loader.Loaded) -> None:
    program = basics.programs["count_packet"]
    assert program.name == "count_packet" and program.type == bpf_call.ProgramType.XDP
    assert len(program.tag) == 16 and program.instructions > 10 and program.verified_instructions > 10
    assert basics.programs["pass_skb"].type == bpf_call.ProgramType.SCHED_CLS
    assert set(program.map_ids()) == {basics.maps["counters"].id, basics.maps["totals"].id}
    with syscalls.program_by_id(program.id) as again:
        assert again.tag == program.tag


def test_running_a_program(basics: loader.Loaded) -> None:
    packet = bytes(range(64))
    before = sum_of(basics.maps["counters"])
    result = basics.programs["count_packet"].test_run(packet)
    assert result.retval == XDP_PASS and result.data == packet[:14] + bytes([28]) + packet[15:]
    assert sum_of(basics.maps["counters"]) == before + 1
    result = basics.programs["count_packet"].test_run(packet, repeat=3)
    assert result.data[14] == 14 * 8 and result.duration_ns > 0
    assert basics.programs["count_packet"].test_run(packet[:14]).retval == XDP_DROP
    assert basics.programs["pass_skb"].test_run(bytes(64)).retval == 0
    assert basics.programs["pass_skb"].test_run(bytes(200)).retval == 2


def test_running_with_a_context(basics: loader.Loaded) -> None:
    """struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex."""
    context = struct.pack("=6I", 0, 64, 0, 1, 0, 0)
    result = basics.programs["count_packet"].test_run(bytes(64), ctx=context)
    assert result.retval == XDP_PASS and result.ctx == context
    with pytest.raises(OSError, match="PROG_TEST_RUN") as caught:
        basics.programs["count_packet"].test_run(bytes(64), ctx=struct.pack("=6I", 0, 65, 0, 1, 0, 0))
    assert caught.value.errno == errno.EINVAL


def test_too_little_room_for_the_packet(basics: loader.Loaded) -> None:
    with pytest.raises(OSError) as caught:
        basics.programs["count_packet"].test_run(bytes(64), data_out_size=63)
    assert caught.value.errno == errno.ENOSPC


def test_a_value_under_its_lock(basics: loader.Loaded) -> None:
    totals = basics.maps["totals"]
    totals.update(u32(1), bytes(8) + u64(77), syscalls.LOCK)
    assert totals.lookup(u32(1), syscalls.LOCK) == bytes(8) + u64(77)


def test_pins(pin_directory: Path) -> None:
    with create_map("pinned", MapType.ARRAY, 4, 8, 1) as made:
        made.update(u32(0), u64(5))
        syscalls.obj_pin(made.fd, pin_directory / "a_pin")
        with pytest.raises(OSError) as caught:
            syscalls.obj_pin(made.fd, pin_directory / "a_pin")
        assert caught.value.errno == errno.EEXIST
    with BpfMap(syscalls.obj_get(pin_directory / "a_pin")) as again:
        assert again.lookup(u32(0)) == u64(5)
    (pin_directory / "a_pin").unlink()
    with pytest.raises(FileNotFoundError):
        syscalls.obj_get(pin_directory / "a_pin")


def test_grace_returns_soon() -> None:
    started = time.monotonic()
    syscalls.grace()
    assert time.monotonic() - started < 5


def test_grace_without_membarrier(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refused(*arguments: int) -> int:
        asked.append(arguments)
        raise OSError(errno.EINVAL, "nohz_full")

    monkeypatch.setattr(bpf_call, "raw_syscall", refused)
    syscalls.grace()
    assert asked


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.EPERM, ("not permitted", "CAP_SYS_ADMIN", "CAP_NET_ADMIN")),
        (errno.ENOSYS, ("no BPF", "engine python")),
        (errno.EINVAL, ("5.15",)),
        (524, ("5.15",)),
        (errno.ENOMEM, ("memory",)),
        (errno.EBUSY, ("dmesg",)),
    ],
)
def test_refusals_are_sentences(code: int, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemRefused) as caught, bpf_call.translated("map x"):
        raise bpf_call.error(bpf_call.Command.MAP_CREATE, code)
    assert str(caught.value).startswith("map x: ") and all(word in str(caught.value) for word in words)
    assert "Fix: " in str(caught.value)


def test_a_refusal_of_the_kernel() -> None:
    with pytest.raises(SystemRefused, match=r"5\.15"), bpf_call.translated("map"):
        create_map("impossible", MapType.ARRAY, 3, 8, 1)


def sum_of(counters: BpfMap) -> int:
    values = counters.lookup_cpus(u32(0))
    assert values is not None
    return sum(struct.unpack("=Q", value)[0] for value in values)
