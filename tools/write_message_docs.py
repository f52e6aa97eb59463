#!/usr/bin/env python3
"""Write docs/messages.md from msg/*.msg. A test fails when it is behind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
# As a reader comes to them: what has a topic first, then what is inside.
ORDER = (
    "GanglionStatus",
    "NucleusLink",
    "PeerStatus",
    "PathStatus",
    "SessionStatus",
    "DataPlaneStatus",
    "UnderlayStatus",
    "DropCount",
    "Count",
    "NucleusStatus",
    "ClusterStatus",
    "StoreStatus",
)

INTRODUCTION = """\
# Messages and topics

<!-- Written by tools/write_message_docs.py from msg/*.msg. -->

| topic | type | QoS | when |
|---|---|---|---|
| `~/status` of the Ganglion | `omni_ros2/msg/GanglionStatus` | reliable, transient local, depth 1 | at once on a \
change (at most every 0.1 s), and every `status_period` |
| `/omni/fleet` | `omni_ros2/msg/GanglionStatus` | reliable, transient local, depth 1 | every robot's `~/status` as it \
comes, over the overlay, from its first peer on (`fleet_topic`) |
| `~/data_plane` of the Ganglion | `omni_ros2/msg/DataPlaneStatus` | best effort, volatile, depth 5 | every \
`status_period`, while somebody listens |
| `~/status` of the Nucleus | `omni_ros2/msg/NucleusStatus` | reliable, transient local, depth 1 | as above |
| `/diagnostics` of both | `diagnostic_msgs/msg/DiagnosticArray` | reliable, volatile, depth 10 | every \
`diagnostics_period`; see [diagnostics.md](diagnostics.md) |

`~` is the node: `/ganglion/status`, with `__ns:=/robot1` `/robot1/ganglion/status`. The topics are there from
*configure* to *cleanup*, `/diagnostics` as long as the process runs. A late subscriber of `~/status` gets the last
message at once, so `ros2 topic echo --once --qos-durability transient_local --qos-reliability reliable
/ganglion/status` never waits. `stamp` is of the node's clock (with `use_sim_time`: of `/clock`); the periods follow
the machine's own. No message holds a secret: no key but public ones, no token, no whole session id. A number that is
not known is NaN (floating point), a text that is not known is empty.

## What may change

ROS has no optional fields: a changed message is another type with another hash (REP 2011), and a publisher and a
subscriber with different versions of it do not match, or (with a middleware that does not compare hashes) misread
each other. So:

- Within a release series (0.1.x, later 1.x) no message is changed, not even by a field at its end. What is new comes
  as a new message on a new topic.
- Between series a message may change. Every participant of a domain that looks at these topics (nodes, rqt, bags)
  then needs the same series of the package; the overlay itself does not: Ganglia of different versions talk to each
  other by a protocol of their own, and tell each other what they can do.
- Numbers of constants are never given to another meaning; unknown ones read as `*_UNKNOWN`, or as trouble where there
  is none.
- Names in `DropCount.reason` and `Count.name` may be added in any release; none is given another meaning.
- A bag that was recorded with an older series is read with `rosbag2`'s own definitions in it (MCAP), not with this
  package.
"""


class Entry(NamedTuple):
    type: str
    name: str
    value: str  # of a constant; "" for a field
    comment: str


class Message(NamedTuple):
    name: str
    description: str
    entries: tuple[Entry, ...]

    @property
    def constants(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.value]

    @property
    def fields(self) -> list[Entry]:
        return [entry for entry in self.entries if not entry.value]


_LINE = re.compile(r"(?P<type>\S+)\s+(?P<name>\w+)(?:=(?P<value>\"[^\"]*\"|\S+))?\s*(?:#\s*(?P<comment>.*))?")


def read_message(path: Path) -> Message:
    """Raises ValueError for a line that is neither a comment, a constant nor a field."""
    description, entries = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and not entries:
            description.append(line.lstrip("# "))
        elif line.strip():
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError(f"{path}: {line!r}")
            entries.append(Entry(match["type"], match["name"], match["value"] or "", match["comment"] or ""))
    return Message(path.stem, " ".join(description), tuple(entries))


def read_messages() -> list[Message]:
    """All of msg/, in ORDER. Raises ValueError when ORDER misses one or has one too many."""
    found = {path.stem: read_message(path) for path in (ROOT / "msg").glob("*.msg")}
    if set(found) != set(ORDER):
        raise ValueError(f"ORDER in {Path(__file__).name} and msg/ differ in {set(found) ^ set(ORDER)}")
    return [found[name] for name in ORDER]


def message_docs() -> str:
    return "\n".join([INTRODUCTION, *(_section(message) for message in read_messages())])


def _section(message: Message) -> str:
    lines = [f"## {message.name}", "", message.description, "", "| field | type | meaning |", "|---|---|---|"]
    lines += [f"| `{field.name}` | `{field.type}` | {field.comment} |" for field in message.fields]
    if message.constants:
        lines += ["", "| constant | value | meaning |", "|---|---|---|"]
        lines += [f"| `{constant.name}` | `{constant.value}` | {constant.comment} |" for constant in message.constants]
    return "\n".join([*lines, ""])


def main() -> None:
    (ROOT / "docs" / "messages.md").write_text(message_docs(), encoding="utf-8")
    print("docs/messages.md")


if __name__ == "__main__":
    main()
