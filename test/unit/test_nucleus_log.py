"""What a Nucleus logs: sentences and fields, limited however many edges there are and whatever they call themselves."""

from __future__ import annotations

import asyncio
import builtins
import json
import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from omni_core.cli.foreground import progress_lines
from omni_core.crypto.identity import key_text
from omni_core.engines.nucleus_events import DrainChanged, EdgeChanged, EdgeRefused, StoreChanged
from omni_core.errors import SystemRefused
from omni_core.io.nucleus_log import REFUSAL_PAUSE, REFUSALS_REMEMBERED, WINDOW, NucleusLog
from omni_core.signaling.messages import Status
from omni_core.signaling.store import ChangeKind
from omni_core.types import Endpoint

AT = Endpoint("192.0.2.7", 51820)
KEY = bytes(range(32))


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def texts(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    @property
    def fields(self) -> list[dict[str, Any]]:
        return [record.omni for record in self.records]  # type: ignore[attr-defined]


@pytest.fixture
def lines() -> Iterator[Lines]:
    logger, handler = logging.getLogger("omni_core.io.nucleus_driver"), Lines()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def log(lines: int = 10) -> NucleusLog:
    return NucleusLog(logging.getLogger("omni_core.io.nucleus_driver"), lines)


def joined(
    n: int = 0, cluster: str = "fleet", name: str = "robot-1", kind: ChangeKind = ChangeKind.JOINED
) -> EdgeChanged:
    return EdgeChanged(kind, cluster, n.to_bytes(32, "big"), name, "10.77.0.1", AT)


def refused(key: bytes = KEY, reason: str = "10.77.0.1 is taken", cluster: str = "fleet") -> EdgeRefused:
    return EdgeRefused(cluster, key, AT, Status.ADDRESS_TAKEN, reason)


def test_an_edge_that_joins(lines: Lines) -> None:
    log().add(joined(7), 0.0)
    assert lines.texts == ["fleet: robot-1 joined (10.77.0.1, 192.0.2.7:51820)"]
    (fields,) = lines.fields
    assert fields["event"] == "edge_joined" and fields["key"] == key_text((7).to_bytes(32, "big"))[:8]
    assert {"cluster", "name", "vip4", "endpoint"} <= fields.keys()


def test_ten_thousand_at_once_are_a_few_lines(lines: Lines) -> None:
    writer = log(10)
    for n in range(10_000):
        writer.add(joined(n, "fleet" if n % 4 else "yard"), n / 20_000)
    assert len(lines.records) == 10
    assert writer.due == WINDOW
    writer.flush(WINDOW)
    assert sorted(lines.texts[10:]) == ["fleet: and 7,493 more joined", "yard: and 2,497 more joined"]
    assert {"event": "edges", "cluster": "yard", "joined": 2497} in lines.fields
    writer.add(joined(1), WINDOW + 0.1)
    assert len(lines.records) == 13


def test_a_late_flush_is_made_up_for(lines: Lines) -> None:
    writer = log(1)
    for n in range(3):
        writer.add(joined(n), 0.0)
    writer.add(joined(4), 5.0)
    assert lines.texts[1] == "fleet: and 2 more joined" and len(lines.texts) == 3


def test_a_key_that_is_refused_again_and_again_is_named_once_a_minute(lines: Lines) -> None:
    writer = log()
    for n in range(100):
        writer.add(refused(), n / 10)
    assert len(lines.records) == 1 and "refused: 10.77.0.1 is taken" in lines.texts[0]
    writer.add(refused(reason="another reason"), 10.0)
    writer.add(refused(), REFUSAL_PAUSE + 1)
    assert len(lines.records) == 3
    assert lines.fields[2]["times"] == 100 and "100 times" in lines.texts[2]
    assert lines.fields[0]["status"] == "address_taken"


def test_refusals_do_not_silence_the_others_and_are_bounded(lines: Lines) -> None:
    writer = log(5)
    for n in range(3 * REFUSALS_REMEMBERED):
        writer.add(refused(n.to_bytes(32, "big"), cluster=f"made up {n}"), 0.0)
    writer.add(joined(), 0.0)
    assert len(lines.records) == 6 and lines.fields[-1]["event"] == "edge_joined"
    writer.flush(WINDOW)
    assert lines.texts[6:] == [f"and {3 * REFUSALS_REMEMBERED - 5:,} more refused"]
    for second in range(3 * REFUSALS_REMEMBERED):
        writer.add(refused(second.to_bytes(32, "big")), 2.0 + second)
    assert len(writer._refusals) <= REFUSALS_REMEMBERED


def test_no_text_of_an_edge_breaks_a_line(lines: Lines) -> None:
    log().add(joined(name="robot\n2026 \x1b[2J fake"), 0.0)
    log().add(refused(reason="no cluster\r\nhere", cluster="a\x00b" + "x" * 1000), 0.0)
    assert all(text.isprintable() and len(text) < 700 for text in lines.texts)


def test_the_store_and_the_drain(lines: Lines) -> None:
    writer = log()
    for event in (
        StoreChanged(False, "redis://h:1/0 does not answer"),
        StoreChanged(True, "redis://h:1/0 is back"),
        DrainChanged(False, 3412),
        DrainChanged(True, 2),
    ):
        writer.add(event, 0.0)
    assert [fields["event"] for fields in lines.fields] == ["store_lost", "store_back", "drain_began", "drain_done"]
    assert lines.records[0].levelno == logging.WARNING
    assert "3,412 edges" in lines.texts[2] and lines.fields[0]["store"] == "away"


# --- as JSON ---------------------------------------------------------------------------------------------------------


def test_json_is_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_lines(False, "json"):
        log().add(joined(7, name="Zürich\n7"), 0.0)
        logging.getLogger("omni_core.io.nucleus_driver").info("Nucleus on UDP port %d", 7)
        try:
            raise ValueError("odd")
        except ValueError:
            logging.getLogger("omni_core.io.admin").exception("admin command failed")
    captured = capsys.readouterr()
    assert captured.out == ""
    edge, line, failure = (json.loads(text) for text in captured.err.splitlines())
    assert (
        edge["event"] == "edge_joined"
        and edge["level"] == "info"
        and edge["name"] == "Zürich\N{REPLACEMENT CHARACTER}7"
    )
    assert edge["message"].startswith("fleet: ") and edge["time"].endswith("Z")
    assert datetime.fromisoformat(edge["time"].replace("Z", "+00:00")).tzinfo is not None
    assert (line["event"], line["message"]) == ("log", "Nucleus on UDP port 7")
    assert failure["level"] == "error" and "ValueError: odd" in failure["traceback"]


async def test_what_a_task_raised_unheard_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_lines(False, "json"):
        asyncio.get_running_loop().call_exception_handler({"message": "nobody waited", "exception": ValueError("odd")})
    line = json.loads(capsys.readouterr().err)
    assert line["level"] == "error" and "nobody waited" in line["message"] and "ValueError: odd" in line["traceback"]


def test_json_without_its_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("pythonjsonlogger"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with progress_lines(False):
        pass
    with (
        pytest.raises(SystemRefused, match=r"log_format: .*python-json-logger.*Fix: pip install"),
        progress_lines(False, "json"),
    ):
        pass
