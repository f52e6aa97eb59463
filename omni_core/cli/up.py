"""`omni up`: a Ganglion in the foreground."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
from collections.abc import Callable

from omni_core.cli import exit_codes
from omni_core.cli.foreground import progress_lines, run_driver
from omni_core.cli.inputs import STDIN, secret_path
from omni_core.cli.options import add_config_options, config_path, config_values, seconds
from omni_core.config import ganglion
from omni_core.config.ganglion import GanglionConfig
from omni_core.engines.ganglion_events import GanglionEvent, NucleusChanged
from omni_core.errors import OmniError, RegistrationRefused
from omni_core.io.config_file import load_ganglion
from omni_core.io.ganglion_driver import GanglionDriver

logger = logging.getLogger(__name__)


class NotRegistered(OmniError):
    """The time that the user gave is over."""

    exit_code = exit_codes.TIMEOUT


def configure(parser: argparse.ArgumentParser) -> None:
    add_config_options(parser, ganglion.FIELDS, "ganglion")
    parser.add_argument(
        "--register-timeout", type=seconds, metavar="S",
        help="end with exit code 5 when the Nucleus has not answered after S seconds (default: go on trying)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    values = config_values(arguments, ganglion.FIELDS)
    with contextlib.ExitStack() as stack:
        for field in ("token_file", "secret_file"):
            if values.get(field) == STDIN:
                values[field] = stack.enter_context(secret_path(STDIN, field))
        config = load_ganglion(config_path(arguments, "ganglion"), values, arguments.node)
        stack.enter_context(progress_lines("debug" in arguments))
        asyncio.run(_run(config, arguments.register_timeout))
    return exit_codes.OK


async def _run(config: GanglionConfig, register_timeout: float | None) -> None:
    registration = Registration()
    driver = GanglionDriver(config, registration.on_event)
    registration.on_refused = lambda error: _end(driver, error)

    def on_active() -> None:
        status = driver.status()
        addresses = ", ".join(filter(None, (status.vip4, status.vip6)))
        logger.info("%s is up: %s, mtu %d, engine %s", driver.interface, addresses, status.interface_mtu, status.engine)
        logger.info("key %s, UDP port %d, cluster %s", status.public_key, driver.port, status.cluster)
        if register_timeout is not None and status.nucleus_state != "none":
            asyncio.get_running_loop().call_later(register_timeout, registration.expire, register_timeout)

    await run_driver(driver, on_active)
    if not driver.left_running:
        logger.info("%s removed", config.interface)


def _end(driver: GanglionDriver, error: OmniError) -> None:
    driver.fault = error
    driver.request_stop()


class Registration:
    """Follows the first registration. Once there was one, a Nucleus that fails or refuses ends nothing."""

    def __init__(self) -> None:
        self.registered = False
        self.reason = "no answer"
        self.on_refused: Callable[[OmniError], None] = lambda error: None

    def on_event(self, event: GanglionEvent) -> None:
        if not isinstance(event, NucleusChanged):
            return
        if event.state == "registered":
            self.registered = True
        elif not self.registered:
            self.reason = event.text
            if event.state == "refused":
                self.on_refused(RegistrationRefused(event.text))

    def expire(self, timeout: float) -> None:
        if not self.registered:
            self.on_refused(
                NotRegistered(
                    f"nucleus: not registered after {timeout:g} s: {self.reason}. Fix: see that the Nucleus runs, that "
                    "its UDP port is open, and that nucleus_key is its key"
                )
            )
