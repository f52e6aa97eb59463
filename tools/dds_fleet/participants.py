"""A process with DDS participants inside a host, and what it says."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tools.netlab import Host, LabProcess, wait_for

INSIDE = Path(__file__).parent / "inside"
START = 30.0  # s; many start at once, on few processors


class Event(NamedTuple):
    at: float  # CLOCK_MONOTONIC, as time.monotonic() here
    kind: str
    name: str
    words: tuple[str, ...]


class Heard(NamedTuple):
    at: float
    talker: str
    number: int
    sent: float
    size: int


class Participants:
    """Of ``vendor`` "fast" (rclpy with Fast DDS) or "cyclone". ``ready`` must be awaited before the first ``new``."""

    def __init__(self, host: Host, vendor: str, environment: Mapping[str, str | None], label: str = "") -> None:
        self.host = host
        command = [sys.executable, "-B", INSIDE / f"{vendor}.py"]
        self.process: LabProcess = host.start(command, label or vendor, environment, stdin=True)
        self._offset = 0
        self._events: list[Event] = []

    def ready(self) -> Participants:
        self.process.wait_log("^ready$", START)
        return self

    def talk(self, name: str, topic: str, *, domain: int = 0, period: float = 0.05, size: int = 64) -> None:
        """``period`` 0: one message, for latched topics."""
        self.process.write(f"new {name} {domain} talk {topic} {period:g} {size}\n")

    def listen(self, name: str, topic: str, *, domain: int = 0) -> None:
        self.process.write(f"new {name} {domain} listen {topic}\n")

    def quiet(self, name: str, *, domain: int = 0) -> None:
        self.process.write(f"new {name} {domain} quiet\n")

    def end(self, name: str) -> None:
        self.process.write(f"end {name}\n")
        self.wait_for_event("ended", name)

    def events(self, kind: str = "", name: str = "", since: float = 0.0) -> list[Event]:
        """In their order; ``kind`` and ``name`` "": all."""
        with self.process.log.open("rb") as log:
            log.seek(self._offset)
            complete, newline, _ = log.read().rpartition(b"\n")  # a half-written line waits
        self._offset += len(complete) + len(newline)
        for line in complete.decode(errors="replace").splitlines():
            at, *words = line.split(" ")
            if len(words) >= 2 and at.replace(".", "", 1).isdigit():
                self._events.append(Event(float(at), words[0], words[1], tuple(words[2:])))
        return [e for e in self._events if e.at >= since and kind in ("", e.kind) and name in ("", e.name)]

    def heard(self, listener: str, talker: str = "", since: float = 0.0) -> list[Heard]:
        found = []
        for event in self.events("heard", listener, since):
            said_by, number, sent, size = event.words
            if talker in ("", said_by):
                found.append(Heard(event.at, said_by, int(number), float(sent), int(size)))
        return found

    def matched(self, name: str) -> int:
        """Readers of a talker, or writers of a listener, that it knows now."""
        events = self.events("matched", name)
        return int(events[-1].words[0]) if events else 0

    def wait_for_event(self, kind: str, name: str, timeout: float = START) -> Event:
        """The last such one."""
        found = self._wait(lambda: self.events(kind, name), timeout, f"{name}: {kind}")
        return found[-1]

    def began(self, name: str) -> float:
        """When its making began."""
        return float(self.wait_for_event("made", name).words[0])

    def wait_heard(
        self, listener: str, talker: str = "", *, since: float = 0.0, count: int = 1, timeout: float = START
    ) -> list[Heard]:
        """Messages sent since the time (not only heard since then). Raises LabTimeout."""

        def enough() -> list[Heard] | None:
            found = [each for each in self.heard(listener, talker, since) if each.sent >= since]
            return found if len(found) >= count else None

        what = f"{listener} to hear {count} messages of {talker or 'anybody'}"
        return self._wait(enough, timeout, what)

    def wait_matched(self, name: str, count: int, timeout: float = START) -> None:
        self._wait(lambda: self.matched(name) == count, timeout, f"{name} to be matched with {count}")

    def kill(self) -> None:
        """They vanish without a good-bye."""
        self.process.kill()

    def _wait(self, condition, timeout: float, what: str):  # as wait_for
        def checked():
            found = condition()
            if not found and not self.process.running:
                raise AssertionError(f"{self.process.name} ended: {self.process.log_text()[-2000:]}")
            return found

        return wait_for(checked, timeout, f"{what} ({self.process.name})")
