"""What a Nucleus reports, as log records: a sentence for people, and in ``record.omni`` the same as fields.

Edges come by the thousand after a power cut, and a hostile one is refused as often as it likes. So lines are limited:
what is above the limit is counted, and said once a second; one key that is refused for one reason is named once a
minute. No key is given whole, and no text of an edge can break a line.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from typing import Any

from omni_core.crypto.identity import key_start
from omni_core.engines.nucleus_events import DrainChanged, EdgeChanged, EdgeRefused, NucleusEvent, StoreChanged
from omni_core.signaling.store import ChangeKind
from omni_core.types import PublicKey

WINDOW = 1.0  # s that a limit is for
REFUSAL_PAUSE = 60.0  # s between two lines on one key that is refused for one reason
REFUSALS_REMEMBERED = 1024

_WORDS = {
    ChangeKind.JOINED: "joined",
    ChangeKind.MOVED: "moved",
    ChangeKind.LEFT: "left",
    ChangeKind.DEPARTED: "departed (heartbeats missed)",
}
_REFUSED = "refused"


class NucleusLog:
    """``add`` what the engine reports; ``flush`` when ``due`` has come."""

    def __init__(self, logger: logging.Logger, lines: int) -> None:
        """``lines``: at most in a second, of edges that come and go; and as many of refusals."""
        self.due: float | None = None
        self._logger = logger
        self._lines = lines
        self._written: Counter[bool] = Counter()  # in this window; True: refusals
        self._more: Counter[tuple[str, str]] = Counter()  # (cluster, word) -> not written in this window
        self._refusals: OrderedDict[tuple[PublicKey, str], list[float]] = (
            OrderedDict()
        )  # -> [s of its line, since then]

    def add(self, event: NucleusEvent, now: float) -> None:
        if isinstance(event, EdgeChanged):
            self._changed(event, now)
        elif isinstance(event, EdgeRefused):
            self._refused(event, now)
        elif isinstance(event, StoreChanged):
            self._store(event)
        else:
            self._drain(event)

    def flush(self, now: float) -> None:
        """What was only counted. Begins a new window."""
        self.due = None
        self._written.clear()
        more, self._more = self._more, Counter()
        for cluster in dict.fromkeys(cluster for cluster, _ in more):
            counts = {word: n for (name, word), n in more.items() if name == cluster}
            text = ", ".join(f"{n:,} more {word}" for word, n in counts.items())
            fields = {word.partition(" ")[0]: n for word, n in counts.items()}
            where = {"cluster": cluster} if cluster else {}
            self._write(f"{cluster}: and {text}" if cluster else f"and {text}", "edges", {**where, **fields})

    def _changed(self, event: EdgeChanged, now: float) -> None:
        word = _WORDS[event.kind]
        if not self._may_write(event.cluster, word, now):
            return
        fields = {
            "cluster": event.cluster,
            "key": key_start(event.key),
            "name": printable(event.name),
            "vip4": event.vip4,
            "endpoint": str(event.endpoint),
        }
        where = ", ".join(text for text in (event.vip4, str(event.endpoint)) if text)
        text = f"{event.cluster}: {fields['name'] or fields['key']} {word} ({where})"
        self._write(text, f"edge_{event.kind.value}", fields)

    def _refused(self, event: EdgeRefused, now: float) -> None:
        cluster, reason = printable(event.cluster), printable(event.reason)
        last = self._refusals.get((event.key, reason))
        if last is not None and now < last[0] + REFUSAL_PAUSE:
            last[1] += 1
            return
        if not self._may_write("", _REFUSED, now):  # not by its cluster, of which it may think up any number
            return
        times = 1 + int(last[1]) if last is not None else 1
        self._refusals[event.key, reason] = [now, 0]
        self._refusals.move_to_end((event.key, reason))
        if len(self._refusals) > REFUSALS_REMEMBERED:
            self._refusals.popitem(last=False)
        fields = {
            "cluster": cluster,
            "key": key_start(event.key),
            "endpoint": str(event.endpoint),
            "status": event.status.name.lower(),
            "reason": reason,
            "times": times,
        }
        often = f", {times} times since the last such line" if times > 1 else ""
        self._write(
            f"{cluster}: key {fields['key']}... at {event.endpoint} refused: {reason}{often}", "edge_refused", fields
        )

    def _store(self, event: StoreChanged) -> None:
        name, level = ("store_back", logging.INFO) if event.available else ("store_lost", logging.WARNING)
        reason = printable(event.text)
        if event.available:
            text = "the shared store is there: registrations are those of all its Nuclei"
        else:
            text = f"the shared store is away, going on from memory ({reason})"
        self._write(text, name, {"store": "available" if event.available else "away", "reason": reason}, level)

    def _drain(self, event: DrainChanged) -> None:
        if not event.done:
            self._write(f"draining: {event.edges:,} edges are told to leave", "drain_began", {"edges": event.edges})
        else:
            self._write(f"drained: {event.edges:,} edges are still here", "drain_done", {"edges": event.edges})

    def _may_write(self, cluster: str, word: str, now: float) -> bool:
        if self.due is not None and now >= self.due:
            self.flush(now)
        if self.due is None:
            self.due = now + WINDOW
        kind = word == _REFUSED
        self._written[kind] += 1
        if self._written[kind] <= self._lines:
            return True
        self._more[cluster, word] += 1
        return False

    def _write(self, text: str, event: str, fields: dict[str, Any], level: int = logging.INFO) -> None:
        self._logger.log(level, "%s", text, extra={"omni": {"event": event, **fields}})


def printable(text: str, longest: int = 255) -> str:
    """An edge's text, without what would move the cursor or begin a line."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:longest])
