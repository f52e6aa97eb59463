"""The loaded programs and the kernel engine without a driver: packets go in by BPF_PROG_TEST_RUN."""

from __future__ import annotations

import ctypes
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

from omni_core.constants import FDB_AGEING, FDB_MAX_LOCAL, FDB_MAX_PER_PEER
from omni_core.io.synapse import abi
from omni_core.io.synapse.bpf_call import MapType
from omni_core.io.synapse.loader import Loaded
from omni_core.io.synapse.plane import KernelDataPlane, RouteInfo
from omni_core.io.synapse.ringbuf import RingBuffer
from omni_core.io.synapse.syscalls import BpfMap
from omni_core.types import Endpoint, Mac, PeerId

MAX_FRAME = 1522  # that the tests' programs are compiled for; the longest packet of a test run has some 3,500 bytes

XDP_DROP, XDP_PASS, XDP_REDIRECT = 1, 2, 4  # linux/bpf.h
TC_ACT_OK, TC_ACT_SHOT, TC_ACT_REDIRECT = 0, 2, 7  # linux/pkt_cls.h

PORT = 51820
HERE_4, HERE_6 = "192.0.2.1", "2001:db8::1"
UNDERLAY = 3  # ifindex of the underlay; 1 is loopback, on which every test run "arrives"
SYN, TAP, BULK, OVERLAY, LOOPBACK = 71, 72, 73, 74, 1
MAC1_KEY = bytes(range(32))

_U32 = struct.Struct("=I")
_U64 = struct.Struct("=Q")
_SK_BUFF, _GSO_SIZE = 256, 176  # no struct __sk_buff is longer; offset in it (linux/bpf.h)
_OF_CONNECT = {"programs", "cpu_programs", "cpus"}  # filled by every plane; taking something out makes the kernel wait


class Verdict(NamedTuple):
    code: int
    data: bytes


class Rig:
    """A new KernelDataPlane over maps that are as if just loaded. The next Rig clears what this one leaves."""

    def __init__(
        self,
        loaded: Loaded,
        local_mac: Mac | None = None,
        *,
        route: Callable[[Endpoint], RouteInfo | None] | None = None,
        max_per_peer: int = FDB_MAX_PER_PEER,
        max_local: int = FDB_MAX_LOCAL,
        ageing: float = FDB_AGEING,
        adopt: bool = False,
    ) -> None:
        self.maps, self.programs = loaded.maps, loaded.programs
        if not adopt:
            self.clear()
        self.plane = KernelDataPlane(
            loaded,
            local_mac=local_mac,
            port=PORT,
            mac1_key=MAC1_KEY,
            syn_ifindex=SYN,
            tap_ifindex=TAP,
            bulk_ifindex=BULK,
            port_ifindex=OVERLAY,
            route=route or default_route,
            ageing=ageing,
            max_per_peer=max_per_peer,
            max_local=max_local,
            adopt=adopt,
        )
        self.plane.set_local_addresses([HERE_4, HERE_6])
        with self.config() as config:
            self.cpus, config.cpus = config.cpus, 0  # every packet is opened where it arrives, however fast tests are

    # --- running ---

    def run(self, program: str, data: bytes, gso: int = 0) -> Verdict:
        """As if it came in on an interface that is not the TAP. ``gso``, for a TC program: it is a super-frame with
        segments of so many bytes."""
        ctx = (bytes(_GSO_SIZE) + _U32.pack(gso)).ljust(_SK_BUFF, b"\0") if gso else None
        result = self.programs[f"synapse_{program}"].test_run(data, ctx)
        return Verdict(result.retval, result.data)

    def run_from_tap(self, data: bytes) -> Verdict:
        """synapse_tx, as if the Ganglion had written to the TAP: a test run always arrives on loopback."""
        with self.config() as config:
            config.tap_ifindex = LOOPBACK
        verdict = self.run("tx", data)
        with self.config() as config:
            config.tap_ifindex = TAP
        return verdict

    # --- looking, and tampering with what the plane would never write ---

    def ways(self) -> Counter[int]:
        return Counter(self.plane.ways())

    @contextmanager
    def config(self) -> Iterator[abi.Config]:
        """The plane's own copy, written to the map on leaving."""
        yield self.plane._config
        self.plane._write_config()

    def session(self, receive_id: int) -> Edited[abi.Session]:
        slot = self.maps["session_slots"].lookup(receive_id.to_bytes(8, "little"))
        assert slot is not None
        return Edited(self.maps["sessions"], slot, abi.Session)

    def peer(self, peer: PeerId) -> Edited[abi.Peer]:
        return Edited(self.maps["peers"], _U32.pack(peer), abi.Peer)

    def stream(self, receive_id: int, stream: int) -> Edited[abi.Stream]:
        slot = self.maps["session_slots"].lookup(receive_id.to_bytes(8, "little"))
        assert slot is not None
        index = _U32.unpack(slot)[0] * abi.STREAMS + stream
        return Edited(self.maps["streams"], _U32.pack(index), abi.Stream)

    def live(self, ago: float = 0.0) -> None:
        """As if there were a native engine, which said so ``ago`` seconds before."""
        self.maps["lane"].update(bytes(4), _U64.pack(time.monotonic_ns() - int(ago * 1e9)))
        with self.config() as config:
            config.bulk_ifindex = BULK

    def flooded_peer(self, slot: int) -> PeerId:
        """Whom map flood names there."""
        value = self.maps["flood"].lookup(_U32.pack(slot))
        assert value is not None
        peer: PeerId = _U32.unpack(value)[0]
        return peer

    def mark(self) -> bytes:
        return bytes(self.plane._config.mark)[:6]

    def unload(self, program: abi.Program) -> None:
        """From the program array, as when loading it had failed."""
        assert self.maps["programs"].delete(_U32.pack(program))

    def snapshot(self) -> dict[str, dict[bytes, bytes]]:
        """Everything that a packet may change, but counters, events, and which CPU is to open the next one."""
        left_out = {"counters", "events", "scratch", "session_rates", "flow_rates", "small_rate", *_OF_CONNECT}
        return {name: dict(held.items()) for name, held in self.maps.items() if name not in left_out}

    def clear(self) -> None:
        for name, held in self.maps.items():
            if name == "events":
                ring = RingBuffer(held)
                ring.read()
                ring.close()
            elif name not in _OF_CONNECT:
                _clear(held)

    def close(self) -> None:
        self.plane.detach()  # close() waits for running programs before it wipes; here there are none


MakeRig = Callable[..., Rig]

_Struct = TypeVar("_Struct", bound=ctypes.Structure)


class Edited(Generic[_Struct]):
    """``with`` it: the value of one entry, written back on leaving where it was changed."""

    def __init__(self, held: BpfMap, key: bytes, kind: type[_Struct]) -> None:
        self._held, self._key, self._kind = held, key, kind

    def __enter__(self) -> _Struct:
        self._before = self._held.lookup(self._key)
        assert self._before is not None
        self._value = self._kind.from_buffer_copy(self._before)
        return self._value

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and bytes(self._value) != self._before:
            self._held.update(self._key, bytes(self._value))


def default_route(endpoint: Endpoint) -> RouteInfo:
    return RouteInfo(UNDERLAY, HERE_6 if endpoint.is_ipv6 else HERE_4, 1500)


def _clear(held: BpfMap) -> None:
    entries = list(held.items())
    if held.type in (MapType.ARRAY, MapType.PERCPU_ARRAY):
        for key, value in entries:
            if value != bytes(len(value)):
                held.update(key, bytes(len(value)))
    else:
        for key, _ in entries:
            held.delete(key)
