"""docs/messages.md and docs/parameters.md say what msg/ and the tables say; every field of a message is described."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from omni_core.config import ganglion, node_parameters, nucleus
from tools.write_message_docs import Message, message_docs, read_message, read_messages
from tools.write_parameter_docs import parameter_docs

ROOT = Path(__file__).parents[2]
SECRETS = ("secret", "private", "token", "password", "psk", "seed")


def test_message_docs_are_in_step() -> None:
    assert (ROOT / "docs/messages.md").read_text() == message_docs(), "run tools/write_message_docs.py"


def test_parameter_docs_are_in_step() -> None:
    assert (ROOT / "docs/parameters.md").read_text() == parameter_docs(), "run tools/write_parameter_docs.py"


def test_every_parameter_is_in_the_docs() -> None:
    text = (ROOT / "docs/parameters.md").read_text()
    tables = (ganglion.FIELDS, nucleus.FIELDS, node_parameters.GANGLION_FIELDS, node_parameters.NUCLEUS_FIELDS)
    for table in tables:
        for field in table:
            assert f"| `{field.name}` |" in text and field.description in text


@pytest.mark.parametrize("message", read_messages(), ids=lambda message: message.name)
def test_a_message_is_described_to_the_last_field(message: Message) -> None:
    assert message.description
    for field in message.fields:
        assert field.comment, f"{message.name}.{field.name} has no comment"
        assert not any(word in field.name for word in SECRETS), f"{message.name}.{field.name}"
        if field.type.startswith("float"):
            assert re.match(r"(s|share)\b", field.comment), f"{message.name}.{field.name} has no unit"
            assert "NaN" in field.comment or field.name == "age", f"{message.name}.{field.name}: and when not known?"
        if "one of " in field.comment:
            prefix = re.search(r"one of (\w+_)\*", field.comment)
            assert prefix and any(c.name.startswith(prefix[1]) for c in message.constants), field
    for constant in message.constants:
        assert constant.type in ("uint8", "string")
    enumerations = {constant.name.split("_")[0] for constant in message.constants if constant.type == "uint8"}
    for enumeration in enumerations:
        of_it = [c.value for c in message.constants if c.name.split("_")[0] == enumeration]
        assert len(of_it) == len(set(of_it)), f"{message.name}: two constants {enumeration}_* have one value"


@pytest.mark.parametrize("name", ["GanglionStatus", "DataPlaneStatus", "NucleusStatus"])
def test_what_has_a_topic_is_stamped(name: str) -> None:
    message = read_message(ROOT / f"msg/{name}.msg")
    assert message.fields[0][:2] == ("std_msgs/Header", "header")


def test_every_message_is_built() -> None:
    text = (ROOT / "CMakeLists.txt").read_text()
    assert set(re.findall(r'"msg/(\w+)\.msg"', text)) == {message.name for message in read_messages()}
