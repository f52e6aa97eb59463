"""bpf/abi.h and its Python twin: every struct, every number. The C compiler is asked, not a parser of ours."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

import pytest

from omni_core import constants
from omni_core.dataplane import groups
from omni_core.drops import DropReason
from omni_core.io.synapse import abi, loader
from omni_core.wire import control

BPF = Path(__file__).parents[2] / "bpf"
LANE = BPF.parent / "native/lane.h"
HEADER = re.sub(r"/\*.*?\*/", "", (BPF / "abi.h").read_text(), flags=re.DOTALL)

STRUCTS: dict[str, type[ctypes.Structure]] = {
    "peer_set": abi.PeerSet,
    "config": abi.Config,
    "group_key": abi.GroupKey,
    "session": abi.Session,
    "stream": abi.Stream,
    "lane_state": abi.LaneState,
    "note": abi.Note,
    "peer": abi.Peer,
    "fdb_key": abi.FdbKey,
    "fdb_entry": abi.FdbValue,
    "slow_prefix": abi.SlowPrefix,
    "event": abi.Event,
}
ONLY_BYTES = {"address": 16, "session_keys": 2 * abi.KEY_SIZE}  # in python: bytes of that size
ENUMS: dict[str, tuple[str, type[IntEnum]]] = {
    "slow_kind": ("SLOW_", abi.SlowKind),
    "event_kind": ("EVENT_", abi.EventKind),
    "program": ("PROGRAM_", abi.Program),
}
OTHER_NAMES = {"SYNAPSE_HEADER": constants.HEADER_SIZE, "SYNAPSE_TAG": constants.TAG_SIZE}
# Numbers that other headers share with the rest of the project.
SHARED = {
    "window.h": {
        "REPLAY_WINDOW": constants.REPLAY_WINDOW,
        "REJECT_AFTER_MESSAGES": constants.REJECT_AFTER_MESSAGES,
        "SEQUENCE_MASK": constants.SEQUENCE_MASK,
    },
    "rx.h": {
        "MIN_FRAME": constants.MIN_FRAME,
        "INITIATION_SIZE": control.INITIATION_SIZE,
        "RESPONSE_SIZE": control.RESPONSE_SIZE,
        "COOKIE_REPLY_SIZE": control.COOKIE_REPLY_SIZE,
        "SIGNALING_MIN": control.SIGNALING_OVERHEAD + 1,
        "SIGNALING_MAX": constants.SIGNALING_MAX,
        "STREAM_SHIFT": constants.LANE_SHIFT + constants.STREAM_SHIFT,
    },
    "mac1.h": {
        "INITIATION_BLOCKS": control.INITIATION_COVERED // control.BLAKE2S_BLOCK,
        "RESPONSE_BLOCKS": control.RESPONSE_COVERED // control.BLAKE2S_BLOCK,
        "MAC1_SIZE": control.MAC_SIZE,
    },
    "groups.h": {
        "RTPS_PORT_BASE": groups.RTPS_PORT_BASE,
        "RTPS_DOMAIN_GAIN": groups.RTPS_DOMAIN_GAIN,
    },
    "packet.h": {"CONTROL_ETHERTYPE": constants.CONTROL_ETHERTYPE},
}

Ask = Callable[..., list[int]]


def bodies(kind: str) -> dict[str, str]:
    return dict(re.findall(rf"\b{kind} (\w+) \{{(.*?)\n\}};", HEADER, re.DOTALL))


def fields(body: str) -> list[str]:
    """Names of the fields, in order; a declaration may have several."""
    declarations = re.findall(r"(?:struct \w+|__u\d+) ([^;]+);", body)
    return [re.sub(r"\[.*\]", "", name).strip() for each in declarations for name in each.split(",")]


def enumerators(enum: str) -> list[str]:
    return re.findall(r"(\w+) =", bodies("enum")[enum])


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """``ask(expressions, other definitions, header)``: their values, as the compiler sees them."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (make setup installs one)")
    place = tmp_path_factory.mktemp("abi")

    def values(expressions: list[str], defines: str = "", header: Path = BPF / "abi.h") -> list[int]:
        prints = "".join(f'printf("%llu\\n", (unsigned long long)({each}));' for each in expressions)
        text = f'#include <stddef.h>\n#include <stdio.h>\n#include <linux/bpf.h>\n#include "{header}"\n'
        (place / "probe.c").write_text(f"{text}{defines}\nint main(void) {{ {prints} return 0; }}\n")
        subprocess.run([compiler, "-Wall", "-Werror", "-o", place / "probe", place / "probe.c"], check=True)
        shown = subprocess.run([place / "probe"], check=True, capture_output=True, text=True).stdout
        return [int(line) for line in shown.split()]

    return values


def test_every_struct_has_a_twin() -> None:
    assert set(bodies("struct")) == set(STRUCTS) | set(ONLY_BYTES)


@pytest.mark.parametrize("name", STRUCTS)
def test_sizes_and_offsets(name: str, ask: Ask) -> None:
    names = fields(bodies("struct")[name])
    twin = STRUCTS[name]
    assert [field[0] for field in twin._fields_] == names
    assert ask(layout(name, twin)) == layout_of(twin)


