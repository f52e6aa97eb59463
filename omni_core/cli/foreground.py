"""Runs a driver in the foreground: signals, log lines, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Iterator

from omni_core.cli.json_lines import json_formatter
from omni_core.io.lifecycle import Driver

# The configuration is read at the start only, so SIGHUP means what it means for most commands: the terminal is gone.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PROGRESS = (
    "omni_core.cli",
    "omni_core.io.ganglion_driver",
    "omni_core.io.nucleus_driver",
    "omni_core.io.synapse.attachments",
    "omni_core.io.synapse.bulk_watch",
)  # loggers whose info is shown

logger = logging.getLogger(__name__)


async def run_driver(driver: Driver, on_active: Callable[[], None]) -> None:
    """Until a signal or a fault; then everything is removed. Raises what the driver raises. A second signal: faster."""
    loop = asyncio.get_running_loop()
    active = stopping = False

    def activated() -> None:
        nonlocal active
        active = True
        on_active()

    def stop(number: signal.Signals) -> None:
        nonlocal stopping
        if stopping:
            driver.hurry()
            return
        stopping = True
        logger.info("stopping (%s)", number.name)
        driver.request_stop()
        if not active:
            running.cancel()  # a start that hangs (DNS) is undone

    running = asyncio.create_task(driver.run(activated))
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop, number)
    try:
        await running
    except asyncio.CancelledError:
        if not stopping:
            raise
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def progress_lines(debug: bool, log_format: str = "text") -> Iterator[None]:
    """What the drivers log, and of the other modules only warnings.

    ``log_format``: text is lines on stdout with the time of day, json an object a line on stderr. Raises SystemRefused.
    """
    if log_format == "json":
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(json_formatter())
    else:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(_Lines("%(asctime)s %(message)s", "%H:%M:%S"))
    root = logging.getLogger("omni_core")
    levels = {root: logging.DEBUG if debug else logging.WARNING}
    levels |= {logging.getLogger(name): logging.DEBUG if debug else logging.INFO for name in PROGRESS}
    before = {log: log.level for log in levels}
    for log, level in levels.items():
        log.setLevel(level)
    loggers = (root, logging.getLogger("asyncio"))  # the latter: what a task raised that nobody waited for
    for log in loggers:
        log.addHandler(handler)
    try:
        yield
    finally:
        for log in loggers:
            log.removeHandler(handler)
        for log, level in before.items():
            log.setLevel(level)


class _Lines(logging.Formatter):
    """One line for each record; a traceback only where one is logged."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        if record.levelno >= logging.WARNING:
            record.message = f"{record.levelname.lower()}: {record.message}"
        return super().formatMessage(record)
