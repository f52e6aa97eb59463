"""What the demo shows while it works: phases with their time, a live table; plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

PLAIN_PERIOD = 2.0  # s between two status lines


@dataclass
class Row:
    """One robot in the table."""

    robot: str
    vip: str
    peers: str = "-"
    session: str = "-"
    overlay: str = "-"  # round trip from robot 1
    underlay: str = "-"
    sending: str = "-"
    receiving: str = "-"
    kernel: str = "-"  # frames sealed and opened on the lane in the kernel
    bulk: str = "-"  # and by the native engine
    dds: str = "-"  # DDS domains with participants there; of how many peers it is known what they listen to
    chatter: str = "-"


TITLES = {
    "robot": "robot", "vip": "VIP", "peers": "peers", "session": "session", "overlay": "RTT overlay",
    "underlay": "RTT underlay", "sending": "sending", "receiving": "receiving", "kernel": "kernel lane",
    "bulk": "bulk lane", "dds": "DDS", "chatter": "/chatter",
}  # fmt: skip


class Display:
    """Plain lines. ``LiveDisplay`` shows the same on a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.monotonic()
        self._last_rows = 0.0

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    @contextmanager
    def phase(self, name: str) -> Iterator[list[str]]:
        """A step of the demo. Texts added to what it yields are shown behind the name when the step is done."""
        began = time.monotonic()
        self._start(name)
        details: list[str] = []
        yield details
        self._end(name, time.monotonic() - began, "; ".join(details))

    def rows(self, rows: Sequence[Row]) -> None:
        """The table's new contents."""
        if time.monotonic() - self._last_rows >= PLAIN_PERIOD:
            self._last_rows = time.monotonic()
            for row in rows:
                words = [f"{title} {getattr(row, key)}" for key, title in TITLES.items() if getattr(row, key) != "-"]
                self._line(f"  {row.robot}: {', '.join(words[1:])}")

    def _start(self, name: str) -> None:
        self._line(f"{name} ...")

    def _end(self, name: str, seconds: float, details: str) -> None:
        self._line(f"{name}: done in {seconds:.1f} s{f' ({details})' if details else ''}")

    def _line(self, text: str) -> None:
        elapsed = time.monotonic() - self._began
        self.console.print(f"[{elapsed:5.1f} s] {text}", markup=False, highlight=False, soft_wrap=True)


class LiveDisplay(Display):
    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._finished: list[Text] = []
        self._current: tuple[str, float] | None = None
        self._table: Sequence[Row] = ()
        self._spinner = Spinner("dots")
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=8)

    def __enter__(self) -> Display:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._current is not None:
            self._finished.append(Text.assemble(("✗ ", "red"), self._current[0]))
            self._current = None
        self._live.stop()

    def rows(self, rows: Sequence[Row]) -> None:
        self._table = list(rows)

    def _start(self, name: str) -> None:
        self._current = (name, time.monotonic())

    def _end(self, name: str, seconds: float, details: str) -> None:
        self._finished.append(Text.assemble(("✓ ", "green"), f"{name} ", (f"{seconds:.1f} s  {details}", "dim")))
        self._current = None

    def _render(self) -> RenderableType:
        parts: list[RenderableType] = list(self._finished)
        if self._current is not None:
            name, began = self._current
            self._spinner.update(text=Text.assemble(f"{name} ", (f"{time.monotonic() - began:.0f} s", "dim")))
            parts.append(self._spinner)
        if self._table:
            parts.append(make_table(self._table))
        return Group(*parts)


def make_table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    shown = {key: title for key, title in TITLES.items() if any(getattr(row, key) != "-" for row in rows)}
    for key, title in shown.items():
        table.add_column(title, justify="left" if key in ("robot", "vip", "session") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(getattr(row, key) for key in shown))
    return table


def rate_text(bits_per_second: float) -> str:
    scale, unit = (1e6, "Mbit/s") if bits_per_second >= 1e6 else (1e3, "kbit/s")
    return f"{bits_per_second / scale:.1f} {unit}"


def time_text(microseconds: float) -> str:
    return f"{microseconds / 1000:.2f} ms"