def layout(struct: str, twin: type[ctypes.Structure]) -> list[str]:
    """What to ask: the size, then offset and size of each field."""
    names = [field[0] for field in twin._fields_]
    sizes = [(f"offsetof(struct {struct}, {name})", f"sizeof(((struct {struct} *)0)->{name})") for name in names]
    return [f"sizeof(struct {struct})", *(each for pair in sizes for each in pair)]


def layout_of(twin: type[ctypes.Structure]) -> list[int]:
    """The answer."""
    descriptors = [getattr(twin, field[0]) for field in twin._fields_]
    return [ctypes.sizeof(twin), *(number for each in descriptors for number in (each.offset, each.size))]


@pytest.mark.parametrize(("struct", "twin"), [("lane_stream", abi.Stream), ("lane_state", abi.LaneState)])
def test_the_native_engine_means_the_same(struct: str, twin: type[ctypes.Structure], ask: Ask) -> None:
    """native/lane.h has the structs of the maps that both use, under names of its own."""
    assert ask(layout(struct, twin), header=LANE) == layout_of(twin)
    numbers = {"LANE_STREAMS": abi.STREAMS, "LANE_RING": abi.RING, "LANE_LEASE": abi.LANE_LEASE}
    assert dict(zip(numbers, ask(list(numbers), header=LANE), strict=True)) == numbers


def test_sizes_of_what_is_only_bytes(ask: Ask) -> None:
    assert ask([f"sizeof(struct {name})" for name in ONLY_BYTES]) == list(ONLY_BYTES.values())


def test_no_padding_is_hidden(ask: Ask) -> None:
    """A hole in a key or an event would carry whatever was on the stack."""
    for name in STRUCTS:
        twin = STRUCTS[name]
        assert sum(getattr(twin, field[0]).size for field in twin._fields_) == ctypes.sizeof(twin), name


def test_every_constant(ask: Ask) -> None:
    names = [name for name in re.findall(r"#define (\w+) \S", HEADER) if name != "SYNAPSE_ABI_H"]
    assert len(names) > 15
    expected = [OTHER_NAMES.get(name, getattr(abi, name.removeprefix("SYNAPSE_"), None)) for name in names]
    assert dict(zip(names, ask(names), strict=True)) == dict(zip(names, expected, strict=True))


@pytest.mark.parametrize("file", SHARED)
def test_constants_of_the_wire(file: str, ask: Ask) -> None:
    """Only the ``#define`` lines of the file: its functions are for BPF."""
    lines = [line for line in (BPF / file).read_text().splitlines() if re.match(r"#define \w+ ", line)]
    names = list(SHARED[file])
    assert dict(zip(names, ask(names, "\n".join(lines)), strict=True)) == SHARED[file]


@pytest.mark.parametrize("name", ENUMS)
def test_enums(name: str, ask: Ask) -> None:
    prefix, twin = ENUMS[name]
    names = enumerators(name)
    assert {each: twin[each.removeprefix(prefix)] for each in names} == dict(zip(names, ask(names), strict=True))
    assert len(names) == len(twin)


def test_ways_out(ask: Ask) -> None:
    names = enumerators("way")
    numbers = dict(zip(names, ask(names), strict=True))
    assert len(set(numbers.values())) == len(numbers), "no number twice"
    drops = {name: number for name, number in numbers.items() if name.startswith("DROP_")}
    assert drops == {name: DropReason[name.removeprefix("DROP_")] for name in drops}
    assert all(0 < number < abi.FIRST_WAY for number in drops.values())
    others = {name.removeprefix("WAY_"): number for name, number in numbers.items() if name.startswith("WAY_")}
    assert others == {way.name: way for way in abi.Way}
    assert all(abi.FIRST_WAY <= number < abi.COUNTERS for number in others.values())
    assert len(drops) + len(others) == len(names)
    assert set(bodies("enum")) == {"way", *ENUMS}


def test_drop_reasons_leave_room_for_the_ways() -> None:
    assert all(0 < reason < abi.FIRST_WAY for reason in DropReason)


@pytest.mark.netns
def test_the_loaded_maps_have_these_sizes(synapse: loader.Loaded) -> None:
    """What the BPF back end made of the structs, beside what the compiler of this machine does."""
    expected = {
        "config": (4, abi.Config, 1),
        "sessions": (4, abi.Session, abi.SESSIONS),
        "streams": (4, abi.Stream, abi.SESSIONS * abi.STREAMS),
        "lane": (4, abi.LaneState, 1),
        "notes": (4, abi.Note, abi.SESSIONS),
        "peers": (4, abi.Peer, abi.PEERS),
        "groups": (ctypes.sizeof(abi.GroupKey), abi.PeerSet, abi.GROUPS),
        "fdb": (ctypes.sizeof(abi.FdbKey), abi.FdbValue, abi.FDB),
    }
    for name, (key_size, value, entries) in expected.items():
        held = synapse.maps[name]
        assert (held.key_size, held.value_size, held.max_entries) == (key_size, ctypes.sizeof(value), entries), name
    assert synapse.maps["session_keys"].value_size == ONLY_BYTES["session_keys"]
    assert synapse.maps["local_addresses"].key_size == ONLY_BYTES["address"]
    assert synapse.maps["counters"].max_entries == abi.COUNTERS
    assert synapse.maps["flood"].max_entries == abi.FLOOD
