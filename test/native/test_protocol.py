"""native/protocol.h and its Python twin: every struct, every number. The C compiler is asked, not a parser of ours."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

import pytest

from omni_core.drops import DropReason
from omni_core.io.native import protocol
from omni_core.types import Endpoint

NATIVE = Path(__file__).parents[2] / "native"
HEADER = re.sub(r"/\*.*?\*/", "", (NATIVE / "protocol.h").read_text(), flags=re.DOTALL)
ENUMS: dict[str, dict[str, type[IntEnum]]] = {  # enum -> prefix of its names -> twin
    "mode": {"MODE_": protocol.Mode},
    "message_type": {"MESSAGE_": protocol.Message, "EVENT_": protocol.EventType},
    "session_flag": {"SESSION_": protocol.SessionFlag},
    "groups_flag": {"GROUPS_": protocol.GroupsFlag},
    "unresolved_reason": {"UNRESOLVED_": protocol.UnresolvedReason},
    "native_way": {"NATIVE_": protocol.Way},
}

Ask = Callable[[list[str]], list[int]]


def bodies(kind: str) -> dict[str, str]:
    return dict(re.findall(rf"\b{kind} (\w+) \{{(.*?)\n\}};", HEADER, re.DOTALL))


def fields(body: str) -> list[str]:
    """Names of the fields, in order; a declaration may have several."""
    declarations = re.findall(r"(?:struct \w+|uint\d+_t|char) ([^;]+);", body)
    return [re.sub(r"\[.*\]", "", name).strip() for each in declarations for name in each.split(",")]


def twin_of(struct: str) -> type[ctypes.Structure]:
    found: type[ctypes.Structure] = getattr(protocol, "".join(part.capitalize() for part in struct.split("_")))
    return found


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """``ask(expressions)``: their values, as the compiler sees them."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (make setup installs one)")
    place = tmp_path_factory.mktemp("protocol")

    def values(expressions: list[str]) -> list[int]:
        prints = "".join(f'printf("%llu\\n", (unsigned long long)({each}));' for each in expressions)
        text = '#include <stddef.h>\n#include <stdio.h>\n#include "protocol.h"\n'
        (place / "probe.c").write_text(f"{text}int main(void) {{ {prints} return 0; }}\n")
        subprocess.run(
            [compiler, "-Wall", "-Werror", f"-I{NATIVE}", "-o", place / "probe", place / "probe.c"], check=True
        )
        shown = subprocess.run([place / "probe"], check=True, capture_output=True, text=True).stdout
        return [int(line) for line in shown.split()]

    return values


def test_every_struct_has_a_twin() -> None:
    twins = {each for each in vars(protocol).values() if isinstance(each, type) and issubclass(each, ctypes.Structure)}
    assert {twin_of(name) for name in bodies("struct")} == twins
    assert len(twins) > 15


@pytest.mark.parametrize("name", bodies("struct"))
def test_sizes_and_offsets(name: str, ask: Ask) -> None:
    names = fields(bodies("struct")[name])
    twin = twin_of(name)
    assert [field[0] for field in twin._fields_] == names
    expressions = [f"sizeof(struct {name})"]
    for field in names:
        expressions += [f"offsetof(struct {name}, {field})", f"sizeof(((struct {name} *)0)->{field})"]
    descriptors = [getattr(twin, field) for field in names]
    assert ask(expressions) == [
        ctypes.sizeof(twin),
        *(number for each in descriptors for number in (each.offset, each.size)),
    ]


@pytest.mark.parametrize("name", bodies("struct"))
def test_no_padding_is_hidden(name: str) -> None:
    """A hole would carry whatever was in memory."""
    twin = twin_of(name)
    assert sum(getattr(twin, field[0]).size for field in twin._fields_) == ctypes.sizeof(twin)


def test_every_constant(ask: Ask) -> None:
    names = re.findall(r"#define (\w+) \S", HEADER)
    assert len(names) > 8
    assert dict(zip(names, ask(names), strict=True)) == {name: getattr(protocol, name) for name in names}


@pytest.mark.parametrize("name", bodies("enum"))
def test_enums(name: str, ask: Ask) -> None:
    names = re.findall(r"(\w+) =", bodies("enum")[name])
    numbers = dict(zip(names, ask(names), strict=True))
    assert numbers == {prefix + each.name: each for prefix, twin in ENUMS[name].items() for each in twin}


def test_counters_leave_room_for_drop_reasons() -> None:
    assert all(0 < reason < protocol.FIRST_WAY for reason in DropReason)
    assert all(protocol.FIRST_WAY <= way < protocol.NATIVE_COUNTERS for way in protocol.Way)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "fe80::1%7"])
def test_places(host: str) -> None:
    assert protocol.unpack_place(protocol.pack_place((host, 51820))) == Endpoint(host, 51820)


def test_a_zone_may_be_a_name() -> None:
    place = protocol.pack_place(("fe80::1%lo", 258))
    assert (place.scope, bytes(place)[20:22]) == (1, b"\x01\x02")
    for bad in ("fe80::1%nowhere0", "nonsense", ""):
        with pytest.raises(OSError):
            protocol.pack_place((bad, 1))
